//! Asking for memory before it is needed.
//!
//! On x86-64 into the second level: what waits for the first has few places, and they bound the
//! bandwidth.

use std::hint::black_box;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache line of `p`. Any address will do: one that is not mapped does no harm.
#[inline(always)]
pub(crate) fn prefetch<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // Newer compilers hold the intrinsic for safe, 1.88 does not.
        #[allow(unused_unsafe)]
        // SAFETY: a prefetch reads nothing.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(p.cast());
        }
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch reads nothing.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{p}]",
            p = in(reg) p,
            options(readonly, nostack, preserves_flags),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = p;
}

/// Asks for all lines of `len` elements from `p` on.
#[inline(always)]
pub(crate) fn prefetch_all<T>(p: *const T, len: usize) {
    for line in (0..len * size_of::<T>()).step_by(LINE) {
        prefetch(p.cast::<u8>().wrapping_add(line));
    }
}

/// Asks for the lines that begin within `bytes` from `p` on, so that calls for consecutive parts ask
/// for each line once.
///
/// The compiler is kept from seeing the step: a loop whose step it sees reads 8 to 15 % less of the
/// memory's bandwidth (two threads, AVX-512 VNNI, all types), for a reason that is not known.
#[inline(always)]
pub(crate) fn prefetch_lines(p: *const u8, bytes: usize) {
    // Finding where lines begin takes more instructions than asking for some of them twice. Counted
    // only: no processor of that kind was at hand to time it.
    if cfg!(target_arch = "aarch64") {
        return prefetch_all(p, bytes);
    }
    let mut line = p.wrapping_add(p.align_offset(LINE));
    let end = p.wrapping_add(bytes);
    let step = black_box(LINE);
    while line < end {
        prefetch(line);
        line = line.wrapping_add(step);
    }
}
