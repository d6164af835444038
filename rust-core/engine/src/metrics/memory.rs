//! How much memory the process ever had resident, and how much the system can give.

/// The most memory that this process ever had resident, in bytes; none where the system does not
/// tell.
///
/// On Linux and Android `VmHWM` of `/proc/self/status`, which counts the mapped pages of the model
/// that were touched. On Apple's systems `ru_maxrss` of `getrusage`.
pub fn peak_memory() -> Option<u64> {
    imp::peak_memory()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    pub(super) fn peak_memory() -> Option<u64> {
        parse(&std::fs::read_to_string("/proc/self/status").ok()?)
    }

    /// The line `VmHWM:` with a number of KiB.
    fn parse(status: &str) -> Option<u64> {
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_line_is_found_or_missing() {
            let status = "Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
            assert_eq!(parse(status), Some(2 << 20));
            assert_eq!(parse("VmRSS:\t 1 kB\n"), None);
            assert_eq!(parse("VmHWM:\t x kB\n"), None);
        }

        #[test]
        fn memory_that_was_touched_is_seen() {
            let before = peak_memory().unwrap();
            let touched = vec![1u8; 64 << 20];
            std::hint::black_box(&touched);
            // Other tests run at the same time, so an upper bound would not hold.
            assert!(peak_memory().unwrap() >= before.max(64 << 20));
        }
    }
}

#[cfg(target_vendor = "apple")]
mod imp {
    pub(super) fn peak_memory() -> Option<u64> {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the pointer is to a whole `rusage`, which the call fills.
        let status = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        if status != 0 {
            return None;
        }
        // SAFETY: all zeros is a valid `rusage`, and the call has filled it.
        let usage = unsafe { usage.assume_init() };
        // Bytes here, unlike on Linux.
        u64::try_from(usage.ru_maxrss).ok()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod imp {
    pub(super) fn peak_memory() -> Option<u64> {
        None
    }
}

/// Bytes that the system can give without swapping: `MemAvailable` of `/proc/meminfo`; none where
/// it does not tell.
pub fn available_memory() -> Option<u64> {
    parse_available(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_available_memory_is_found() {
        let text = "MemTotal:  9 kB\nMemFree: 1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(parse_available(text), Some(2 << 20));
        assert_eq!(parse_available("MemFree: 1 kB\n"), None);
    }
}
