//! The types with blocks of 32 weights.
//!
//! ```text
//! Q4_0  d:f16  qs[16]                      qs[i] = weight i | weight i+16 << 4, less 8
//! Q4_1  d:f16  m:f16  qs[16]
//! Q5_0  d:f16  qh[4]  qs[16]               bit i of qh = fifth bit of weight i, less 16
//! Q5_1  d:f16  m:f16  qh[4]  qs[16]
//! Q8_0  d:f16  qs[32]                      i8
//! ```

use super::{BlockFormat, GROUP, Group, Minimum, nibbles, read_f16};
use crate::types::GgmlType;

pub(crate) struct Q4_0;

impl BlockFormat for Q4_0 {
    const TYPE: GgmlType = GgmlType::Q4_0;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        let values = nibbles(&block[2..]).map(|q| q as i8 - 8);
        Group::scaled(read_f16(block, 0), values)
    }
}

pub(crate) struct Q4_1;

impl BlockFormat for Q4_1 {
    const TYPE: GgmlType = GgmlType::Q4_1;
    const MINIMUM: Minimum = Minimum::Group;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        let values = nibbles(&block[4..]).map(|q| q as i8);
        Group {
            m: read_f16(block, 2),
            ..Group::scaled(read_f16(block, 0), values)
        }
    }
}

/// 32 weights of 5 bits, from `qh` on.
#[inline(always)]
fn fives(bytes: &[u8]) -> [i8; GROUP] {
    let low = nibbles(&bytes[4..]);
    std::array::from_fn(|i| (low[i] | (bytes[i / 8] >> (i % 8) & 1) << 4) as i8)
}

pub(crate) struct Q5_0;

impl BlockFormat for Q5_0 {
    const TYPE: GgmlType = GgmlType::Q5_0;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        Group::scaled(read_f16(block, 0), fives(&block[2..]).map(|q| q - 16))
    }
}

pub(crate) struct Q5_1;

impl BlockFormat for Q5_1 {
    const TYPE: GgmlType = GgmlType::Q5_1;
    const MINIMUM: Minimum = Minimum::Group;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        Group {
            m: read_f16(block, 2),
            ..Group::scaled(read_f16(block, 0), fives(&block[4..]))
        }
    }
}

pub(crate) struct Q8_0;

impl BlockFormat for Q8_0 {
    const TYPE: GgmlType = GgmlType::Q8_0;

    #[inline(always)]
    fn group(block: &[u8], _: usize) -> Group {
        let values = std::array::from_fn(|i| block[2 + i] as i8);
        Group::scaled(read_f16(block, 0), values)
    }
}
