//! Words on stderr. That nobody can read them (a closed pipe, a full disk) is no reason to end, and
//! `eprintln!` panics there.

use std::fmt::Arguments;
use std::io::Write;

/// Puts a line on stderr, formatted as by `format!`, if that is possible.
macro_rules! tell {
    ($($format:tt)*) => {
        $crate::tell::write(format_args!("{}\n", format_args!($($format)*)))
    };
}

pub(crate) use tell;

/// Puts these words on stderr, if that is possible.
pub(crate) fn write(words: Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(words);
}
