//! Messages of a conversation.

use dormouse::template;

use crate::error::{Error, Result};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
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

/// One part of a message's content.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
}

/// A call of a tool that the model asks for.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ToolCall {
    /// Ties the result to the call, where the model gives one.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// The arguments, a JSON object.
    pub arguments: String,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub content: Vec<Part>,
    /// What the model thought before it spoke.
    pub reasoning: Option<String>,
    /// Calls that the model makes with this message.
    pub tool_calls: Vec<ToolCall>,
    /// For a tool's message: the call that it answers.
    pub tool_call_id: Option<String>,
    /// For a tool's message: the tool's name.
    pub name: Option<String>,
}

impl From<template::ToolCall> for ToolCall {
    fn from(call: template::ToolCall) -> Self {
        Self {
            id: call.id,
            name: call.name,
            arguments: call.arguments.to_string(),
        }
    }
}

impl From<template::Message> for Message {
    fn from(message: template::Message) -> Self {
        Self {
            role: match message.role {
                template::Role::System => Role::System,
                template::Role::Assistant => Role::Assistant,
                template::Role::Tool => Role::Tool,
                // The engine's enum may grow; a new role is given a place here with the change.
                _ => Role::User,
            },
            content: message
                .content
                .into_iter()
                .filter_map(|part| match part {
                    template::Part::Text(text) => Some(Part::Text { text }),
                    _ => None,
                })
                .collect(),
            reasoning: message.reasoning,
            tool_calls: message.tool_calls.into_iter().map(Into::into).collect(),
            tool_call_id: message.tool_call_id,
            name: message.name,
        }
    }
}

impl TryFrom<Message> for template::Message {
    type Error = Error;

    /// # Errors
    /// [`Error::InvalidOptions`] when a call's arguments are not a JSON object.
    fn try_from(message: Message) -> Result<Self> {
        let role = match message.role {
            Role::System => template::Role::System,
            Role::User => template::Role::User,
            Role::Assistant => template::Role::Assistant,
            Role::Tool => template::Role::Tool,
        };
        let mut out = Self::new(role, "");
        out.content = message
            .content
            .into_iter()
            .map(|Part::Text { text }| template::Part::Text(text))
            .collect();
        out.reasoning = message.reasoning;
        out.tool_calls = message
            .tool_calls
            .into_iter()
            .map(|call| {
                Ok(template::ToolCall {
                    id: call.id,
                    arguments: json_object("the arguments of a tool call", &call.arguments)?.into(),
                    name: call.name,
                })
            })
            .collect::<Result<_>>()?;
        out.tool_call_id = message.tool_call_id;
        out.name = message.name;
        Ok(out)
    }
}

/// A JSON object; the error does not quote the text.
pub(crate) fn json_object(
    what: &str,
    text: &str,
) -> Result<serde_json::Map<String, serde_json::Value>> {
    serde_json::from_str(text).map_err(|e| {
        Error::invalid(format!(
            "{what} must be a JSON object (line {}, column {})",
            e.line(),
            e.column()
        ))
    })
}
