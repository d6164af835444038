//! An XCFramework made of small libraries, checked, and each part spoilt in turn.

use std::fs;
use std::path::{Path, PathBuf};

use super::apple::{LIBRARY, MODULE, TARGETS, Target};
use super::macho::{self, ARM64, X86_64};
use super::macho_fixture::{Symbol, archive, object, universal};
use super::plist::Value;
use super::xcframework::{self, Slice};

const HEADER: &str = "typedef struct RustBuffer {} RustBuffer;\n\
    RustBuffer uniffi_dormouse_ffi_fn_func_plan(RustBuffer path);\n\
    void ffi_dormouse_ffi_rustbuffer_free(RustBuffer buf);\nint other(void);\n";

const SYMBOLS: [Symbol<'_>; 5] = [
    ("_uniffi_dormouse_ffi_fn_func_plan", true, false),
    ("_ffi_dormouse_ffi_rustbuffer_free", true, false),
    ("_memset_of_ours", false, false),
    ("_memset_of_ours", true, true),
    ("_malloc", false, false),
];

/// A bundle of the test's own.
struct Work(PathBuf);

impl Work {
    /// A sound bundle of all targets.
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("xtask-xcf-{name}-{}", std::process::id()));
        let work = Self(folder);
        for slice in Slice::of(&TARGETS) {
            let parts: Vec<(u32, Vec<u8>)> = slice
                .targets
                .iter()
                .map(|&target| (target.processor.1, library(target, &SYMBOLS)))
                .collect();
            let file = match &parts[..] {
                [(_, only)] => only.clone(),
                parts => universal(parts),
            };
            work.put(&format!("{}/{LIBRARY}", slice.identifier()), &file);
        }
        let header = work.0.join("header.h");
        fs::write(&header, HEADER).unwrap();
        let slices = Slice::of(&TARGETS);
        xcframework::write(&work.0, &slices, &header, &privacy().to_xml()).unwrap();
        work
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn faults(&self) -> Vec<String> {
        xcframework::faults(&self.0, &TARGETS, &privacy()).unwrap()
    }

    /// The faults with another library for the device, which is a slice of its own.
    fn device(&self, bytes: &[u8]) -> Vec<String> {
        self.put(&format!("ios-arm64/{LIBRARY}"), bytes);
        self.faults()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn privacy() -> Value {
    Value::dict([("NSPrivacyTracking", Value::Truth(false))])
}

fn library(target: Target, symbols: &[Symbol<'_>]) -> Vec<u8> {
    let platform = target.platform();
    let platform = Some((platform.number, platform.oldest >> 8));
    let (one, two) = symbols.split_at(symbols.len() / 2);
    archive(&[
        object(target.processor.1, platform, one),
        object(target.processor.1, platform, two),
    ])
}

#[test]
fn targets_of_a_platform_share_a_slice() {
    let slices = Slice::of(&TARGETS);
    let names: Vec<String> = slices.iter().map(Slice::identifier).collect();
    let expected = [
        "ios-arm64",
        "ios-arm64_x86_64-simulator",
        "macos-arm64_x86_64",
    ];
    assert_eq!(names, expected);
    let one = Slice::of(&TARGETS[1..2]);
    assert_eq!(one[0].identifier(), "ios-arm64-simulator");
}

#[test]
fn a_sound_bundle_has_no_fault() {
    let work = Work::new("sound");
    assert_eq!(work.faults(), Vec::<String>::new());
    let headers = work.0.join("ios-arm64/Headers").join(MODULE);
    assert!(headers.join("module.modulemap").is_file());
}

#[test]
fn a_library_for_something_else_is_found() {
    let work = Work::new("library");
    let device = TARGETS[0];
    let [arm, other] = [ARM64, X86_64].map(|it| archive(&[object(it, Some((2, 16)), &SYMBOLS)]));
    assert_eq!(work.device(&arm), Vec::<String>::new());
    let missing = "ios-arm64 has no library for arm64 alone";
    assert_eq!(work.device(&other), [missing]);
    let both = [ARM64, X86_64].map(|it| object(it, Some((2, 16)), &SYMBOLS));
    assert_eq!(work.device(&archive(&both)), [missing]);
    let mislabelled = universal(&[(X86_64, arm)]);
    assert_eq!(work.device(&mislabelled), [missing]);

    let with = |platform| work.device(&archive(&[object(ARM64, platform, &SYMBOLS)]));
    let name = device.name;
    for (platform, found) in [((7, 16), (7, 4096)), ((2, 17), (2, 4352))] {
        let found = format!("Platform {{ number: {}, oldest: {} }}", found.0, found.1);
        let wanted = "Platform { number: 2, oldest: 4096 }";
        assert_eq!(
            with(Some(platform)),
            [format!("{name}: a member is for {found}, not {wanted}")]
        );
    }
    assert_eq!(with(Some((2, 12))), Vec::<String>::new());
    let fault = format!("{name}: 1 members do not name their platform");
    assert_eq!(with(None), [fault]);
}

#[test]
fn a_library_without_what_the_header_declares_is_found() {
    let work = Work::new("symbols");
    let device = TARGETS[0];
    let name = device.name;
    let mut symbols = SYMBOLS;
    symbols[0].2 = true;
    let fault = "the header declares uniffi_dormouse_ffi_fn_func_plan, which is not there";
    assert_eq!(
        work.device(&library(device, &symbols)),
        [format!("{name}: {fault}")]
    );
    let mut symbols = SYMBOLS.to_vec();
    symbols.push(("_JNI_OnLoad", true, false));
    let fault = format!("{name}: it has code for Java VMs");
    assert_eq!(work.device(&library(device, &symbols)), [fault]);
    symbols[5] = ("_fstat", false, false);
    let faults = work.device(&library(device, &symbols));
    assert!(
        faults.len() == 1 && faults[0].contains("gives no reason"),
        "{faults:?}"
    );
    assert_eq!(
        work.device(&library(device, &SYMBOLS)),
        Vec::<String>::new()
    );
}

#[test]
fn a_bundle_that_is_not_as_listed_is_found() {
    let work = Work::new("plist");
    fs::create_dir(work.0.join("tvos-arm64")).unwrap();
    assert_eq!(work.faults(), ["tvos-arm64 is not in Info.plist"]);
    fs::remove_dir(work.0.join("tvos-arm64")).unwrap();

    let plist = fs::read_to_string(work.0.join("Info.plist")).unwrap();
    work.put("Info.plist", plist.replace("XFWK", "FMWK").as_bytes());
    let fault = "Info.plist does not say CFBundlePackageType XFWK";
    assert_eq!(work.faults(), [fault]);
    let without = plist.replace("<string>simulator</string>", "<string></string>");
    work.put("Info.plist", without.as_bytes());
    let fault = "Info.plist has 0 right entries of ios-arm64_x86_64-simulator";
    assert_eq!(work.faults(), [fault]);
    work.put("Info.plist", plist.as_bytes());

    let headers = format!("ios-arm64/Headers/{MODULE}");
    work.put(&format!("{headers}/module.modulemap"), b"module Other {}\n");
    assert_eq!(work.faults(), ["the module map of ios-arm64 is not ours"]);
    fs::remove_file(work.0.join(headers).join(format!("{MODULE}.h"))).unwrap();
    assert!(xcframework::faults(&work.0, &TARGETS, &privacy()).is_err());
}

#[test]
fn a_slice_of_an_earlier_run_is_removed() {
    let work = Work::new("earlier");
    let header = work.0.join("header.h");
    let slices = Slice::of(&TARGETS[..1]);
    xcframework::write(&work.0, &slices, &header, &privacy().to_xml()).unwrap();
    assert!(!Path::new(&work.0.join("macos-arm64_x86_64")).exists());
    let faults = xcframework::faults(&work.0, &TARGETS[..1], &privacy()).unwrap();
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn names_are_sorted_into_ours_hidden_and_the_systems() {
    let bytes = library(TARGETS[0], &SYMBOLS);
    let archives = macho::read(&bytes).unwrap();
    let [(None, archive)] = &archives[..] else {
        panic!("one archive");
    };
    let names = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(&archive.undefined), ["_malloc"]);
    assert_eq!(archive.defined.len(), 2);
}

#[test]
fn a_broken_library_is_refused_and_never_a_panic() {
    let slices = TARGETS[1..3].iter();
    let slices = slices.map(|&target| (target.processor.1, library(target, &SYMBOLS)));
    let bytes = universal(&slices.collect::<Vec<_>>());
    assert!(macho::read(&bytes).is_ok());
    for size in 0..bytes.len() - 1 {
        assert!(macho::read(&bytes[..size]).is_err(), "cut at {size}");
    }
    for at in 0..bytes.len() {
        for value in [0, 0x7f, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            // Some changes do no harm; none may panic.
            let _ = macho::read(&changed);
        }
    }
}
