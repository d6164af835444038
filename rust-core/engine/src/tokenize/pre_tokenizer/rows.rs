//! The table of pre-tokenizers, by the names of `tokenizer.ggml.pre`.
//!
//! A pattern is written as the model's own `tokenizer.json` has it, as far as llama.cpp follows
//! that. Two of llama.cpp's ways are facts to keep: it has one class for all letters, so the
//! patterns that tell upper from lower case know only ASCII's; and a class written as ranges
//! never holds white space beyond ASCII.

use super::{SPACES, THREES};

/// What a word is spelled in before it is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tokenize) enum Alphabet {
    /// GPT-2's characters for bytes.
    Bytes,
    /// Its own characters, with U+2581 for a space; bytes only for what is no piece.
    Characters,
}

/// Which words become the piece that they are as a whole, whatever the merges say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tokenize) enum Whole {
    Never,
    Newlines,
    Always,
}

/// Whether BOS is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tokenize) enum Bos {
    /// When the metadata says so.
    Asked,
    /// Unless the metadata says no.
    Unasked,
    /// Even if the metadata says no.
    Always,
}

/// One way of cutting words, and what else llama.cpp ties to its name.
pub(in crate::tokenize) struct Row {
    pub(super) names: &'static [&'static str],
    pub(super) stages: &'static [&'static [&'static str]],
    pub(in crate::tokenize) whole: Whole,
    pub(in crate::tokenize) bos: Bos,
    pub(in crate::tokenize) alphabet: Alphabet,
}

impl Row {
    const fn new(
        names: &'static [&'static str],
        stages: &'static [&'static [&'static str]],
    ) -> Self {
        Self {
            names,
            stages,
            whole: Whole::Never,
            bos: Bos::Asked,
            alphabet: Alphabet::Bytes,
        }
    }

    const fn whole(self, whole: Whole) -> Self {
        Self { whole, ..self }
    }

    const fn bos(self, bos: Bos) -> Self {
        Self { bos, ..self }
    }

    const fn characters(self) -> Self {
        Self {
            alphabet: Alphabet::Characters,
            ..self
        }
    }
}

const GPT2: &[&str] = &[
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+",
    SPACES,
];
const DIGITS: &[&str] = &[r"\p{N}"];
const NUMBERS: &[&str] = &[r"\p{N}+"];
const NUMBERS_OF_THREE: &[&str] = &[r"\p{N}{1,3}"];
const THREE_DIGITS: &[&str] = &["[0-9][0-9][0-9]"];
const PUNCTUATION: &[&str] = &[r"[\p{P}$+<=>^~|]+"];
const PUNCTUATION_AND_TICK: &[&str] = &[r"[\p{P}$+<=>^~|`]+"];
const LINES: &[&str] = &[r"[^\n]+|\n+"];
const LINE_ENDS: &[&str] = &[r"[\r\n]"];

const CONTRACTIONS: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";
const LLAMA3: &[&str] = &[
    CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    SPACES,
];
const WORDS_AND_DIGITS: &str =
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+";
const QWEN2: &[&str] = &[CONTRACTIONS, WORDS_AND_DIGITS, SPACES];
const UFAKZEKA: &[&str] = &[WORDS_AND_DIGITS, SPACES];
const BAILING: &[&str] = &[
    r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])",
    WORDS_AND_DIGITS,
    SPACES,
];
const QWEN35: &[&str] = &[
    CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+",
    SPACES,
];
const MINICPM5: &[&str] = &[
    CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    SPACES,
];
const SEED_CODER: &[&str] = &[
    CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+",
    SPACES,
];
const EXAONE_MOE: &[&str] = &[
    CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]",
    SPACES,
];

// What may be upper case, then what may be lower case.
const TEKKEN: &[&str] = &[
    r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]*[\p{L}--[A-Z]]+",
    r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]+[\p{L}--[A-Z]]*",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+",
    SPACES,
];
const GPT4O: &[&str] = &[
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]*[\p{L}--[A-Z]]+",
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
    ),
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]+[\p{L}--[A-Z]]*",
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
    ),
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+",
    SPACES,
];
const GRANITE_MULTI: &[&str] = &[
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}--[a-z]]*[\p{L}\p{M}--[A-Z]]+",
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
    ),
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}--[a-z]]+[\p{L}\p{M}--[A-Z]]*",
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
    ),
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+",
    SPACES,
];
const YOUTU_SCRIPTS: &[&str] = &[
    "[가-힣ㄱ-ㆎ]+",
    r"[！…“”‘’—：；，\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+",
    r"[\x{3105}-\x{312F}]+",
    r"[\x{4E00}-\x{9FA5}\x{3040}-\x{30FF}]+",
];
const YOUTU: &[&str] = &[
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
    ),
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+",
    SPACES,
];

const KANA_AND_HAN: &[&str] = &[r"[\x{4E00}-\x{9FA5}\x{3040}-\x{30FF}]+"];
const DEEPSEEK3: &[&str] = &[
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
    r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+",
    SPACES,
];
const SPARK: &[&str] = &[
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
    r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]",
    SPACES,
];
// The model's own list of letters that have case; it has gaps.
const DEEPSEEK_LETTERS: &[&str] = &[concat!(
    r"\s?[",
    r"A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}",
    r"\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}",
    r"\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}",
    r"\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}",
    r"\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}",
    r"\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}",
    r"\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}",
    r"\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}",
    r"\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}",
    r"\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}",
    r"\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}",
    r"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}",
    r"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}",
    r"\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}",
    r"\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}",
    r"\x{1E900}-\x{1E943}",
    "]+"
)];
const DEEPSEEK_PUNCTUATION: &[&str] =
    &[r"\s?[[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]--\s]+"];
const DEEPSEEK_END: &[&str] = &[r"\s+\z"];
const DEEPSEEK_ASIAN: &[&str] = &[r"[[\x{0800}-\x{9FA5}\x{AC00}-\x{D7FF}]--\s]+"];
const LETTERS: &[&str] = &[r"\s?\p{L}+"];
const SPACE_PUNCTUATION: &[&str] = &[r"\s?\p{P}+"];

const BLOOM: &[&str] = &[r" ?[^(\s|.,!?…。，、।۔،)]+"];
// Han by blocks: U+3007 and the radicals are not in them.
const KIMI_K2: &[&str] = &[
    concat!(
        r"[\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}",
        r"\x{20000}-\x{2A6DF}\x{2A700}-\x{2EBEF}\x{2F800}-\x{2FA1F}]+"
    ),
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{L}--[\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}",
        r"\x{20000}-\x{2A6DF}\x{2A700}-\x{2EBEF}\x{2F800}-\x{2FA1F}]]+",
        r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
    ),
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    SPACES,
];

pub(super) const ROWS: &[Row] = &[
    // What llama.cpp takes for a file that names no pre-tokenizer.
    Row::new(&["default"], &[PUNCTUATION, GPT2, NUMBERS, THREE_DIGITS]),
    Row::new(
        &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "exaone4",
            "jais",
            "trillion",
            "granite-docling",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "roberta-bpe",
            "jina-v1-en",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
        ],
        &[GPT2],
    ),
    Row::new(
        &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        &[DIGITS, GPT2],
    ),
    Row::new(
        &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "lfm2",
            "pixtral",
            "midm-2.0",
            "jina-v5-nano",
        ],
        &[LLAMA3],
    )
    .whole(Whole::Always)
    .bos(Bos::Unasked),
    Row::new(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[LLAMA3]),
    Row::new(&["glm4", "glm5"], &[LLAMA3]).whole(Whole::Always),
    Row::new(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "stablelm2",
            "megrez",
            "hunyuan",
            "solar-open",
            "grok-2",
            "kormo",
            "f2llmv2",
        ],
        &[QWEN2],
    ),
    Row::new(&["qwen35"], &[QWEN35]),
    Row::new(&["laguna"], &[LINES, QWEN2]),
    Row::new(&["ufakzeka"], &[UFAKZEKA]),
    Row::new(&["minicpm5"], &[NUMBERS_OF_THREE, MINICPM5]).whole(Whole::Always),
    Row::new(&["seed-coder"], &[SEED_CODER]),
    Row::new(&["exaone-moe"], &[EXAONE_MOE]),
    Row::new(&["bailingmoe", "bailingmoe2", "llada-moe"], &[BAILING]),
    Row::new(&["tekken"], &[TEKKEN])
        .whole(Whole::Always)
        .bos(Bos::Unasked),
    Row::new(
        &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        &[GPT4O],
    ),
    Row::new(&["granite-embed-multi-97m"], &[GRANITE_MULTI]).whole(Whole::Always),
    Row::new(&["youtu"], &[YOUTU_SCRIPTS, YOUTU]).whole(Whole::Always),
    Row::new(
        &["deepseek-llm"],
        &[
            LINE_ENDS,
            DEEPSEEK_LETTERS,
            DEEPSEEK_PUNCTUATION,
            DEEPSEEK_END,
            DEEPSEEK_ASIAN,
            NUMBERS,
        ],
    ),
    Row::new(
        &["deepseek-coder"],
        &[
            LINE_ENDS,
            LETTERS,
            SPACE_PUNCTUATION,
            DEEPSEEK_ASIAN,
            DIGITS,
        ],
    ),
    Row::new(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[NUMBERS_OF_THREE, KANA_AND_HAN, DEEPSEEK3],
    ),
    Row::new(
        &["spark2_5"],
        &[NUMBERS_OF_THREE, KANA_AND_HAN, SPARK, DIGITS],
    ),
    Row::new(&["falcon"], &[PUNCTUATION_AND_TICK, GPT2, THREE_DIGITS]),
    Row::new(&["poro-chat", "bloom", "gpt3-finnish"], &[BLOOM]),
    Row::new(&["viking"], &[BLOOM, DIGITS]),
    Row::new(&["superbpe"], &[NUMBERS, THREES]),
    Row::new(&["kimi-k2"], &[KIMI_K2]),
    Row::new(&["gemma4", "granite-embed-multi-311m"], &[LINES])
        .whole(Whole::Newlines)
        .bos(Bos::Always)
        .characters(),
    Row::new(&["sarvam-moe"], &[LINES]).characters(),
];
