//! What options take as values.

use std::path::PathBuf;

use clap::ValueEnum;
use dormouse::gguf::FileAccess;
use dormouse::model::{BackendKind, Isa, KvType, Pooling, Precision};
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kv {
    F16,
    F32,
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<Kv> for KvType {
    fn from(kv: Kv) -> Self {
        match kv {
            Kv::F16 => Self::F16,
            Kv::F32 => Self::F32,
            Kv::Q8_0 => Self::Q8_0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Access {
    Auto,
    Map,
    Read,
}

impl From<Access> for FileAccess {
    fn from(access: Access) -> Self {
        match access {
            Access::Auto => Self::Auto,
            Access::Map => Self::Map,
            Access::Read => Self::ReadIn,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    Kernels,
    #[cfg(feature = "reference")]
    Reference,
}

impl From<BackendName> for BackendKind {
    fn from(name: BackendName) -> Self {
        match name {
            BackendName::Kernels => Self::Kernels,
            #[cfg(feature = "reference")]
            BackendName::Reference => Self::Reference,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContextFull {
    Stop,
    Shift,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsFormat {
    /// One line for people
    Text,
    /// One line of JSON, the last on stderr; durations in seconds
    Json,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Activations {
    Int8,
    F32,
}

impl From<Activations> for Precision {
    fn from(activations: Activations) -> Self {
        match activations {
            Activations::Int8 => Self::Int8,
            Activations::F32 => Self::F32,
        }
    }
}

/// An instruction set of this processor by its name.
pub(super) fn isa(name: &str) -> Result<Isa, String> {
    let available = Isa::available();
    let found = available.iter().find(|isa| isa.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
        format!("this processor has {}", names.join(", "))
    })
}

/// A variable of the chat template, `KEY=JSON`.
pub(super) fn variable(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("want KEY=JSON")?;
    let value = serde_json::from_str(value)
        .map_err(|_| format!("the value is no JSON (a text is written {key}='\"text\"')"))?;
    Ok((key.to_owned(), value))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoolingName {
    /// The mean over all tokens
    Mean,
    /// The state of the first token
    First,
    /// The state of the last token
    Last,
}

impl From<PoolingName> for Pooling {
    fn from(name: PoolingName) -> Self {
        match name {
            PoolingName::Mean => Self::Mean,
            PoolingName::First => Self::First,
            PoolingName::Last => Self::Last,
        }
    }
}

/// An adapter and its scale, `FILE` or `FILE=X`.
pub(super) fn adapter(text: &str) -> Result<(PathBuf, f32), String> {
    // A file's name may have a sign of equality in it.
    let scaled = text.rsplit_once('=').and_then(|(file, scale)| {
        let scale = scale
            .parse::<f32>()
            .ok()
            .filter(|scale| scale.is_finite())?;
        Some((file, scale))
    });
    let (file, scale) = scaled.unwrap_or((text, 1.0));
    if file.is_empty() {
        return Err("want FILE or FILE=SCALE".into());
    }
    Ok((file.into(), scale))
}

/// `ID=X`: what is added to a token's logit.
pub(super) fn bias(text: &str) -> Result<(u32, f32), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(id, value)| Some((id.parse().ok()?, value.parse().ok()?)));
    parsed.ok_or_else(|| "a token id, an equals sign and a number are wanted, as in 42=-1.5".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_is_an_id_and_a_number() {
        assert_eq!(bias("42=-1.5"), Ok((42, -1.5)));
        assert_eq!(bias("7=-inf"), Ok((7, f32::NEG_INFINITY)));
        for wrong in ["", "42", "=1", "x=1", "1=x", "-1=1"] {
            assert!(bias(wrong).unwrap_err().contains("42=-1.5"), "{wrong}");
        }
    }

    #[test]
    fn template_variables_are_json() {
        let (key, value) = variable("enable_thinking=false").unwrap();
        assert_eq!(
            (key.as_str(), value),
            ("enable_thinking", Value::Bool(false))
        );
        assert_eq!(variable("a=\"b=c\"").unwrap().1, "b=c");
        for wrong in ["a", "=1", "a=b", "a="] {
            variable(wrong).unwrap_err();
        }
    }
}
