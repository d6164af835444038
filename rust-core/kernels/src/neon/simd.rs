//! One slot of 16 bytes: registers of 128 bits. `sdot` multiplies four signed bytes with four others
//! and adds the products to a lane of 32 bits; without it, products go through 16 bits. Its
//! intrinsics are unstable, so it is written as assembly.

use std::arch::aarch64::*;
use std::arch::asm;
use std::ptr::read_unaligned;

use super::panel::{self, for_rows};
use crate::activations::GroupMeta;
use crate::formats::Packed;
use crate::simd::{Class, MAX_PANELS, Simd, Tile};

/// NEON with none of its extensions for 8-bit integers.
pub(super) const PLAIN: u8 = 0;
/// With `dotprod`.
pub(super) const DOTPROD: u8 = 1;
/// With `dotprod` and `i8mm`.
pub(super) const I8MM: u8 = 2;

/// NEON; `SET` says with which extensions.
pub(crate) struct Neon<const SET: u8>;

/// Adds to each lane the product of its four bytes in `w` with those in `a`.
#[inline(always)]
unsafe fn sdot(mut sums: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: see `impl Simd`; only registers are touched.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {w:v}.16b, {a:v}.16b",
            sums = inout(vreg) sums,
            w = in(vreg) w,
            a = in(vreg) a,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Products of bytes, added by pairs that lie eight apart: up to 2 * 128 * 127 fits into 16 bits.
#[inline(always)]
unsafe fn products(w: int8x16_t, a: int8x16_t) -> int16x8_t {
    // SAFETY: see `impl Simd`.
    unsafe {
        let low = vmull_s8(vget_low_s8(w), vget_low_s8(a));
        vmlal_high_s8(low, w, a)
    }
}

// SAFETY of all blocks below: the caller of each method has checked the processor and vouches for
// the pointers, and no instruction used needs alignment beyond that of the elements' bytes.
impl<const SET: u8> Simd for Neon<SET> {
    const SLOTS: usize = 1;
    const GEMV_TILES: usize = 2;
    const PANELS: usize = 1;
    const BATCH: [usize; MAX_PANELS] = [8, 0];
    const SIGNED_EXCESS: i16 = 0;
    const SIGNED_PANELS: bool = true;

    type Bytes = uint8x16_t;
    type Ints = int32x4_t;
    type Floats = float32x4_t;

    #[inline(always)]
    unsafe fn one_pointer(mut tile: Tile) -> Tile {
        // SAFETY: nothing is executed. The compiler, not knowing that the pointer is what it was, cannot
        // make pointers of its own of it that it would have to move all.
        unsafe {
            asm!("/* {0} */", inout(reg) tile.first, options(pure, nomem, nostack, preserves_flags));
        }
        tile
    }

    #[inline(always)]
    unsafe fn load(tile: Tile, e: usize, at: usize) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vld1q_u8(tile.at(e, at)) }
    }

    #[inline(always)]
    unsafe fn load_quads(tile: Tile, e: usize, at: usize) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vreinterpretq_u8_u32(vdupq_n_u32(read_unaligned(tile.at(e, at).cast()))) }
    }

    #[inline(always)]
    unsafe fn load_bits(tile: Tile, e: usize, at: usize) -> uint8x16_t {
        const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
        // SAFETY: see above.
        unsafe {
            let bytes = vcombine_u8(vdup_n_u8(*tile.at(e, at)), vdup_n_u8(*tile.at(e, at + 1)));
            vtstq_u8(bytes, vld1q_u8(BITS.as_ptr()))
        }
    }

    #[inline(always)]
    unsafe fn load_words(tile: Tile, at: usize) -> uint8x16_t {
        // SAFETY: see above.
        unsafe {
            let w = |row: usize| read_unaligned(tile.at(row, at).cast::<u32>());
            let words = vsetq_lane_u32::<1>(w(1), vdupq_n_u32(w(0)));
            let words = vsetq_lane_u32::<2>(w(2), words);
            vreinterpretq_u8_u32(vsetq_lane_u32::<3>(w(3), words))
        }
    }

    #[inline(always)]
    unsafe fn splat(byte: u8) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vdupq_n_u8(byte) }
    }

    #[inline(always)]
    unsafe fn and(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vandq_u8(a, b) }
    }

    #[inline(always)]
    unsafe fn or(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vorrq_u8(a, b) }
    }

    #[inline(always)]
    unsafe fn shr<const N: u32>(a: uint8x16_t) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vshlq_u8(a, vdupq_n_s8(-(N as i8))) }
    }

    #[inline(always)]
    unsafe fn shl<const N: u32>(a: uint8x16_t) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vshlq_u8(a, vdupq_n_s8(N as i8)) }
    }

    #[inline(always)]
    unsafe fn look_up(table: &[i8; 16], indices: uint8x16_t) -> uint8x16_t {
        // SAFETY: see above; the table has 16 bytes.
        unsafe { vqtbl1q_u8(vld1q_u8(table.as_ptr().cast()), indices) }
    }

    #[inline(always)]
    unsafe fn mul_bytes(a: uint8x16_t, factors: &[u8; 16]) -> uint8x16_t {
        // SAFETY: see above; there are 16 factors.
        unsafe { vmulq_u8(a, vld1q_u8(factors.as_ptr())) }
    }

    #[inline(always)]
    unsafe fn sub_bytes(a: uint8x16_t, less: u8) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vsubq_u8(a, vdupq_n_u8(less)) }
    }

    #[inline(always)]
    unsafe fn at_least(a: uint8x16_t, least: u8) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vcgeq_u8(a, vdupq_n_u8(least)) }
    }

    #[inline(always)]
    unsafe fn activations(ints: *const i8) -> uint8x16_t {
        // SAFETY: see above.
        unsafe { vld1q_u8(ints.cast()) }
    }

    #[inline(always)]
    unsafe fn dot_group<F: Packed>(w: [uint8x16_t; 2], a: [uint8x16_t; 2]) -> int32x4_t {
        // SAFETY: see above.
        unsafe {
            let (w, a) = (
                w.map(|w| vreinterpretq_s8_u8(w)),
                a.map(|a| vreinterpretq_s8_u8(a)),
            );
            if SET >= DOTPROD {
                sdot(sdot(vdupq_n_s32(0), w[0], a[0]), w[1], a[1])
            } else {
                vpadalq_s16(vpaddlq_s16(products(w[0], a[0])), products(w[1], a[1]))
            }
        }
    }

    #[inline(always)]
    unsafe fn dot_half<F: Packed>(w: uint8x16_t, a: uint8x16_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe {
            let (w, a) = (vreinterpretq_s8_u8(w), vreinterpretq_s8_u8(a));
            if SET >= DOTPROD {
                sdot(vdupq_n_s32(0), w, a)
            } else {
                vpaddlq_s16(products(w, a))
            }
        }
    }

    #[inline(always)]
    unsafe fn reduce(p: [int32x4_t; 4]) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vpaddq_s32(vpaddq_s32(p[0], p[1]), vpaddq_s32(p[2], p[3])) }
    }

    #[inline(always)]
    unsafe fn store_panel(half: [uint8x16_t; 4], out: *mut u8) {
        // SAFETY: see above.
        unsafe {
            if SET == I8MM {
                panel::store_by_eights(half, out);
            } else {
                panel::store_by_fours(half, out);
            }
        }
    }

    #[inline(always)]
    unsafe fn panel_products<F: Packed, const M: usize, const P: usize>(
        panels: [*const u8; P],
        scales: [*const f32; P],
        ints: *const i8,
        stride: usize,
    ) -> [[int32x4_t; M]; P] {
        // SAFETY: see above.
        unsafe {
            let mut out = [[vdupq_n_s32(0); M]; P];
            for p in 0..P {
                let scaled = F::CLASS == Class::Unsigned6Scaled;
                let [first, second] = if SET == I8MM && scaled {
                    panel::products_by_eights::<true, M>(panels[p], ints, stride)
                } else if SET == I8MM {
                    panel::products_by_eights::<false, M>(panels[p], ints, stride)
                } else if scaled {
                    panel::products_by_fours::<SET, true, M>(panels[p], ints, stride)
                } else {
                    panel::products_by_fours::<SET, false, M>(panels[p], ints, stride)
                };
                if !scaled {
                    out[p] = first;
                    continue;
                }
                let pairs = Self::load_ints(scales[p].add(Self::LANES));
                for_rows!(M, m => {
                    let first = vmulq_s32(first[m], Self::of_pairs::<false>(pairs));
                    out[p][m] = vmlaq_s32(first, second[m], Self::of_pairs::<true>(pairs));
                });
            }
            out
        }
    }

    #[inline(always)]
    unsafe fn remove(sums: int32x4_t, excess: i16, meta: *const GroupMeta) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vmlsq_s32(sums, vdupq_n_s32(excess.into()), vdupq_n_s32((*meta).sum)) }
    }

    #[inline(always)]
    unsafe fn pairs_dot(pairs: int32x4_t, meta: *const GroupMeta) -> int32x4_t {
        // SAFETY: see above.
        unsafe {
            let [first, second] = (*meta).sums.map(i32::from);
            let product = vmulq_n_s32(Self::of_pairs::<false>(pairs), first);
            vmlaq_n_s32(product, Self::of_pairs::<true>(pairs), second)
        }
    }

    #[inline(always)]
    unsafe fn of_pairs<const SECOND: bool>(pairs: int32x4_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe {
            let pairs = if SECOND {
                pairs
            } else {
                vshlq_n_s32::<16>(pairs)
            };
            vshrq_n_s32::<16>(pairs)
        }
    }

    #[inline(always)]
    unsafe fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vaddq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vsubq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn splat_int(x: i32) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vdupq_n_s32(x) }
    }

    #[inline(always)]
    unsafe fn load_ints(p: *const f32) -> int32x4_t {
        // SAFETY: see above.
        unsafe { vld1q_s32(p.cast()) }
    }

    #[inline(always)]
    unsafe fn store_ints(p: *mut f32, x: int32x4_t) {
        // SAFETY: see above.
        unsafe { vst1q_s32(p.cast(), x) }
    }

    #[inline(always)]
    unsafe fn byte<const G: usize>(words: uint8x16_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe {
            let words = vreinterpretq_u32_u8(words);
            let bytes = if G == 3 {
                vshrq_n_u32::<24>(words)
            } else {
                let down = vshlq_u32(words, vdupq_n_s32(-8 * G as i32));
                vandq_u32(down, vdupq_n_u32(0xff))
            };
            vreinterpretq_s32_u32(bytes)
        }
    }

    #[inline(always)]
    unsafe fn byte_pair<const G: usize>(words: uint8x16_t) -> int32x4_t {
        // SAFETY: see above.
        unsafe {
            let words = vreinterpretq_s16_u8(words);
            // Signed bytes of even number, and of odd, as 16 bits each.
            let even = vshrq_n_s16::<8>(vshlq_n_s16::<8>(words));
            let odd = vshrq_n_s16::<8>(words);
            let pairs = if G == 0 {
                vtrn1q_s16(even, odd)
            } else {
                vtrn2q_s16(even, odd)
            };
            vreinterpretq_s32_s16(pairs)
        }
    }

    #[inline(always)]
    unsafe fn load_floats(p: *const f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vld1q_f32(p) }
    }

    #[inline(always)]
    unsafe fn store_floats(p: *mut f32, x: float32x4_t) {
        // SAFETY: see above.
        unsafe { vst1q_f32(p, x) }
    }

    #[inline(always)]
    unsafe fn load_halves(tile: Tile, at: usize) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let h = |row: usize| read_unaligned(tile.at(row, at).cast::<u16>());
            super::lanes::widen_f16([h(0), h(1), h(2), h(3)])
        }
    }

    #[inline(always)]
    unsafe fn load_half_pairs(tile: Tile, at: usize) -> [float32x4_t; 2] {
        // SAFETY: see above.
        unsafe { [Self::load_halves(tile, at), Self::load_halves(tile, at + 2)] }
    }

    #[inline(always)]
    unsafe fn splat_float(x: f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn to_floats(x: int32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vcvtq_f32_s32(x) }
    }

    #[inline(always)]
    unsafe fn mul_floats(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn neg_floats(a: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vsubq_f32(vdupq_n_f32(0.0), a) }
    }

    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vfmaq_f32(c, a, b) }
    }
}
