//! A local Maven repository with one artefact in it: laid out as Maven Central has it, so that it
//! can be named as a repository in a build, or uploaded as it is.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::archive::{self, Entry};
use crate::failure::{Failure, Result};

/// Our group, and the artefact of the AAR.
pub(crate) const GROUP: &str = "dev.dormouse";
/// See [`GROUP`].
pub(crate) const ARTIFACT: &str = "dormouse-android";

/// The names of the files beside an artefact that hold its digests.
const DIGESTS: [&str; 4] = ["md5", "sha1", "sha256", "sha512"];

/// The simple properties of a POM: `<a.version>1</a.version>` between its `properties` tags.
pub(crate) fn properties(pom: &str) -> BTreeMap<String, String> {
    let block = pom
        .split_once("<properties>")
        .and_then(|(_, rest)| rest.split_once("</properties>"));
    let block = block.map_or("", |(block, _)| block);
    block
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.trim().strip_prefix('<')?.split_once('>')?;
            let value = rest.strip_suffix(&format!("</{name}>"))?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// A POM with its `${names}` filled in.
///
/// # Errors
/// If a name is not among the properties.
pub(crate) fn fill(template: &str, properties: &BTreeMap<String, String>) -> Result<String> {
    let mut pom = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| Failure("the POM has a ${ without an end".into()))?;
        let value = properties
            .get(name)
            .ok_or_else(|| Failure(format!("the POM asks for {name}, which no property gives")))?;
        pom.push_str(before);
        pom.push_str(value);
        rest = after;
    }
    pom.push_str(rest);
    Ok(pom)
}

/// The folder of a version.
fn folder(repository: &Path, version: &str) -> PathBuf {
    repository
        .join(GROUP.replace('.', "/"))
        .join(ARTIFACT)
        .join(version)
}

/// A file of a version, by what follows the version in its name: `.aar`, `-sources.jar`.
pub(crate) fn place(repository: &Path, version: &str, ending: &str) -> PathBuf {
    folder(repository, version).join(format!("{ARTIFACT}-{version}{ending}"))
}

/// Writes the POM, the jars of sources and of documentation, the list of versions, and a digest
/// beside each file and beside the AAR, which is there already.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn write(
    repository: &Path,
    version: &str,
    pom: &str,
    sources: Vec<Entry>,
    docs: Vec<Entry>,
) -> Result<()> {
    let put = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|error| Failure::io("write", path, &error))
    };
    let pom_path = place(repository, version, ".pom");
    let folder = folder(repository, version);
    fs::create_dir_all(&folder).map_err(|error| Failure::io("create", &folder, &error))?;
    put(&pom_path, pom)?;
    archive::write(&place(repository, version, "-sources.jar"), sources)?;
    archive::write(&place(repository, version, "-javadoc.jar"), docs)?;
    let list = metadata(repository);
    put(
        &list,
        &format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata>\n  \
             <groupId>{GROUP}</groupId>\n  <artifactId>{ARTIFACT}</artifactId>\n  \
             <versioning>\n    <release>{version}</release>\n    <versions>\n      \
             <version>{version}</version>\n    </versions>\n  </versioning>\n</metadata>\n"
        ),
    )?;
    for path in files(repository, version).iter().chain([&list]) {
        let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
        for name in DIGESTS {
            put(&beside(path, name), &digest(name, &bytes))?;
        }
    }
    Ok(())
}

fn metadata(repository: &Path) -> PathBuf {
    let group = repository.join(GROUP.replace('.', "/"));
    group.join(ARTIFACT).join("maven-metadata.xml")
}

fn files(repository: &Path, version: &str) -> [PathBuf; 4] {
    [".aar", ".pom", "-sources.jar", "-javadoc.jar"].map(|end| place(repository, version, end))
}

/// `a.pom` -> `a.pom.sha1`.
fn beside(path: &Path, name: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(name);
    path.into()
}

fn digest(name: &str, bytes: &[u8]) -> String {
    let digest: Vec<u8> = match name {
        "md5" => Md5::digest(bytes).to_vec(),
        "sha1" => Sha1::digest(bytes).to_vec(),
        "sha256" => Sha256::digest(bytes).to_vec(),
        _ => Sha512::digest(bytes).to_vec(),
    };
    let mut text = String::new();
    for byte in digest {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Everything that is wrong with the repository around the AAR, a sentence each; `pages` are those
/// that the documentation must have.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn faults(
    repository: &Path,
    version: &str,
    pages: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files(repository, version)
        .iter()
        .chain([&metadata(repository)])
    {
        let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
        for name in DIGESTS {
            let note = beside(path, name);
            let found =
                fs::read_to_string(&note).map_err(|error| Failure::io("read", &note, &error))?;
            if found != digest(name, &bytes) {
                faults.push(format!("{} is not its file's", note.display()));
            }
        }
    }
    let pom = place(repository, version, ".pom");
    let pom = fs::read_to_string(&pom).map_err(|error| Failure::io("read", &pom, &error))?;
    if pom.contains("${") {
        faults.push("the POM has names that are not filled in".into());
    }
    let words: String = pom.split_whitespace().collect();
    let own = format!(
        "<groupId>{GROUP}</groupId><artifactId>{ARTIFACT}</artifactId>\
         <version>{version}</version><packaging>aar</packaging>"
    );
    if !words.contains(&own) {
        faults.push(format!(
            "the POM is not that of {ARTIFACT} {version} as an AAR"
        ));
    }
    for artifact in [
        "kotlin-stdlib",
        "kotlinx-coroutines-core",
        "kotlinx-coroutines-android",
        "jna",
    ] {
        let count = words
            .matches(&format!("<artifactId>{artifact}</artifactId>"))
            .count();
        if count != 1 {
            faults.push(format!("the POM names {artifact} {count} times"));
        }
    }
    let jna = words
        .split("<dependency>")
        .find(|it| it.contains(">jna</artifactId>"));
    if !jna.is_some_and(|it| it.contains("<type>aar</type>")) {
        faults.push("the POM does not take JNA as an AAR".into());
    }
    let sources = place(repository, version, "-sources.jar");
    let entries = super::aar::read(&sources)?;
    if !entries.iter().any(|entry| entry.name.ends_with(".kt")) {
        faults.push(format!("{} has no .kt file", sources.display()));
    }
    let entries = super::aar::read(&place(repository, version, "-javadoc.jar"))?;
    let found: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    for page in pages {
        if !found.contains(page.as_str()) {
            faults.push(format!("the documentation has no page {page}"));
        }
    }
    Ok(faults)
}
