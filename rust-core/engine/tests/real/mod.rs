//! What the tests on real models share.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use dormouse::gguf::Source;
use dormouse::model::{LoadOptions, Model};

/// A real model and the stem of its fixtures.
#[derive(Clone, Copy)]
pub struct Real {
    pub file: &'static str,
    pub fixtures: &'static str,
}

pub const SMOLLM2: Real = Real {
    file: "SmolLM2-135M-Instruct-Q4_1.gguf",
    fixtures: "smollm2-135m-instruct-q4_1",
};

pub const GEMMA3: Real = Real {
    file: "gemma-3-270m-Q4_K_M.gguf",
    fixtures: "gemma-3-270m-q4_k_m",
};

impl Real {
    pub fn path(self) -> PathBuf {
        let folder = std::env::var_os("DORMOUSE_MODELS").expect(
            "DORMOUSE_MODELS names the folder of models; run cargo xtask test --only models",
        );
        PathBuf::from(folder).join(self.file)
    }

    pub fn load(self, change: impl FnOnce(&mut LoadOptions)) -> Model {
        let mut options = LoadOptions::default();
        change(&mut options);
        Model::load(&Source::path(self.path()), options).expect("the model loads")
    }

    pub fn fixture(self, suffix: &str) -> PathBuf {
        fixtures().join(format!("{}{suffix}", self.fixtures))
    }

    pub fn json(self, suffix: &str) -> serde_json::Value {
        let path = self.fixture(suffix);
        let text = std::fs::read_to_string(&path).expect("the fixture is there");
        serde_json::from_str(&text).expect("the fixture is JSON")
    }
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// The ids in a JSON array.
pub fn ids(value: &serde_json::Value) -> Vec<u32> {
    let list = value.as_array().expect("an array");
    list.iter()
        .map(|id| id.as_u64().expect("an id") as u32)
        .collect()
}
