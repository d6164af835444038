//! The AAR: a zip of a manifest, the classes of our Kotlin modules in one jar, the native
//! libraries, the rules for shrinking, and the licences.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

use super::abi::{API, Abi};
use super::archive::{self, Entry};
use super::bionic::Bionic;
use super::native;
use super::so_checks::PAGE;
use crate::failure::{Failure, Result};

/// The newest class files that D8 takes for our API level: Java 17.
const CLASS_VERSION: u16 = 61;

/// What AGP reads first; nothing in ours asks for a newer AGP or a newer SDK.
const METADATA: &str = "aarFormatVersion=1.0\naarMetadataVersion=1.0\nminCompileSdk=26\n\
                        minCompileSdkExtension=0\nminAndroidGradlePluginVersion=1.0.0\n";
const METADATA_NAME: &str = "META-INF/com/android/build/gradle/aar-metadata.properties";

/// Writes an AAR from the committed files below `root`, the jars of the Kotlin modules and the
/// native libraries below `natives`.
///
/// # Errors
/// If a part cannot be read, or a class is in two jars.
pub(crate) fn write(
    aar: &Path,
    root: &Path,
    jars: &[impl AsRef<Path>],
    natives: &Path,
    abis: &[Abi],
) -> Result<()> {
    let classes = aar.with_extension("classes.jar");
    archive::write(&classes, merge(jars)?)?;
    let jar = Entry::file("classes.jar", &classes);
    fs::remove_file(&classes).map_err(|error| Failure::io("remove", &classes, &error))?;
    let mut entries = vec![
        // It is compressed already.
        jar?.stored(4),
        Entry::new("R.txt", ""),
        Entry::new(METADATA_NAME, METADATA),
    ];
    for (name, path) in committed() {
        entries.push(Entry::file(name, &root.join(path))?);
    }
    for &abi in abis {
        let place = native::place(abi);
        let name = format!("jni/{}/{}", abi.name(), native::LIBRARY);
        // Apps map it from where it lies, in pages of up to 16 KiB.
        entries.push(Entry::file(&name, &natives.join(place))?.stored(PAGE as u16));
    }
    archive::write(aar, entries)
}

/// Files that go in as they are: their names, and where they are in the repository.
fn committed() -> [(&'static str, &'static str); 4] {
    [
        ("AndroidManifest.xml", "android/aar/AndroidManifest.xml"),
        ("proguard.txt", "android/aar/proguard.txt"),
        ("META-INF/LICENSE-APACHE", "LICENSE-APACHE"),
        ("META-INF/LICENSE-MIT", "LICENSE-MIT"),
    ]
}

/// The files of some jars together, without what describes a single jar.
///
/// # Errors
/// If one cannot be read, or two have the same file.
pub(crate) fn merge(jars: &[impl AsRef<Path>]) -> Result<Vec<Entry>> {
    let mut files: BTreeMap<String, (Vec<u8>, &Path)> = BTreeMap::new();
    for jar in jars {
        let jar = jar.as_ref();
        for entry in read(jar)? {
            let name = entry.name;
            if name == "META-INF/MANIFEST.MF" || name.starts_with("META-INF/maven/") {
                continue;
            }
            if let Some((_, other)) = files.insert(name.clone(), (entry.bytes, jar)) {
                return Err(Failure(format!(
                    "{name} is in {} and in {}",
                    other.display(),
                    jar.display()
                )));
            }
        }
    }
    Ok(files
        .into_iter()
        .map(|(name, (bytes, _))| Entry::new(&name, bytes))
        .collect())
}

/// The files of a zip on disk, or of a folder.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>> {
    if path.is_dir() {
        return archive::tree(path);
    }
    let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
    unzip(&bytes).map_err(|Failure(why)| Failure(format!("{}: {why}", path.display())))
}

/// The files of a zip; `stored_at` of one that is not compressed is the largest power of two, up
/// to [`PAGE`], that its place is a multiple of.
fn unzip(bytes: &[u8]) -> Result<Vec<Entry>> {
    let failed = |error: &dyn std::fmt::Display| Failure(format!("not a zip: {error}"));
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| failed(&error))?;
    let mut entries = Vec::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).map_err(|error| failed(&error))?;
        if file.is_dir() {
            continue;
        }
        let stored_at = match (file.compression(), file.data_start()) {
            (CompressionMethod::Stored, Some(start)) => {
                Some(1 << start.trailing_zeros().min(PAGE.trailing_zeros()))
            }
            _ => None,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|error| failed(&error))?;
        entries.push(Entry {
            name: file.name().to_owned(),
            bytes,
            stored_at,
        });
    }
    Ok(entries)
}

/// Everything that is wrong with an AAR, a sentence each.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn faults(
    aar: &Path,
    root: &Path,
    abis: &[Abi],
    bionic: &Bionic,
) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let entries: BTreeMap<String, Entry> = read(aar)?
        .into_iter()
        .map(|entry| (entry.name.clone(), entry))
        .collect();
    let mut expected = BTreeSet::from(["classes.jar".to_owned(), "R.txt".into()]);
    expected.insert(METADATA_NAME.into());
    for (name, path) in committed() {
        expected.insert(name.to_owned());
        let path = root.join(path);
        let wanted = fs::read(&path).map_err(|error| Failure::io("read", &path, &error))?;
        if entries.get(name).is_some_and(|entry| entry.bytes != wanted) {
            faults.push(format!("{name} is not the committed one"));
        }
    }
    if let Some(manifest) = entries.get("AndroidManifest.xml") {
        let text = String::from_utf8_lossy(&manifest.bytes);
        if !text.contains(&format!("android:minSdkVersion=\"{API}\"")) {
            faults.push(format!("the manifest does not say API {API}"));
        }
    }
    for &abi in abis {
        let name = format!("jni/{}/{}", abi.name(), native::LIBRARY);
        if let Some(library) = entries.get(&name) {
            if library.stored_at != Some(PAGE as u16) {
                faults.push(format!("{name} is not stored at a multiple of {PAGE:#x}"));
            }
            for fault in native::faults(&library.bytes, abi, bionic)? {
                faults.push(format!("{name}: {fault}"));
            }
        }
        expected.insert(name);
    }
    if let Some(jar) = entries.get("classes.jar") {
        classes(&unzip(&jar.bytes)?, &mut faults);
    }
    for name in &expected {
        if !entries.contains_key(name) {
            faults.push(format!("{name} is missing"));
        }
    }
    for name in entries.keys().filter(|name| !expected.contains(*name)) {
        faults.push(format!("{name} does not belong there"));
    }
    Ok(faults)
}

/// What is wrong with the classes: they are ours alone, so that no app has a class twice.
fn classes(entries: &[Entry], faults: &mut Vec<String>) {
    if !entries.iter().any(|entry| entry.name.ends_with(".class")) {
        faults.push("classes.jar has no class".into());
    }
    for Entry { name, bytes, .. } in entries {
        if !name.starts_with("dev/dormouse/") && !name.starts_with("META-INF/") {
            faults.push(format!("classes.jar has {name}, which is not ours"));
        } else if name.ends_with(".class") {
            match bytes.get(..8) {
                Some(&[0xca, 0xfe, 0xba, 0xbe, _, _, high, low]) => {
                    let version = u16::from_be_bytes([high, low]);
                    if version > CLASS_VERSION {
                        faults.push(format!("{name} is a class file of version {version}"));
                    }
                }
                _ => faults.push(format!("{name} is no class file")),
            }
        }
    }
}
