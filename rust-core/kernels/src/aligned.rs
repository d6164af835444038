//! Buffers that start on a cache line, so that vector loads do not straddle lines.

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Element types for which any bytes are a value.
///
/// # Safety
/// All-zero bytes are a valid value, as is every other pattern, there is no padding, and the
/// alignment is at most 64.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: numbers have no invalid patterns.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for u8 {}

/// A zeroed buffer of fixed length, aligned to 64 bytes.
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Plain> Aligned<T> {
    pub(crate) fn new(len: usize) -> Self {
        let lines = (len * size_of::<T>()).div_ceil(64);
        Aligned {
            lines: vec![Line([0; 64]); lines],
            len,
            element: std::marker::PhantomData,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * 64
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: the lines hold at least `len` elements, are aligned for them, and any bytes
        // are a valid element.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
