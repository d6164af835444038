//! Tiny models as files that tests in any language can load: `tiny.gguf`, random and seeded, and
//! `scripted.gguf`, an automaton. The example `tiny_models` writes them, and says what they do.
//!
//! The bytes are the same wherever and however often they are written.
#![allow(dead_code, clippy::unwrap_used)]

use dormouse::gguf::Builder;

use crate::tiny::{Tensor, Tiny, Value, f32_bytes};

const Q8_0: u32 = 8;

/// The chat format of both: with reasoning and tools, so that replies are parsed for them. The
/// generation prompt ends in `{start}`.
const TEMPLATE: &str = "\
{%- if tools %}{{ '<|im_start|>system\\n' }}{% for tool in tools %}{{ tool | tojson }}{{ '\\n' }}\
{% endfor %}{{ '<|im_end|>\\n' }}{% endif %}\
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}\
{%- if m.reasoning_content %}{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}\
{{- m.content }}\
{%- for call in m.tool_calls or [] %}{{ '\\n<tool_call>\\n' + (call.function | tojson) + \
'\\n</tool_call>' }}{% endfor %}\
{{- '<|im_end|>\\n' }}{% endfor %}\
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{start}{% endif %}";

/// Blocks of 32: a scale in half precision and 32 signed bytes.
fn q8_0(tensor: &Tensor) -> (u32, Vec<u8>) {
    let mut bytes = Vec::with_capacity(tensor.values.len() / 32 * 34);
    for block in tensor.values.chunks_exact(32) {
        let largest = block.iter().fold(0f32, |max, v| max.max(v.abs()));
        let scale = half::f16::from_f32(largest / 127.0);
        let inverse = match scale.to_f32() {
            0.0 => 0.0,
            scale => 1.0 / scale,
        };
        bytes.extend(scale.to_le_bytes());
        let quantized = |v: &f32| (v * inverse).round().clamp(-127.0, 127.0) as i8;
        bytes.extend(block.iter().map(|v| quantized(v) as u8));
    }
    (Q8_0, bytes)
}

/// The shape of a llama whose heads are 32 wide.
fn shape(tiny: &mut Tiny, n_embd: u64, n_layer: u32, heads: u32, n_ff: u32) {
    tiny.tensors.clear();
    for (key, value) in [
        ("embedding_length", n_embd as u32),
        ("block_count", n_layer),
        ("attention.head_count", heads),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 32),
        ("attention.value_length", 32),
        ("feed_forward_length", n_ff),
        ("context_length", 512),
    ] {
        tiny.set(key, Value::U32(value));
    }
}

/// A random llama of 2 layers over a byte-level vocabulary of 266 tokens, whose embeddings are means.
pub(crate) fn tiny_model() -> Builder {
    tiny()
        .build(q8_0)
        .str("general.name", "dormouse tiny")
        .str("tokenizer.chat_template", &TEMPLATE.replace("{start}", ""))
}

/// A random adapter, of rank 4, of all matrices of [`tiny_model`] but the embedding.
pub(crate) fn tiny_adapter() -> Builder {
    const RANK: u64 = 4;
    let base = tiny();
    let mut adapter = Tiny::bare(base.arch, 20_250_102);
    let matrices = base.tensors.iter().filter(|tensor| tensor.dims.len() == 2);
    for tensor in matrices.filter(|tensor| tensor.name != "token_embd.weight") {
        let [cols, rows] = [tensor.dims[0], tensor.dims[1]];
        adapter.matrix(&format!("{}.lora_a", tensor.name), RANK, cols);
        adapter.matrix(&format!("{}.lora_b", tensor.name), rows, RANK);
    }
    let builder = Builder::new()
        .str("general.type", "adapter")
        .str("general.architecture", base.arch)
        .str("adapter.type", "lora")
        .f32("adapter.lora.alpha", RANK as f32);
    adapter.build_on(builder, f32_bytes)
}

fn tiny() -> Tiny {
    let (n_embd, n_ff) = (64, 128);
    let mut tiny = Tiny::llama(20_250_101);
    shape(&mut tiny, n_embd, 2, 2, n_ff as u32);
    tiny.set("pooling_type", Value::U32(1));
    tiny.matrix("token_embd.weight", 266, n_embd);
    tiny.matrix("output.weight", 266, n_embd);
    tiny.vector("output_norm.weight", n_embd, 3.0, 0.5);
    for layer in 0..2 {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        tiny.vector(&name("attn_norm"), n_embd, 1.0, 0.2);
        tiny.vector(&name("ffn_norm"), n_embd, 1.0, 0.2);
        tiny.matrix(&name("attn_q"), 64, n_embd);
        tiny.matrix(&name("attn_k"), 32, n_embd);
        tiny.matrix(&name("attn_v"), 32, n_embd);
        tiny.matrix(&name("attn_output"), n_embd, 64);
        tiny.matrix(&name("ffn_gate"), n_ff, n_embd);
        tiny.matrix(&name("ffn_up"), n_ff, n_embd);
        tiny.matrix(&name("ffn_down"), n_embd, n_ff);
    }
    tiny
}

/// A reply that `scripted.gguf` has by heart.
pub(crate) struct Chain {
    /// The last message has this word; it is a tool's for [`RESULT`].
    pub(crate) word: &'static str,
    /// Its tokens: `<0x..>` is a byte, other pieces are text. No piece stands in two places.
    pub(crate) pieces: &'static [&'static str],
    /// From the last piece to the first again, and not to the end of the turn.
    pub(crate) endless: bool,
}

const fn chain(word: &'static str, pieces: &'static [&'static str]) -> Chain {
    Chain {
        word,
        pieces,
        endless: false,
    }
}

/// In the order in which the template looks for the words; the last one is the answer to all else.
pub(crate) const CHAINS: &[Chain] = &[
    chain(
        "think",
        &[
            "<thi", "nk>", "\n", "Hm,", "▁let", "▁me", "▁see", ".\n", "</", "think", ">\n\n", "It",
            "▁is", "▁4", "2.",
        ],
    ),
    // The markers are control tokens here, as they are in many vocabularies.
    chain(
        "weather",
        &[
            "<tool_call>",
            "\n{\"na",
            "me\":",
            "▁\"get_",
            "weather\",",
            "▁\"argu",
            "ments\":",
            "▁{\"city\":",
            "▁\"Gr",
            "az\"}}\n",
            "</tool_call>",
        ],
    ),
    // Here they are text, and no call comes of it.
    chain(
        "broken",
        &[
            "Look:\n",
            "<tool",
            "_call",
            ">{\"name\":",
            "▁oops",
            "}</tool",
            "_call>",
            "▁so.",
        ],
    ),
    chain("stop", &["One", "▁two", "▁EN", "D", "▁three", "▁four"]),
    Chain {
        word: "forever",
        pieces: &["tick", "▁tock,", "▁and▁", "so▁", "on▁"],
        endless: true,
    },
    chain(RESULT, &["The", "▁tool", "▁has", "▁spoken."]),
    // Every character beyond ASCII in bytes.
    chain(
        "",
        &[
            "Hello▁",
            "<0xF0>",
            "<0x9F>",
            "<0x90>",
            "<0xAD>",
            "▁from",
            "▁the",
            "▁dor",
            "mouse:▁",
            "<0xE5>",
            "<0x86>",
            "<0xAC>",
            "<0xE7>",
            "<0x9C>",
            "<0xA0>",
            "!",
        ],
    ),
];

/// Of the chain that answers a tool's message, whatever its text.
const RESULT: &str = "result";

const CONTROL: i32 = 3;
const END: u32 = 2;
const N_EMBD: u64 = 256;

/// The vocabulary of the automaton: special tokens, the pieces of the chains, and what is missing
/// of printable ASCII, so that messages are not all unknown tokens.
struct Script {
    tokens: Vec<String>,
    types: Vec<i32>,
    /// What follows each token.
    next: Vec<u32>,
}

impl Script {
    fn new() -> Self {
        let mut script = Self {
            tokens: Vec::new(),
            types: Vec::new(),
            next: Vec::new(),
        };
        script.token("<unk>", 2);
        for control in ["<s>", "<|im_end|>", "<|im_start|>"] {
            script.token(control, CONTROL);
        }
        for chain in CHAINS {
            let start = script.token(&start(chain), CONTROL);
            let first = start + 1;
            script.next[start as usize] = first;
            for piece in chain.pieces {
                let ty = match *piece {
                    "<tool_call>" | "</tool_call>" => CONTROL,
                    piece if piece.starts_with("<0x") => 6,
                    _ => 1,
                };
                let id = script.token(piece, ty);
                script.next[id as usize] = id + 1;
            }
            if let Some(last) = script.next.last_mut() {
                *last = if chain.endless { first } else { END };
            }
        }
        for c in (' '..='~').map(|c| if c == ' ' { '▁' } else { c }) {
            if !script.tokens.contains(&c.to_string()) {
                script.token(&c.to_string(), 1);
            }
        }
        assert!(script.tokens.len() as u64 <= N_EMBD);
        script
    }

    /// A token after which the model ends its turn.
    fn token(&mut self, piece: &str, ty: i32) -> u32 {
        assert!(!self.tokens.iter().any(|known| known == piece), "{piece:?}");
        self.tokens.push(piece.to_owned());
        self.types.push(ty);
        self.next.push(END);
        self.tokens.len() as u32 - 1
    }

    /// `[rows][N_EMBD]`, one `value` in each column that has a token, in the row of `row`.
    fn one_hot(&self, name: &str, value: f32, row: impl Fn(usize) -> usize) -> Tensor {
        let mut values = vec![0.0; self.tokens.len() * N_EMBD as usize];
        for token in 0..self.tokens.len() {
            values[row(token) * N_EMBD as usize + token] = value;
        }
        Tensor {
            name: name.to_owned(),
            dims: vec![N_EMBD, self.tokens.len() as u64],
            values,
        }
    }
}

fn start(chain: &Chain) -> String {
    format!(
        "<|{}|>",
        if chain.word.is_empty() {
            "else"
        } else {
            chain.word
        }
    )
}

/// The end of the generation prompt, which decides what the reply is.
fn starts() -> String {
    let mut out = format!("{{% if messages[-1].role == 'tool' %}}{{{{ '<|{RESULT}|>' }}}}");
    for chain in CHAINS.iter().filter(|chain| chain.word != RESULT) {
        let test = match chain.word {
            "" => "{% else %}".to_owned(),
            word => format!("{{% elif '{word}' in messages[-1].content %}}"),
        };
        out.push_str(&format!("{test}{{{{ '{}' }}}}", start(chain)));
    }
    out + "{% endif %}"
}

/// A llama whose next token depends on the last one alone: attention and feed-forward add
/// nothing, the embedding of a token is a coordinate of its own, and the head leads from each
/// coordinate to one token, with a logit 64 above all others.
pub(crate) fn scripted_model() -> Builder {
    let script = Script::new();
    let mut tiny = Tiny::llama(1);
    shape(&mut tiny, N_EMBD, 1, 2, 32);
    tiny.set("context_length", Value::U32(1024));
    tiny.tensors
        .push(script.one_hot("token_embd.weight", 1.0, |token| token));
    // The norm makes 16 of the embedding's 1.
    tiny.tensors
        .push(script.one_hot("output.weight", 4.0, |token| script.next[token] as usize));
    tiny.vector("output_norm.weight", N_EMBD, 1.0, 0.0);
    let name = |part: &str| format!("blk.0.{part}.weight");
    tiny.vector(&name("attn_norm"), N_EMBD, 1.0, 0.0);
    tiny.vector(&name("ffn_norm"), N_EMBD, 1.0, 0.0);
    for (part, rows, cols) in [
        ("attn_q", 64, N_EMBD),
        ("attn_k", 32, N_EMBD),
        ("attn_v", 32, N_EMBD),
        ("attn_output", N_EMBD, 64),
        ("ffn_gate", 32, N_EMBD),
        ("ffn_up", 32, N_EMBD),
        ("ffn_down", N_EMBD, 32),
    ] {
        tiny.matrix(&name(part), rows, cols);
    }
    for part in ["attn_output", "ffn_down"] {
        tiny.tensor(&name(part)).values.fill(0.0);
    }
    let vocabulary = Builder::new()
        .str("general.architecture", "llama")
        .str("general.name", "dormouse scripted")
        .str("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &script.tokens)
        .f32s("tokenizer.ggml.scores", &vec![0.0; script.tokens.len()])
        .i32s("tokenizer.ggml.token_type", &script.types)
        .u32("tokenizer.ggml.unknown_token_id", 0)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", END)
        .bool("tokenizer.ggml.add_space_prefix", false)
        .str(
            "tokenizer.chat_template",
            &TEMPLATE.replace("{start}", &starts()),
        );
    tiny.build_on(vocabulary, q8_0)
}
