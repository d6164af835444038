//! An XCFramework of static libraries: a folder a platform, each with a library and headers, and
//! an Info.plist that lists them.
//!
//! The headers lie in a folder of their own below `Headers`: Xcode copies all packages' headers
//! into one place, where a second `module.modulemap` would replace the first.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::apple::{LIBRARY, MODULE, Target};
use super::macho;
use super::plist::Value;
use super::privacy;
use super::rust;
use crate::failure::{Failure, Result};

/// One platform's part: targets that differ in the processor alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) targets: Vec<Target>,
}

impl Slice {
    /// The slices of some targets, in their order.
    pub(crate) fn of(targets: &[Target]) -> Vec<Self> {
        let mut slices: Vec<Self> = Vec::new();
        for &target in targets {
            let same = |slice: &&mut Self| {
                let first = slice.targets[0];
                (first.system, first.simulator) == (target.system, target.simulator)
            };
            match slices.iter_mut().find(same) {
                Some(slice) => slice.targets.push(target),
                None => slices.push(Self {
                    targets: vec![target],
                }),
            }
        }
        slices
    }

    /// Its folder, by Apple's custom: `ios-arm64_x86_64-simulator`.
    pub(crate) fn identifier(&self) -> String {
        let first = self.targets[0];
        let variant = if first.simulator { "-simulator" } else { "" };
        format!("{}-{}{variant}", first.system, self.processors().join("_"))
    }

    fn processors(&self) -> Vec<&'static str> {
        self.targets.iter().map(|it| it.processor.0).collect()
    }

    fn plist(&self) -> Value {
        let first = self.targets[0];
        let processors = self.processors();
        let mut entry = Value::dict([
            ("BinaryPath", Value::text(LIBRARY)),
            ("HeadersPath", Value::text("Headers")),
            ("LibraryIdentifier", Value::text(&self.identifier())),
            ("LibraryPath", Value::text(LIBRARY)),
            (
                "SupportedArchitectures",
                Value::List(processors.into_iter().map(Value::text).collect()),
            ),
            ("SupportedPlatform", Value::text(first.system)),
        ]);
        if let (Value::Dict(entries), true) = (&mut entry, first.simulator) {
            entries.insert("SupportedPlatformVariant".into(), Value::text("simulator"));
        }
        entry
    }
}

/// Writes all but the libraries, which are there already; removes slices that are not listed.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn write(bundle: &Path, slices: &[Slice], header: &Path, privacy: &str) -> Result<()> {
    let identifiers: BTreeSet<String> = slices.iter().map(Slice::identifier).collect();
    for name in folders(bundle)? {
        if !identifiers.contains(&name) {
            let path = bundle.join(name);
            fs::remove_dir_all(&path).map_err(|error| Failure::io("remove", &path, &error))?;
        }
    }
    for identifier in &identifiers {
        let headers = bundle.join(identifier).join("Headers").join(MODULE);
        fs::create_dir_all(&headers).map_err(|error| Failure::io("create", &headers, &error))?;
        let to = headers.join(format!("{MODULE}.h"));
        fs::copy(header, &to).map_err(|error| Failure::io("copy", header, &error))?;
        put(&headers.join("module.modulemap"), &module_map())?;
        put(
            &bundle.join(identifier).join("PrivacyInfo.xcprivacy"),
            privacy,
        )?;
    }
    let plist = Value::dict([
        (
            "AvailableLibraries",
            Value::List(slices.iter().map(Slice::plist).collect()),
        ),
        ("CFBundlePackageType", Value::text("XFWK")),
        ("XCFrameworkFormatVersion", Value::text("1.0")),
    ]);
    put(&bundle.join("Info.plist"), &plist.to_xml())
}

fn module_map() -> String {
    format!("module {MODULE} {{\n    header \"{MODULE}.h\"\n    export *\n}}\n")
}

/// Everything that is wrong with an XCFramework that should serve `targets`, a sentence each.
///
/// # Errors
/// If a part of it cannot be read.
pub(crate) fn faults(bundle: &Path, targets: &[Target], privacy: &Value) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let plist = Value::parse(&text(&bundle.join("Info.plist"))?)?;
    for (key, value) in [
        ("CFBundlePackageType", "XFWK"),
        ("XCFrameworkFormatVersion", "1.0"),
    ] {
        if plist.get_text(key) != Some(value) {
            faults.push(format!("Info.plist does not say {key} {value}"));
        }
    }
    let listed = plist.get_list("AvailableLibraries");
    let named: BTreeSet<String> = listed
        .iter()
        .filter_map(|entry| entry.get_text("LibraryIdentifier").map(str::to_owned))
        .collect();
    for folder in folders(bundle)? {
        if !named.contains(&folder) {
            faults.push(format!("{folder} is not in Info.plist"));
        }
    }
    for slice in Slice::of(targets) {
        let identifier = slice.identifier();
        let wanted = slice.plist();
        let found = listed.iter().filter(|entry| **entry == wanted).count();
        if found != 1 {
            faults.push(format!(
                "Info.plist has {found} right entries of {identifier}"
            ));
        }
        check_slice(&bundle.join(&identifier), &slice, privacy, &mut faults)?;
    }
    if listed.len() != Slice::of(targets).len() {
        faults.push(format!("Info.plist lists {} slices", listed.len()));
    }
    Ok(faults)
}

fn check_slice(
    folder: &Path,
    slice: &Slice,
    privacy: &Value,
    faults: &mut Vec<String>,
) -> Result<()> {
    let identifier = slice.identifier();
    let headers = folder.join("Headers").join(MODULE);
    if text(&headers.join("module.modulemap"))? != module_map() {
        faults.push(format!("the module map of {identifier} is not ours"));
    }
    let declared = functions(&text(&headers.join(format!("{MODULE}.h")))?);
    if declared.is_empty() {
        faults.push(format!(
            "the header of {identifier} declares nothing of ours"
        ));
    }
    if &Value::parse(&text(&folder.join("PrivacyInfo.xcprivacy"))?)? != privacy {
        faults.push(format!("the privacy manifest of {identifier} is another"));
    }
    let path = folder.join(LIBRARY);
    let bytes = fs::read(&path).map_err(|error| Failure::io("read", &path, &error))?;
    for fault in rust::named_folders(&bytes) {
        faults.push(format!("{identifier}: {fault}"));
    }
    let archives = macho::read(&bytes)?;
    if archives.len() != slice.targets.len() {
        faults.push(format!("{identifier} has {} processors", archives.len()));
    }
    for target in &slice.targets {
        let wanted = BTreeSet::from([target.processor.1]);
        let archive = archives.iter().find(|(named, archive)| {
            archive.processors == wanted && named.is_none_or(|named| named == target.processor.1)
        });
        let Some((_, archive)) = archive else {
            let name = target.processor.0;
            faults.push(format!("{identifier} has no library for {name} alone"));
            continue;
        };
        for fault in library(archive, *target, &declared)
            .into_iter()
            .chain(privacy::faults(privacy, &archive.undefined))
        {
            faults.push(format!("{}: {fault}", target.name));
        }
    }
    Ok(())
}

/// What is wrong with one processor's library.
fn library(archive: &macho::Archive, target: Target, declared: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let wanted = target.platform();
    for found in &archive.platforms {
        // An older system than promised does no harm; a newer one warns in every app.
        if found.number != wanted.number || found.oldest > wanted.oldest {
            faults.push(format!("a member is for {found:?}, not {wanted:?}"));
        }
    }
    if archive.platforms.is_empty() || archive.without_platform > 0 {
        let count = archive.without_platform;
        faults.push(format!("{count} members do not name their platform"));
    }
    for name in declared {
        if !archive.defined.contains(&format!("_{name}")) {
            faults.push(format!("the header declares {name}, which is not there"));
        }
    }
    if archive.defined.contains("_JNI_OnLoad") {
        faults.push("it has code for Java VMs".into());
    }
    faults
}

/// The functions of ours that a header declares.
fn functions(header: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let ours = ["uniffi_dormouse_ffi_", "ffi_dormouse_ffi_"];
    header
        .split('(')
        .filter_map(|before| before.rsplit(|c| !word(c)).next())
        .filter(|name| ours.iter().any(|start| name.starts_with(start)))
        .map(str::to_owned)
        .collect()
}

/// The folders straight in a bundle.
fn folders(bundle: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(bundle).map_err(|error| Failure::io("read", bundle, &error))?;
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    Ok(folders
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Failure::io("write", path, &error))
}
