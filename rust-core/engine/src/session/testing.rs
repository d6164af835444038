//! A vocabulary of bytes and a decoder that hashes, to test the session's rules with.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::language::{Language, TextStream};
use super::reply::ReplyFormat;
use super::{Session, SessionOptions};
use crate::error::{Error, Result};
use crate::model::Decoder;
use crate::template::{Message, RenderOptions, Role};

pub(super) const BEGIN: u32 = 256;
pub(super) const END: u32 = 257;
pub(super) const VOCABULARY: usize = 261;

/// One token per character of Latin-1, and five special ones.
pub(super) struct Bytes;

impl Language for Bytes {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = vec![BEGIN];
        tokens.extend(text.chars().map(|c| u32::from(c) & 255));
        Ok(tokens)
    }

    fn encode_chat(&self, messages: &[Message], _: &RenderOptions) -> Result<Vec<u32>> {
        let mut tokens = vec![BEGIN];
        for message in messages {
            tokens.push(match message.role {
                Role::System => 258,
                Role::User => 259,
                Role::Assistant => 260,
                Role::Tool => {
                    return Err(Error::Template {
                        why: "this one has no tools".into(),
                    });
                }
            });
            tokens.extend(message.text().chars().map(|c| u32::from(c) & 255));
            tokens.push(END);
        }
        tokens.push(260);
        Ok(tokens)
    }

    fn is_end_of_generation(&self, token: u32) -> bool {
        token == END
    }

    fn reply_format(&self, _: &[u32], _: &RenderOptions) -> ReplyFormat {
        ReplyFormat::default()
    }

    fn text_stream(&self, _: &[&'static str]) -> Box<dyn TextStream> {
        Box::new(Characters { half: None })
    }
}

/// The text of a reply's tokens, told all at once.
pub(super) fn text(tokens: &[u32]) -> String {
    tokens
        .iter()
        .filter(|t| **t < 256)
        .filter_map(|t| char::from_u32(*t))
        .collect()
}

/// From 240 on a byte plays the first half of a character: it comes out with the next token.
struct Characters {
    half: Option<char>,
}

impl TextStream for Characters {
    fn push(&mut self, token: u32) -> String {
        let mut text: String = self.half.take().into_iter().collect();
        match char::from_u32(token) {
            Some(c) if (240..256).contains(&token) => self.half = Some(c),
            Some(c) if token < 256 => text.push(c),
            _ => {}
        }
        text
    }

    fn finish(&mut self) -> String {
        self.half.take().into_iter().collect()
    }

    fn marker(&self, _: u32) -> Option<&'static str> {
        None
    }
}

/// What a test sees of, and does to, a decoder that belongs to a session.
#[derive(Default)]
pub(super) struct Spy {
    /// The true content of the cache.
    pub(super) tokens: Mutex<Vec<u32>>,
    /// Tokens evaluated so far.
    pub(super) evaluated: AtomicUsize,
    /// Calls of `forward` so far.
    pub(super) calls: AtomicUsize,
    /// Time that one call takes, in microseconds.
    pub(super) delay: AtomicU64,
    /// The call that fails, from 1.
    pub(super) fail_at: AtomicUsize,
    /// The call that fails after it has stored its tokens, against the trait's promise.
    pub(super) fail_late_at: AtomicUsize,
    pub(super) panic_at: AtomicUsize,
    /// Truncation goes back to a multiple of this.
    pub(super) coarse: AtomicUsize,
    /// 1 until the decoder is dropped.
    pub(super) alive: AtomicUsize,
    /// Those of the decoders that were forked off.
    pub(super) forks: Mutex<Vec<Arc<Spy>>>,
}

impl Spy {
    pub(super) fn tokens(&self) -> Vec<u32> {
        self.tokens.lock().unwrap().clone()
    }
}

/// A model whose logits are a hash of all that is in its cache.
pub(super) struct Hasher {
    tokens: Vec<u32>,
    /// The hash of the tokens up to each position.
    hashes: Vec<u64>,
    context: usize,
    chunk: usize,
    spy: Arc<Spy>,
}

impl Hasher {
    pub(super) fn new(context: usize, chunk: usize) -> (Self, Arc<Spy>) {
        let spy = Arc::new(Spy::default());
        spy.alive.store(1, SeqCst);
        let hasher = Self {
            tokens: Vec::new(),
            hashes: Vec::new(),
            context,
            chunk,
            spy: spy.clone(),
        };
        (hasher, spy)
    }

    fn store(&mut self, tokens: &[u32]) {
        for &token in tokens {
            let before = self.hashes.last().copied().unwrap_or(1);
            self.hashes.push(mix(before ^ (u64::from(token) << 32)));
            self.tokens.push(token);
        }
        *self.spy.tokens.lock().unwrap() = self.tokens.clone();
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.spy.alive.fetch_sub(1, SeqCst);
    }
}

/// The logits after tokens whose hash is `hash`: from -4 to 4, letters likelier.
fn fill(hash: u64, logits: &mut [f32]) {
    for (token, logit) in logits.iter_mut().enumerate() {
        let noise = mix(hash.wrapping_add((token as u64).wrapping_mul(0x1234_5678_9abc_def1)));
        let letter = if (97..123).contains(&token) { 2.0 } else { 0.0 };
        *logit = (noise >> 40) as f32 / (1 << 21) as f32 - 4.0 + letter;
    }
}

fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Decoder for Hasher {
    fn vocab_size(&self) -> usize {
        VOCABULARY
    }

    fn context_length(&self) -> usize {
        self.context
    }

    fn position(&self) -> usize {
        self.tokens.len()
    }

    fn max_chunk(&self) -> usize {
        self.chunk
    }

    fn forward(&mut self, tokens: &[u32], logits: Option<&mut [f32]>) -> Result<()> {
        assert!(!tokens.is_empty() && tokens.len() <= self.chunk, "chunk");
        assert!(
            self.tokens.len() + tokens.len() <= self.context,
            "past the context"
        );
        assert!(tokens.iter().all(|t| (*t as usize) < VOCABULARY), "token");
        let call = self.spy.calls.fetch_add(1, SeqCst) + 1;
        let delay = self.spy.delay.load(SeqCst);
        if delay > 0 {
            std::thread::sleep(Duration::from_micros(delay));
        }
        assert!(call != self.spy.panic_at.load(SeqCst), "told to panic");
        if call == self.spy.fail_at.load(SeqCst) {
            return Err(Error::invalid("told to fail"));
        }
        self.store(tokens);
        self.spy.evaluated.fetch_add(tokens.len(), SeqCst);
        if call == self.spy.fail_late_at.load(SeqCst) {
            return Err(Error::invalid("told to fail late"));
        }
        if let Some(logits) = logits {
            assert_eq!(logits.len(), VOCABULARY);
            fill(*self.hashes.last().unwrap(), logits);
        }
        Ok(())
    }

    fn forward_all(&mut self, tokens: &[u32], logits: &mut [f32]) -> Result<()> {
        for (token, row) in tokens.iter().zip(logits.chunks_mut(VOCABULARY)) {
            self.forward(&[*token], Some(row))?;
        }
        Ok(())
    }

    fn truncate(&mut self, position: usize) {
        let coarse = self.spy.coarse.load(SeqCst).max(1);
        if position < self.tokens.len() {
            self.tokens.truncate(position / coarse * coarse);
            self.hashes.truncate(position / coarse * coarse);
            self.store(&[]);
        }
    }

    fn fork(&self) -> Result<Box<dyn Decoder>> {
        // The copy has a spy of its own: a fork's work must not show in the original.
        let (mut fork, spy) = Self::new(self.context, self.chunk);
        fork.hashes.clone_from(&self.hashes);
        fork.tokens.clone_from(&self.tokens);
        fork.store(&[]);
        self.spy.forks.lock().unwrap().push(spy);
        Ok(Box::new(fork))
    }

    fn kv_bytes(&self) -> u64 {
        self.tokens.len() as u64 * 100
    }
}

/// A session over a [`Hasher`] of this context and chunk.
pub(super) fn session(
    context: usize,
    chunk: usize,
    options: SessionOptions,
) -> (Session, Arc<Spy>) {
    let (decoder, spy) = Hasher::new(context, chunk);
    let session = Session::from_parts(Arc::new(Bytes), Box::new(decoder), options).unwrap();
    (session, spy)
}
