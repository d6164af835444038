//! What a library must be for Android to load it, on API 26 and on devices with 16 KiB pages, and
//! for an app to carry it: no larger than agreed, and with no names that are nobody's business.

use super::bionic::Bionic;
use super::elf::{
    DF_TEXTREL, DT_FLAGS, DT_RELR, DT_TEXTREL, Elf, PF_W, PF_X, PT_LOAD, PT_TLS, SHT_SYMTAB,
};
use crate::failure::Result;

/// The largest page size of Android devices, in bytes.
pub(crate) const PAGE: u64 = 0x4000;

/// What a library is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The ELF machine of its ABI.
    pub(crate) machine: u16,
    /// Its file name, which it also calls itself.
    pub(crate) soname: &'a str,
    /// The largest size, in bytes.
    pub(crate) limit: u64,
    /// What the platform has.
    pub(crate) bionic: &'a Bionic,
}

/// Everything that is wrong with a library, a sentence each; nothing if it can be shipped.
///
/// # Errors
/// If the file is no shared library that can be read.
pub(crate) fn faults(bytes: &[u8], wanted: &Wanted<'_>) -> Result<Vec<String>> {
    let elf = Elf::read(bytes)?;
    let mut faults = Vec::new();
    if elf.machine != wanted.machine {
        let (found, wanted) = (elf.machine, wanted.machine);
        faults.push(format!("it is for ELF machine {found}, not {wanted}"));
    }
    let size = bytes.len() as u64;
    if size > wanted.limit {
        let limit = wanted.limit;
        faults.push(format!("it has {size} bytes, over the limit of {limit}"));
    }
    loading(&elf, &mut faults);
    dependencies(&elf, wanted, &mut faults);
    exports(&elf, &mut faults);
    for section in &elf.sections {
        if section.kind == SHT_SYMTAB || section.name.starts_with(".debug") {
            faults.push(format!("it is not stripped: it has {}", section.name));
        }
    }
    Ok(faults)
}

/// What the loader of API 26 on 16 KiB pages takes.
fn loading(elf: &Elf, faults: &mut Vec<String>) {
    let loads = || elf.segments.iter().filter(|part| part.kind == PT_LOAD);
    if loads().next().is_none() {
        faults.push("it has no LOAD segment".into());
    }
    for part in loads() {
        let at = part.address;
        if part.align < PAGE || part.align % PAGE != 0 {
            let align = part.align;
            faults.push(format!(
                "the segment at {at:#x} is aligned to {align:#x}, not to {PAGE:#x}"
            ));
        } else if part.offset % PAGE != at % PAGE {
            faults.push(format!("the segment at {at:#x} does not fit its file page"));
        }
        if part.flags & (PF_W | PF_X) == PF_W | PF_X {
            faults.push(format!("the segment at {at:#x} is writable and executable"));
        }
    }
    // bionic has ELF thread-locals from API 29 on, and this packing of relocations from 30.
    if elf.segments.iter().any(|part| part.kind == PT_TLS) {
        faults.push("it has a TLS segment, which needs API 29".into());
    }
    if elf.has_dynamic(DT_RELR) {
        faults.push("its relocations are RELR, which needs API 30".into());
    }
    let flags = |&(tag, value): &(u64, u64)| tag == DT_FLAGS && value & DF_TEXTREL != 0;
    if elf.has_dynamic(DT_TEXTREL) || elf.dynamic.iter().any(flags) {
        faults.push("it has relocations in its code".into());
    }
}

fn dependencies(elf: &Elf, wanted: &Wanted<'_>, faults: &mut Vec<String>) {
    if elf.soname.as_deref() != Some(wanted.soname) {
        let found = elf.soname.as_deref().unwrap_or("nothing");
        faults.push(format!("it calls itself {found}, not {}", wanted.soname));
    }
    for library in &elf.needed {
        if !wanted.bionic.has_library(library) {
            faults.push(format!("it needs {library}"));
        }
    }
    for symbol in elf.symbols.iter().filter(|symbol| !symbol.defined) {
        // A weak name may be missing: the library asks before it calls.
        if !symbol.weak && !wanted.bionic.has_symbol(&symbol.name) {
            let name = &symbol.name;
            faults.push(format!(
                "it needs {name}, which is not among the reviewed names of bionic"
            ));
        }
    }
}

fn exports(elf: &Elf, faults: &mut Vec<String>) {
    let exported = || {
        let symbols = elf.symbols.iter();
        symbols.filter(|symbol| symbol.defined && !symbol.local)
    };
    for symbol in exported() {
        let ours = ["uniffi_", "ffi_"]
            .iter()
            .any(|start| symbol.name.starts_with(start));
        if !ours && symbol.name != "JNI_OnLoad" {
            faults.push(format!("it exports {}", symbol.name));
        }
    }
    for (what, found) in [
        ("JNI_OnLoad", exported().any(|it| it.name == "JNI_OnLoad")),
        (
            "uniffi's functions",
            exported().any(|it| it.name.starts_with("uniffi_dormouse_ffi_fn_")),
        ),
    ] {
        if !found {
            faults.push(format!("it does not export {what}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::elf::{AARCH64, X86_64};
    use crate::package::so_fixture::Library;
    use crate::process;

    fn check(bytes: &[u8], limit: u64) -> Result<Vec<String>> {
        let bionic = Bionic::committed(&process::root()).unwrap();
        let wanted = Wanted {
            machine: AARCH64,
            soname: "libdormouse_ffi.so",
            limit,
            bionic: &bionic,
        };
        faults(bytes, &wanted)
    }

    /// The one fault of a library that is sound but for a change.
    fn fault(spoil: impl FnOnce(&mut Library)) -> String {
        let mut library = Library::default();
        spoil(&mut library);
        let faults = check(&library.bytes(), 100_000).unwrap();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].clone()
    }

    #[test]
    fn a_sound_library_has_no_fault() {
        let bytes = Library::default().bytes();
        assert_eq!(check(&bytes, 100_000).unwrap(), Vec::<String>::new());
        let size = bytes.len();
        let faults = check(&bytes, size as u64 - 1).unwrap();
        let limit = size - 1;
        assert_eq!(
            faults,
            [format!("it has {size} bytes, over the limit of {limit}")]
        );
    }

    #[test]
    fn a_segment_for_smaller_pages_is_a_fault() {
        assert_eq!(
            fault(|it| it.align = 0x1000),
            "the segment at 0x0 is aligned to 0x1000, not to 0x4000"
        );
        assert_eq!(
            fault(|it| it.address = 0x1000),
            "the segment at 0x1000 does not fit its file page"
        );
    }

    #[test]
    fn what_the_loader_refuses_is_a_fault() {
        assert_eq!(
            fault(|it| it.flags |= PF_W),
            "the segment at 0x0 is writable and executable"
        );
        assert_eq!(
            fault(|it| it.segments.push(PT_TLS)),
            "it has a TLS segment, which needs API 29"
        );
        assert_eq!(
            fault(|it| it.dynamic.push((DT_RELR, 0))),
            "its relocations are RELR, which needs API 30"
        );
        for entry in [(DT_TEXTREL, 0), (DT_FLAGS, DF_TEXTREL)] {
            assert_eq!(
                fault(|it| it.dynamic.push(entry)),
                "it has relocations in its code"
            );
        }
        assert_eq!(
            fault(|it| it.machine = X86_64),
            "it is for ELF machine 62, not 183"
        );
    }

    #[test]
    fn a_dependency_that_android_lacks_is_a_fault() {
        assert_eq!(
            fault(|it| it.needed.push("libgcc_s.so.1")),
            "it needs libgcc_s.so.1"
        );
        assert_eq!(
            fault(|it| it.symbols.push(("__libc_start_main", false, 1))),
            "it needs __libc_start_main, which is not among the reviewed names of bionic"
        );
        assert_eq!(
            fault(|it| it.soname = None),
            "it calls itself nothing, not libdormouse_ffi.so"
        );
    }

    #[test]
    fn names_for_others_are_jnis_and_uniffis_alone() {
        assert_eq!(
            fault(|it| it.symbols.push(("rust_eh_personality", true, 1))),
            "it exports rust_eh_personality"
        );
        assert_eq!(
            fault(|it| it.symbols.push(("UNIFFI_META_DORMOUSE", true, 2))),
            "it exports UNIFFI_META_DORMOUSE"
        );
        assert_eq!(
            fault(|it| it.symbols.retain(|symbol| symbol.0 != "JNI_OnLoad")),
            "it does not export JNI_OnLoad"
        );
        assert_eq!(
            fault(|it| it.symbols.retain(|symbol| !symbol.0.starts_with("uniffi_"))),
            "it does not export uniffi's functions"
        );
    }

    #[test]
    fn a_library_with_its_symbols_is_not_stripped() {
        assert_eq!(
            fault(|it| it.sections.push((".symtab", SHT_SYMTAB))),
            "it is not stripped: it has .symtab"
        );
        assert_eq!(
            fault(|it| it.sections.push((".debug_info", 1))),
            "it is not stripped: it has .debug_info"
        );
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_and_never_a_panic() {
        let bytes = Library::default().bytes();
        // The last bytes are the last section's alignment and entry size, which nobody reads.
        for size in 0..bytes.len() - 24 {
            assert!(check(&bytes[..size], 100_000).is_err(), "cut at {size}");
        }
        assert!(check(b"\x7fELF and then something else altogether", 100).is_err());
    }

    #[test]
    fn a_file_with_any_byte_changed_is_never_a_panic() {
        let bytes = Library::default().bytes();
        let mut refused = 0;
        for at in 0..bytes.len() {
            for value in [0, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                refused += usize::from(check(&changed, 100_000).is_err());
            }
        }
        assert!(refused > 0);
    }
}
