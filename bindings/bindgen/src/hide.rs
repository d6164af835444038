//! Makes generated Kotlin invisible to users: every top-level declaration becomes `internal`.
//!
//! uniffi can write public declarations only. They are not API: the hand-written module alone
//! sees them, as a friend of the module that they are compiled into.

use std::path::Path;
use std::{fs, io};

/// What a top-level declaration begins with when it is not `private` or `internal` already.
const BEGINNINGS: &[&str] = &[
    "abstract",
    "annotation",
    "class",
    "const",
    "data",
    "enum",
    "fun",
    "inline",
    "interface",
    "object",
    "open",
    "operator",
    "sealed",
    "suspend",
    "typealias",
    "val",
    "value",
    "var",
];

/// Hides the declarations of each Kotlin file under `dir`, and returns how many there were. To
/// hide what is hidden changes nothing.
///
/// # Errors
/// When a folder or file cannot be read or written.
pub fn hide_folder(dir: &Path) -> io::Result<usize> {
    let mut hidden = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            hidden += hide_folder(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "kt") {
            let (text, count) = hide(&fs::read_to_string(&path)?);
            fs::write(&path, text)?;
            hidden += count;
        }
    }
    Ok(hidden)
}

/// `source` with its public top-level declarations made `internal`, and how many they were.
///
/// A declaration is a word of [`BEGINNINGS`] outside all brackets, before which its line has
/// nothing but comments, annotations and `public`.
fn hide(source: &str) -> (String, usize) {
    let mut out = String::with_capacity(source.len() + source.len() / 64);
    let mut hidden = 0;
    let mut depth = 0_usize;
    let mut fresh = true;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let piece = &rest[..piece_length(rest, first)];
        rest = &rest[piece.len()..];
        match first {
            '\n' => fresh = true,
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let passed_over = first.is_whitespace()
            || is_comment(piece)
            || first == '@'
            // The arguments of an annotation, with which no line begins otherwise.
            || first == '('
            || first == ')';
        if depth > 0 || !fresh || passed_over {
            out.push_str(piece);
            continue;
        }
        if piece == "public" {
            rest = rest.trim_start_matches(' ');
            continue;
        }
        if BEGINNINGS.contains(&piece) {
            out.push_str("internal ");
            hidden += 1;
        }
        fresh = false;
        out.push_str(piece);
    }
    (out, hidden)
}

fn is_comment(piece: &str) -> bool {
    piece.starts_with("//") || piece.starts_with("/*")
}

/// Bytes of the piece that `text` begins with: a comment, a literal, a name, an annotation's name,
/// or the single character `first`. Text in `${}` that has quotes of its own is not understood.
fn piece_length(text: &str, first: char) -> usize {
    let until = |from: usize, end: &str| {
        text[from..]
            .find(end)
            .map_or(text.len(), |at| from + at + end.len())
    };
    let word = |from: usize| {
        text[from..]
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || (from == 1 && ":.".contains(c))))
            .map_or(text.len(), |at| from + at)
    };
    match first {
        '/' if text.starts_with("//") => text.find('\n').unwrap_or(text.len()),
        '/' if text.starts_with("/*") => until(2, "*/"),
        '"' if text.starts_with("\"\"\"") => until(3, "\"\"\""),
        '"' | '\'' => quoted(text, first),
        '`' => until(1, "`"),
        '@' => word(1),
        c if c.is_alphanumeric() || c == '_' => word(0),
        c => c.len_utf8(),
    }
}

/// Bytes of a literal up to its closing `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_top_level_declaration_is_hidden() {
        for public in [
            "public interface ChatHandleInterface {",
            "open class ChatHandle: Disposable, AutoCloseable",
            "data class ChatSettings (",
            "sealed class Event {",
            "enum class Role {",
            "object NoHandle",
            "public object FfiConverterUInt: FfiConverter<UInt, Int> {",
            "public abstract class FfiConverterCallbackInterface<T: Any>",
            "class InternalException(message: String) : kotlin.Exception(message)",
            "inline fun <T : Disposable?, R> T.use(block: (T) -> R) =",
            "public fun uniffiEnsureInitialized() {",
            "/** Text. */ fun `engineVersion`(): kotlin.String {",
            "    @Throws(Failure::class) fun `beginLoad`() : LoadTask",
            "@Throws(Failure::class)\n    @Suppress(\"(\")\n     suspend fun `plan`(): Plan {",
            "typealias A = B",
        ] {
            let (text, hidden) = hide(public);
            assert_eq!(hidden, 1, "{public}");
            assert_eq!(text.matches("internal ").count(), 1, "{text}");
            assert!(!text.contains("public "), "{text}");
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let source = "// fun comment\n/**\n * class of its own\n */\n@file:Suppress(\"A\")\n\
            package a.b\nimport c.d\ninternal object X {\n    public fun x() = 1\n  val y = '}'\n\
            fun z() = \"}\\\"}${ `y` }\"\nval `a}` = \"\"\"\n}\"\"\"\n}\n\
            private inline fun <U> z(\n  val a: Int,\n): Int = 1\ninternal data class D(\nval b: Int)\n\
            internal val o =\n  X::class\nfunny()\n\n";
        assert_eq!(hide(source), (source.to_owned(), 0));
    }

    #[test]
    fn hiding_twice_is_hiding_once() {
        let (once, hidden) = hide("open class A\r\npublic val b = {\r\n\tfun c() {}\r\n}\r\n");
        assert_eq!(hidden, 2);
        assert_eq!(
            once,
            "internal open class A\r\ninternal val b = {\r\n\tfun c() {}\r\n}\r\n"
        );
        assert_eq!(hide(&once), (once.clone(), 0));
    }

    #[test]
    fn folders_are_walked_and_other_files_left_alone() {
        let dir = std::env::temp_dir().join(format!("dormouse-hide-{}", std::process::id()));
        let inner = dir.join("dev/dormouse");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("a.kt"), "class A\n").unwrap();
        fs::write(dir.join("b.txt"), "class B\n").unwrap();
        assert_eq!(hide_folder(&dir).unwrap(), 1);
        assert_eq!(
            fs::read_to_string(inner.join("a.kt")).unwrap(),
            "internal class A\n"
        );
        assert_eq!(fs::read_to_string(dir.join("b.txt")).unwrap(), "class B\n");
        fs::remove_dir_all(&dir).unwrap();
        assert!(hide_folder(&dir).is_err());
    }
}
