//! The canonical dot product of a quantized weight row and a quantized activation row.

use crate::activations::GroupMeta;
use crate::formats::{BlockFormat, GROUP, Minimum, with_format};
use crate::types::GgmlType;

/// The integers of two halves, each with its factor.
fn of_halves(factors: [i8; 2], halves: [i32; 2]) -> i32 {
    i32::from(factors[0]) * halves[0] + i32::from(factors[1]) * halves[1]
}

/// For each group in the order of k: the exact integer product, then
/// `acc = fma(dw * da, product, acc)`, and with a minimum `acc = fma(m, s, acc)`, or, where the
/// halves have one each, `acc = fma(m * da, sums with their factors, acc)`.
pub(crate) fn dot(ty: GgmlType, row: &[u8], ints: &[i8], meta: &[GroupMeta]) -> f32 {
    with_format!(ty, F => dot_of::<F>(row, ints, meta))
}

fn dot_of<F: BlockFormat>(row: &[u8], ints: &[i8], meta: &[GroupMeta]) -> f32 {
    let mut acc = 0.0f32;
    for (g, (q, meta)) in ints.chunks_exact(GROUP).zip(meta).enumerate() {
        let group = F::group_of_row(row, g);
        let mut halves = [0i32; 2];
        for (i, (w, q)) in group.values.iter().zip(q).enumerate() {
            halves[i / 16] += i32::from(*w) * i32::from(*q);
        }
        let product = of_halves(group.sub, halves);
        acc = (group.d * meta.d).mul_add(product as f32, acc);
        match F::MINIMUM {
            Minimum::None => {}
            Minimum::Group => acc = group.m.mul_add(meta.s, acc),
            Minimum::Halves => {
                let sum = of_halves(group.sub_min, meta.sums.map(i32::from));
                acc = (group.m * meta.d).mul_add(sum as f32, acc);
            }
        }
    }
    acc
}
