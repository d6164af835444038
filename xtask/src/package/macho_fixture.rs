//! Small static libraries made in memory, for tests: an archive of Mach-O objects, alone or as a
//! slice of a universal file.

/// A symbol: name, defined, hidden.
pub(crate) type Symbol<'a> = (&'a str, bool, bool);

/// A Mach-O object with a platform (if any) and symbols.
pub(crate) fn object(
    processor: u32,
    platform: Option<(u32, u32)>,
    symbols: &[Symbol<'_>],
) -> Vec<u8> {
    let build: Vec<u32> = platform.map_or_else(Vec::new, |(number, major)| {
        vec![0x32, 24, number, major << 16, 0, 0]
    });
    let commands = build.len() * 4 + 24;
    let table_at = 32 + commands;
    let names_at = table_at + symbols.len() * 16;
    let (mut table, mut names) = (Vec::new(), vec![0]);
    for &(name, defined, hidden) in symbols {
        table.extend((names.len() as u32).to_le_bytes());
        let class: u8 = if defined { 0x0e } else { 0 };
        table.push(class | 1 | if hidden { 0x10 } else { 0 });
        table.extend([0; 11]);
        names.extend(name.as_bytes());
        names.push(0);
    }
    let count = 1 + u32::from(platform.is_some());
    let mut words = vec![0xfeed_facf, processor, 0, 1, count, commands as u32, 0, 0];
    words.extend(build);
    words.extend([2, 24, table_at as u32, symbols.len() as u32]);
    words.extend([names_at as u32, names.len() as u32]);
    let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.extend(table);
    file.extend(names);
    file
}

/// An archive of objects, with names in BSD's way.
pub(crate) fn archive(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"!<arch>\n".to_vec();
    let mut add = |name: &str, body: &[u8]| {
        let size = name.len() + body.len();
        let long = format!("#1/{}", name.len());
        file.extend(format!("{long:16}{:12}{:6}{:6}{:8}{size:<10}`\n", 0, 0, 0, 644).bytes());
        file.extend(name.bytes());
        file.extend(body);
        if size % 2 == 1 {
            file.push(b'\n');
        }
    };
    add("__.SYMDEF SORTED", b"not an object");
    for object in objects {
        add("object.o", object);
    }
    file
}

/// A universal file of archives, each with its processor.
pub(crate) fn universal(slices: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut words = vec![0xcafe_babe, slices.len() as u32];
    let mut at = 8 + slices.len() * 20;
    for (processor, archive) in slices {
        words.extend([*processor, 0, at as u32, archive.len() as u32, 0]);
        at += archive.len();
    }
    let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    for (_, archive) in slices {
        file.extend(archive);
    }
    file
}
