//! The types of ternary weights (BitNet and its like).
//!
//! ```text
//! TQ1_0  qs[48]  qh[4]  d:f16
//!        a byte is a fraction of 256 in base 3, rounded up: its digits, most significant first,
//!        are five weights (four in qh), less 1. Digit n of qs[i], i < 32, is weight 32n + i;
//!        of qs[32 + i] weight 160 + 16n + i; of qh[i] weight 240 + 4n + i.
//! TQ2_0  qs[64]  d:f16
//!        in each half of 128: group g has bits 2g.. of qs[32*half..], less 1
//! ```

use super::k_quants::two_bits;
use super::{BlockFormat, GROUP, Group, read_f16};
use crate::types::GgmlType;

/// Digit `n` of a byte: what stands before it is shifted out by the multiplication.
#[inline(always)]
fn digit(byte: u8, n: usize) -> i8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    ((u16::from(byte.wrapping_mul(POWERS[n])) * 3) >> 8) as i8
}

pub(crate) struct TQ1_0;

impl BlockFormat for TQ1_0 {
    const TYPE: GgmlType = GgmlType::TQ1_0;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let value = |i: usize| match g * GROUP + i {
            at @ 0..160 => digit(block[at % 32], at / 32),
            at @ 160..240 => digit(block[32 + at % 16], (at - 160) / 16),
            at => digit(block[48 + at % 4], (at - 240) / 4),
        };
        let values = std::array::from_fn(|i| value(i) - 1);
        Group::scaled(read_f16(block, 52), values)
    }
}

pub(crate) struct TQ2_0;

impl BlockFormat for TQ2_0 {
    const TYPE: GgmlType = GgmlType::TQ2_0;

    #[inline(always)]
    fn group(block: &[u8], g: usize) -> Group {
        let values = std::array::from_fn(|i| two_bits(block, g, i) as i8 - 1);
        Group::scaled(read_f16(block, 64), values)
    }
}
