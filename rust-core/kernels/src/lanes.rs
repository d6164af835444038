//! Eight f32 lanes: the vector all float kernels are written over, once for every instruction
//! set.
//!
//! The canonical order of a dot product (eight partial sums striding the elements, fused
//! multiply-adds, then a fixed tree) is a property of this type, not of a processor: the scalar
//! lanes perform the same operations in the same order, so every instruction set gives the same
//! bits. A wider instruction set must not widen the lanes; it may process several at once.

use crate::isa::Isa;

/// Eight f32 lanes. All operations are IEEE 754 with rounding to nearest even.
pub(crate) trait Lanes: Copy {
    /// Two vectors side by side.
    type Pair: Pair<Self>;

    fn splat(x: f32) -> Self;
    /// # Safety
    /// `p` points to eight readable f32; no alignment needed.
    unsafe fn load(p: *const f32) -> Self;
    /// # Safety
    /// `p` points to eight readable f16; no alignment needed.
    unsafe fn load_f16(p: *const u16) -> Self;
    /// # Safety
    /// `p` points to eight readable bf16; no alignment needed.
    unsafe fn load_bf16(p: *const u16) -> Self;
    /// # Safety
    /// `p` points to eight readable i8.
    unsafe fn load_i8(p: *const i8) -> Self;
    fn to_array(self) -> [f32; 8];
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// `a > b ? a : b` for each lane, so a NaN in `other` survives.
    fn max(self, other: Self) -> Self;
    /// `a < b ? a : b` for each lane, so a NaN in `other` survives.
    fn min(self, other: Self) -> Self;
    fn round_even(self) -> Self;
    /// `2^self`, for lanes that are integers in -126..=127.
    fn exp2_int(self) -> Self;
    /// 0 where `self < limit`, `other` elsewhere.
    fn zero_below(self, limit: Self, other: Self) -> Self;
    /// The magnitude of `self` with the sign of `sign`.
    fn copy_sign(self, sign: Self) -> Self;
    /// Lanes 1, 0, 3, 2, 5, 4, 7, 6.
    fn swap_pairs(self) -> Self;
    /// Lane `i` of the result is the [tree sum](tree_sum) of `vectors[i]`.
    fn tree_sums(vectors: [Self; 8]) -> Self;

    #[inline(always)]
    fn from_array(x: [f32; 8]) -> Self {
        // SAFETY: the array holds eight f32.
        unsafe { Self::load(x.as_ptr()) }
    }

    /// The lanes of one vector summed by [`tree_sum`].
    #[inline(always)]
    fn tree_sum(self) -> f32 {
        tree_sum(self.to_array())
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.copy_sign(Self::splat(0.0))
    }

    /// Up to eight elements; the other lanes are zero.
    #[inline(always)]
    fn load_partial(x: &[f32]) -> Self {
        let mut padded = [0.0; 8];
        padded[..x.len()].copy_from_slice(x);
        Self::from_array(padded)
    }
}

/// Two vectors of eight lanes side by side, in one register where the processor has such: two rows
/// at once, or sixteen elements of one. Each half's operations are those of [`Lanes`].
pub(crate) trait Pair<L>: Copy {
    /// Whether it is one register.
    const WIDE: bool;

    fn splat(x: f32) -> Self;
    /// # Safety
    /// Both point to eight readable f32; no alignment needed.
    unsafe fn load(first: *const f32, second: *const f32) -> Self;
    fn join(first: L, second: L) -> Self;
    /// The same eight in both halves.
    ///
    /// # Safety
    /// `p` points to eight readable f32; no alignment needed.
    unsafe fn load_twice(p: *const f32) -> Self;
    /// # Safety
    /// Both point to eight readable f16; no alignment needed.
    unsafe fn load_f16(first: *const u16, second: *const u16) -> Self;
    /// # Safety
    /// Both point to room for eight f32; no alignment needed.
    unsafe fn store(self, first: *mut f32, second: *mut f32);
    fn mul(self, other: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// [`Lanes::tree_sums`] of the halves.
    fn tree_sums(pairs: [Self; 8]) -> [L; 2];
}

impl<L: Lanes> Pair<L> for [L; 2] {
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        [L::splat(x); 2]
    }

    #[inline(always)]
    unsafe fn load(first: *const f32, second: *const f32) -> Self {
        // SAFETY: by the caller's promise.
        unsafe { [L::load(first), L::load(second)] }
    }

    #[inline(always)]
    fn join(first: L, second: L) -> Self {
        [first, second]
    }

    #[inline(always)]
    unsafe fn load_twice(p: *const f32) -> Self {
        // SAFETY: by the caller's promise.
        unsafe { [L::load(p); 2] }
    }

    #[inline(always)]
    unsafe fn load_f16(first: *const u16, second: *const u16) -> Self {
        // SAFETY: by the caller's promise.
        unsafe { [L::load_f16(first), L::load_f16(second)] }
    }

    #[inline(always)]
    unsafe fn store(self, first: *mut f32, second: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            first.cast::<[f32; 8]>().write_unaligned(self[0].to_array());
            second
                .cast::<[f32; 8]>()
                .write_unaligned(self[1].to_array());
        }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        [self[0].mul(other[0]), self[1].mul(other[1])]
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        [self[0].fma(b[0], c[0]), self[1].fma(b[1], c[1])]
    }

    #[inline(always)]
    fn tree_sums(pairs: [Self; 8]) -> [L; 2] {
        [0, 1].map(|half| L::tree_sums(pairs.map(|pair| pair[half])))
    }
}

/// The fixed tree by which eight partial sums become one.
#[inline(always)]
pub(crate) fn tree_sum(x: [f32; 8]) -> f32 {
    ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]))
}

/// A computation written over [`Lanes`], to be compiled for each instruction set.
///
/// `run` and all it calls must be `#[inline(always)]`: only then is the code generated inside a
/// function that has the instruction set enabled.
pub(crate) trait Kernel {
    type Output;
    fn run<L: Lanes>(self) -> Self::Output;
}

/// Executes a kernel on `isa`.
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa.or_scalar() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `or_scalar` returns only what the processor has.
        Isa::Avx2 => unsafe { crate::avx2::lanes::run(kernel) },
        #[cfg(avx512)]
        // SAFETY: as above.
        Isa::Avx512Vnni => unsafe { crate::avx512::lanes::run(kernel) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Isa::Neon | Isa::NeonDotprod | Isa::NeonI8mm => unsafe { crate::neon::lanes::run(kernel) },
        _ => kernel.run::<crate::scalar::lanes::ScalarLanes>(),
    }
}

/// Replaces every element of a slice by an expression of it, eight at a time. A tail is padded
/// with zeros, so that an element's result does not depend on where it sits.
///
/// A macro, because a closure too large to be inlined would be compiled without the instruction
/// set, every operation in it a call.
macro_rules! map {
    ($lanes:ty, $x:expr, |$value:ident| $result:expr) => {{
        let x: &mut [f32] = $x;
        let (chunks, tail) = x.as_chunks_mut::<8>();
        for chunk in chunks {
            let $value = <$lanes>::from_array(*chunk);
            *chunk = $result.to_array();
        }
        let $value = <$lanes>::load_partial(tail);
        let result = $result.to_array();
        tail.copy_from_slice(&result[..tail.len()]);
    }};
}

/// Replaces every element of one slice by an expression of it and the element of another beside
/// it; like [`map`] otherwise.
macro_rules! zip {
    ($lanes:ty, $x:expr, $y:expr, |$value:ident, $other:ident| $result:expr) => {{
        let (x, y): (&mut [f32], &[f32]) = ($x, $y);
        let (x_chunks, x_tail) = x.as_chunks_mut::<8>();
        let (y_chunks, y_tail) = y.as_chunks::<8>();
        for (x, y) in x_chunks.iter_mut().zip(y_chunks) {
            let ($value, $other) = (<$lanes>::from_array(*x), <$lanes>::from_array(*y));
            *x = $result.to_array();
        }
        let ($value, $other) = (
            <$lanes>::load_partial(x_tail),
            <$lanes>::load_partial(y_tail),
        );
        let result = $result.to_array();
        x_tail.copy_from_slice(&result[..x_tail.len()]);
    }};
}

pub(crate) use {map, zip};
