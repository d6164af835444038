//! The examples of the front page are those that the tests of each language compile and run.

use std::fs;

use crate::process;

/// The first block of README.md in `language`.
fn block(language: &str) -> String {
    let readme = fs::read_to_string(process::root().join("README.md")).unwrap();
    let (_, rest) = readme
        .split_once(&format!("```{language}\n"))
        .unwrap_or_else(|| panic!("README.md has no {language}"));
    rest.split_once("```").unwrap().0.trim().to_owned()
}

#[test]
fn examples_are_those_that_tests_run() {
    for (language, file) in [
        (
            "kotlin",
            "android/dormouse/src/test/kotlin/dev/dormouse/readme/Ask.kt",
        ),
        ("swift", "ios/Tests/DormouseTests/ReadmeExample.swift"),
    ] {
        let code = fs::read_to_string(process::root().join(file)).unwrap();
        assert!(
            code.contains(&block(language)),
            "{file} and README.md differ"
        );
    }
}
