//! Tiles of weight rows times one activation row, the weights read in place.

use super::{Panel, accumulate, finish, prefetch_next};
use crate::activations::GroupMeta;
use crate::formats::packed::for_groups;
use crate::formats::{GROUP, MAX_PLACES, Packed};
use crate::simd::{Class, MAX_LANES, Simd, Tile};

/// The scales of a block of a tile's rows, at most: where a block is a group, they stay in registers.
#[repr(align(64))]
struct Scales([f32; 8 * MAX_PLACES * MAX_LANES]);

/// The dot products of the rows of `T` tiles with one activation row, a lane for each weight row.
///
/// # Safety
/// The rows hold `blocks` blocks each; `ints` and `meta` point to as many groups of activations; the
/// processor has the instruction set.
#[inline(always)]
pub(super) unsafe fn dot<S: Simd, F: Packed, const T: usize>(
    tiles: [Tile; T],
    blocks: usize,
    mut ints: *const i8,
    mut meta: *const GroupMeta,
) -> [S::Floats; T] {
    // SAFETY: all pointers are moved by what a block takes, once a block, and so stay within their
    // arrays or end behind them.
    unsafe {
        let mut acc = [S::splat_float(0.0); T];
        let mut block = tiles;
        for b in 0..blocks {
            let mut scales: [Scales; T] = [const { Scales([0.0; 8 * MAX_PLACES * MAX_LANES]) }; T];
            for t in 0..T {
                F::scales::<S>(block[t], scales[t].0.as_mut_ptr());
            }
            for_groups!(F::GROUPS, G => {
                prefetch_next::<S, F>(tiles[0], T, blocks, b, G);
                let a = [
                    S::activations(ints.add(G * GROUP)),
                    S::activations(ints.add(G * GROUP + 16)),
                ];
                for t in 0..T {
                    let scales = scales[t].0.as_ptr().add(G * F::PLACES * S::LANES);
                    let sums = products::<S, F, G>(block[t], scales, a);
                    let panel = Panel { scales, meta: meta.add(G) };
                    acc[t] = accumulate::<S, F>(acc[t], finish::<S, F>(sums, panel), panel);
                }
            });
            block = block.map(|tile| S::one_pointer(tile.skip(F::BLOCK_BYTES)));
            ints = ints.add(F::GROUPS * GROUP);
            meta = meta.add(F::GROUPS);
        }
        acc
    }
}

/// The integer products of group `G`, a lane for each row.
#[inline(always)]
unsafe fn products<S: Simd, F: Packed, const G: usize>(
    tile: Tile,
    scales: *const f32,
    a: [S::Bytes; 2],
) -> S::Ints {
    // SAFETY: the caller promises whole blocks.
    unsafe {
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
        let w = [
            [F::half::<S, G, 0>(tile, 0), F::half::<S, G, 1>(tile, 0)],
            [F::half::<S, G, 0>(tile, 1), F::half::<S, G, 1>(tile, 1)],
            [F::half::<S, G, 0>(tile, 2), F::half::<S, G, 1>(tile, 2)],
            [F::half::<S, G, 0>(tile, 3), F::half::<S, G, 1>(tile, 3)],
        ];
        S::dot_tile::<F>(w, a)
    }
}
