//! The block formats, decoded plainly: the definition that every kernel is tested against.
//!
//! Every quantized type is seen as groups of 32 weights. A group has 32 integers and an f32
//! scale, perhaps an integer factor of the scale for each half, perhaps a minimum. The products
//! below are exact in f32 (a scale has 11 significant bits, a factor and an integer at most 8), so
//! the order of the multiplications does not matter; the exception, Q8_K, has an f32 scale and no
//! factors, so that there is one multiplication.
//!
//! A type is a unit struct of its name that implements [`BlockFormat`], and beside it [`Packed`]:
//! the same for registers, of any instruction set. Layouts stand above them: fields in their order
//! with their bytes, little-endian, without padding.

// The types bear the names that the format gives them.
#![allow(non_camel_case_types)]

mod blocks32;
pub(crate) mod codebook;
pub(crate) mod k_quants;
pub(crate) mod packed;
mod ternary;

use half::f16;

pub(crate) use blocks32::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub(crate) use codebook::{IQ4_NL, IQ4_XS, MXFP4};
pub(crate) use k_quants::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K};
pub(crate) use packed::{MAX_PLACES, Packed};
pub(crate) use ternary::{TQ1_0, TQ2_0};

use crate::types::GgmlType;

/// Weights in a group.
pub(crate) const GROUP: usize = 32;

/// A group of 32 weights: weight `i` is `d * sub[i / 16] * values[i] + m * sub_min[i / 16]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) values: [i8; GROUP],
    pub(crate) d: f32,
    pub(crate) sub: [i8; 2],
    pub(crate) m: f32,
    pub(crate) sub_min: [i8; 2],
}

impl Group {
    /// A group of one scale and no minimum.
    #[inline(always)]
    fn scaled(d: f32, values: [i8; GROUP]) -> Self {
        Group {
            values,
            d,
            sub: [1, 1],
            m: 0.0,
            sub_min: [1, 1],
        }
    }
}

/// Whether groups have a minimum, and with it a second fma.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Minimum {
    None,
    /// One for the group: `sub_min` is 1.
    Group,
    /// An integer factor for each half.
    Halves,
}

/// A quantized type, decoded plainly.
pub(crate) trait BlockFormat {
    const TYPE: GgmlType;
    const MINIMUM: Minimum = Minimum::None;

    /// Groups in a block.
    const GROUPS: usize = Self::TYPE.block_len() / GROUP;
    const BLOCK_BYTES: usize = Self::TYPE.block_bytes();

    /// Group `g` of a block, which has [`BLOCK_BYTES`](Self::BLOCK_BYTES).
    fn group(block: &[u8], g: usize) -> Group;

    /// Group `g` of a row of blocks.
    #[inline(always)]
    fn group_of_row(row: &[u8], g: usize) -> Group {
        let block = &row[g / Self::GROUPS * Self::BLOCK_BYTES..][..Self::BLOCK_BYTES];
        Self::group(block, g % Self::GROUPS)
    }
}

/// Evaluates an expression with `$format` the format of a quantized type. Naming each lets every
/// arm compile to code for that format alone.
macro_rules! with_format {
    ($ty:expr, $format:ident => $body:expr) => {
        with_format!(@ $ty, $format, $body,
            [Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4])
    };
    (@ $ty:expr, $format:ident, $body:expr, [$($name:ident)*]) => {
        match $ty {
            $($crate::types::GgmlType::$name => {
                type $format = $crate::formats::$name;
                $body
            })*
            $crate::types::GgmlType::F32
            | $crate::types::GgmlType::F16
            | $crate::types::GgmlType::BF16 => unreachable!("float types have no groups"),
        }
    };
}

pub(crate) use with_format;

#[inline(always)]
fn read_f16(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The low nibbles of 16 bytes, then the high ones.
#[inline(always)]
fn nibbles(bytes: &[u8]) -> [u8; GROUP] {
    std::array::from_fn(|i| bytes[i % 16] >> (i / 16 * 4) & 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantized_type_has_the_format_of_its_name() {
        for ty in GgmlType::ALL.into_iter().filter(|ty| ty.is_quantized()) {
            let (named, groups) = with_format!(ty, F => (F::TYPE, F::GROUPS));
            assert_eq!(named, ty);
            assert_eq!(groups * GROUP, ty.block_len());
        }
    }
}
