//! A decoded token takes nothing from the heap. The only test here: the allocator counts what the
//! whole process asks for, the test harness too.
#![cfg(feature = "reference")]
#![allow(clippy::unwrap_used)]

mod common;
mod tiny;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use dormouse::model::{ContextOptions, Decoder, KvType, LoadOptions, Model};
use dormouse::session::Sampler;
use dormouse::{Error, SamplerOptions};
use tiny::encode::architectures;

/// Counts what all threads of the process ask for.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: by the caller's promise.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A step as a session does it: the last token in, the next one drawn.
struct Steps {
    decoder: Box<dyn Decoder>,
    sampler: Sampler,
    logits: Vec<f32>,
    tokens: Vec<u32>,
}

impl Steps {
    fn new(model: &Model, prompt: usize) -> Self {
        let mut decoder = model.decoder(&ContextOptions::default()).unwrap();
        let mut options = SamplerOptions::default();
        options.seed = Some(1);
        options.repetition_penalty = 1.1;
        let mut logits = vec![0.0; decoder.vocab_size()];
        let mut tokens = Vec::with_capacity(1000);
        tokens.extend((0..prompt).map(|n| (n * 7919 % logits.len()) as u32));
        for chunk in tokens.chunks(decoder.max_chunk()) {
            decoder.forward(chunk, Some(&mut logits)).unwrap();
        }
        Steps {
            sampler: Sampler::new(options, logits.len()).unwrap(),
            decoder,
            logits,
            tokens,
        }
    }

    fn step(&mut self) {
        let token = self
            .sampler
            .sample(&mut self.logits, &self.tokens, None)
            .unwrap();
        self.tokens.push(token);
        self.decoder
            .forward(&[token], Some(&mut self.logits))
            .unwrap();
    }
}

#[test]
fn a_decoded_token_takes_nothing_from_the_heap() {
    let types = ["F16", "Q4_0", "Q8_0", "Q4_K", "Q6_K"];
    let tested = |name: &str| types.iter().any(|ty| name.ends_with(ty));
    for (name, file) in architectures().filter(|(name, _)| tested(name)) {
        for kv_type in [KvType::F16, KvType::F32, KvType::Q8_0] {
            let mut options = LoadOptions::default();
            options.threads = Some(2);
            options.kv_type = kv_type;
            let model = match tiny::load(&file, options) {
                // The narrow models have heads of 8.
                Err(Error::InvalidArgument { .. }) if kv_type == KvType::Q8_0 => continue,
                model => model.unwrap(),
            };
            // Past several tiles of attention, and the first step of a block of the KV cache:
            // the blocks are what is taken, one for as many positions.
            let block = dormouse_kernels::KV_BLOCK;
            let mut steps = Steps::new(&model, 2 * block);
            steps.step();
            // A thread of the pool that the system lets run for the first time allocates; that
            // may be at any time, but once.
            let quiet = (0..4).any(|_| {
                let before = ALLOCATIONS.load(Ordering::SeqCst);
                for _ in 1..block {
                    steps.step();
                }
                let taken = ALLOCATIONS.load(Ordering::SeqCst) - before;
                steps.step();
                let after = ALLOCATIONS.load(Ordering::SeqCst) - before;
                assert!(after > taken, "{name}: a new block was not seen");
                taken == 0
            });
            assert!(quiet, "{name} with {kv_type:?}");
        }
    }
}
