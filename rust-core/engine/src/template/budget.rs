//! What a rendering may take of steps, memory and output: it grows with the conversation.
//!
//! What a template honestly does grows with the conversation's values and texts, and where it walks
//! all messages for each message, to find the call that a result answers or the last question, with
//! the square of their number. A hostile one must not profit from a short conversation.

use std::io;

use serde_json::{Map, Value};

/// Steps of a rendering that an empty conversation may take; one also pays for 64 bytes made.
pub(super) const FUEL: u64 = 50_000;
/// Further steps for each value in the variables, and one for each byte of text.
const FUEL_PER_VALUE: u64 = 200;
/// Further steps for each pair of messages or calls of tools. The templates that are known to walk
/// the messages for each message take up to 7, for all pairs.
const FUEL_PER_PAIR: u64 = 24;
/// Of the steps for pairs: as a step also pays for memory, these may not grow for ever.
const MAX_FUEL_FOR_PAIRS: u64 = 12_000_000;
/// Bytes that a rendering may make beyond those of the conversation.
const MAX_OUTPUT: usize = 4 << 20;

/// What the rendering of one conversation may take.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    /// Fuel that the conversation brings.
    pub(super) added: u64,
    /// Bytes of output.
    pub(super) output: usize,
}

impl Budget {
    /// The budget for these variables.
    pub(super) fn of(variables: &Map<String, Value>) -> Self {
        let linear: u64 = variables.values().map(fuel_for).sum();
        let count = variables.get("messages").map_or(0, messages_and_calls);
        let pairs = count
            .saturating_mul(count)
            .saturating_mul(FUEL_PER_PAIR)
            .min(MAX_FUEL_FOR_PAIRS);
        Self {
            added: linear.saturating_add(pairs),
            // There is one step at least for each byte of the conversation's texts.
            output: usize::try_from(linear).map_or(usize::MAX, |f| f.saturating_add(MAX_OUTPUT)),
        }
    }

    /// All of the fuel.
    pub(super) fn fuel(self) -> u64 {
        self.added.saturating_add(FUEL)
    }
}

fn messages_and_calls(messages: &Value) -> u64 {
    let length = |value: &Value| value.as_array().map_or(0, |items| items.len() as u64);
    let each = messages.as_array().into_iter().flatten();
    length(messages)
        + each
            .map(|message| length(&message["tool_calls"]))
            .sum::<u64>()
}

/// What a value and its texts add.
fn fuel_for(value: &Value) -> u64 {
    FUEL_PER_VALUE
        + match value {
            Value::String(text) => text.len() as u64,
            Value::Array(items) => items.iter().map(fuel_for).sum(),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| key.len() as u64 + fuel_for(value))
                .sum(),
            _ => 0,
        }
}

/// Takes a rendering's output up to a limit in bytes.
pub(super) struct Sink {
    bytes: Vec<u8>,
    limit: usize,
}

impl Sink {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn added(messages: usize, calls: usize) -> u64 {
        let message = json!({"tool_calls": vec![0; calls]});
        let mut variables = Map::new();
        variables.insert("messages".into(), vec![message; messages].into());
        let alone = fuel_for(&variables["messages"]);
        Budget::of(&variables).added - alone
    }

    #[test]
    fn steps_grow_with_the_pairs_of_messages_and_calls_up_to_a_limit() {
        assert_eq!(added(0, 0), 0);
        assert_eq!(added(1, 0), FUEL_PER_PAIR);
        assert_eq!(added(10, 0), 100 * FUEL_PER_PAIR);
        assert_eq!(added(10, 3), 1600 * FUEL_PER_PAIR);
        assert_eq!(added(5000, 0), MAX_FUEL_FOR_PAIRS);
    }
}
