//! The reference: the same forward pass in plain f32 candle tensors.
//!
//! Slow and large, and independent of the kernels down to how a block is dequantized, for the types
//! that candle knows. Tests compare the two.

use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, ggml_file::qtensor_from_ggml};
use candle_core::{D, DType, Device, IndexOp, Tensor};
use dormouse_kernels::{GgmlType, RopeStyle, dequantize};

use super::backend::{AttentionParams, Backend, Cache, Linear, Slot};
use super::config::{Activation, Config};
use super::lora::LowRank;
use super::rope::RopeConfig;
use crate::error::{Error, Result};
use crate::weights::Weight;

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::internal(format!("reference backend: {error}"))
    }
}

/// Logits of this many rows are computed at once.
const SELECTED_ROWS: usize = 64;

/// Activations as f32 tensors `[rows][width]`.
pub(super) struct CandleBackend {
    config: Arc<Config>,
    slots: [Option<Tensor>; Slot::COUNT],
    rows: usize,
    first: usize,
}

/// Inverse frequencies of the rotated pairs, and which elements form a pair.
pub(super) struct CandleRope {
    style: RopeStyle,
    dims: usize,
    frequencies: Vec<f32>,
    magnitude: f32,
}

/// Keys and values of each layer, `[kv_head][position][head_dim]`.
#[derive(Clone)]
pub(super) struct CandleCache {
    layers: Vec<Option<(Tensor, Tensor)>>,
    len: usize,
}

impl CandleBackend {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            slots: Default::default(),
            rows: 0,
            first: 0,
        }
    }

    fn get(&self, slot: Slot) -> Result<&Tensor> {
        self.slots[slot as usize]
            .as_ref()
            .ok_or_else(|| Error::internal(format!("slot {slot:?} was read before it was written")))
    }

    fn set(&mut self, slot: Slot, tensor: Tensor) {
        self.slots[slot as usize] = Some(tensor);
    }

    /// `[rows][heads * head_dim]` as `[heads][rows][head_dim]`.
    fn heads(&self, slot: Slot) -> Result<Tensor> {
        let dim = self.config.head_dim;
        let tensor = self.get(slot)?;
        let heads = slot.width(&self.config) / dim;
        Ok(tensor
            .reshape((self.rows, heads, dim))?
            .transpose(0, 1)?
            .contiguous()?)
    }
}

fn normed(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    let scale = (mean + f64::from(eps))?.sqrt()?;
    Ok(x.broadcast_div(&scale)?.broadcast_mul(weight)?)
}

/// candle's name of a type; `None` if it cannot read the type from a file.
fn dtype(ty: GgmlType) -> Option<GgmlDType> {
    Some(match ty {
        GgmlType::F32 => GgmlDType::F32,
        GgmlType::F16 => GgmlDType::F16,
        GgmlType::BF16 => GgmlDType::BF16,
        GgmlType::Q4_0 => GgmlDType::Q4_0,
        GgmlType::Q4_1 => GgmlDType::Q4_1,
        GgmlType::Q5_0 => GgmlDType::Q5_0,
        GgmlType::Q5_1 => GgmlDType::Q5_1,
        GgmlType::Q8_0 => GgmlDType::Q8_0,
        GgmlType::Q2_K => GgmlDType::Q2K,
        GgmlType::Q3_K => GgmlDType::Q3K,
        GgmlType::Q4_K => GgmlDType::Q4K,
        GgmlType::Q5_K => GgmlDType::Q5K,
        GgmlType::Q6_K => GgmlDType::Q6K,
        GgmlType::Q8_K
        | GgmlType::IQ4_NL
        | GgmlType::IQ4_XS
        | GgmlType::TQ1_0
        | GgmlType::TQ2_0
        | GgmlType::MXFP4 => return None,
    })
}

impl Cache for CandleCache {
    fn len(&self) -> usize {
        self.len
    }

    fn reserve(&mut self, _len: usize) -> Result<()> {
        Ok(())
    }

    fn advance(&mut self, len: usize) {
        self.len = len;
    }

    fn truncate(&mut self, len: usize) {
        // What lies past the end is cut off by the next store.
        self.len = self.len.min(len);
    }

    fn fork(&self) -> Result<Self> {
        Ok(self.clone())
    }

    fn bytes(&self) -> u64 {
        let elements = |t: &Tensor| t.elem_count() as u64;
        self.layers
            .iter()
            .flatten()
            .map(|(k, v)| 4 * (elements(k) + elements(v)))
            .sum()
    }
}

impl Backend for CandleBackend {
    type Matrix = Tensor;
    type Vector = Tensor;
    type Rope = CandleRope;
    type Cache = CandleCache;

    fn matrix(&self, weight: Weight) -> Result<Tensor> {
        let device = Device::Cpu;
        let (rows, cols) = (weight.rows(), weight.cols());
        let Some(dtype) = dtype(weight.ty()) else {
            // By our own reading of the format, which is checked against ggml's elsewhere.
            let mut values = vec![0.0; rows * cols];
            dequantize(weight.ty(), weight.bytes(), &mut values)
                .map_err(|e| Error::internal(format!("{}: {e}", weight.name())))?;
            return Ok(Tensor::from_vec(values, (rows, cols), &device)?);
        };
        let quantized = qtensor_from_ggml(dtype, weight.bytes(), vec![rows, cols], &device)?;
        Ok(quantized.dequantize(&device)?)
    }

    fn vector(&self, values: Vec<f32>) -> Result<Tensor> {
        let len = values.len();
        Ok(Tensor::from_vec(values, len, &Device::Cpu)?)
    }

    fn rope_table(&mut self, rope: &RopeConfig, factors: Option<&[f32]>) -> Result<CandleRope> {
        let frequencies = (0..rope.dims / 2)
            .map(|pair| {
                let exponent = -2.0 * pair as f64 / rope.dims as f64;
                let factor = factors.map_or(1.0, |factors| f64::from(factors[pair]));
                let base = f64::from(rope.base).powf(exponent);
                (base * f64::from(rope.freq_scale) / factor) as f32
            })
            .collect();
        Ok(CandleRope {
            style: rope.style,
            dims: rope.dims,
            frequencies,
            magnitude: rope.magnitude,
        })
    }

    fn cache(&self, config: &Arc<Config>, _context_length: usize) -> Result<CandleCache> {
        Ok(CandleCache {
            layers: vec![None; config.n_layer],
            len: 0,
        })
    }

    fn embed(&mut self, matrix: &Tensor, tokens: &[u32], scale: f32, first: usize) -> Result<()> {
        let ids = Tensor::new(tokens, &Device::Cpu)?;
        let rows = (matrix.index_select(&ids, 0)? * f64::from(scale))?;
        self.rows = tokens.len();
        self.first = first;
        self.set(Slot::Residual, rows);
        Ok(())
    }

    fn layer_norm(
        &mut self,
        src: Slot,
        weight: &Tensor,
        bias: Option<&Tensor>,
        eps: f32,
        dst: Slot,
    ) -> Result<()> {
        let x = self.get(src)?;
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let mut out = normed(&centred, weight, eps)?;
        if let Some(bias) = bias {
            out = out.broadcast_add(bias)?;
        }
        self.set(dst, out);
        Ok(())
    }

    fn rms_norm(&mut self, src: Slot, weight: &Tensor, eps: f32, dst: Slot) -> Result<()> {
        let out = normed(self.get(src)?, weight, eps)?;
        self.set(dst, out);
        Ok(())
    }

    fn head_norm(&mut self, slot: Slot, weight: &Tensor, eps: f32) -> Result<()> {
        let out = normed(&self.heads(slot)?, weight, eps)?;
        let width = slot.width(&self.config);
        self.set(
            slot,
            out.transpose(0, 1)?
                .contiguous()?
                .reshape((self.rows, width))?,
        );
        Ok(())
    }

    fn linear(&mut self, src: Slot, layers: &[(&Linear<Self>, Slot)]) -> Result<()> {
        let x = self.get(src)?.clone();
        for (linear, dst) in layers {
            let mut y = x.matmul(&linear.weight.t()?)?;
            if let Some(bias) = &linear.bias {
                y = y.broadcast_add(bias)?;
            }
            self.set(*dst, y);
        }
        Ok(())
    }

    fn low_rank(&mut self, src: Slot, part: &LowRank<Self>, dst: Slot) -> Result<()> {
        let inner = self.get(src)?.matmul(&part.down.t()?)?;
        let outer = (inner.matmul(&part.up.t()?)? * f64::from(part.factor))?;
        let sum = (self.get(dst)? + outer)?;
        self.set(dst, sum);
        Ok(())
    }

    fn rope(&mut self, slot: Slot, rope: &CandleRope) -> Result<()> {
        let x = self.heads(slot)?;
        let (heads, rows, dim) = x.dims3()?;
        let pairs = rope.dims / 2;
        let mut cos = Vec::with_capacity(rows * pairs);
        let mut sin = Vec::with_capacity(rows * pairs);
        for row in 0..rows {
            for frequency in &rope.frequencies {
                let angle = (self.first + row) as f64 * f64::from(*frequency);
                cos.push(angle.cos() as f32 * rope.magnitude);
                sin.push(angle.sin() as f32 * rope.magnitude);
            }
        }
        let cos = Tensor::from_vec(cos, (rows, pairs), &Device::Cpu)?;
        let sin = Tensor::from_vec(sin, (rows, pairs), &Device::Cpu)?;
        let turned = x.narrow(2, 0, rope.dims)?;
        let (a, b) = match rope.style {
            RopeStyle::Neox => (turned.narrow(2, 0, pairs)?, turned.narrow(2, pairs, pairs)?),
            RopeStyle::Normal => {
                let split = turned.reshape((heads, rows, pairs, 2))?;
                (split.i((.., .., .., 0))?, split.i((.., .., .., 1))?)
            }
        };
        let new_a = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let new_b = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
        let turned = match rope.style {
            RopeStyle::Neox => Tensor::cat(&[new_a, new_b], 2)?,
            RopeStyle::Normal => {
                Tensor::stack(&[new_a, new_b], 3)?.reshape((heads, rows, rope.dims))?
            }
        };
        let out = if rope.dims == dim {
            turned
        } else {
            Tensor::cat(&[turned, x.narrow(2, rope.dims, dim - rope.dims)?], 2)?
        };
        let width = slot.width(&self.config);
        self.set(
            slot,
            out.transpose(0, 1)?.contiguous()?.reshape((rows, width))?,
        );
        Ok(())
    }

    fn store(&mut self, cache: &mut CandleCache, layer: usize) -> Result<()> {
        let first = self.first;
        let (key, value) = (self.heads(Slot::Key)?, self.heads(Slot::Value)?);
        let append = |old: &Tensor, new: &Tensor| -> Result<Tensor> {
            Ok(Tensor::cat(&[&old.narrow(1, 0, first)?, new], 1)?)
        };
        let both = match &cache.layers[layer] {
            Some((keys, values)) if first > 0 => (append(keys, &key)?, append(values, &value)?),
            _ => (key, value),
        };
        cache.layers[layer] = Some(both);
        Ok(())
    }

    fn attention(&mut self, cache: &CandleCache, params: &AttentionParams) -> Result<()> {
        let (keys, values) = cache.layers[params.layer]
            .as_ref()
            .ok_or_else(|| Error::internal("attention before any key was stored"))?;
        let query = self.heads(Slot::Query)?;
        let (n_head, rows, dim) = query.dims3()?;
        let (n_kv_head, total, _) = keys.dims3()?;
        // The heads that share a key head become more rows of one product.
        let group = n_head / n_kv_head;
        let query = query.reshape((n_kv_head, group * rows, dim))?;
        let mut scores =
            (query.matmul(&keys.transpose(1, 2)?.contiguous()?)? * f64::from(params.scale))?;
        if let Some(cap) = params.soft_cap {
            scores = ((scores / f64::from(cap))?.tanh()? * f64::from(cap))?;
        }
        let mut mask = Vec::with_capacity(rows * total);
        for row in 0..rows {
            let position = self.first + row;
            let oldest = params
                .window
                .map_or(0, |window| (position + 1).saturating_sub(window));
            mask.extend((0..total).map(|key| {
                if (oldest..=position).contains(&key) {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            }));
        }
        let mask = Tensor::from_vec(mask, (1, 1, rows, total), &Device::Cpu)?;
        let scores = scores
            .reshape((n_kv_head, group, rows, total))?
            .broadcast_add(&mask)?;
        let highest = scores.max_keepdim(D::Minus1)?;
        let weights = scores.broadcast_sub(&highest)?.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        let out = weights
            .reshape((n_kv_head, group * rows, total))?
            .matmul(values)?;
        let out = out
            .reshape((n_head, rows, dim))?
            .transpose(0, 1)?
            .contiguous()?;
        self.set(Slot::Attended, out.reshape((rows, n_head * dim))?);
        Ok(())
    }

    fn activate(&mut self, slot: Slot, activation: Activation) -> Result<()> {
        let x = self.get(slot)?;
        let out = match activation {
            Activation::Silu => x.silu()?,
            Activation::GeluTanh => x.gelu()?,
        };
        self.set(slot, out);
        Ok(())
    }

    fn activate_gated(&mut self, activation: Activation) -> Result<()> {
        self.activate(Slot::Gate, activation)?;
        let out = (self.get(Slot::Gate)? * self.get(Slot::Up)?)?;
        self.set(Slot::Gate, out);
        Ok(())
    }

    fn scale(&mut self, slot: Slot, factor: f32) -> Result<()> {
        let out = (self.get(slot)? * f64::from(factor))?;
        self.set(slot, out);
        Ok(())
    }

    fn add_to_residual(&mut self, src: Slot) -> Result<()> {
        let sum = (self.get(Slot::Residual)? + self.get(src)?)?;
        self.set(Slot::Residual, sum);
        Ok(())
    }

    fn soft_cap(&mut self, slot: Slot, cap: f32) -> Result<()> {
        let cap = f64::from(cap);
        let out = ((self.get(slot)? / cap)?.tanh()? * cap)?;
        self.set(slot, out);
        Ok(())
    }

    fn select(&mut self, rows: Range<usize>) -> Result<()> {
        let chosen = self
            .get(Slot::Residual)?
            .narrow(0, rows.start, rows.len())?;
        self.rows = rows.len();
        self.set(Slot::Normed, chosen);
        Ok(())
    }

    fn max_selected(&self) -> usize {
        SELECTED_ROWS
    }

    fn read(&mut self, slot: Slot, out: &mut [f32]) -> Result<()> {
        let values = self
            .get(slot)?
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        if values.len() != out.len() {
            return Err(Error::internal(format!(
                "{slot:?} has {} values, not {}",
                values.len(),
                out.len()
            )));
        }
        out.copy_from_slice(&values);
        Ok(())
    }
}
