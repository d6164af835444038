//! Read bandwidth: each thread sums memory of its own, all at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// Bytes a second that `threads` threads read together from `bytes` bytes: the best of `tries`.
pub(crate) fn measure(threads: usize, bytes: usize, tries: usize) -> f64 {
    let words = (bytes / threads).div_ceil(8);
    let barrier = Barrier::new(threads);
    let seconds: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| worker(&barrier, words, tries)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_default())
            .collect()
    });
    (0..tries)
        .filter_map(|t| {
            // The slowest thread ends a try.
            let slowest = seconds.iter().filter_map(|all| all.get(t).copied());
            slowest.max_by(f64::total_cmp)
        })
        .map(|seconds| (threads * words * 8) as f64 / seconds)
        .fold(0.0, f64::max)
}

fn worker(barrier: &Barrier, words: usize, tries: usize) -> Vec<f64> {
    // Not zeros: untouched pages of zeros are one and the same page.
    let memory = vec![1u64; words];
    black_box(sum(&memory));
    (0..tries)
        .map(|_| {
            barrier.wait();
            let start = Instant::now();
            black_box(sum(black_box(&memory)));
            start.elapsed().as_secs_f64()
        })
        .collect()
}

fn sum(memory: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { sum_avx2(memory) };
    }
    sum_inline(memory)
}

/// With wider loads, of which fewer must be under way for the same bandwidth.
///
/// # Safety
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn sum_avx2(memory: &[u64]) -> u64 {
    sum_inline(memory)
}

#[inline(always)]
fn sum_inline(memory: &[u64]) -> u64 {
    let mut sums = [0u64; 32];
    let mut chunks = memory.chunks_exact(32);
    for chunk in &mut chunks {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    let rest = chunks.remainder().iter().chain(&sums);
    rest.fold(0, |all, word| all.wrapping_add(*word))
}
