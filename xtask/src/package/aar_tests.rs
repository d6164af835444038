//! An AAR and its repository, made of small parts, opened again, and each part spoilt in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::aar;
use super::abi::Abi;
use super::archive::{self, Entry};
use super::bionic::Bionic;
use super::maven;
use super::native;
use super::so_fixture::Library;
use crate::failure::Result;
use crate::process;

const VERSION: &str = "0.1.0";
const CLASS: &[u8] = &[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 61, 0, 0];

/// A folder of the test's own.
struct Work(PathBuf);

impl Work {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("xtask-aar-{name}-{}", std::process::id()));
        let library = folder.join(native::place(Abi::Arm64));
        fs::create_dir_all(library.parent().unwrap()).unwrap();
        fs::write(library, Library::default().bytes()).unwrap();
        Self(folder)
    }

    fn jar(&self, name: &str, entries: &[(&str, &[u8])]) -> PathBuf {
        let jar = self.0.join(name);
        let entries = entries.iter();
        let entries = entries.map(|(name, bytes)| Entry::new(name, *bytes));
        archive::write(&jar, entries.collect()).unwrap();
        jar
    }

    fn jars(&self) -> [PathBuf; 2] {
        let manifest: (&str, &[u8]) = ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n");
        [
            self.jar("a.jar", &[manifest, ("dev/dormouse/ffi/A.class", CLASS)]),
            self.jar(
                "b.jar",
                &[
                    manifest,
                    ("dev/dormouse/B.class", CLASS),
                    ("META-INF/b.kotlin_module", b"b"),
                ],
            ),
        ]
    }

    fn aar(&self) -> PathBuf {
        let aar = self.0.join("our.aar");
        let root = process::root();
        aar::write(&aar, &root, &self.jars(), &self.0, &[Abi::Arm64]).unwrap();
        aar
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn faults(aar: &Path) -> Result<Vec<String>> {
    let root = process::root();
    let bionic = Bionic::committed(&root).unwrap();
    aar::faults(aar, &root, &[Abi::Arm64], &bionic)
}

#[test]
fn a_sound_aar_has_no_fault_and_is_the_same_each_time() {
    let work = Work::new("sound");
    let aar = work.aar();
    assert_eq!(faults(&aar).unwrap(), Vec::<String>::new());
    let bytes = fs::read(&aar).unwrap();
    assert_eq!(fs::read(work.aar()).unwrap(), bytes);
    let entries = aar::read(&aar).unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let expected = [
        "AndroidManifest.xml",
        "META-INF/LICENSE-APACHE",
        "META-INF/LICENSE-MIT",
        "META-INF/com/android/build/gradle/aar-metadata.properties",
        "R.txt",
        "classes.jar",
        "jni/arm64-v8a/libdormouse_ffi.so",
        "proguard.txt",
    ];
    assert_eq!(names, expected);
}

#[test]
fn each_part_that_is_spoilt_is_found() {
    let work = Work::new("spoilt");
    let sound = aar::read(&work.aar()).unwrap();
    let spoilt = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = sound.clone();
        change(&mut entries);
        let aar = work.0.join("spoilt.aar");
        archive::write(&aar, entries).unwrap();
        faults(&aar).unwrap()
    };
    for name in sound.iter().map(|entry| &entry.name) {
        let without = spoilt(&|entries| entries.retain(|entry| entry.name != *name));
        assert_eq!(without, [format!("{name} is missing")]);
    }
    let more = spoilt(&|entries| entries.push(Entry::new("jni/x86/libjnidispatch.so", "")));
    assert_eq!(more, ["jni/x86/libjnidispatch.so does not belong there"]);

    let change = |name: &'static str, change: fn(&mut Entry)| {
        spoilt(&move |entries| {
            let entry = entries.iter_mut().find(|entry| entry.name == name);
            change(entry.unwrap());
        })
    };
    let library = "jni/arm64-v8a/libdormouse_ffi.so";
    let unaligned = format!("{library} is not stored at a multiple of 0x4000");
    assert_eq!(change(library, |it| it.stored_at = None), [unaligned]);
    let faults = change(library, |it| {
        it.bytes = Library {
            align: 0x1000,
            ..Library::default()
        }
        .bytes();
    });
    let fault = "the segment at 0x0 is aligned to 0x1000, not to 0x4000";
    assert_eq!(faults, [format!("{library}: {fault}")]);
    let rules = change("proguard.txt", |it| it.bytes.clear());
    assert_eq!(rules, ["proguard.txt is not the committed one"]);
    let manifest = change("AndroidManifest.xml", |it| it.bytes.clear());
    assert_eq!(
        manifest,
        [
            "AndroidManifest.xml is not the committed one",
            "the manifest does not say API 26"
        ]
    );
}

#[test]
fn classes_that_are_not_ours_or_too_new_are_found() {
    let work = Work::new("classes");
    let sound = aar::read(&work.aar()).unwrap();
    let with = |classes: &[(&str, &[u8])]| {
        let jar = fs::read(work.jar("classes.jar", classes)).unwrap();
        let mut entries = sound.clone();
        let entry = entries.iter_mut().find(|it| it.name == "classes.jar");
        entry.unwrap().bytes = jar;
        let aar = work.0.join("other.aar");
        archive::write(&aar, entries).unwrap();
        faults(&aar).unwrap()
    };
    assert_eq!(with(&[]), ["classes.jar has no class"]);
    let ours: (&str, &[u8]) = ("dev/dormouse/A.class", CLASS);
    assert_eq!(
        with(&[ours, ("com/sun/jna/Native.class", CLASS)]),
        ["classes.jar has com/sun/jna/Native.class, which is not ours"]
    );
    let mut newer = CLASS.to_vec();
    newer[7] = 65;
    assert_eq!(
        with(&[("dev/dormouse/A.class", &newer)]),
        ["dev/dormouse/A.class is a class file of version 65"]
    );
    assert_eq!(
        with(&[("dev/dormouse/A.class", b"text")]),
        ["dev/dormouse/A.class is no class file"]
    );
}

#[test]
fn a_class_in_two_jars_is_refused() {
    let work = Work::new("twice");
    let one = work.jar("one.jar", &[("dev/dormouse/A.class", CLASS)]);
    let two = work.jar("two.jar", &[("dev/dormouse/A.class", CLASS)]);
    let message = aar::merge(&[one, two]).unwrap_err().to_string();
    assert!(
        message.starts_with("dev/dormouse/A.class is in"),
        "{message}"
    );
    assert!(aar::merge(&[work.0.join("no.jar")]).is_err());
}

#[test]
fn the_repository_is_checked_file_by_file() {
    let work = Work::new("maven");
    let repository = work.0.join("maven");
    let aar = maven::place(&repository, VERSION, ".aar");
    let root = process::root();
    aar::write(&aar, &root, &work.jars(), &work.0, &[Abi::Arm64]).unwrap();
    let template = fs::read_to_string(root.join("android/aar/pom.xml")).unwrap();
    let properties = maven::properties(
        "<project><properties>\n  <kotlin.version>2.0</kotlin.version>\n  <!-- other -->\n  \
         <coroutines.version>1.10</coroutines.version>\n  <jna.version>5.18.1</jna.version>\n  \
         <dormouse.version>0.1.0</dormouse.version>\n</properties></project>",
    );
    let pom = maven::fill(&template, &properties).unwrap();
    let pages = BTreeSet::from(["a.html".to_owned(), "b.html".to_owned()]);
    let write_with = |pom: &str, source: &str, pages_there: &[&str]| {
        let sources = vec![Entry::new(source, "class A")];
        let docs = pages_there.iter().map(|page| Entry::new(page, "<html>"));
        maven::write(&repository, VERSION, pom, sources, docs.collect()).unwrap();
        maven::faults(&repository, VERSION, &pages).unwrap()
    };
    let write = |pom: &str| write_with(pom, "dev/dormouse/A.kt", &["a.html", "b.html"]);
    assert_eq!(write(&pom), Vec::<String>::new());
    assert_eq!(
        write_with(&pom, "dev/dormouse/A.kt", &["index.html", "a.html"]),
        ["the documentation has no page b.html"]
    );
    let faults = write_with(&pom, "readme", &["a.html", "b.html"]);
    assert!(faults.len() == 1 && faults[0].ends_with("-sources.jar has no .kt file"));
    write(&pom);
    assert!(aar.with_extension("aar.sha1").is_file());
    assert_eq!(
        write(&pom.replace("<type>aar</type>", "")),
        ["the POM does not take JNA as an AAR"]
    );
    assert_eq!(
        write(&pom.replace(">jna<", ">kotlin-stdlib<")),
        [
            "the POM names kotlin-stdlib 2 times",
            "the POM names jna 0 times",
            "the POM does not take JNA as an AAR"
        ]
    );
    assert_eq!(
        write(&pom.replace("<packaging>aar</packaging>", "")),
        ["the POM is not that of dormouse-android 0.1.0 as an AAR"]
    );
    assert_eq!(
        write(&pom.replace("5.18.1", "${jna.version}")),
        ["the POM has names that are not filled in"]
    );
    write(&pom);
    fs::write(aar.with_extension("aar.md5"), "0").unwrap();
    let faults = maven::faults(&repository, VERSION, &pages).unwrap();
    assert!(faults.len() == 1 && faults[0].ends_with(".aar.md5 is not its file's"));
    fs::remove_file(&aar).unwrap();
    assert!(maven::faults(&repository, VERSION, &pages).is_err());
}

#[test]
fn a_name_without_a_property_is_named() {
    let message = maven::fill("${a} ${b.c}", &BTreeMap::from([("a".into(), "1".into())]));
    assert_eq!(
        message.unwrap_err().to_string(),
        "the POM asks for b.c, which no property gives"
    );
    assert!(maven::fill("${a", &BTreeMap::new()).is_err());
}
