//! The fast path: our kernels over one planned arena and one thread pool. Nothing is allocated
//! per token except a KV block every [`dormouse_kernels::KV_BLOCK`] positions.

mod arena;
mod kv;

use std::ops::Range;
use std::sync::Arc;

use dormouse_kernels::{
    self as kernels, Activations, AttentionScratch, AttentionShape, Isa, Pool, Precision, Rope,
    RopeTable, Scratch,
};

use super::backend::{AttentionParams, Backend, Linear, Slot};
use super::config::{Activation, Config};
use super::lora::LowRank;
use super::rope::RopeConfig;
use crate::error::{Error, Result};
use crate::weights::Weight;
use arena::Arena;
pub(super) use arena::ArenaPlan;
pub use kv::KvType;
use kv::{Blocks, Kv};

impl From<kernels::ShapeError> for Error {
    fn from(error: kernels::ShapeError) -> Self {
        Self::internal(format!("kernel: {error}"))
    }
}

/// How the kernels backend is set up.
#[derive(Debug, Clone, Copy)]
pub(super) struct KernelOptions {
    pub(super) threads: usize,
    pub(super) isa: Isa,
    pub(super) precision: Precision,
    pub(super) kv_type: KvType,
}

/// Work buffers and the compute pool of one model.
pub(super) struct KernelsBackend {
    config: Arc<Config>,
    pool: Pool,
    isa: Isa,
    precision: Precision,
    kv_type: KvType,
    arena: Arena,
    activations: Activations,
    scratch: Scratch,
    attention: AttentionScratch,
    /// Each kind of rope with the sines and cosines of the present chunk.
    ropes: Vec<(Rope, RopeTable)>,
    positions: Vec<u32>,
    /// What adapters compute, `[rows][rank]` and `[rows][out]`; empty without one.
    low_rank: [Vec<f32>; 2],
    rows: usize,
    first: usize,
}

/// Index of a rope that the backend holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct RopeId(usize);

impl KernelsBackend {
    pub(super) fn new(config: Arc<Config>, options: KernelOptions) -> Result<Self> {
        let plan = ArenaPlan::new(&config);
        let widest = config.n_embd.max(config.n_ff).max(config.q_width());
        let threads = options.threads.max(1);
        Ok(Self {
            pool: Pool::with_on_start(threads, crate::threads::started),
            isa: options.isa,
            precision: options.precision,
            kv_type: options.kv_type,
            activations: Activations::new(plan.chunk, widest),
            scratch: Scratch::new(threads, widest),
            attention: AttentionScratch::new(config.n_head),
            ropes: Vec::new(),
            positions: Vec::with_capacity(plan.chunk),
            arena: Arena::new(plan)?,
            config,
            low_rank: Default::default(),
            rows: 0,
            first: 0,
        })
    }

    pub(super) fn max_chunk(&self) -> usize {
        self.arena.plan.chunk
    }

    fn attend<T: kernels::KvCell>(
        &mut self,
        blocks: &Blocks<T>,
        params: &AttentionParams,
    ) -> Result<()> {
        let shape = AttentionShape {
            n_head: self.config.n_head,
            n_kv_head: self.config.n_kv_head,
            head_dim: self.config.head_dim,
            scale: params.scale,
            soft_cap: params.soft_cap,
            window: params.window,
        };
        let (query, out) = self.arena.pair(Slot::Query, Slot::Attended, self.rows)?;
        let view = blocks.layer(params.layer);
        kernels::attention(
            &self.pool,
            self.isa,
            &shape,
            query,
            self.first,
            &view,
            &mut self.attention,
            out,
        );
        Ok(())
    }

    fn write<T: kernels::KvCell>(&self, blocks: &mut Blocks<T>, layer: usize) -> Result<()> {
        let (heads, dim) = (self.config.n_kv_head, self.config.head_dim);
        let keys = self
            .arena
            .get(Slot::Key, self.rows)
            .chunks_exact(heads * dim);
        let values = self
            .arena
            .get(Slot::Value, self.rows)
            .chunks_exact(heads * dim);
        for (row, (key, value)) in keys.zip(values).enumerate() {
            let position = self.first + row;
            let slot = position % kernels::KV_BLOCK;
            let (k, v) = blocks.parts_mut(layer, position)?;
            kernels::store_kv(self.isa, key, k, slot, heads, dim);
            kernels::store_kv(self.isa, value, v, slot, heads, dim);
        }
        Ok(())
    }
}

/// Makes a buffer at least `len` long.
fn grow(buffer: &mut Vec<f32>, len: usize) -> Result<()> {
    if let Some(more) = len.checked_sub(buffer.len()) {
        buffer
            .try_reserve_exact(more)
            .map_err(|_| Error::OutOfMemory {
                needed: (len * size_of::<f32>()) as u64,
                budget: 0,
            })?;
        buffer.resize(len, 0.0);
    }
    Ok(())
}

impl Backend for KernelsBackend {
    type Matrix = Weight;
    type Vector = Vec<f32>;
    type Rope = RopeId;
    type Cache = Kv;

    fn matrix(&self, weight: Weight) -> Result<Weight> {
        // Checked once here, so that the forward pass cannot meet a wrong size.
        weight.matrix()?;
        Ok(weight)
    }

    fn vector(&self, values: Vec<f32>) -> Result<Vec<f32>> {
        Ok(values)
    }

    fn rope_table(&mut self, rope: &RopeConfig, factors: Option<&[f32]>) -> Result<RopeId> {
        let table = RopeTable::new(self.arena.plan.chunk, rope.dims);
        let rope = Rope::new(rope.style, rope.dims, rope.base, rope.freq_scale, factors)
            .with_magnitude(rope.magnitude);
        self.ropes.push((rope, table));
        Ok(RopeId(self.ropes.len() - 1))
    }

    fn cache(&self, config: &Arc<Config>, _context_length: usize) -> Result<Kv> {
        Ok(Kv::new(config, self.kv_type))
    }

    fn embed(&mut self, matrix: &Weight, tokens: &[u32], scale: f32, first: usize) -> Result<()> {
        let view = matrix.matrix()?;
        let width = self.arena.width(Slot::Residual);
        self.rows = tokens.len();
        self.first = first;
        self.positions.clear();
        self.positions
            .extend((first..first + tokens.len()).map(|position| position as u32));
        for (rope, table) in &mut self.ropes {
            table.set(&self.pool, rope, &self.positions);
        }
        let out = self.arena.get_mut(Slot::Residual, tokens.len());
        for (&token, row) in tokens.iter().zip(out.chunks_exact_mut(width)) {
            kernels::dequantize(matrix.ty(), view.row(token as usize), row)?;
        }
        if scale != 1.0 {
            kernels::scale(&self.pool, self.isa, out, scale);
        }
        Ok(())
    }

    fn layer_norm(
        &mut self,
        src: Slot,
        weight: &Vec<f32>,
        bias: Option<&Vec<f32>>,
        eps: f32,
        dst: Slot,
    ) -> Result<()> {
        let (rows, width) = (self.rows, self.arena.width(dst));
        if src != dst {
            let (x, y) = self.arena.pair(src, dst, rows)?;
            y.copy_from_slice(x);
        }
        let x = self.arena.get_mut(dst, rows);
        let bias = bias.map(Vec::as_slice);
        kernels::layer_norm_inplace(&self.pool, self.isa, x, weight, bias, eps, rows, width);
        Ok(())
    }

    fn rms_norm(&mut self, src: Slot, weight: &Vec<f32>, eps: f32, dst: Slot) -> Result<()> {
        let (rows, width) = (self.rows, self.arena.width(dst));
        if src == dst {
            let x = self.arena.get_mut(src, rows);
            kernels::rms_norm_inplace(&self.pool, self.isa, x, weight, eps, rows, width);
        } else {
            let (x, y) = self.arena.pair(src, dst, rows)?;
            kernels::rms_norm(&self.pool, self.isa, x, weight, eps, rows, width, y);
        }
        Ok(())
    }

    fn head_norm(&mut self, slot: Slot, weight: &Vec<f32>, eps: f32) -> Result<()> {
        let dim = self.config.head_dim;
        let heads = self.rows * self.arena.width(slot) / dim;
        let x = self.arena.get_mut(slot, self.rows);
        kernels::rms_norm_inplace(&self.pool, self.isa, x, weight, eps, heads, dim);
        Ok(())
    }

    fn linear(&mut self, src: Slot, layers: &[(&Linear<Self>, Slot)]) -> Result<()> {
        let (rows, cols) = (self.rows, self.arena.width(src));
        self.activations.set(
            &self.pool,
            self.arena.get(src, rows),
            rows,
            cols,
            self.precision,
        )?;
        for (linear, dst) in layers {
            let width = self.arena.width(*dst);
            let matrix = linear.weight.matrix()?;
            let out = self.arena.get_mut(*dst, rows);
            kernels::matmul(
                &self.pool,
                self.isa,
                &matrix,
                &self.activations,
                &mut self.scratch,
                out,
                width,
            )?;
            if let Some(bias) = &linear.bias {
                for row in out.chunks_exact_mut(width) {
                    kernels::add_assign(&self.pool, self.isa, row, bias);
                }
            }
        }
        Ok(())
    }

    fn low_rank(&mut self, src: Slot, part: &LowRank<Self>, dst: Slot) -> Result<()> {
        let rows = self.rows;
        let mut buffers = std::mem::take(&mut self.low_rank);
        let [inner, outer] = &mut buffers;
        let (rank, width) = (part.rank, self.arena.width(dst));
        grow(inner, rows * rank)?;
        grow(outer, rows * width)?;
        let (inner, outer) = (&mut inner[..rows * rank], &mut outer[..rows * width]);
        let input = self.arena.get(src, rows);
        let cols = self.arena.width(src);
        self.activations
            .set(&self.pool, input, rows, cols, self.precision)?;
        let mut product = |matrix: &Weight, x: &Activations, y: &mut [f32], width| {
            let matrix = matrix.matrix()?;
            kernels::matmul(
                &self.pool,
                self.isa,
                &matrix,
                x,
                &mut self.scratch,
                y,
                width,
            )?;
            Ok::<(), Error>(())
        };
        product(&part.down, &self.activations, inner, rank)?;
        self.activations
            .set(&self.pool, inner, rows, rank, self.precision)?;
        product(&part.up, &self.activations, outer, width)?;
        kernels::scale(&self.pool, self.isa, outer, part.factor);
        kernels::add_assign(&self.pool, self.isa, self.arena.get_mut(dst, rows), outer);
        self.low_rank = buffers;
        Ok(())
    }

    fn rope(&mut self, slot: Slot, rope: &RopeId) -> Result<()> {
        let dim = self.config.head_dim;
        let heads = self.arena.width(slot) / dim;
        let rows = self.rows;
        let x = self.arena.get_mut(slot, rows);
        let (rope, table) = &self.ropes[rope.0];
        rope.apply_table(&self.pool, self.isa, x, rows, heads, dim, table);
        Ok(())
    }

    fn store(&mut self, cache: &mut Kv, layer: usize) -> Result<()> {
        match cache {
            Kv::F32(blocks) => self.write(blocks, layer),
            Kv::F16(blocks) => self.write(blocks, layer),
            Kv::Q8_0(blocks) => self.write(blocks, layer),
        }
    }

    fn attention(&mut self, cache: &Kv, params: &AttentionParams) -> Result<()> {
        match cache {
            Kv::F32(blocks) => self.attend(blocks, params),
            Kv::F16(blocks) => self.attend(blocks, params),
            Kv::Q8_0(blocks) => self.attend(blocks, params),
        }
    }

    fn activate(&mut self, slot: Slot, activation: Activation) -> Result<()> {
        let x = self.arena.get_mut(slot, self.rows);
        match activation {
            Activation::Silu => kernels::silu(&self.pool, self.isa, x),
            Activation::GeluTanh => kernels::gelu_tanh(&self.pool, self.isa, x),
        }
        Ok(())
    }

    fn scale(&mut self, slot: Slot, factor: f32) -> Result<()> {
        if factor != 1.0 {
            let x = self.arena.get_mut(slot, self.rows);
            kernels::scale(&self.pool, self.isa, x, factor);
        }
        Ok(())
    }

    fn activate_gated(&mut self, activation: Activation) -> Result<()> {
        let (up, gate) = self.arena.pair(Slot::Up, Slot::Gate, self.rows)?;
        match activation {
            Activation::Silu => kernels::silu_mul(&self.pool, self.isa, gate, up),
            Activation::GeluTanh => kernels::gelu_tanh_mul(&self.pool, self.isa, gate, up),
        }
        Ok(())
    }

    fn add_to_residual(&mut self, src: Slot) -> Result<()> {
        let (y, x) = self.arena.pair(src, Slot::Residual, self.rows)?;
        kernels::add_assign(&self.pool, self.isa, x, y);
        Ok(())
    }

    fn soft_cap(&mut self, slot: Slot, cap: f32) -> Result<()> {
        let x = self.arena.get_mut(slot, self.rows);
        kernels::soft_cap(&self.pool, self.isa, x, cap);
        Ok(())
    }

    fn select(&mut self, rows: Range<usize>) -> Result<()> {
        let width = self.arena.width(Slot::Residual);
        self.rows = rows.len();
        let (residual, chosen) = self
            .arena
            .pair_rows((Slot::Residual, rows.end), (Slot::Normed, rows.len()))?;
        chosen.copy_from_slice(&residual[rows.start * width..]);
        Ok(())
    }

    fn max_selected(&self) -> usize {
        self.arena.plan.logit_rows
    }

    fn read(&mut self, slot: Slot, out: &mut [f32]) -> Result<()> {
        let values = self.arena.get(slot, self.rows);
        if values.len() != out.len() {
            return Err(Error::internal(format!(
                "{slot:?} has {} values, not {}",
                values.len(),
                out.len()
            )));
        }
        out.copy_from_slice(values);
        Ok(())
    }
}
