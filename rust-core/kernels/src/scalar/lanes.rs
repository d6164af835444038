//! Eight lanes as an array.

use half::{bf16, f16};

use crate::lanes::{Lanes, tree_sum};

#[derive(Clone, Copy)]
pub(crate) struct ScalarLanes([f32; 8]);

impl ScalarLanes {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        ScalarLanes(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for ScalarLanes {
    type Pair = [ScalarLanes; 2];

    #[inline(always)]
    fn splat(x: f32) -> Self {
        ScalarLanes([x; 8])
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller promises eight readable elements; the read is unaligned.
        ScalarLanes(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self {
        // SAFETY: the caller promises eight readable elements; the read is unaligned.
        let bits = unsafe { p.cast::<[u16; 8]>().read_unaligned() };
        ScalarLanes(bits.map(|bits| f16::from_bits(bits).to_f32()))
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self {
        // SAFETY: the caller promises eight readable elements.
        let ints = unsafe { p.cast::<[i8; 8]>().read() };
        ScalarLanes(ints.map(f32::from))
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self {
        // SAFETY: the caller promises eight readable elements; the read is unaligned.
        let bits = unsafe { p.cast::<[u16; 8]>().read_unaligned() };
        ScalarLanes(bits.map(|bits| bf16::from_bits(bits).to_f32()))
    }

    #[inline(always)]
    fn to_array(self) -> [f32; 8] {
        self.0
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        ScalarLanes(std::array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn round_even(self) -> Self {
        ScalarLanes(self.0.map(f32::round_ties_even))
    }

    #[inline(always)]
    fn exp2_int(self) -> Self {
        ScalarLanes(
            self.0
                .map(|x| f32::from_bits(((x as i32).wrapping_add(127) as u32) << 23)),
        )
    }

    #[inline(always)]
    fn zero_below(self, limit: Self, other: Self) -> Self {
        ScalarLanes(std::array::from_fn(|i| {
            if self.0[i] < limit.0[i] {
                0.0
            } else {
                other.0[i]
            }
        }))
    }

    #[inline(always)]
    fn copy_sign(self, sign: Self) -> Self {
        self.zip(sign, f32::copysign)
    }

    #[inline(always)]
    fn swap_pairs(self) -> Self {
        ScalarLanes(std::array::from_fn(|i| self.0[i ^ 1]))
    }

    #[inline(always)]
    fn tree_sums(vectors: [Self; 8]) -> Self {
        ScalarLanes(vectors.map(|vector| tree_sum(vector.0)))
    }
}
