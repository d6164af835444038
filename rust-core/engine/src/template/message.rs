//! Messages of a conversation, and the form in which templates see them.

use serde_json::{Map, Value, json};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Whoever set up the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool, answering a call.
    Tool,
}

impl Role {
    /// The name by which templates know it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One part of a message's content; text today, images and sound later.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Text.
    Text(String),
}

/// A call of a tool that the model asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// Ties the result to the call; some templates require one.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// The arguments, as an object.
    pub arguments: Value,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub content: Vec<Part>,
    /// What the model thought before it spoke, for templates that place it themselves.
    pub reasoning: Option<String>,
    /// Calls that the model makes with this message.
    pub tool_calls: Vec<ToolCall>,
    /// For a tool's message: the call that it answers.
    pub tool_call_id: Option<String>,
    /// For a tool's message: the tool's name.
    pub name: Option<String>,
}

impl Message {
    /// A message of one text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: vec![Part::Text(text.into())],
            reasoning: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            name: None,
        }
    }

    /// A message that sets up the conversation.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// What the person says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// What the model said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// What a tool answered.
    pub fn tool(text: impl Into<String>) -> Self {
        Self::new(Role::Tool, text)
    }

    /// The texts of the content, joined.
    pub fn text(&self) -> String {
        self.content
            .iter()
            .map(|Part::Text(text)| text.as_str())
            .collect()
    }

    /// The message as templates expect it: an object with `role`, `content` (a string while all
    /// parts are text) and, where they are set, `reasoning_content`, `tool_calls`,
    /// `tool_call_id` and `name`.
    pub(super) fn to_value(&self) -> Value {
        let mut out = Map::new();
        out.insert("role".into(), self.role.as_str().into());
        out.insert("content".into(), self.text().into());
        let mut optional = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                out.insert(key.into(), value.as_str().into());
            }
        };
        optional("reasoning_content", &self.reasoning);
        optional("tool_call_id", &self.tool_call_id);
        optional("name", &self.name);
        if !self.tool_calls.is_empty() {
            let calls = self.tool_calls.iter().map(|call| {
                let mut out = Map::new();
                if let Some(id) = &call.id {
                    out.insert("id".into(), id.as_str().into());
                }
                out.insert("type".into(), "function".into());
                out.insert(
                    "function".into(),
                    json!({ "name": call.name, "arguments": call.arguments }),
                );
                Value::Object(out)
            });
            out.insert("tool_calls".into(), calls.collect());
        }
        Value::Object(out)
    }
}
