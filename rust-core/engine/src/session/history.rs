//! The file that keeps a conversation.
//!
//! JSON: `{"version": 1, "messages": [{"role": "user", "content": [{"type": "text", "text":
//! "..."}]}]}`, the roles being `system`, `user`, `assistant` and `tool`. A message may also have
//! `reasoning`, `tool_calls`, `tool_call_id` and `name`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::measure::{Measure, Measured};
use super::replace::replace;
use crate::error::{Error, Result};
use crate::template::{Message, Part, Role, ToolCall};

const VERSION: u32 = 1;

/// No conversation is as long; a larger file is something else, and is not read into memory.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct SavedChat {
    version: u32,
    messages: Vec<SavedMessage>,
}

#[derive(Serialize, Deserialize)]
struct SavedMessage {
    role: SavedRole,
    content: Vec<SavedPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<SavedToolCall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SavedToolCall {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: String,
    arguments: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedRole {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum SavedPart {
    Text { text: String },
}

/// Only this much is read at first, so that a later version is called by its number and not a
/// damaged file.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

/// Writes a conversation to a JSON file, which is replaced as a whole or, when that fails, left as
/// it is: [`Chat::save`](super::Chat::save) for callers who do not want to hold the chat meanwhile.
///
/// # Errors
/// [`Error::Io`].
pub fn save_messages(path: &Path, messages: &[Message]) -> Result<()> {
    save_messages_if(path, messages, || true).map(drop)
}

/// As [`save_messages`], for a save that can be given up: `commit` is asked when the new file is
/// written and has only to be put in its place. Where it says no, the old file is left as it is, and
/// false is returned.
///
/// # Errors
/// As [`save_messages`].
pub fn save_messages_if(
    path: &Path,
    messages: &[Message],
    commit: impl FnOnce() -> bool,
) -> Result<bool> {
    let saved = SavedChat {
        version: VERSION,
        messages: messages.iter().map(SavedMessage::from).collect(),
    };
    let write = |file: &mut File| {
        let mut writer = Measured {
            inner: BufWriter::new(file),
            measure: Measure::default(),
        };
        serde_json::to_writer_pretty(&mut writer, &saved)?;
        writer.write_all(b"\n")?;
        writer.flush()
    };
    replace(path, write, commit)
        .map_err(|e| Error::io(format!("save the chat to {}", path.display()), e))
}

/// Reads a conversation that [`save_messages`] wrote: [`Chat::load`](super::Chat::load) for callers
/// who do not want to hold the chat meanwhile.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read or is not such a file; a device or a pipe is none, and
/// is not waited for.
pub fn load_messages(path: &Path) -> Result<Vec<Message>> {
    read(path).map_err(|e| Error::io(format!("load the chat from {}", path.display()), e))
}

fn read(path: &Path) -> io::Result<Vec<Message>> {
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        return Err(damaged("not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(damaged(format!("larger than {MAX_BYTES} bytes")));
    }
    Measure::default().add(&bytes)?;
    let header: Header = parse(&bytes)?;
    if header.version != VERSION {
        return Err(damaged(format!(
            "format version {}, this release reads {VERSION}",
            header.version
        )));
    }
    let saved: SavedChat = parse(&bytes)?;
    Ok(saved.messages.into_iter().map(Message::from).collect())
}

/// Opens for reading. A pipe that nobody writes to is opened, too, and not waited for.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NONBLOCK | libc::O_NOCTTY,
    );
    options.open(path)
}

/// The place of an error, but not serde's words, which may quote the conversation.
fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        damaged(format!(
            "not a saved chat: line {}, column {}",
            e.line(),
            e.column()
        ))
    })
}

fn damaged(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl From<&Message> for SavedMessage {
    fn from(message: &Message) -> Self {
        Self {
            role: match message.role {
                Role::System => SavedRole::System,
                Role::User => SavedRole::User,
                Role::Assistant => SavedRole::Assistant,
                Role::Tool => SavedRole::Tool,
            },
            content: message
                .content
                .iter()
                .map(|Part::Text(text)| SavedPart::Text { text: text.clone() })
                .collect(),
            reasoning: message.reasoning.clone(),
            tool_calls: message
                .tool_calls
                .iter()
                .map(|call| SavedToolCall {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                })
                .collect(),
            tool_call_id: message.tool_call_id.clone(),
            name: message.name.clone(),
        }
    }
}

impl From<SavedMessage> for Message {
    fn from(saved: SavedMessage) -> Self {
        Self {
            role: match saved.role {
                SavedRole::System => Role::System,
                SavedRole::User => Role::User,
                SavedRole::Assistant => Role::Assistant,
                SavedRole::Tool => Role::Tool,
            },
            content: saved
                .content
                .into_iter()
                .map(|SavedPart::Text { text }| Part::Text(text))
                .collect(),
            reasoning: saved.reasoning,
            tool_calls: saved
                .tool_calls
                .into_iter()
                .map(|call| ToolCall {
                    id: call.id,
                    name: call.name,
                    arguments: call.arguments,
                })
                .collect(),
            tool_call_id: saved.tool_call_id,
            name: saved.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A folder of its own for each test, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("dormouse-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("chat.json")
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(&self.0)
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn messages() -> Vec<Message> {
        vec![
            Message::new(Role::System, "be kind"),
            Message::new(Role::User, "grüß dich \"\n\u{1}"),
            Message {
                reasoning: Some("hm".into()),
                tool_calls: vec![ToolCall {
                    id: Some("1".into()),
                    name: "weather".into(),
                    arguments: serde_json::json!({"city": "Graz", "days": 2}),
                }],
                ..Message::new(Role::Assistant, "")
            },
            Message {
                tool_call_id: Some("1".into()),
                name: Some("weather".into()),
                ..Message::new(Role::Tool, "rain")
            },
        ]
    }

    fn reason(path: &Path) -> String {
        match load_messages(path) {
            Err(Error::Io { source, .. }) => source.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = Folder::new("saved");
        save_messages(&folder.file(), &messages()).unwrap();
        assert_eq!(load_messages(&folder.file()).unwrap(), messages());
        save_messages(&folder.file(), &messages()[..1]).unwrap();
        assert_eq!(load_messages(&folder.file()).unwrap(), messages()[..1]);
        assert_eq!(folder.names(), ["chat.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("private");
        save_messages(&folder.file(), &messages()).unwrap();
        let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let folder = Folder::new("full-disk");
        save_messages(&folder.file(), &messages()).unwrap();
        let error = replace(
            &folder.file(),
            |file| {
                file.write_all(b"half")?;
                Err(io::Error::from(io::ErrorKind::StorageFull))
            },
            || true,
        )
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(load_messages(&folder.file()).unwrap(), messages());
        assert_eq!(folder.names(), ["chat.json"]);
    }

    #[test]
    fn paths_that_cannot_be_written_are_errors() {
        let folder = Folder::new("no-path");
        for path in [folder.0.join("missing/chat.json"), folder.0.join("..")] {
            let error = save_messages(&path, &messages()).unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{error}");
        }
        fs::create_dir(folder.file()).unwrap();
        assert!(save_messages(&folder.file(), &messages()).is_err());
        assert_eq!(folder.names(), ["chat.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn pipes_devices_and_folders_are_refused_and_not_waited_for() {
        let folder = Folder::new("special");
        let pipe = folder.0.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [pipe.as_path(), &folder.0, Path::new("/dev/zero")] {
            assert!(reason(path).contains("not a regular file"), "{path:?}");
        }
    }

    #[test]
    fn many_values_are_neither_loaded_nor_saved() {
        let folder = Folder::new("many-values");
        save_messages(&folder.file(), &messages()).unwrap();
        let call = |values: usize| {
            let zeros = vec![0; values].into();
            let mut call = messages().remove(2);
            call.tool_calls[0].arguments = zeros;
            call
        };
        let error = save_messages(&folder.file(), &[call(1 << 18)]).unwrap_err();
        assert!(error.to_string().contains("save the chat"), "{error}");
        assert_eq!(load_messages(&folder.file()).unwrap(), messages());
        assert_eq!(folder.names(), ["chat.json"]);
        let most = [call((1 << 18) - 32)];
        save_messages(&folder.file(), &most).unwrap();
        assert_eq!(load_messages(&folder.file()).unwrap(), most);

        let begin = r#"{"version":1,"messages":[{"role":"assistant","content":[],"tool_calls":[{"name":"x","arguments":"#;
        for (value, count) in [("0,", 1 << 19), ("{},", 1 << 18), ("[", 1 << 19)] {
            fs::write(folder.file(), format!("{begin}[{}", value.repeat(count))).unwrap();
            let reason = reason(&folder.file());
            assert!(reason.contains("more than 262144 values"), "{reason}");
        }
    }

    #[test]
    fn files_that_are_not_chats_are_errors_without_their_text() {
        let folder = Folder::new("damaged");
        assert!(load_messages(&folder.file()).is_err());
        for (text, want) in [
            ("", "not a saved chat"),
            ("secret", "not a saved chat: line 1"),
            (r#"{"version":2,"other":1}"#, "format version 2"),
            (r#"{"version":1,"messages":"secret"}"#, "not a saved chat"),
            (
                r#"{"version":1,"messages":[{"role":"secret","content":[]}]}"#,
                "not a saved chat",
            ),
            (
                r#"{"version":1,"messages":[{"role":"user","content":[{"type":"secret"}]}]}"#,
                "not a saved chat",
            ),
        ] {
            fs::write(folder.file(), text).unwrap();
            let reason = reason(&folder.file());
            assert!(reason.contains(want), "{reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
        File::create(folder.file())
            .unwrap()
            .set_len(MAX_BYTES + 1)
            .unwrap();
        assert!(reason(&folder.file()).contains("larger"));
    }
}
