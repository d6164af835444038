//! What the checks of an Android library need to read from it: a 64-bit little-endian ELF file's
//! segments, sections, dynamic table and dynamic symbols (System V ABI, chapters 4 and 5).

use crate::failure::{Failure, Result};

/// `e_machine` of arm64.
pub(crate) const AARCH64: u16 = 183;
/// `e_machine` of x86-64.
pub(crate) const X86_64: u16 = 62;

/// Segment types.
pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_DYNAMIC: u32 = 2;
pub(crate) const PT_TLS: u32 = 7;

/// Bits of a segment's flags.
pub(crate) const PF_X: u32 = 1;
pub(crate) const PF_W: u32 = 2;

/// Section types.
pub(crate) const SHT_SYMTAB: u32 = 2;
pub(crate) const SHT_DYNSYM: u32 = 11;

/// Tags of the dynamic table.
pub(crate) const DT_NEEDED: u64 = 1;
pub(crate) const DT_STRTAB: u64 = 5;
pub(crate) const DT_SONAME: u64 = 14;
pub(crate) const DT_TEXTREL: u64 = 22;
pub(crate) const DT_FLAGS: u64 = 30;
pub(crate) const DT_RELR: u64 = 36;

/// The bit of `DT_FLAGS` that says the same as `DT_TEXTREL`.
pub(crate) const DF_TEXTREL: u64 = 4;

const FILE_HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const SECTION_HEADER: u64 = 64;
const SYMBOL: u64 = 24;
const DYNAMIC: u64 = 16;
const ET_DYN: u16 = 3;

/// A part of the file that the loader maps or reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) file_size: u64,
    pub(crate) align: u64,
}

/// A section, as linkers and strippers see it.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    link: u32,
}

/// A dynamic symbol.
#[derive(Clone, Debug)]
pub(crate) struct Symbol {
    pub(crate) name: String,
    pub(crate) defined: bool,
    pub(crate) local: bool,
    pub(crate) weak: bool,
}

/// The readable parts of a shared library.
#[derive(Debug)]
pub(crate) struct Elf {
    pub(crate) machine: u16,
    pub(crate) segments: Vec<Segment>,
    pub(crate) sections: Vec<Section>,
    pub(crate) dynamic: Vec<(u64, u64)>,
    pub(crate) needed: Vec<String>,
    pub(crate) soname: Option<String>,
    pub(crate) symbols: Vec<Symbol>,
}

impl Elf {
    /// Reads a shared library.
    ///
    /// # Errors
    /// If it is no 64-bit little-endian shared library, or a table lies outside the file.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let file = Bytes(bytes);
        let ident = file.slice(0, 16)?;
        if !ident.starts_with(b"\x7fELF") {
            return Err(bad("it does not start with the ELF magic"));
        }
        if ident[4] != 2 || ident[5] != 1 {
            return Err(bad("it is not 64-bit little-endian"));
        }
        file.slice(0, FILE_HEADER)?;
        if file.u16(16)? != ET_DYN {
            return Err(bad("it is not a shared library"));
        }
        let segments = segments(file)?;
        let sections = sections(file)?;
        let dynamic = dynamic(file, &segments)?;
        let names = |tag: u64| -> Result<Vec<String>> {
            let wanted = dynamic.iter().filter(|(found, _)| *found == tag);
            wanted
                .map(|&(_, at)| dynamic_text(file, &segments, &dynamic, at))
                .collect()
        };
        Ok(Self {
            machine: file.u16(18)?,
            needed: names(DT_NEEDED)?,
            soname: names(DT_SONAME)?.pop(),
            symbols: symbols(file, &sections)?,
            segments,
            sections,
            dynamic,
        })
    }

    /// Whether the dynamic table has an entry with the tag.
    pub(crate) fn has_dynamic(&self, tag: u64) -> bool {
        self.dynamic.iter().any(|(found, _)| *found == tag)
    }
}

fn segments(file: Bytes<'_>) -> Result<Vec<Segment>> {
    let (table, count) = (file.u64(32)?, u64::from(file.u16(56)?));
    if u64::from(file.u16(54)?) != PROGRAM_HEADER {
        return Err(bad("its program headers have an unknown size"));
    }
    (0..count)
        .map(|index| {
            let at = table.saturating_add(index * PROGRAM_HEADER);
            Ok(Segment {
                kind: file.u32(at)?,
                flags: file.u32(at + 4)?,
                offset: file.u64(at + 8)?,
                address: file.u64(at + 16)?,
                file_size: file.u64(at + 32)?,
                align: file.u64(at + 48)?,
            })
        })
        .collect()
}

fn sections(file: Bytes<'_>) -> Result<Vec<Section>> {
    let (table, count) = (file.u64(40)?, u64::from(file.u16(60)?));
    if count > 0 && u64::from(file.u16(58)?) != SECTION_HEADER {
        return Err(bad("its section headers have an unknown size"));
    }
    let header = |index: u64| table.saturating_add(index * SECTION_HEADER);
    let names = u64::from(file.u16(62)?);
    (0..count)
        .map(|index| {
            let at = header(index);
            let name_at = file
                .u64(header(names) + 24)?
                .saturating_add(u64::from(file.u32(at)?));
            Ok(Section {
                name: file.text(name_at)?,
                kind: file.u32(at + 4)?,
                offset: file.u64(at + 24)?,
                size: file.u64(at + 32)?,
                link: file.u32(at + 40)?,
            })
        })
        .collect()
}

fn dynamic(file: Bytes<'_>, segments: &[Segment]) -> Result<Vec<(u64, u64)>> {
    let Some(segment) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else {
        return Err(bad("it has no dynamic segment"));
    };
    let mut entries = Vec::new();
    for index in 0..segment.file_size / DYNAMIC {
        let at = segment.offset.saturating_add(index * DYNAMIC);
        let (tag, value) = (file.u64(at)?, file.u64(at.saturating_add(8))?);
        if tag == 0 {
            break;
        }
        entries.push((tag, value));
    }
    Ok(entries)
}

/// A text of the dynamic table, which names its string table by an address.
fn dynamic_text(
    file: Bytes<'_>,
    segments: &[Segment],
    dynamic: &[(u64, u64)],
    at: u64,
) -> Result<String> {
    let table = dynamic.iter().find(|(tag, _)| *tag == DT_STRTAB);
    let Some(&(_, address)) = table else {
        return Err(bad("its dynamic table names no string table"));
    };
    let address = address.saturating_add(at);
    let home = segments.iter().find(|segment| {
        segment.kind == PT_LOAD
            && address >= segment.address
            && address - segment.address < segment.file_size
    });
    let Some(home) = home else {
        return Err(bad("its dynamic strings lie in no segment"));
    };
    file.text((address - home.address).saturating_add(home.offset))
}

fn symbols(file: Bytes<'_>, sections: &[Section]) -> Result<Vec<Symbol>> {
    let Some(table) = sections.iter().find(|section| section.kind == SHT_DYNSYM) else {
        return Err(bad("it has no table of dynamic symbols"));
    };
    let Some(names) = sections.get(table.link as usize) else {
        return Err(bad("its dynamic symbols have no names"));
    };
    // The first entry is reserved.
    (1..table.size / SYMBOL)
        .map(|index| {
            let at = table.offset.saturating_add(index * SYMBOL);
            let name_at = names.offset.saturating_add(u64::from(file.u32(at)?));
            let binding = file.u8(at.saturating_add(4))? >> 4;
            Ok(Symbol {
                name: file.text(name_at)?,
                defined: file.u16(at.saturating_add(6))? != 0,
                local: binding == 0,
                weak: binding == 2,
            })
        })
        .collect()
}

fn bad(what: &str) -> Failure {
    Failure(format!("not a library that Android loads: {what}"))
}

/// Reads numbers and texts, each within the file.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn slice(self, at: u64, size: u64) -> Result<&'a [u8]> {
        let range = usize::try_from(at).ok().zip(usize::try_from(size).ok());
        range
            .and_then(|(start, size)| self.0.get(start..start.checked_add(size)?))
            .ok_or_else(|| bad("a table lies outside the file"))
    }

    fn array<const N: usize>(self, at: u64) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(at, N as u64)?);
        Ok(array)
    }

    fn u8(self, at: u64) -> Result<u8> {
        Ok(self.array::<1>(at)?[0])
    }

    fn u16(self, at: u64) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    fn u32(self, at: u64) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    fn u64(self, at: u64) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    fn text(self, at: u64) -> Result<String> {
        let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..));
        let rest = rest.ok_or_else(|| bad("a name lies outside the file"))?;
        let Some(end) = rest.iter().position(|&byte| byte == 0) else {
            return Err(bad("a name has no end"));
        };
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}
