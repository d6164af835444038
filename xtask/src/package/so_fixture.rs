//! A small shared library made in memory, for tests: sound as it is, and each part can be spoilt.

use super::elf::{AARCH64, DT_NEEDED, DT_SONAME, DT_STRTAB, PF_X, PT_DYNAMIC, PT_LOAD, SHT_DYNSYM};

/// A dynamic symbol: name, defined, binding (0 local, 1 global, 2 weak).
pub(crate) type Symbol = (&'static str, bool, u8);

/// What a library is made of.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    pub(crate) machine: u16,
    pub(crate) align: u64,
    pub(crate) flags: u32,
    pub(crate) address: u64,
    pub(crate) needed: Vec<&'static str>,
    pub(crate) soname: Option<&'static str>,
    pub(crate) symbols: Vec<Symbol>,
    /// More segments, by type.
    pub(crate) segments: Vec<u32>,
    /// More entries of the dynamic table.
    pub(crate) dynamic: Vec<(u64, u64)>,
    /// More sections: name and type.
    pub(crate) sections: Vec<(&'static str, u32)>,
}

impl Default for Library {
    fn default() -> Self {
        Self {
            machine: AARCH64,
            align: 0x4000,
            flags: 4 | PF_X,
            address: 0,
            needed: vec!["libc.so"],
            soname: Some("libdormouse_ffi.so"),
            symbols: vec![
                ("malloc", false, 1),
                ("getrandom", false, 2),
                ("JNI_OnLoad", true, 1),
                ("ffi_dormouse_ffi_rustbuffer_alloc", true, 1),
                ("uniffi_dormouse_ffi_fn_func_plan", true, 1),
                ("hidden", true, 0),
            ],
            segments: Vec::new(),
            dynamic: Vec::new(),
            sections: Vec::new(),
        }
    }
}

/// Texts one after the other, each with its end, found again by where they start.
#[derive(Default)]
struct Names(Vec<u8>);

impl Names {
    fn add(&mut self, name: &str) -> u64 {
        let at = self.0.len() as u64;
        self.0.extend(name.as_bytes());
        self.0.push(0);
        at
    }
}

fn words(bytes: &mut Vec<u8>, values: &[u64]) {
    for value in values {
        bytes.extend(value.to_le_bytes());
    }
}

impl Library {
    /// The file: headers, program headers, then the tables, all in one LOAD segment.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut names = Names::default();
        names.add("");
        let mut entries = Vec::new();
        for library in &self.needed {
            entries.push((DT_NEEDED, names.add(library)));
        }
        if let Some(soname) = self.soname {
            entries.push((DT_SONAME, names.add(soname)));
        }
        let mut symbols = vec![0; 24];
        for &(name, defined, binding) in &self.symbols {
            symbols.extend((names.add(name) as u32).to_le_bytes());
            symbols.extend([binding << 4, 0, u8::from(defined), 0]);
            words(&mut symbols, &[0, 0]);
        }
        let mut sections = vec![("", 0), (".dynsym", SHT_DYNSYM), (".dynstr", 3)];
        sections.extend(&self.sections);
        let section_names: Vec<u64> = sections.iter().map(|(name, _)| names.add(name)).collect();

        let segments = 2 + self.segments.len() as u64;
        let dynamic_at = 64 + segments * 56;
        entries.extend(&self.dynamic);
        let dynamic_size = (entries.len() as u64 + 2) * 16;
        let symbols_at = dynamic_at + dynamic_size;
        let names_at = symbols_at + symbols.len() as u64;
        let headers_at = names_at + names.0.len() as u64;
        let size = headers_at + sections.len() as u64 * 64;
        entries.push((DT_STRTAB, self.address + names_at));
        entries.push((0, 0));

        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        for half in [3, self.machine] {
            file.extend(half.to_le_bytes());
        }
        file.extend(1_u32.to_le_bytes());
        words(&mut file, &[0, 64, headers_at]);
        file.extend(0_u32.to_le_bytes());
        for half in [64, 56, segments as u16, 64, sections.len() as u16, 2] {
            file.extend(half.to_le_bytes());
        }
        let mut segment = |kind: u32, flags: u32, at: u64, size: u64, align: u64| {
            file.extend(kind.to_le_bytes());
            file.extend(flags.to_le_bytes());
            let address = self.address + at;
            words(&mut file, &[at, address, address, size, size, align]);
        };
        segment(PT_LOAD, self.flags, 0, size, self.align);
        segment(PT_DYNAMIC, 6, dynamic_at, dynamic_size, 8);
        for &kind in &self.segments {
            segment(kind, 4, 0, 0, 8);
        }
        for (tag, value) in entries {
            words(&mut file, &[tag, value]);
        }
        file.extend(symbols);
        file.extend(names.0);
        for ((_, kind), name) in sections.iter().zip(section_names) {
            let (at, size) = match *kind {
                SHT_DYNSYM => (symbols_at, names_at - symbols_at),
                3 => (names_at, headers_at - names_at),
                _ => (0, 0),
            };
            file.extend((name as u32).to_le_bytes());
            file.extend(kind.to_le_bytes());
            words(&mut file, &[0, 0, at, size]);
            file.extend(2_u32.to_le_bytes());
            file.extend(0_u32.to_le_bytes());
            words(&mut file, &[8, 24]);
        }
        file
    }
}
