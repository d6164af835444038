//! The tensor table: a summary by type, and all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dormouse::gguf::{Gguf, TensorInfo, TensorType};
use serde_json::{Value, json};

use crate::report::bytes;

/// What the tensors of one type come to.
#[derive(Default)]
struct Sum {
    tensors: usize,
    elements: u64,
    bytes: u64,
    known: bool,
}

fn sums(gguf: &Gguf) -> BTreeMap<String, Sum> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for tensor in gguf.tensors() {
        let sum = sums.entry(tensor.ty.name()).or_default();
        sum.tensors += 1;
        // Each product was checked by the reader, their sum was not.
        sum.elements = sum.elements.saturating_add(tensor.elements());
        sum.bytes = sum.bytes.saturating_add(tensor.bytes);
        sum.known = is_known(tensor);
    }
    sums
}

fn is_known(tensor: &TensorInfo) -> bool {
    matches!(tensor.ty, TensorType::Known(_))
}

/// The types that cannot be computed with.
pub(super) fn unsupported(gguf: &Gguf) -> Vec<String> {
    let sums = sums(gguf).into_iter();
    sums.filter(|(_, sum)| !sum.known)
        .map(|(name, _)| name)
        .collect()
}

pub(super) fn summary(gguf: &Gguf) -> String {
    let all = gguf.tensors();
    let elements = all
        .iter()
        .fold(0u64, |sum, t| sum.saturating_add(t.elements()));
    let mut out = format!(
        "tensors: {}, {:.1} million weights\n",
        all.len(),
        elements as f64 / 1e6
    );
    for (name, sum) in sums(gguf) {
        let size = if sum.known {
            bytes(sum.bytes)
        } else {
            "not supported".into()
        };
        let _ = writeln!(
            out,
            "  {name:<8}{:>6} tensors {:>10.1} million weights {size:>14}",
            sum.tensors,
            sum.elements as f64 / 1e6,
        );
    }
    out
}

pub(super) fn summary_json(gguf: &Gguf) -> Value {
    let entry = |(name, sum): (String, Sum)| {
        let figures = json!({
            "tensors": sum.tensors,
            "elements": sum.elements,
            "bytes": sum.known.then_some(sum.bytes),
            "supported": sum.known,
        });
        (name, figures)
    };
    Value::Object(sums(gguf).into_iter().map(entry).collect())
}

/// A line for each tensor; dimensions as the file has them, the contiguous one first.
pub(super) fn list(gguf: &Gguf) -> String {
    let mut out = String::new();
    for tensor in gguf.tensors() {
        let dims: Vec<String> = tensor.dims.iter().map(u64::to_string).collect();
        let _ = writeln!(
            out,
            "  {:<32}{:<8}{:>20}{:>14}",
            tensor.name.escape_debug().to_string(),
            tensor.ty.name(),
            dims.join(" x "),
            if is_known(tensor) {
                bytes(tensor.bytes)
            } else {
                "-".into()
            },
        );
    }
    out
}

pub(super) fn list_json(gguf: &Gguf) -> Value {
    gguf.tensors()
        .iter()
        .map(|tensor| {
            json!({
                "name": tensor.name,
                "type": tensor.ty.name(),
                "dims": tensor.dims,
                "part": tensor.part,
                "offset": tensor.offset,
                "bytes": is_known(tensor).then_some(tensor.bytes),
            })
        })
        .collect()
}
