//! The forms in which models write calls of tools.

use serde_json::{Map, Value};

use crate::template::ToolCall;

/// Bytes of a tool's name, where nothing but its end says that it is one.
const MAX_NAME: usize = 256;

/// How a model writes calls, known by its chat template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CallFormat {
    /// Hermes, Qwen: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, several in a row.
    Tagged,
    /// Mistral: `[TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]`, and the later
    /// `[TOOL_CALLS]name[ARGS]{...}`, several in a row, with `[CALL_ID]id` after the name or not.
    Bracketed,
    /// Llama 3.1: the whole reply is `{"name": ..., "parameters": {...}}`, after `<|python_tag|>`
    /// or not.
    Whole {
        /// The names of the tools, as any answer may be an object of JSON.
        names: Vec<String>,
    },
}

/// What was found.
#[derive(Debug)]
pub(super) enum Scan {
    /// It is not decided yet.
    More,
    /// Calls, and the bytes that they took.
    Calls(Vec<ToolCall>, usize),
    /// No call.
    Malformed,
}

const TAGS: [&str; 2] = ["<tool_call>", "</tool_call>"];
const BRACKETS: [&str; 3] = ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"];
const PYTHON: [&str; 1] = ["<|python_tag|>"];

impl CallFormat {
    /// The format of a template; none without tools, or without a sign of any format.
    pub(super) fn new(template: &str, tools: &[Value]) -> Option<Self> {
        if tools.is_empty() {
            None
        } else if template.contains(TAGS[0]) {
            Some(Self::Tagged)
        } else if template.contains(BRACKETS[0]) {
            Some(Self::Bracketed)
        } else if template.contains("\"parameters\": ") && template.contains("\"name\": ") {
            let name = |tool: &Value| {
                let tool = tool.get("function").unwrap_or(tool);
                tool.get("name")?.as_str().map(str::to_owned)
            };
            Some(Self::Whole {
                names: tools.iter().filter_map(name).collect(),
            })
        } else {
            None
        }
    }

    /// The marker with which a call begins anywhere in the answer.
    pub(super) fn opening(&self) -> Option<&'static str> {
        match self {
            Self::Tagged => Some(TAGS[0]),
            Self::Bracketed => Some(BRACKETS[0]),
            Self::Whole { .. } => None,
        }
    }

    /// The marker with which a reply that is a call may begin.
    pub(super) fn prefix(&self) -> Option<&'static str> {
        self.is_whole().then_some(PYTHON[0])
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole { .. })
    }

    pub(super) fn markers(&self) -> &'static [&'static str] {
        match self {
            Self::Tagged => &TAGS,
            Self::Bracketed => &BRACKETS,
            Self::Whole { .. } => &PYTHON,
        }
    }

    /// Looks at `text`, which begins with the opening marker, for the call that ends first.
    /// `before` is the number of calls before it.
    pub(super) fn scan(&self, text: &str, before: usize) -> Scan {
        let opening = self.opening().map_or(0, str::len);
        let body = &text[opening..];
        match self {
            Self::Tagged => tagged(body, opening),
            Self::Bracketed => bracketed(body, opening, before),
            Self::Whole { .. } => Scan::Malformed,
        }
    }

    /// Looks at a reply that may be a call as a whole; with `last` it is at its end.
    pub(super) fn scan_whole(&self, text: &str, last: bool) -> Scan {
        let Self::Whole { names } = self else {
            return Scan::Malformed;
        };
        let body = text.trim();
        let body = body.strip_prefix(PYTHON[0]).unwrap_or(body).trim_start();
        let end = match balance(body) {
            Balance::Open if last => return Scan::Malformed,
            Balance::Open => return Scan::More,
            Balance::Closed(end) => end,
            Balance::Broken => return Scan::Malformed,
        };
        if end < body.len() {
            return Scan::Malformed;
        }
        let call = parse(body)
            .filter(|value| value.get("parameters").or(value.get("arguments")).is_some())
            .and_then(|value| call(value, None))
            .filter(|call| names.is_empty() || names.contains(&call.name));
        match call {
            None => Scan::Malformed,
            Some(call) if last => Scan::Calls(vec![call], text.len()),
            // Text may follow, and then it is an answer.
            Some(_) => Scan::More,
        }
    }
}

fn tagged(body: &str, opening: usize) -> Scan {
    let Some(end) = body.find(TAGS[1]) else {
        return Scan::More;
    };
    match parse(&body[..end]).and_then(|value| call(value, None)) {
        Some(call) => Scan::Calls(vec![call], opening + end + TAGS[1].len()),
        None => Scan::Malformed,
    }
}

fn bracketed(body: &str, opening: usize, before: usize) -> Scan {
    // These templates refuse a history whose calls have no id of nine letters and digits.
    let id = |n: usize| Some(format!("call{:05}", before + n));
    let rest = body.trim_start();
    let used = |rest: &str| opening + body.len() - rest.len();
    if rest.is_empty() {
        return Scan::More;
    }
    if rest.starts_with('[') {
        return match balance(rest) {
            Balance::Open => Scan::More,
            Balance::Broken => Scan::Malformed,
            Balance::Closed(end) => {
                let calls: Option<Vec<ToolCall>> = match parse(&rest[..end]) {
                    Some(Value::Array(items)) if !items.is_empty() => items
                        .into_iter()
                        .enumerate()
                        .map(|(n, item)| call(item, id(n)))
                        .collect(),
                    _ => None,
                };
                calls.map_or(Scan::Malformed, |calls| {
                    Scan::Calls(calls, used(&rest[end..]))
                })
            }
        };
    }
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let (name, rest) = split(rest, named);
    if name.is_empty() || name.len() > MAX_NAME {
        return Scan::Malformed;
    }
    let (mut own_id, mut rest) = (None, rest);
    for marker in [BRACKETS[2], BRACKETS[1]] {
        if marker.starts_with(rest) && rest != marker {
            return Scan::More;
        }
        if let Some(after) = rest.strip_prefix(marker) {
            rest = after;
            if marker == BRACKETS[2] {
                let (text, after) = split(rest, |c| c.is_ascii_alphanumeric());
                if text.len() > MAX_NAME {
                    return Scan::Malformed;
                }
                own_id = Some(text.to_owned());
                rest = after;
            }
        }
    }
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Scan::More;
    }
    match balance(rest) {
        Balance::Open => Scan::More,
        Balance::Closed(end) if rest.starts_with('{') => match parse(&rest[..end]) {
            Some(arguments) => {
                let call = ToolCall {
                    id: own_id.or(id(0)),
                    name: name.to_owned(),
                    arguments,
                };
                Scan::Calls(vec![call], used(&rest[end..]))
            }
            None => Scan::Malformed,
        },
        _ => Scan::Malformed,
    }
}

/// The characters at the front that `belongs` takes, and the rest.
fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// The call that an object tells of.
fn call(value: Value, id: Option<String>) -> Option<ToolCall> {
    let Value::Object(mut fields) = value else {
        return None;
    };
    let name = fields.get("name")?.as_str().filter(|n| !n.is_empty())?;
    let name = name.to_owned();
    let own_id = fields.get("id").and_then(Value::as_str).map(str::to_owned);
    let arguments = match fields.remove("arguments").or(fields.remove("parameters")) {
        None | Some(Value::Null) => Value::Object(Map::new()),
        // Some models write the object as a string, as it is in OpenAI's interface.
        Some(Value::String(text)) => parse(&text)?,
        Some(other) => other,
    };
    arguments.is_object().then(|| ToolCall {
        id: own_id.or(id),
        name,
        arguments,
    })
}

enum Balance {
    Open,
    /// The first bracket is closed just before this byte.
    Closed(usize),
    /// It does not begin with a bracket.
    Broken,
}

/// Where the JSON object or array at the front ends, by its brackets alone.
fn balance(text: &str) -> Balance {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return Balance::Closed(at + 1);
                }
            }
            _ if depth == 0 => return Balance::Broken,
            b'"' => in_string = true,
            _ => {}
        }
    }
    Balance::Open
}
