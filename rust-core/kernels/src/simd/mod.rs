//! The registers that the integer kernels are written over, once for every instruction set.
//!
//! A register of [`Simd::Bytes`] has slots of 16 bytes: one on NEON, two on AVX2, four on
//! AVX-512. A slot belongs to a weight row, and holds the first or the second half of one of its
//! groups. Four registers make a *tile* of [`Simd::LANES`] rows:
//!
//! ```text
//!             slot 0    slot 1    slot 2    slot 3        (AVX-512)
//! register 0 | row 0  | row 4   | row 8   | row 12  |
//! register 1 | row 1  | row 5   | row 9   | row 13  |
//! register 2 | row 2  | row 6   | row 10  | row 14  |
//! register 3 | row 3  | row 7   | row 11  | row 15  |
//! ```
//!
//! In this order the sums of four registers' slots, or their 32-bit columns, come out with the
//! rows in their own order, by exchanges within the slots alone.
//!
//! All methods must be `#[inline(always)]`, and so must what calls them, up to a function that has
//! the instruction set enabled: only then do intrinsics become instructions.

use crate::activations::GroupMeta;
use crate::formats::Packed;
use crate::isa::Isa;

/// The rows of a tile: where the first is, and how many bytes lie from one to the next.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) first: *const u8,
    pub(crate) stride: usize,
}

impl Tile {
    /// Where row `row` has its byte `at`.
    ///
    /// # Safety
    /// The row is one of the tile's, and holds that byte.
    #[inline(always)]
    pub(crate) unsafe fn at(self, row: usize, at: usize) -> *const u8 {
        // SAFETY: by the caller's promise.
        unsafe { self.first.add(row * self.stride + at) }
    }

    /// The tile's rows without their first `bytes`.
    ///
    /// # Safety
    /// They have that many.
    #[inline(always)]
    pub(crate) unsafe fn skip(self, bytes: usize) -> Self {
        // SAFETY: by the caller's promise.
        let first = unsafe { self.first.add(bytes) };
        Tile { first, ..self }
    }
}

/// The most rows in a tile.
pub(crate) const MAX_LANES: usize = 16;

/// The most panels that are multiplied side by side.
pub(crate) const MAX_PANELS: usize = 2;

/// What the integers of a format are, which decides how their products may be summed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// 0..=15: the products of a whole group's pairs fit into 16 bits.
    Unsigned4,
    /// 0..=31: four pairs fit.
    Unsigned5,
    /// 0..=63 with an integer scale for each half of the group: two pairs fit.
    Unsigned6Scaled,
    /// -128..=127: one pair fits.
    Signed8,
}

/// An instruction set's integer operations, and the few float ones that follow them.
///
/// # Safety of all methods
/// The processor has the instruction set, and pointers are to as much as the method says it reads
/// or writes, of any alignment.
pub(crate) trait Simd {
    /// Slots of 16 bytes in a register.
    const SLOTS: usize;
    /// Rows in a tile; lanes of 32 bits in a register.
    const LANES: usize = 4 * Self::SLOTS;
    /// Tiles that are multiplied side by side in place: 1 or 2.
    const GEMV_TILES: usize;
    /// Panels that are multiplied side by side: at most [`MAX_PANELS`].
    const PANELS: usize;
    /// Activation rows that are multiplied at once with one panel, and with two: those for which
    /// the registers suffice.
    const BATCH: [usize; MAX_PANELS];
    /// What the products take signed weights to exceed their values by.
    const SIGNED_EXCESS: i16;
    /// Whether panels hold the weights without their offset, as signed bytes.
    const SIGNED_PANELS: bool;

    /// Slots of 16 bytes.
    type Bytes: Copy;
    /// Lanes of i32.
    type Ints: Copy;
    /// Lanes of f32.
    type Floats: Copy;

    /// The tile itself, its rows found from its first one only, if that is faster than a moving pointer for
    /// each.
    #[inline(always)]
    unsafe fn one_pointer(tile: Tile) -> Tile {
        tile
    }

    /// 16 bytes of each row of register `e`, from byte `at` of the row on.
    unsafe fn load(tile: Tile, e: usize, at: usize) -> Self::Bytes;
    /// Four bytes of each row of register `e`, repeated.
    unsafe fn load_quads(tile: Tile, e: usize, at: usize) -> Self::Bytes;
    /// 16 bits of each row of register `e`: bytes of all ones where a bit is set.
    unsafe fn load_bits(tile: Tile, e: usize, at: usize) -> Self::Bytes;
    /// Four bytes of each row, the rows in their order: a word for each of the lanes.
    unsafe fn load_words(tile: Tile, at: usize) -> Self::Bytes;
    /// The same byte everywhere.
    unsafe fn splat(byte: u8) -> Self::Bytes;
    unsafe fn and(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    unsafe fn or(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Bytes shifted right; what comes into their upper bits is undefined.
    unsafe fn shr<const N: u32>(a: Self::Bytes) -> Self::Bytes;
    /// Bytes shifted left; what comes into their lower bits is undefined.
    unsafe fn shl<const N: u32>(a: Self::Bytes) -> Self::Bytes;
    /// The values that indices of 0..16 choose.
    unsafe fn look_up(table: &[i8; 16], indices: Self::Bytes) -> Self::Bytes;
    /// Each slot's bytes times `factors`, modulo 256.
    unsafe fn mul_bytes(a: Self::Bytes, factors: &[u8; 16]) -> Self::Bytes;
    /// Bytes less another everywhere, modulo 256.
    unsafe fn sub_bytes(a: Self::Bytes, less: u8) -> Self::Bytes;
    /// Bytes of all ones where an unsigned byte is at least `least`.
    unsafe fn at_least(a: Self::Bytes, least: u8) -> Self::Bytes;

    /// 16 activations, the same in each slot.
    unsafe fn activations(ints: *const i8) -> Self::Bytes;
    /// Products of a whole group, both halves: in each slot four sums that make one together.
    unsafe fn dot_group<F: Packed>(w: [Self::Bytes; 2], a: [Self::Bytes; 2]) -> Self::Ints;
    /// Products of half a group.
    unsafe fn dot_half<F: Packed>(w: Self::Bytes, a: Self::Bytes) -> Self::Ints;
    /// The sums of each slot's four lanes, a lane for each row of the tile.
    unsafe fn reduce(parts: [Self::Ints; 4]) -> Self::Ints;

    /// Products of a whole group, a lane for each row of the tile. (No closures: the compiler may leave
    /// one outside of the function that has the instructions enabled.)
    #[inline(always)]
    unsafe fn dot_tile<F: Packed>(w: [[Self::Bytes; 2]; 4], a: [Self::Bytes; 2]) -> Self::Ints {
        // SAFETY: by the caller's promise.
        unsafe {
            Self::reduce([
                Self::dot_group::<F>(w[0], a),
                Self::dot_group::<F>(w[1], a),
                Self::dot_group::<F>(w[2], a),
                Self::dot_group::<F>(w[3], a),
            ])
        }
    }

    /// Writes half a group of a tile to a panel: `64 * SLOTS` bytes.
    unsafe fn store_panel(half: [Self::Bytes; 4], panel: *mut u8);
    /// Products of a group of `P` panels (`128 * SLOTS` bytes each) with `M` rows of activations,
    /// `stride` apart. Where the halves have scales, these are pairs of 16 bits in the second place
    /// of `scales`, and done with.
    unsafe fn panel_products<F: Packed, const M: usize, const P: usize>(
        panels: [*const u8; P],
        scales: [*const f32; P],
        ints: *const i8,
        stride: usize,
    ) -> [[Self::Ints; M]; P];

    /// Takes `excess` times the sum of a group's activations off.
    unsafe fn remove(sums: Self::Ints, excess: i16, meta: *const GroupMeta) -> Self::Ints;
    /// Pairs of 16 bits times the sums of the activations' halves, added.
    unsafe fn pairs_dot(pairs: Self::Ints, meta: *const GroupMeta) -> Self::Ints;
    /// The first (or the second) number of each pair of 16 bits.
    unsafe fn of_pairs<const SECOND: bool>(pairs: Self::Ints) -> Self::Ints;
    unsafe fn add(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    unsafe fn sub(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    unsafe fn mul(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    unsafe fn splat_int(x: i32) -> Self::Ints;
    unsafe fn load_ints(p: *const f32) -> Self::Ints;
    unsafe fn store_ints(p: *mut f32, x: Self::Ints);
    /// Byte `G` of each row's four, unsigned.
    unsafe fn byte<const G: usize>(words: Self::Bytes) -> Self::Ints;
    /// Signed bytes `2G` and `2G + 1` of each row's four as a pair of 16 bits.
    unsafe fn byte_pair<const G: usize>(words: Self::Bytes) -> Self::Ints;

    unsafe fn load_floats(p: *const f32) -> Self::Floats;
    unsafe fn store_floats(p: *mut f32, x: Self::Floats);
    /// The f16 at byte `at` of each row.
    unsafe fn load_halves(tile: Tile, at: usize) -> Self::Floats;
    /// The two f16 at byte `at` of each row.
    unsafe fn load_half_pairs(tile: Tile, at: usize) -> [Self::Floats; 2];
    unsafe fn splat_float(x: f32) -> Self::Floats;
    unsafe fn to_floats(x: Self::Ints) -> Self::Floats;
    unsafe fn mul_floats(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    unsafe fn neg_floats(a: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
}

/// A byte shuffle within slots that takes bytes `2G` and `2G + 1` of each four to the upper bytes of
/// a pair of 16 bits.
#[cfg(target_arch = "x86_64")]
pub(crate) const fn pair_places<const G: usize>() -> &'static [i8; 16] {
    const {
        let mut places = [-128; 16];
        let mut first = 0;
        while first < 16 {
            places[first + 1] = (first + 2 * G) as i8;
            places[first + 3] = (first + 2 * G + 1) as i8;
            first += 4;
        }
        &{ places }
    }
}

/// An integer computation written over [`Simd`], to be compiled for each instruction set.
pub(crate) trait IntKernel {
    /// # Safety
    /// The processor has the instruction set; what else, the kernel says.
    unsafe fn run<S: Simd>(self);
}

/// Executes a kernel on `isa`; `false` if that has none, as the reference.
///
/// # Safety
/// What the kernel says.
#[inline]
pub(crate) unsafe fn dispatch<K: IntKernel>(isa: Isa, kernel: K) -> bool {
    match isa.or_scalar() {
        // SAFETY: `or_scalar` returns only what the processor has; the rest is the caller's promise.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { crate::avx2::run(kernel) },
        // SAFETY: as above.
        #[cfg(avx512)]
        Isa::Avx512Vnni => unsafe { crate::avx512::run(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { crate::neon::run(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDotprod => unsafe { crate::neon::run_dotprod(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::NeonI8mm => unsafe { crate::neon::run_i8mm(kernel) },
        _ => return false,
    }
    true
}

/// Rows in a tile on `isa`: none where it has no integer kernels.
pub(crate) fn lanes(isa: Isa) -> Option<usize> {
    match isa.or_scalar() {
        Isa::Scalar => None,
        Isa::Neon | Isa::NeonDotprod | Isa::NeonI8mm => Some(4),
        Isa::Avx2 => Some(8),
        Isa::Avx512Vnni => Some(16),
    }
}
