//! Figures in words and in JSON.

use std::time::Duration;

use dormouse::Done;
use dormouse::model::{BackendKind, Model};
use serde_json::{Value, json};

/// A number of bytes for people: `94.2 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" {
        format!("{count} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// A duration for people: `85 ms`, `1.24 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

/// A rate for people; a dash when there is none.
pub(crate) fn rate(tokens_per_second: Option<f64>) -> String {
    tokens_per_second.map_or("-".to_owned(), |rate| format!("{rate:.1} tok/s"))
}

/// What a reply cost, in one line.
pub(crate) fn reply(done: &Done) -> String {
    let m = &done.metrics;
    let mut parts = vec![
        format!(
            "prompt {} tokens ({} new, {} reused)",
            m.prompt_tokens, m.prefill_tokens, m.reused_tokens
        ),
        format!("answer {} tokens", m.generated_tokens),
    ];
    if let Some(first) = m.time_to_first_token {
        parts.push(format!("first token after {}", duration(first)));
    }
    parts.push(format!("prefill {}", rate(m.prefill_rate())));
    parts.push(format!("decode {}", rate(m.decode_rate())));
    if m.dropped_tokens > 0 {
        parts.push(format!("{} tokens dropped", m.dropped_tokens));
    }
    if let Some(peak) = m.peak_memory {
        parts.push(format!("peak memory {}", bytes(peak)));
    }
    parts.push(format!("seed {}", done.seed));
    parts.push(done.finish.to_string());
    parts.join(" · ")
}

/// What a reply cost: the engine's metrics, how it ended, its seed, and the model's set-up.
pub(crate) fn reply_json(done: &Done, model: &Model, load: Duration) -> Value {
    let mut all = serde_json::to_value(&done.metrics).unwrap_or(Value::Null);
    if let (Value::Object(fields), Value::Object(setup)) = (&mut all, self::setup(model)) {
        fields.insert("finish".into(), json!(done.finish.to_string()));
        fields.insert("seed".into(), json!(done.seed));
        fields.insert("load_s".into(), json!(load.as_secs_f64()));
        fields.extend(setup);
    }
    all
}

/// How a model was loaded.
pub(crate) fn setup(model: &Model) -> Value {
    json!({
        "architecture": model.config().arch,
        "backend": backend(model),
        "isa": isa(model),
        "threads": model.options().threads(),
    })
}

/// The instruction set of the kernels, if it is they that compute.
pub(crate) fn isa(model: &Model) -> Option<&'static str> {
    let options = model.options();
    (options.backend == BackendKind::Kernels).then(|| options.isa.name())
}

/// The name of the backend that a model runs on.
pub(crate) fn backend(model: &Model) -> &'static str {
    match model.options().backend {
        BackendKind::Kernels => "kernels",
        #[cfg(feature = "reference")]
        BackendKind::Reference => "reference",
        _ => "other",
    }
}

/// The model's name from its metadata, or its file's.
pub(crate) fn model_name(model: &Model, path: &std::path::Path) -> String {
    let named = model.gguf().metadata().str("general.name").ok().flatten();
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy();
    named.map_or_else(|| stem().into_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_their_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(94 << 20), "94.0 MiB");
        assert_eq!(duration(Duration::from_millis(85)), "85 ms");
        assert_eq!(duration(Duration::from_millis(1240)), "1.24 s");
        assert_eq!(rate(None), "-");
        assert_eq!(rate(Some(12.34)), "12.3 tok/s");
    }
}
