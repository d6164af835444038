//! A panel of weight rows, unpacked to bytes, times several activation rows.
//!
//! A panel holds, for each group, eight registers: register `j` has in the 32-bit lane `r` the
//! weights 4j..4j+4 of row `r`. Four activations broadcast to all lanes then multiply with four
//! weights of each row at once, and the sums stay in their lanes: no horizontal additions.

// Registers in arrays go by the row that they belong to.
#![allow(clippy::needless_range_loop)]

use super::{Panel, Room, accumulate, finish, prefetch_next};
use crate::activations::GroupMeta;
use crate::formats::packed::for_groups;
use crate::formats::{GROUP, Packed};
use crate::simd::{Simd, Tile};

/// Bytes of a group in a panel.
pub(super) const fn panel_group<S: Simd>() -> usize {
    S::LANES * GROUP
}

/// Unpacks the rows of a tile into a panel of integers, and their scales into one of scales.
///
/// # Safety
/// The rows hold `blocks` blocks each, for whose groups there is room; the processor has the
/// instruction set.
#[inline(always)]
pub(super) unsafe fn unpack<S: Simd, F: Packed>(
    tile: Tile,
    blocks: usize,
    Room { panel, scales }: Room,
) {
    for b in 0..blocks {
        // SAFETY: `b` is below the number of blocks.
        unsafe {
            let block = tile.skip(b * F::BLOCK_BYTES);
            F::scales::<S>(block, scales.add(b * F::GROUPS * F::PLACES * S::LANES));
            for_groups!(F::GROUPS, G => {
                prefetch_next::<S, F>(tile, 1, blocks, b, G);
                let panel = panel.add((b * F::GROUPS + G) * panel_group::<S>());
                let first = [
                    panel_half::<S, F, G, 0>(block, 0),
                    panel_half::<S, F, G, 0>(block, 1),
                    panel_half::<S, F, G, 0>(block, 2),
                    panel_half::<S, F, G, 0>(block, 3),
                ];
                S::store_panel(first, panel);
                let second = [
                    panel_half::<S, F, G, 1>(block, 0),
                    panel_half::<S, F, G, 1>(block, 1),
                    panel_half::<S, F, G, 1>(block, 2),
                    panel_half::<S, F, G, 1>(block, 3),
                ];
                let panel = panel.add(panel_group::<S>() / 2);
                S::store_panel(second, panel);
            });
        }
    }
}

/// Half a group, of the rows of register `e`, as panels hold it.
#[inline(always)]
unsafe fn panel_half<S: Simd, F: Packed, const G: usize, const H: usize>(
    tile: Tile,
    e: usize,
) -> S::Bytes {
    // SAFETY: by the caller's promise.
    unsafe {
        let half = F::half::<S, G, H>(tile, e);
        if S::SIGNED_PANELS && F::OFFSET != 0 {
            S::sub_bytes(half, F::OFFSET as u8)
        } else {
            half
        }
    }
}

/// The dot products of the rows of `P` panels with `M` activation rows, one after the other in
/// memory.
///
/// # Safety
/// The panels hold `groups` groups, `ints` and `meta` `M` rows of as many; the processor has the
/// instruction set.
#[inline(always)]
pub(super) unsafe fn dots<S: Simd, F: Packed, const M: usize, const P: usize>(
    room: [Room; P],
    groups: usize,
    ints: *const i8,
    meta: *const GroupMeta,
) -> [[S::Floats; M]; P] {
    // SAFETY: `g` is below the number of groups and `m` below `M`, so all pointers stay within
    // their arrays.
    unsafe {
        let mut acc = [[S::splat_float(0.0); M]; P];
        for g in 0..groups {
            let panels: [*const u8; P] =
                std::array::from_fn(|p| room[p].panel.add(g * panel_group::<S>()).cast_const());
            let scales: [*const f32; P] =
                std::array::from_fn(|p| room[p].scales.add(g * F::PLACES * S::LANES).cast_const());
            let sums =
                S::panel_products::<F, M, P>(panels, scales, ints.add(g * GROUP), groups * GROUP);
            for p in 0..P {
                for m in 0..M {
                    let panel = Panel {
                        scales: scales[p],
                        meta: meta.add(m * groups + g),
                    };
                    let sums = if S::SIGNED_PANELS {
                        sums[p][m]
                    } else {
                        finish::<S, F>(sums[p][m], panel)
                    };
                    acc[p][m] = accumulate::<S, F>(acc[p][m], sums, panel);
                }
            }
        }
        acc
    }
}
