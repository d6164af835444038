//! The block formats, decoded plainly: the definition that every kernel is tested against.
//!
//! Every quantized type is seen as groups of 32 weights. A group has 32 integers and either one
//! f32 scale, a scale and a minimum, or (Q6_K) two integer scales for its halves beside an f32
//! one. All products below are exact in f32: a scale has 11 significant bits (f16), a sub-scale
//! at most 7, an integer at most 8; so the order of the multiplications does not matter.
//!
//! Layouts (all fields little-endian, no padding):
//! ```text
//! Q4_0  d:f16  qs[16]                      qs[i] = weight i | weight i+16 << 4, less 8
//! Q4_1  d:f16  m:f16  qs[16]
//! Q5_0  d:f16  qh[4]  qs[16]               bit i of qh = fifth bit of weight i, less 16
//! Q5_1  d:f16  m:f16  qh[4]  qs[16]
//! Q8_0  d:f16  qs[32]                      i8
//! Q4_K  d:f16  dmin:f16  scales[12]  qs[128]
//!       group 2p in the low, 2p+1 in the high nibbles of qs[32p..32p+32]
//! Q5_K  d:f16  dmin:f16  scales[12]  qh[32]  qs[128]
//!       bit g of qh[i] = fifth bit of weight i of group g
//! Q6_K  ql[128]  qh[64]  scales[16]:i8  d:f16
//!       in each half of 128: group g has nibble g/2 of ql[32(g%2)+i], bits 2g.. of qh[i], less 32
//! ```

use half::f16;

use crate::types::GgmlType;

/// Weights in a group.
pub(crate) const GROUP: usize = 32;

/// A group of 32 weights: weight `i` is `d * sub[i / 16] * values[i] + m`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) values: [i8; GROUP],
    pub(crate) d: f32,
    pub(crate) m: f32,
    pub(crate) sub: [i8; 2],
}

/// Whether the type's groups have a minimum (`m`), which costs a second fma per group.
pub(crate) const fn has_min(ty: GgmlType) -> bool {
    matches!(
        ty,
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q4_K | GgmlType::Q5_K
    )
}

#[inline(always)]
pub(crate) fn read_f16(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The eight 6-bit scales and the eight 6-bit minima packed into the 12 bytes of Q4_K and Q5_K,
/// each as eight bytes in the order of the groups.
///
/// Bytes 0..4 hold scales 0..4, bytes 4..8 minima 0..4, both in their low six bits. Bytes 8..12
/// hold the low nibbles of scales 4..8 (low) and minima 4..8 (high), whose upper two bits are
/// the upper two of bytes 0..4 and 4..8.
#[inline(always)]
pub(crate) fn k_scales(packed: &[u8; 12]) -> (u64, u64) {
    let word =
        |i: usize| u32::from_le_bytes([packed[i], packed[i + 1], packed[i + 2], packed[i + 3]]);
    let (first, second, third) = (word(0), word(4), word(8));
    let scales_high = (third & 0x0f0f_0f0f) | ((first >> 2) & 0x3030_3030);
    let mins_high = ((third >> 4) & 0x0f0f_0f0f) | ((second >> 2) & 0x3030_3030);
    let join = |low: u32, high: u32| u64::from(low & 0x3f3f_3f3f) | u64::from(high) << 32;
    (join(first, scales_high), join(second, mins_high))
}

/// Group `g` of a row of a quantized type.
#[inline(always)]
pub(crate) fn group(ty: GgmlType, row: &[u8], g: usize) -> Group {
    let groups = ty.block_len() / GROUP;
    let block = &row[g / groups * ty.block_bytes()..][..ty.block_bytes()];
    let g = g % groups;
    let mut values = [0i8; GROUP];
    let (mut m, mut sub) = (0.0, [1, 1]);
    let d;
    match ty {
        GgmlType::Q4_0 | GgmlType::Q4_1 => {
            d = read_f16(block, 0);
            let (qs, offset) = if ty == GgmlType::Q4_0 { (2, 8) } else { (4, 0) };
            if ty == GgmlType::Q4_1 {
                m = read_f16(block, 2);
            }
            for i in 0..16 {
                values[i] = (block[qs + i] & 15) as i8 - offset;
                values[i + 16] = (block[qs + i] >> 4) as i8 - offset;
            }
        }
        GgmlType::Q5_0 | GgmlType::Q5_1 => {
            d = read_f16(block, 0);
            let (qh, offset) = if ty == GgmlType::Q5_0 {
                (2, 16)
            } else {
                (4, 0)
            };
            if ty == GgmlType::Q5_1 {
                m = read_f16(block, 2);
            }
            let qs = qh + 4;
            let fifth = |i: usize| (block[qh + i / 8] >> (i % 8) & 1) << 4;
            for i in 0..16 {
                values[i] = (block[qs + i] & 15 | fifth(i)) as i8 - offset;
                values[i + 16] = (block[qs + i] >> 4 | fifth(i + 16)) as i8 - offset;
            }
        }
        GgmlType::Q8_0 => {
            d = read_f16(block, 0);
            for (value, byte) in values.iter_mut().zip(&block[2..]) {
                *value = *byte as i8;
            }
        }
        GgmlType::Q4_K | GgmlType::Q5_K => {
            let mut packed = [0u8; 12];
            packed.copy_from_slice(&block[4..16]);
            let (scales, mins) = k_scales(&packed);
            d = read_f16(block, 0) * f32::from(scales.to_le_bytes()[g]);
            m = -(read_f16(block, 2) * f32::from(mins.to_le_bytes()[g]));
            let qs = if ty == GgmlType::Q4_K { 16 } else { 48 } + g / 2 * 32;
            for (i, value) in values.iter_mut().enumerate() {
                let nibble = block[qs + i] >> (g % 2 * 4) & 15;
                let fifth = if ty == GgmlType::Q5_K {
                    (block[16 + i] >> g & 1) << 4
                } else {
                    0
                };
                *value = (nibble | fifth) as i8;
            }
        }
        GgmlType::Q6_K => {
            d = read_f16(block, 208);
            sub = [block[192 + 2 * g] as i8, block[192 + 2 * g + 1] as i8];
            let (half, g) = (g / 4, g % 4);
            let (ql, qh) = (64 * half + 32 * (g % 2), 128 + 32 * half);
            for (i, value) in values.iter_mut().enumerate() {
                let low = block[ql + i] >> (g / 2 * 4) & 15;
                let high = (block[qh + i] >> (2 * g) & 3) << 4;
                *value = (low | high) as i8 - 32;
            }
        }
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => {
            unreachable!("float types have no groups")
        }
    }
    Group { values, d, m, sub }
}
