//! The canonical dot product of a quantized weight row and a quantized activation row.

use crate::activations::GroupMeta;
use crate::quant::{GROUP, group, has_min};
use crate::types::GgmlType;

/// For each group in the order of k: the exact integer product, then
/// `acc = fma(dw * da, product, acc)`, and with a minimum `acc = fma(m, s, acc)`.
pub(crate) fn dot(ty: GgmlType, row: &[u8], ints: &[i8], meta: &[GroupMeta]) -> f32 {
    let mut acc = 0.0f32;
    for (g, (q, meta)) in ints.chunks_exact(GROUP).zip(meta).enumerate() {
        let group = group(ty, row, g);
        let mut halves = [0i32; 2];
        for (i, (w, q)) in group.values.iter().zip(q).enumerate() {
            halves[i / 16] += i32::from(*w) * i32::from(*q);
        }
        let product = i32::from(group.sub[0]) * halves[0] + i32::from(group.sub[1]) * halves[1];
        acc = (group.d * meta.d).mul_add(product as f32, acc);
        if has_min(ty) {
            acc = group.m.mul_add(meta.s, acc);
        }
    }
    acc
}
