//! What the checks of an Apple library need to read from it: a universal file's slices, a static
//! archive's members, and each member's Mach-O header, platform and symbols (Apple's
//! `mach-o/loader.h`, `fat.h`, `nlist.h` and `ar.h`).

use std::collections::BTreeSet;

use crate::failure::{Failure, Result};

/// A processor, by Apple's number.
pub(crate) const ARM64: u32 = 0x0100_000c;
/// See [`ARM64`].
pub(crate) const X86_64: u32 = 0x0100_0007;

const FAT_MAGIC: u32 = 0xcafe_babe;
const MACHO_MAGIC: u32 = 0xfeed_facf;
const ARCHIVE_MAGIC: &[u8] = b"!<arch>\n";
const LC_SYMTAB: u32 = 2;
const LC_VERSION_MIN_MACOS: u32 = 0x24;
const LC_VERSION_MIN_IOS: u32 = 0x25;
const LC_BUILD_VERSION: u32 = 0x32;

/// Where a member is for: the platform's number and the oldest system, as `major * 256 + minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Platform {
    /// 1 macOS, 2 iOS, 7 the simulator of iOS.
    pub(crate) number: u32,
    pub(crate) oldest: u32,
}

/// One architecture's archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Archive {
    /// The processors of its members: one, if it is sound.
    pub(crate) processors: BTreeSet<u32>,
    /// The platforms of its members.
    pub(crate) platforms: BTreeSet<Platform>,
    /// Members that do not say what platform they are for.
    pub(crate) without_platform: usize,
    /// Names that it shows to all that is linked with it.
    pub(crate) defined: BTreeSet<String>,
    /// Names that it asks for and does not itself have.
    pub(crate) undefined: BTreeSet<String>,
    /// Names that answer its own members' needs, and nobody else's.
    hidden: BTreeSet<String>,
}

/// Reads a library: the archives of a universal file, or the one of a plain file; each with the
/// processor that the universal header gives for it.
///
/// # Errors
/// If it is neither, or a table lies outside the file.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<(Option<u32>, Archive)>> {
    let file = Bytes(bytes);
    if bytes.starts_with(ARCHIVE_MAGIC) {
        return Ok(vec![(None, archive(file)?)]);
    }
    if file.big_u32(0)? != FAT_MAGIC {
        return Err(bad("it is neither universal nor an archive"));
    }
    (0..file.big_u32(4)? as usize)
        .map(|index| {
            let at = 8 + index * 20;
            let (offset, size) = (file.big_u32(at + 8)?, file.big_u32(at + 12)?);
            let slice = Bytes(file.slice(offset as usize, size as usize)?);
            Ok((Some(file.big_u32(at)?), archive(slice)?))
        })
        .collect()
}

fn archive(file: Bytes<'_>) -> Result<Archive> {
    if !file.0.starts_with(ARCHIVE_MAGIC) {
        return Err(bad("a slice is not an archive"));
    }
    let mut archive = Archive::default();
    let mut at = ARCHIVE_MAGIC.len();
    while at < file.0.len() {
        let header = file.slice(at, 60)?;
        if &header[58..] != b"`\n" {
            return Err(bad("a member's header is broken"));
        }
        let size = number(&header[48..58])?;
        let mut body = file.slice(at + 60, size)?;
        let name = String::from_utf8_lossy(&header[..16]).into_owned();
        // BSD's way with long names: they come before the body.
        let mut name = name.trim_end().to_owned();
        if let Some(length) = name.strip_prefix("#1/") {
            let length = number(length.as_bytes())?;
            let long = body.get(..length).ok_or_else(|| bad("a name is cut"))?;
            name = String::from_utf8_lossy(long).into_owned();
            body = &body[length..];
        }
        if !name.starts_with("__.SYMDEF") {
            member(Bytes(body), &mut archive)?;
        }
        at += 60 + size + size % 2;
    }
    archive.undefined = &(&archive.undefined - &archive.defined) - &archive.hidden;
    Ok(archive)
}

fn number(digits: &[u8]) -> Result<usize> {
    let text = String::from_utf8_lossy(digits);
    text.trim()
        .parse()
        .map_err(|_| bad("a member's size is no number"))
}

fn member(file: Bytes<'_>, archive: &mut Archive) -> Result<()> {
    if file.u32(0)? != MACHO_MAGIC {
        return Err(bad("a member is no 64-bit Mach-O object"));
    }
    archive.processors.insert(file.u32(4)?);
    let mut at = 32;
    let mut platform = None;
    for _ in 0..file.u32(16)? {
        let (command, size) = (file.u32(at)?, file.u32(at + 4)? as usize);
        match command {
            LC_BUILD_VERSION => platform = Some((file.u32(at + 8)?, file.u32(at + 12)?)),
            LC_VERSION_MIN_MACOS => platform = Some((1, file.u32(at + 8)?)),
            LC_VERSION_MIN_IOS => platform = Some((2, file.u32(at + 8)?)),
            LC_SYMTAB => symbols(file, at, archive)?,
            _ => {}
        }
        if size < 8 {
            return Err(bad("a load command has no size"));
        }
        at += size;
    }
    match platform {
        // The lowest byte is a patch number.
        Some((number, version)) => {
            let oldest = version >> 8;
            archive.platforms.insert(Platform { number, oldest });
        }
        None => archive.without_platform += 1,
    }
    Ok(())
}

fn symbols(file: Bytes<'_>, command: usize, archive: &mut Archive) -> Result<()> {
    let (table, count) = (file.u32(command + 8)? as usize, file.u32(command + 12)?);
    let names = file.u32(command + 16)? as usize;
    for index in 0..count as usize {
        let at = table + index * 16;
        let kind = file.slice(at + 4, 1)?[0];
        let (debugging, private, class, external) =
            (kind & 0xe0, kind & 0x10, kind & 0x0e, kind & 1);
        if debugging != 0 || external == 0 {
            continue;
        }
        let name = file.text(names + file.u32(at)? as usize)?;
        if class == 0 {
            archive.undefined.insert(name);
        } else if private == 0 {
            archive.defined.insert(name);
        } else {
            archive.hidden.insert(name);
        }
    }
    Ok(())
}

fn bad(what: &str) -> Failure {
    Failure(format!("not a static library for Apple's systems: {what}"))
}

/// Reads numbers and texts, each within the file.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn slice(self, at: usize, size: usize) -> Result<&'a [u8]> {
        let end = at.checked_add(size);
        end.and_then(|end| self.0.get(at..end))
            .ok_or_else(|| bad("a table lies outside the file"))
    }

    fn array(self, at: usize) -> Result<[u8; 4]> {
        let mut array = [0; 4];
        array.copy_from_slice(self.slice(at, 4)?);
        Ok(array)
    }

    fn u32(self, at: usize) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    fn big_u32(self, at: usize) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array(at)?))
    }

    fn text(self, at: usize) -> Result<String> {
        let rest = self.0.get(at..).unwrap_or_default();
        let Some(end) = rest.iter().position(|&byte| byte == 0) else {
            return Err(bad("a name has no end"));
        };
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}
