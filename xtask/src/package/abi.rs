//! The Android ABIs that are shipped.

use clap::ValueEnum;

use super::elf;

/// The oldest Android that is supported: 8.0.
pub(crate) const API: u32 = 26;

/// An ABI, by Android's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Abi {
    /// 64-bit ARM: phones.
    #[value(name = "arm64-v8a")]
    Arm64,
    /// 64-bit x86: emulators and Chromebooks.
    #[value(name = "x86_64")]
    X86_64,
}

impl Abi {
    /// All that are shipped.
    pub(crate) const ALL: [Self; 2] = [Self::Arm64, Self::X86_64];

    /// The folder's name in an AAR.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64-v8a",
            Self::X86_64 => "x86_64",
        }
    }

    /// Rust's and clang's name.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-linux-android",
            Self::X86_64 => "x86_64-linux-android",
        }
    }

    /// The architecture in a GNU triple.
    pub(crate) fn architecture(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }

    /// Debian's name of the architecture.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "amd64",
        }
    }

    /// The machine in an ELF header.
    pub(crate) fn machine(self) -> u16 {
        match self {
            Self::Arm64 => elf::AARCH64,
            Self::X86_64 => elf::X86_64,
        }
    }
}
