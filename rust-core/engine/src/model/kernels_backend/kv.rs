//! The KV cache in blocks of positions: appended to block by block, cut back by dropping blocks,
//! forked by sharing them (the block being written is copied first).

use std::sync::Arc;

use dormouse_kernels::{KV_BLOCK, KvCell, KvLayer, Q8Cell};
use half::f16;

use crate::error::{Error, Result};
use crate::model::backend::Cache;
use crate::model::config::Config;

/// How the KV cache holds its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvType {
    /// 32-bit floats: exact, twice the memory.
    F32,
    /// 16-bit floats.
    #[default]
    F16,
    /// Blocks of 32 as GGUF's `Q8_0`: 8.5 bits a number. Of models whose heads are a multiple of 32
    /// wide.
    Q8_0,
}

impl KvType {
    /// Bytes of so many elements: of `Q8_0` a multiple of 32.
    pub fn bytes(self, elements: usize) -> usize {
        let cells = |of: usize, bytes: usize| elements / of * bytes;
        match self {
            Self::F32 => cells(1, size_of::<f32>()),
            Self::F16 => cells(1, size_of::<f16>()),
            Self::Q8_0 => cells(Q8Cell::ELEMENTS, size_of::<Q8Cell>()),
        }
    }

    /// Whether a model's cache can be of this type.
    pub(crate) fn check(self, config: &Config) -> Result<()> {
        if self == Self::Q8_0 && !config.head_dim.is_multiple_of(Q8Cell::ELEMENTS) {
            return Err(Error::invalid(format!(
                "a KV cache in q8_0 needs heads of a multiple of {} elements, and this model's have {}",
                Q8Cell::ELEMENTS,
                config.head_dim
            )));
        }
        Ok(())
    }
}

/// Blocks of [`KV_BLOCK`] positions; a block holds all layers:
/// `[layer][key or value][kv_head][position][head_dim]` in cells of type `T`.
#[derive(Debug, Clone)]
pub struct Blocks<T> {
    blocks: Vec<Arc<Vec<T>>>,
    len: usize,
    /// Cells of one layer's keys (or values) in a block.
    part: usize,
    n_layer: usize,
}

impl<T: KvCell> Blocks<T> {
    fn new(config: &Config) -> Self {
        let part = config.kv_width() * KV_BLOCK / T::ELEMENTS;
        Self {
            blocks: Vec::new(),
            len: 0,
            part,
            n_layer: config.n_layer,
        }
    }

    fn block_cells(&self) -> usize {
        2 * self.n_layer * self.part
    }

    fn reserve(&mut self, len: usize) -> Result<()> {
        let cells = self.block_cells();
        let failed = |_| Error::OutOfMemory {
            needed: (cells * size_of::<T>()) as u64,
            budget: 0,
        };
        // The block that the next position falls into may be shared with a fork.
        if let Some(block) = self.blocks.get_mut(self.len / KV_BLOCK)
            && Arc::get_mut(block).is_none()
        {
            let mut copy = Vec::new();
            copy.try_reserve_exact(cells).map_err(failed)?;
            copy.extend_from_slice(block);
            *block = Arc::new(copy);
        }
        while self.blocks.len() * KV_BLOCK < len {
            let mut block = Vec::new();
            block.try_reserve_exact(cells).map_err(failed)?;
            block.resize(cells, T::default());
            self.blocks.push(Arc::new(block));
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        (self.blocks.len() * self.block_cells() * size_of::<T>()) as u64
    }

    fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
            self.blocks.truncate(len.div_ceil(KV_BLOCK));
        }
    }

    /// The keys and values of `layer` in the block of `position`, for writing.
    pub(super) fn parts_mut(
        &mut self,
        layer: usize,
        position: usize,
    ) -> Result<(&mut [T], &mut [T])> {
        let start = 2 * layer * self.part;
        let part = self.part;
        self.blocks
            .get_mut(position / KV_BLOCK)
            .and_then(Arc::get_mut)
            .and_then(|block| block.get_mut(start..start + 2 * part))
            .map(|both| both.split_at_mut(part))
            .ok_or_else(|| Error::internal("a KV position was written before it was reserved"))
    }

    pub(super) fn layer(&self, layer: usize) -> LayerView<'_, T> {
        LayerView {
            blocks: &self.blocks,
            start: 2 * layer * self.part,
            part: self.part,
        }
    }
}

/// One layer's keys and values.
pub(super) struct LayerView<'a, T> {
    blocks: &'a [Arc<Vec<T>>],
    start: usize,
    part: usize,
}

impl<T: KvCell> KvLayer<T> for LayerView<'_, T> {
    fn k_block(&self, b: usize) -> &[T] {
        &self.blocks[b][self.start..self.start + self.part]
    }

    fn v_block(&self, b: usize) -> &[T] {
        &self.blocks[b][self.start + self.part..self.start + 2 * self.part]
    }
}

/// A cache of any type.
#[derive(Debug, Clone)]
pub enum Kv {
    F32(Blocks<f32>),
    F16(Blocks<f16>),
    Q8_0(Blocks<Q8Cell>),
}

impl Kv {
    pub(super) fn new(config: &Config, ty: KvType) -> Self {
        match ty {
            KvType::F32 => Self::F32(Blocks::new(config)),
            KvType::F16 => Self::F16(Blocks::new(config)),
            KvType::Q8_0 => Self::Q8_0(Blocks::new(config)),
        }
    }
}

macro_rules! each {
    ($kv:expr, $blocks:ident => $body:expr) => {
        match $kv {
            Kv::F32($blocks) => $body,
            Kv::F16($blocks) => $body,
            Kv::Q8_0($blocks) => $body,
        }
    };
}

impl Cache for Kv {
    fn len(&self) -> usize {
        each!(self, blocks => blocks.len)
    }

    fn reserve(&mut self, len: usize) -> Result<()> {
        each!(self, blocks => blocks.reserve(len))
    }

    fn advance(&mut self, len: usize) {
        each!(self, blocks => blocks.len = len);
    }

    fn truncate(&mut self, len: usize) {
        each!(self, blocks => blocks.truncate(len));
    }

    fn fork(&self) -> Result<Self> {
        Ok(self.clone())
    }

    fn bytes(&self) -> u64 {
        each!(self, blocks => blocks.bytes())
    }
}
