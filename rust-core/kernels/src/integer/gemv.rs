//! A tile of weight rows times one activation row, the weights read in place.

use super::{Panel, accumulate, finish, prefetch_next};
use crate::activations::GroupMeta;
use crate::formats::packed::for_groups;
use crate::formats::{GROUP, Packed};
use crate::simd::{Class, Simd, Tile};

/// The dot products of a tile's rows with one activation row, a lane for each weight row.
///
/// # Safety
/// The rows hold `blocks` blocks each; `ints` and `meta` point to as many groups of activations;
/// `scales` has room for the scales of a block; the processor has the instruction set.
#[inline(always)]
pub(super) unsafe fn dot<S: Simd, F: Packed>(
    tile: Tile,
    blocks: usize,
    scales: *mut f32,
    ints: *const i8,
    meta: *const GroupMeta,
) -> S::Floats {
    // SAFETY: `b` is below the number of blocks, so all pointers stay within their arrays.
    unsafe {
        let mut acc = S::splat_float(0.0);
        for b in 0..blocks {
            let block = tile.skip(b * F::BLOCK_BYTES);
            F::scales::<S>(block, scales);
            for_groups!(F::GROUPS, G => {
                prefetch_next::<S, F>(tile, blocks, b, G);
                let at = b * F::GROUPS + G;
                let scales = scales.add(G * F::PLACES * S::LANES);
                let sums = products::<S, F, G>(block, scales, ints.add(at * GROUP));
                let panel = Panel { scales, meta: meta.add(at) };
                acc = accumulate::<S, F>(acc, finish::<S, F>(sums, panel), panel);
            });
        }
        acc
    }
}

/// The integer products of group `G`, a lane for each row.
#[inline(always)]
unsafe fn products<S: Simd, F: Packed, const G: usize>(
    tile: Tile,
    scales: *const f32,
    ints: *const i8,
) -> S::Ints {
    // SAFETY: the caller promises whole blocks and a group of activations.
    unsafe {
        let a = [S::activations(ints), S::activations(ints.add(16))];
        if F::CLASS == Class::Unsigned6Scaled {
            let first = S::reduce([
                S::dot_half::<F>(F::half::<S, G, 0>(tile, 0), a[0]),
                S::dot_half::<F>(F::half::<S, G, 0>(tile, 1), a[0]),
                S::dot_half::<F>(F::half::<S, G, 0>(tile, 2), a[0]),
                S::dot_half::<F>(F::half::<S, G, 0>(tile, 3), a[0]),
            ]);
            let second = S::reduce([
                S::dot_half::<F>(F::half::<S, G, 1>(tile, 0), a[1]),
                S::dot_half::<F>(F::half::<S, G, 1>(tile, 1), a[1]),
                S::dot_half::<F>(F::half::<S, G, 1>(tile, 2), a[1]),
                S::dot_half::<F>(F::half::<S, G, 1>(tile, 3), a[1]),
            ]);
            let pairs = S::load_ints(scales.add(S::LANES));
            return S::add(
                S::mul(first, S::of_pairs::<false>(pairs)),
                S::mul(second, S::of_pairs::<true>(pairs)),
            );
        }
        S::reduce([
            S::dot_group::<F>(
                [F::half::<S, G, 0>(tile, 0), F::half::<S, G, 1>(tile, 0)],
                a,
            ),
            S::dot_group::<F>(
                [F::half::<S, G, 0>(tile, 1), F::half::<S, G, 1>(tile, 1)],
                a,
            ),
            S::dot_group::<F>(
                [F::half::<S, G, 0>(tile, 2), F::half::<S, G, 1>(tile, 2)],
                a,
            ),
            S::dot_group::<F>(
                [F::half::<S, G, 0>(tile, 3), F::half::<S, G, 1>(tile, 3)],
                a,
            ),
        ])
    }
}
