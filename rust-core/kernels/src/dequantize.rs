//! Weights to f32, for embedding rows and for products with f32 activations.

use half::{bf16, f16};

use crate::error::ShapeError;
use crate::formats::{BlockFormat, GROUP, Minimum, with_format};
use crate::isa::Isa;
use crate::lanes::{Kernel, Lanes, dispatch};
use crate::types::GgmlType;

/// Decodes whole blocks to f32: `out[i]` is weight `i` of `bytes`, exactly as the format defines
/// it (one rounding, where a minimum is added).
///
/// # Errors
/// If `out` is no whole number of blocks or `bytes` has not exactly the length of that many.
pub fn dequantize(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Result<(), ShapeError> {
    let Some(expected) = ty.row_bytes(out.len()) else {
        return Err(ShapeError::PartialBlock {
            ty,
            cols: out.len(),
        });
    };
    if bytes.len() != expected {
        return Err(ShapeError::Length {
            what: "the weights to decode",
            expected,
            actual: bytes.len(),
        });
    }
    dispatch(Isa::detect(), Decode { ty, bytes, out });
    Ok(())
}

struct Decode<'a> {
    ty: GgmlType,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        decode_row(self.ty, self.bytes, self.out);
    }
}

/// [`dequantize`] for sizes already checked. Inlined into kernels so that the compiler can use
/// their instruction set.
#[inline(always)]
pub(crate) fn decode_row(ty: GgmlType, bytes: &[u8], out: &mut [f32]) {
    match ty {
        GgmlType::F32 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
        GgmlType::F16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = f16::from_le_bytes(*bytes).to_f32();
            }
        }
        GgmlType::BF16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = bf16::from_le_bytes(*bytes).to_f32();
            }
        }
        quantized => with_format!(quantized, F => decode_groups::<F>(bytes, out)),
    }
}

#[inline(always)]
fn decode_groups<F: BlockFormat>(bytes: &[u8], out: &mut [f32]) {
    for (g, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let group = F::group_of_row(bytes, g);
        let d = group.sub.map(|sub| group.d * f32::from(sub));
        let m = group.sub_min.map(|sub| group.m * f32::from(sub));
        for (i, (out, value)) in out.iter_mut().zip(group.values).enumerate() {
            let value = d[i / 16] * f32::from(value);
            // Adding a zero minimum would turn -0 into +0.
            *out = match F::MINIMUM {
                Minimum::None => value,
                Minimum::Group | Minimum::Halves => value + m[i / 16],
            };
        }
    }
}
