//! What the tests of the command share: running it, and a model small enough to make on the spot.
#![allow(dead_code)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dormouse::gguf::Builder;

/// A folder of its own for each test, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dormouse-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("the path is UTF-8").to_owned()
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How a run of the command ended.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("stdout is JSON")
    }

    /// The last line on stderr, as `--stats json` writes it.
    pub fn stats(&self) -> serde_json::Value {
        let line = self.stderr.lines().last().expect("a line on stderr");
        serde_json::from_str(line).expect("the last line is JSON")
    }
}

/// The command with these arguments, its streams piped.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dormouse"));
    command
        .args(args)
        .env_remove("DORMOUSE_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub fn dormouse(args: &[&str]) -> Ran {
    finish(command(args).spawn().expect("dormouse starts"))
}

/// Runs it with this text on stdin.
pub fn dormouse_reading(args: &[&str], input: &str) -> Ran {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .spawn()
        .expect("dormouse starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // It may have ended before it read all of it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    finish(child)
}

/// Waits for the end.
pub fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().expect("dormouse ends");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

/// Presses Ctrl-C.
#[cfg(unix)]
pub fn interrupt(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
}

/// Runs it, expects this exit code, and shows stderr if it is another.
#[track_caller]
pub fn expect(code: i32, args: &[&str]) -> Ran {
    let ran = dormouse(args);
    assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
    ran
}

/// A template that writes `role:text|` and, if the variable is set, `note`.
pub const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}:{{ m.content }}|{% endfor %}\
    {{ note }}assistant:";

const VOCAB: usize = 258;
const WIDTH: usize = 32;
const BEGIN: u32 = 256;
const END: u32 = 257;

/// A llama model of one layer with random weights: its tokens are single bytes, it answers with
/// small letters and spaces, and never ends its answer by itself.
pub fn tiny_model() -> Builder {
    let mut random = Random(7);
    let pieces: Vec<String> = (0..=255u8)
        .map(|byte| byte_piece(byte).to_string())
        .chain(["<|begin|>".to_owned(), "<|end|>".to_owned()])
        .collect();
    let mut kinds = vec![1; VOCAB];
    kinds[BEGIN as usize] = 3;
    kinds[END as usize] = 3;
    let mut output = random.floats(VOCAB * WIDTH);
    for (token, row) in output.chunks_exact_mut(WIDTH).enumerate() {
        let letter = token < 128 && ((token as u8).is_ascii_lowercase() || token == 32);
        for weight in row {
            *weight *= if letter { 8.0 } else { 0.0 };
        }
    }
    let mut builder = Builder::new()
        .str("general.architecture", "llama")
        .str("general.name", "Tiny test model")
        .u32("llama.embedding_length", WIDTH as u32)
        .u32("llama.block_count", 1)
        .u32("llama.attention.head_count", 2)
        .u32("llama.attention.head_count_kv", 1)
        .u32("llama.feed_forward_length", WIDTH as u32)
        .u32("llama.context_length", 1 << 20)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "default")
        .strings("tokenizer.ggml.tokens", &pieces)
        .i32s("tokenizer.ggml.token_type", &kinds)
        .strings::<&str>("tokenizer.ggml.merges", &[])
        .u32("tokenizer.ggml.bos_token_id", BEGIN)
        .u32("tokenizer.ggml.eos_token_id", END)
        .bool("tokenizer.ggml.add_bos_token", true)
        .tensor("output.weight", &dims(WIDTH, VOCAB), 0, &bytes(&output));
    for (name, cols, rows) in [
        ("token_embd.weight", WIDTH, VOCAB),
        ("blk.0.attn_q.weight", WIDTH, WIDTH),
        ("blk.0.attn_k.weight", WIDTH, WIDTH / 2),
        ("blk.0.attn_v.weight", WIDTH, WIDTH / 2),
        ("blk.0.attn_output.weight", WIDTH, WIDTH),
        ("blk.0.ffn_gate.weight", WIDTH, WIDTH),
        ("blk.0.ffn_up.weight", WIDTH, WIDTH),
    ] {
        let weights = random.floats(rows * cols);
        builder = builder.tensor(name, &dims(cols, rows), 0, &bytes(&weights));
    }
    // One matrix is quantized, so that the precision of activations shows: Q8_0, blocks of 32
    // numbers of 8 bits behind a scale in f16.
    let scale = 0x1c00u16.to_le_bytes(); // 2^-8
    let blocks: Vec<u8> = (0..WIDTH)
        .flat_map(|_| {
            let numbers = random.floats(WIDTH).into_iter();
            let rounded = numbers.map(|number| (number * 254.0) as i8 as u8);
            scale.into_iter().chain(rounded).collect::<Vec<u8>>()
        })
        .collect();
    builder = builder.tensor("blk.0.ffn_down.weight", &dims(WIDTH, WIDTH), 8, &blocks);
    for name in [
        "blk.0.attn_norm.weight",
        "blk.0.ffn_norm.weight",
        "output_norm.weight",
    ] {
        builder = builder.tensor(name, &[WIDTH as u64], 0, &bytes(&[1.0; WIDTH]));
    }
    builder
}

/// The tiny model with a chat template, in a file of the folder.
pub fn tiny_chat_model(folder: &Folder) -> String {
    let path = folder.file("tiny-chat.gguf");
    let builder = tiny_model().str("tokenizer.chat_template", TEMPLATE);
    builder.write(&path).expect("the model is written");
    path
}

fn dims(cols: usize, rows: usize) -> [u64; 2] {
    [cols as u64, rows as u64]
}

fn bytes(floats: &[f32]) -> Vec<u8> {
    floats
        .iter()
        .flat_map(|float| float.to_le_bytes())
        .collect()
}

/// The character that byte-level vocabularies write for a byte.
fn byte_piece(byte: u8) -> char {
    let printable = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(256 + before).expect("a character")
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }

    /// From -0.5 to 0.5.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    }
}
