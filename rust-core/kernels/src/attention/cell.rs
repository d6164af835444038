//! What the KV cache holds: numbers, or blocks of quantized ones.

use half::f16;

use crate::lanes::{Lanes, Pair};

/// How the kernels read a cell. It also closes [`KvCell`] to types that they know.
pub(crate) trait Read: Sized {
    /// Elements of a head from the `i`th on, eight of one cell.
    ///
    /// # Safety
    /// `p` points to a head that has so many.
    unsafe fn load<L: Lanes>(p: *const Self, i: usize) -> L;

    /// The same for sixteen.
    ///
    /// # Safety
    /// As [`load`](Self::load).
    unsafe fn load_pair<L: Lanes>(p: *const Self, i: usize) -> L::Pair;

    /// The cells themselves, if they are f32.
    fn as_floats(cells: &[Self]) -> Option<&[f32]> {
        let _ = cells;
        None
    }
}

/// What the KV cache is made of: `f32`, [`half::f16`] or [`Q8Cell`].
#[allow(private_bounds)]
pub trait KvCell: Copy + Default + Send + Sync + Read + 'static {
    /// Elements of a head in one cell; heads are a multiple of it.
    const ELEMENTS: usize;

    /// Rounds to nearest even.
    ///
    /// # Panics
    /// If `elements` is not as long as `cells` together.
    fn store(elements: &[f32], cells: &mut [Self]);

    /// Element `i` of a row of cells, exactly.
    fn get(cells: &[Self], i: usize) -> f32;
}

impl KvCell for f32 {
    const ELEMENTS: usize = 1;

    #[inline(always)]
    fn store(elements: &[f32], cells: &mut [Self]) {
        cells.copy_from_slice(elements);
    }

    #[inline(always)]
    fn get(cells: &[Self], i: usize) -> f32 {
        cells[i]
    }
}

impl Read for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const Self, i: usize) -> L {
        // SAFETY: by the caller's promise.
        unsafe { L::load(p.add(i)) }
    }

    #[inline(always)]
    unsafe fn load_pair<L: Lanes>(p: *const Self, i: usize) -> L::Pair {
        // SAFETY: by the caller's promise.
        unsafe { L::Pair::load(p.add(i), p.add(i + 8)) }
    }

    #[inline(always)]
    fn as_floats(cells: &[Self]) -> Option<&[f32]> {
        Some(cells)
    }
}

impl KvCell for f16 {
    const ELEMENTS: usize = 1;

    #[inline(always)]
    fn store(elements: &[f32], cells: &mut [Self]) {
        assert_eq!(elements.len(), cells.len());
        for (element, cell) in elements.iter().zip(cells) {
            *cell = f16::from_f32(*element);
        }
    }

    #[inline(always)]
    fn get(cells: &[Self], i: usize) -> f32 {
        cells[i].to_f32()
    }
}

impl Read for f16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const Self, i: usize) -> L {
        // SAFETY: by the caller's promise.
        unsafe { L::load_f16(p.add(i).cast()) }
    }

    #[inline(always)]
    unsafe fn load_pair<L: Lanes>(p: *const Self, i: usize) -> L::Pair {
        // SAFETY: by the caller's promise.
        unsafe { L::Pair::load_f16(p.add(i).cast(), p.add(i + 8).cast()) }
    }
}

/// Thirty-two elements as a `Q8_0` block of GGUF: each is `scale * int`, which f32 holds exactly.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Q8Cell {
    scale: f16,
    ints: [i8; 32],
}

impl KvCell for Q8Cell {
    const ELEMENTS: usize = 32;

    #[inline(always)]
    fn store(elements: &[f32], cells: &mut [Self]) {
        let (blocks, rest) = elements.as_chunks::<{ Self::ELEMENTS }>();
        assert!(rest.is_empty() && blocks.len() == cells.len());
        for (block, cell) in blocks.iter().zip(cells) {
            // A NaN must not pass for the largest of other numbers, nor be lost among them.
            let max = block.iter().fold(0.0f32, |max, x| {
                if x.abs() > max || x.is_nan() {
                    x.abs()
                } else {
                    max
                }
            });
            // The ints are of the scale as it is stored.
            let scale = max / 127.0;
            let scale = if scale > f16::MAX.to_f32() {
                f16::MAX
            } else {
                f16::from_f32(scale)
            };
            let inverse = match scale.to_f32() {
                0.0 => 0.0,
                scale => 1.0 / scale,
            };
            cell.scale = scale;
            for (int, x) in cell.ints.iter_mut().zip(block) {
                *int = (x * inverse).round_ties_even() as i8;
            }
        }
    }

    #[inline(always)]
    fn get(cells: &[Self], i: usize) -> f32 {
        let cell = &cells[i / Self::ELEMENTS];
        cell.scale.to_f32() * f32::from(cell.ints[i % Self::ELEMENTS])
    }
}

impl Read for Q8Cell {
    #[inline(always)]
    unsafe fn load<L: Lanes>(p: *const Self, i: usize) -> L {
        // SAFETY: by the caller's promise.
        unsafe {
            let cell = &*p.add(i / Self::ELEMENTS);
            let ints = cell.ints.as_ptr().add(i % Self::ELEMENTS);
            // Converted with what follows it, as the vectors can.
            let scale = L::load_f16((&raw const *cell).cast()).to_array()[0];
            L::load_i8(ints).mul(L::splat(scale))
        }
    }

    #[inline(always)]
    unsafe fn load_pair<L: Lanes>(p: *const Self, i: usize) -> L::Pair {
        // SAFETY: by the caller's promise.
        unsafe { L::Pair::join(Self::load(p, i), Self::load(p, i + 8)) }
    }
}
