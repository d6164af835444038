//! Activations to 8-bit integers.

use crate::activations::GroupMeta;
use crate::formats::GROUP;

/// Quantizes whole groups; see [`Activations`](crate::Activations) for the definition.
pub(crate) fn quantize(x: &[f32], ints: &mut [i8], meta: &mut [GroupMeta]) {
    for ((x, q), meta) in x
        .chunks_exact(GROUP)
        .zip(ints.chunks_exact_mut(GROUP))
        .zip(meta)
    {
        // Magnitudes compare like their bits, which puts NaN above all and so into the scale.
        let max = x
            .iter()
            .fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff));
        let mut d = f32::from_bits(max) / 127.0;
        let mut inverse = 1.0 / d;
        if d < f32::MIN_POSITIVE {
            (d, inverse) = (0.0, 0.0);
        }
        let mut sums = [0i16; 2];
        for (i, (q, x)) in q.iter_mut().zip(x).enumerate() {
            // `clamp` would keep a NaN, which vector instructions do not.
            #[allow(clippy::manual_clamp)]
            let scaled = (x * inverse).min(127.0).max(-127.0);
            *q = scaled.round_ties_even() as i8;
            sums[i / 16] += i16::from(*q);
        }
        let s = d * f32::from(sums[0] + sums[1]);
        *meta = GroupMeta {
            d,
            s,
            sums,
            sum: (sums[0] + sums[1]).into(),
        };
    }
}
