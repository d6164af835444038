//! Products of quantized weights with 8-bit activations: a task's weight rows times the whole
//! batch, by unpacked panels or in place. Written over [`Simd`], once for all instruction sets.

// Registers in arrays go by the row that they belong to.
#![allow(clippy::needless_range_loop)]

mod gemm;
mod gemv;

use std::marker::PhantomData;

use crate::activations::{Activations, GroupMeta};
use crate::disjoint::Disjoint;
use crate::formats::{GROUP, MAX_PLACES, Minimum, Packed};
use crate::matrix::Matrix;
use crate::prefetch::prefetch_lines;
use crate::simd::{Class, IntKernel, MAX_LANES, MAX_PANELS, Simd, Tile};

/// Activation rows from which unpacking a panel pays.
const UNPACK_FROM: usize = 3;

/// Bytes by which memory is asked for ahead, at least.
const PREFETCH: usize = 4096;

/// Bytes of scratch that panels need for each column, at most.
pub(crate) const PANEL_BYTES_PER_COL: usize =
    MAX_PANELS * (MAX_LANES + MAX_LANES * MAX_PLACES * 4 / GROUP);

/// Evaluates an expression for all rows of a batch from `$r` on, as many at once as the instruction
/// set does best with `$panels` panels. For numbers beyond that, nothing is compiled.
macro_rules! batches {
    ($r:ident, [$($m:literal)*], $panels:literal, $x:ident, $count:ident => $body:expr) => {
        $(if const { $m <= S::BATCH[$panels - 1] } {
            while $x.rows() - $r >= $m {
                const $count: usize = $m;
                $body;
                $r += $m;
            }
        })*
    };
}

/// Rows `rows` of `y[r * ldy + j] = dot(w.row(j), x.row(r))` for a quantized `w` and 8-bit `x`.
///
/// A kernel of its own for each format: together they would be one function too large to compile.
pub(crate) struct IntRows<'a, F> {
    pub(crate) format: PhantomData<F>,
    pub(crate) w: &'a Matrix<'a>,
    pub(crate) rows: std::ops::Range<usize>,
    pub(crate) x: &'a Activations,
    /// [`PANEL_BYTES_PER_COL`] bytes for each column, aligned to 64.
    pub(crate) scratch: &'a mut [f32],
    /// Columns `rows` are this task's alone.
    pub(crate) y: &'a Disjoint<'a, f32>,
    pub(crate) ldy: usize,
}

impl<F: Packed> IntKernel for IntRows<'_, F> {
    /// # Safety
    /// No other task writes these columns of `y`, whose rows of `ldy` are long enough for `w`; `x`
    /// has the columns of `w`, which is of the format and has at least [`Simd::LANES`] rows up to the
    /// last of `rows`.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let IntRows {
            format: _,
            w,
            rows,
            x,
            scratch,
            y,
            ldy,
        } = self;
        let groups = w.cols() / GROUP;
        let blocks = groups / F::GROUPS;
        assert!(w.ty() == F::TYPE && x.cols() == w.cols() && rows.end <= w.rows());
        assert!(rows.start == rows.end || rows.end >= S::LANES);
        assert!(size_of_val(scratch) >= PANEL_BYTES_PER_COL * w.cols());
        let scales_len = groups * F::PLACES * S::LANES;
        let (scales, panels) = scratch.split_at_mut(scales_len * S::PANELS);
        let panels_len = groups * gemm::panel_group::<S>();
        let room: [Room; MAX_PANELS] = std::array::from_fn(|i| {
            let i = i % S::PANELS;
            let panel = panels
                .as_mut_ptr()
                .cast::<u8>()
                .wrapping_add(i * panels_len);
            let scales = scales.as_mut_ptr().wrapping_add(i * scales_len);
            Room { panel, scales }
        });

        let mut first = rows.start;
        while first < rows.end {
            // The last tile reaches back over rows whose results are there already.
            let tile = |first: usize| {
                let n = S::LANES.min(rows.end - first);
                let start = w.row(first + n - S::LANES);
                let tile = Tile {
                    first: start.as_ptr(),
                    stride: w.row_bytes(),
                };
                (tile, Out { y, ldy, first, n })
            };
            let row = |r: usize| (x.ints(r, 1).as_ptr(), x.meta(r, 1).as_ptr());
            // SAFETY: the rows hold `blocks` blocks each, the scratch room for their panels, and
            // `x` as many groups in each of its rows; the processor is the caller's promise.
            unsafe {
                let (here, out) = tile(first);
                if x.rows() < UNPACK_FROM {
                    // Two tiles share the activations where registers suffice.
                    if S::GEMV_TILES == 2 && first + S::LANES < rows.end {
                        let (there, out2) = tile(first + S::LANES);
                        for r in 0..x.rows() {
                            let (ints, meta) = row(r);
                            let sums = gemv::dot::<S, F, 2>([here, there], blocks, ints, meta);
                            out.store::<S>(r, sums[0]);
                            out2.store::<S>(r, sums[1]);
                        }
                        first += 2 * S::LANES;
                        continue;
                    }
                    for r in 0..x.rows() {
                        let (ints, meta) = row(r);
                        let sums = gemv::dot::<S, F, 1>([here], blocks, ints, meta);
                        out.store::<S>(r, sums[0]);
                    }
                    first += S::LANES;
                    continue;
                }
                gemm::unpack::<S, F>(here, blocks, room[0]);
                let mut r = 0;
                // Sub-scales need the registers that a second panel would.
                if const { S::PANELS == 2 && !matches!(F::CLASS, Class::Unsigned6Scaled) }
                    && first + S::LANES < rows.end
                {
                    let (there, out2) = tile(first + S::LANES);
                    gemm::unpack::<S, F>(there, blocks, room[1]);
                    batches!(r, [6 2 1], 2, x, M => {
                        let (ints, meta) = row(r);
                        let room = [room[0], room[1]];
                        let sums = gemm::dots::<S, F, M, 2>(room, groups, ints, meta);
                        for m in 0..M {
                            out.store::<S>(r + m, sums[0][m]);
                            out2.store::<S>(r + m, sums[1][m]);
                        }
                    });
                    first += 2 * S::LANES;
                    continue;
                }
                batches!(r, [8 4 1], 1, x, M => {
                    let (ints, meta) = row(r);
                    let sums = gemm::dots::<S, F, M, 1>([room[0]], groups, ints, meta);
                    for m in 0..M {
                        out.store::<S>(r + m, sums[0][m]);
                    }
                });
                first += S::LANES;
            }
        }
    }
}

/// Where the results of a tile go: its last `n` rows are the columns from `first` on.
struct Out<'a> {
    y: &'a Disjoint<'a, f32>,
    ldy: usize,
    first: usize,
    n: usize,
}

impl Out<'_> {
    /// # Safety
    /// These columns are this task's alone, and row `r` of `y` holds them; the processor has the
    /// instruction set.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, r: usize, sums: S::Floats) {
        let mut lanes = [0.0; MAX_LANES];
        // SAFETY: the array has room for any tile, and only one part is written at a time.
        unsafe {
            S::store_floats(lanes.as_mut_ptr(), sums);
            let out = self.y.part(r * self.ldy + self.first, self.n);
            if self.n == S::LANES {
                out.copy_from_slice(&lanes[..S::LANES]);
            } else {
                out.copy_from_slice(&lanes[S::LANES - self.n..S::LANES]);
            }
        }
    }
}

/// Room for the panels of a tile: its integers, and its scales.
#[derive(Clone, Copy)]
struct Room {
    panel: *mut u8,
    scales: *mut f32,
}

/// What belongs to a group of a tile and of an activation row.
#[derive(Clone, Copy)]
struct Panel {
    /// [`Packed::PLACES`] places.
    scales: *const f32,
    meta: *const GroupMeta,
}

/// Takes the part of the integers' offset out of a group's products: exact, by the activations'
/// sums.
#[inline(always)]
unsafe fn finish<S: Simd, F: Packed>(sums: S::Ints, panel: Panel) -> S::Ints {
    // SAFETY: by the caller's promise.
    unsafe {
        if F::CLASS == Class::Unsigned6Scaled {
            if F::OFFSET == 0 {
                return sums;
            }
            let pairs = S::load_ints(panel.scales.add(S::LANES));
            let excess = S::mul(
                S::pairs_dot(pairs, panel.meta),
                S::splat_int(F::OFFSET.into()),
            );
            return S::sub(sums, excess);
        }
        let signed = if F::CLASS == Class::Signed8 {
            S::SIGNED_EXCESS
        } else {
            0
        };
        if F::OFFSET + signed == 0 {
            return sums;
        }
        S::remove(sums, F::OFFSET + signed, panel.meta)
    }
}

/// Adds a group to the accumulators: the one place where the order of the float operations is set.
#[inline(always)]
unsafe fn accumulate<S: Simd, F: Packed>(acc: S::Floats, sums: S::Ints, panel: Panel) -> S::Floats {
    // SAFETY: by the caller's promise.
    unsafe {
        let place = |i: usize| panel.scales.add(i * S::LANES);
        let d = S::splat_float((*panel.meta).d);
        let scale = S::mul_floats(S::load_floats(place(0)), d);
        let acc = S::fma(scale, S::to_floats(sums), acc);
        match F::MINIMUM {
            Minimum::None => acc,
            Minimum::Group => {
                let sum = S::splat_float((*panel.meta).s);
                S::fma(S::load_floats(place(1)), sum, acc)
            }
            Minimum::Halves => {
                let scale = S::mul_floats(S::load_floats(place(2)), d);
                let sums = S::pairs_dot(S::load_ints(place(3)), panel.meta);
                S::fma(scale, S::to_floats(sums), acc)
            }
        }
    }
}

/// Asks for the share of group `g` in what block `b` of the next `tiles` tiles occupies. It follows in memory,
/// and arrives while this one is worked on; an address past the end of the weights does no harm. Many
/// lines asked for at once would keep those waiting that are needed now.
#[inline(always)]
fn prefetch_next<S: Simd, F: Packed>(tile: Tile, tiles: usize, blocks: usize, b: usize, g: usize) {
    let bytes = tiles * S::LANES * F::BLOCK_BYTES;
    let share = bytes / F::GROUPS;
    let ahead = (blocks * bytes).max(PREFETCH) + b * bytes + g * share;
    prefetch_lines(tile.first.wrapping_add(ahead), share);
}
