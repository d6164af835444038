//! The int8 peak: loops of the instructions that multiply bytes and add up in 32 bits, on registers
//! alone, with as many sums as it takes to keep the units busy.
//!
//! They are written out as assembly, since intrinsics of AVX-512 came only after the oldest Rust that
//! must build this, and a compiler would remove work whose result nobody takes.

use std::sync::Barrier;
use std::time::Instant;

/// Turns of a loop between two looks at the clock.
const TURNS: u64 = 1 << 16;
/// Seconds of a try, about.
const TRY: f64 = 0.1;

/// A way to multiply bytes that this processor has.
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    /// Multiplications and additions in a turn of the loop.
    ops: u64,
    /// Runs the loop so many turns; there must be at least one.
    run: unsafe fn(u64),
}

impl Unit {
    /// Operations a second of `threads` threads together: the best of `tries`.
    pub(crate) fn measure(&self, threads: usize, tries: usize) -> f64 {
        let barrier = Barrier::new(threads);
        let rates: Vec<Vec<f64>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| self.worker(&barrier, tries)))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_default())
                .collect()
        });
        (0..tries)
            .map(|t| rates.iter().filter_map(|all| all.get(t)).sum())
            .fold(0.0, f64::max)
    }

    fn worker(&self, barrier: &Barrier, tries: usize) -> Vec<f64> {
        (0..tries)
            .map(|_| {
                barrier.wait();
                let start = Instant::now();
                let mut turns = 0;
                while start.elapsed().as_secs_f64() < TRY {
                    // SAFETY: `units` gives only what the processor has; the number is not 0.
                    unsafe { (self.run)(TURNS) };
                    turns += TURNS;
                }
                (turns * self.ops) as f64 / start.elapsed().as_secs_f64()
            })
            .collect()
    }
}

/// What this processor has; empty where none is known here.
pub(crate) fn units() -> Vec<Unit> {
    arch::units()
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::Unit;
    use std::arch::asm;
    use std::arch::is_x86_feature_detected as has;

    pub(super) fn units() -> Vec<Unit> {
        let mut units = Vec::new();
        let mut add = |name, macs: u64, run| {
            units.push(Unit {
                name,
                ops: 2 * macs,
                run,
            });
        };
        if has!("avx2") {
            add("avx2", 12 * 32, avx2 as unsafe fn(u64));
        }
        if has!("avx2") && has_avx_vnni() {
            add("avx-vnni", 12 * 32, avx_vnni);
        }
        if has!("avx512f") && has!("avx512bw") && has!("avx512vnni") {
            add("avx512-vnni", 16 * 64, avx512_vnni);
        }
        units
    }

    /// Bit 4 of EAX in leaf 7, subleaf 1 of CPUID (Intel SDM, volume 2A, CPUID). That the system
    /// saves the registers is said by AVX2's own detection.
    fn has_avx_vnni() -> bool {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        // SAFETY: every x86-64 processor has CPUID, and leaf 7 is asked for only where it exists.
        #[allow(unused_unsafe)]
        unsafe {
            __cpuid(0).eax >= 7
                && __cpuid_count(7, 0).eax >= 1
                && __cpuid_count(7, 1).eax & 1 << 4 != 0
        }
    }

    /// 12 times 32 products by vpmaddubsw, vpmaddwd and vpaddd.
    ///
    /// # Safety
    /// The processor must have AVX2; `turns` must not be 0.
    unsafe fn avx2(turns: u64) {
        macro_rules! step {
            ($sum:literal) => {
                concat!(
                    "vpmaddubsw ymm15, ymm12, ymm13\n",
                    "vpmaddwd ymm15, ymm15, ymm14\n",
                    "vpaddd ymm",
                    $sum,
                    ", ymm",
                    $sum,
                    ", ymm15\n"
                )
            };
        }
        // SAFETY: AVX2 by the contract; touches the registers named and no memory.
        unsafe {
            asm!(
                "2:",
                step!(0), step!(1), step!(2), step!(3), step!(4), step!(5),
                step!(6), step!(7), step!(8), step!(9), step!(10), step!(11),
                "dec {turns}",
                "jnz 2b",
                "vzeroupper",
                turns = inout(reg) turns => _,
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                options(nomem, nostack),
            );
        }
    }

    /// 12 times 32 products by the VEX form of vpdpbusd.
    ///
    /// # Safety
    /// The processor must have AVX-VNNI; `turns` must not be 0.
    unsafe fn avx_vnni(turns: u64) {
        macro_rules! step {
            ($sum:literal) => {
                concat!("{{vex}} vpdpbusd ymm", $sum, ", ymm12, ymm13\n")
            };
        }
        // SAFETY: AVX-VNNI by the contract; touches the registers named and no memory.
        unsafe {
            asm!(
                "2:",
                step!(0), step!(1), step!(2), step!(3), step!(4), step!(5),
                step!(6), step!(7), step!(8), step!(9), step!(10), step!(11),
                "dec {turns}",
                "jnz 2b",
                "vzeroupper",
                turns = inout(reg) turns => _,
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                options(nomem, nostack),
            );
        }
    }

    /// 16 times 64 products by vpdpbusd on 512 bits.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and VNNI; `turns` must not be 0.
    unsafe fn avx512_vnni(turns: u64) {
        macro_rules! step {
            ($sum:literal) => {
                concat!("vpdpbusd zmm", $sum, ", zmm30, zmm31\n")
            };
        }
        // SAFETY: AVX-512 VNNI by the contract; touches the registers named and no memory.
        unsafe {
            asm!(
                "2:",
                step!(0), step!(1), step!(2), step!(3), step!(4), step!(5), step!(6), step!(7),
                step!(8), step!(9), step!(10), step!(11), step!(12), step!(13), step!(14), step!(15),
                "dec {turns}",
                "jnz 2b",
                "vzeroupper",
                turns = inout(reg) turns => _,
                out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
                options(nomem, nostack),
            );
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use super::Unit;
    use std::arch::asm;
    use std::arch::is_aarch64_feature_detected as has;

    pub(super) fn units() -> Vec<Unit> {
        let mut units = vec![Unit {
            name: "neon",
            ops: 2 * 16 * 16,
            run: neon,
        }];
        if has!("dotprod") {
            units.push(Unit {
                name: "dotprod",
                ops: 2 * 16 * 16,
                run: dotprod,
            });
        }
        if has!("i8mm") {
            units.push(Unit {
                name: "i8mm",
                ops: 2 * 16 * 32,
                run: i8mm,
            });
        }
        units
    }

    /// The loop of 16 steps; the sums are v0 to v15.
    macro_rules! turns {
        ($turns:ident, $step:ident) => {
            asm!(
                "2:",
                $step!(0), $step!(1), $step!(2), $step!(3),
                $step!(4), $step!(5), $step!(6), $step!(7),
                $step!(8), $step!(9), $step!(10), $step!(11),
                $step!(12), $step!(13), $step!(14), $step!(15),
                "subs {turns}, {turns}, #1",
                "b.ne 2b",
                turns = inout(reg) $turns => _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                out("v8") _, out("v9") _, out("v10") _, out("v11") _,
                out("v12") _, out("v13") _, out("v14") _, out("v15") _,
                out("v16") _,
                options(nomem, nostack),
            )
        };
    }

    /// 16 times 16 products by smull, smlal2 and sadalp.
    ///
    /// # Safety
    /// `turns` must not be 0.
    unsafe fn neon(turns: u64) {
        macro_rules! step {
            ($sum:literal) => {
                concat!(
                    "smull v16.8h, v30.8b, v31.8b\n",
                    "smlal2 v16.8h, v30.16b, v31.16b\n",
                    "sadalp v",
                    $sum,
                    ".4s, v16.8h\n"
                )
            };
        }
        // SAFETY: every aarch64 has NEON; touches the registers named and no memory.
        unsafe { turns!(turns, step) }
    }

    /// 16 times 16 products by sdot.
    ///
    /// # Safety
    /// The processor must have the dot product instructions; `turns` must not be 0.
    #[target_feature(enable = "dotprod")]
    unsafe fn dotprod(turns: u64) {
        macro_rules! step {
            ($sum:literal) => {
                concat!("sdot v", $sum, ".4s, v30.16b, v31.16b\n")
            };
        }
        // SAFETY: dotprod by the contract; touches the registers named and no memory.
        unsafe { turns!(turns, step) }
    }

    /// 16 times 32 products by smmla.
    ///
    /// # Safety
    /// The processor must have the int8 matrix instructions; `turns` must not be 0.
    #[target_feature(enable = "i8mm")]
    unsafe fn i8mm(turns: u64) {
        macro_rules! step {
            ($sum:literal) => {
                concat!("smmla v", $sum, ".4s, v30.16b, v31.16b\n")
            };
        }
        // SAFETY: i8mm by the contract; touches the registers named and no memory.
        unsafe { turns!(turns, step) }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    pub(super) fn units() -> Vec<super::Unit> {
        Vec::new()
    }
}
