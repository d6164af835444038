//! The pages that the documentation must have: one for each public type and function outside a
//! type, as the committed dump of the API (`android/api`) lists them.

use std::collections::BTreeSet;

/// The folder of Dokka's pages in the jar: the name of its module.
const MODULE: &str = "-dormouse";

/// What a dump asks for, as paths within the jar: `-dormouse/dev.dormouse/-chat/index.html`.
///
/// Dokka writes each capital as a dash and a small letter. The compiler keeps a file's own
/// functions in a class named after the file, `LifecycleKt`, which has no page but theirs.
pub(crate) fn pages(dump: &str) -> BTreeSet<String> {
    let mut pages = BTreeSet::new();
    let mut file_of = None;
    for line in dump.lines() {
        if let Some(class) = class(line) {
            let (package, name) = class.rsplit_once('/').unwrap_or(("", class));
            let package = package.replace('/', ".");
            if name.ends_with("Kt") {
                file_of = Some(package);
                continue;
            }
            file_of = None;
            let name = dashed(name).replace('$', "/");
            pages.insert(format!("{MODULE}/{package}/{name}/index.html"));
        } else if let (Some(package), Some(rest)) =
            (&file_of, line.strip_prefix("\tpublic static final fun "))
        {
            let name = rest.split(' ').next().unwrap_or(rest);
            pages.insert(format!("{MODULE}/{package}/{}.html", dashed(name)));
        }
    }
    pages
}

/// The class that a line begins: `public final class dev/dormouse/Chat : java/lang/AutoCloseable {`.
fn class(line: &str) -> Option<&str> {
    let line = line.strip_prefix("public ")?;
    let (_, rest) = line
        .split_once("class ")
        .or_else(|| line.split_once("interface "))?;
    rest.split(' ').next()
}

fn dashed(name: &str) -> String {
    let mut dashed = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            dashed.push('-');
        }
        dashed.push(letter.to_ascii_lowercase());
    }
    dashed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;
    use std::fs;

    #[test]
    fn each_type_and_function_has_its_page() {
        let dump = "public final class dev/dormouse/a/LifeKt {\n\
                    \tpublic static final fun closeWith (Landroid/app/Activity;)V\n\
                    \tpublic static synthetic fun closeWith$default (I)V\n}\n\n\
                    public abstract interface class dev/dormouse/WhenFull {\n\
                    \tpublic static final fun none ()V\n}\n\n\
                    public final class dev/dormouse/WhenFull$ShiftBy : dev/dormouse/WhenFull {\n}\n";
        let pages: Vec<String> = pages(dump).into_iter().collect();
        assert_eq!(
            pages,
            [
                "-dormouse/dev.dormouse.a/close-with.html",
                "-dormouse/dev.dormouse/-when-full/-shift-by/index.html",
                "-dormouse/dev.dormouse/-when-full/index.html",
            ]
        );
    }

    #[test]
    fn the_committed_api_asks_for_pages_of_both_modules() {
        let pages = |name: &str| {
            let path = process::root().join("android/api").join(name);
            pages(&fs::read_to_string(path).unwrap())
        };
        assert!(pages("dormouse.api").contains("-dormouse/dev.dormouse/-chat/index.html"));
        let android = pages("dormouse-android.api");
        assert!(android.contains("-dormouse/dev.dormouse.android/-open-model/index.html"));
        assert!(android.contains("-dormouse/dev.dormouse.android/content-uri.html"));
    }
}
