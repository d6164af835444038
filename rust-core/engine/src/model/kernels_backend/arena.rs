//! All activations of a forward pass in one allocation, planned before the first token.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::backend::Slot;
use crate::model::config::Config;

/// The arena aims at no more than this, so that a prompt's chunk stays in bounds on wide models.
const TARGET_BYTES: usize = 24 << 20;
const MIN_CHUNK: usize = 32;
const MAX_CHUNK: usize = 256;
const LOGIT_BYTES: usize = 4 << 20;
const MAX_LOGIT_ROWS: usize = 32;

const SLOTS: [Slot; Slot::COUNT] = [
    Slot::Residual,
    Slot::Normed,
    Slot::Query,
    Slot::Key,
    Slot::Value,
    Slot::Attended,
    Slot::Gate,
    Slot::Up,
    Slot::Branch,
    Slot::Logits,
];

/// How many rows a chunk has, and where each slot lies.
#[derive(Debug, Clone)]
pub(crate) struct ArenaPlan {
    /// Rows of a chunk.
    pub(crate) chunk: usize,
    /// Rows of the logits slot.
    pub(crate) logit_rows: usize,
    widths: [usize; Slot::COUNT],
    starts: [usize; Slot::COUNT],
    total: usize,
}

impl ArenaPlan {
    /// Plans the arena of a model.
    pub(crate) fn new(config: &Config) -> Self {
        let widths = SLOTS.map(|slot| slot.width(config));
        let row: usize = widths.iter().sum::<usize>() - config.n_vocab;
        let chunk = (TARGET_BYTES / (row * size_of::<f32>())).clamp(MIN_CHUNK, MAX_CHUNK);
        let chunk = chunk / MIN_CHUNK * MIN_CHUNK;
        let logit_rows =
            (LOGIT_BYTES / (config.n_vocab * size_of::<f32>())).clamp(1, MAX_LOGIT_ROWS);
        let mut starts = [0; Slot::COUNT];
        let mut total = 0;
        for slot in SLOTS {
            let rows = if slot == Slot::Logits {
                logit_rows
            } else {
                chunk
            };
            starts[slot as usize] = total;
            total += rows * widths[slot as usize];
        }
        Self {
            chunk,
            logit_rows,
            widths,
            starts,
            total,
        }
    }

    /// Bytes of the whole arena.
    pub(crate) fn bytes(&self) -> u64 {
        (self.total * size_of::<f32>()) as u64
    }

    fn range(&self, slot: Slot, rows: usize) -> Range<usize> {
        let start = self.starts[slot as usize];
        start..start + rows * self.widths[slot as usize]
    }
}

/// The planned memory.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) plan: ArenaPlan,
    memory: Vec<f32>,
}

impl Arena {
    pub(super) fn new(plan: ArenaPlan) -> Result<Self> {
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(plan.total)
            .map_err(|_| Error::OutOfMemory {
                needed: plan.bytes(),
                budget: 0,
            })?;
        memory.resize(plan.total, 0.0);
        Ok(Self { plan, memory })
    }

    pub(super) fn width(&self, slot: Slot) -> usize {
        self.plan.widths[slot as usize]
    }

    /// The first `rows` rows of a slot.
    pub(super) fn get(&self, slot: Slot, rows: usize) -> &[f32] {
        &self.memory[self.plan.range(slot, rows)]
    }

    /// The first `rows` rows of a slot, for writing.
    pub(super) fn get_mut(&mut self, slot: Slot, rows: usize) -> &mut [f32] {
        let range = self.plan.range(slot, rows);
        &mut self.memory[range]
    }

    /// Two different slots at once: the first for reading, the second for writing.
    pub(super) fn pair(
        &mut self,
        src: Slot,
        dst: Slot,
        rows: usize,
    ) -> Result<(&[f32], &mut [f32])> {
        self.pair_rows((src, rows), (dst, rows))
    }

    /// Like [`Arena::pair`], each slot with its own number of rows.
    pub(super) fn pair_rows(
        &mut self,
        src: (Slot, usize),
        dst: (Slot, usize),
    ) -> Result<(&[f32], &mut [f32])> {
        let ranges = [self.plan.range(src.0, src.1), self.plan.range(dst.0, dst.1)];
        match self.memory.get_disjoint_mut(ranges) {
            Ok([src, dst]) => Ok((src, dst)),
            Err(e) => Err(Error::internal(format!("slots {src:?} and {dst:?}: {e}"))),
        }
    }
}
