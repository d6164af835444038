//! How much of the processor's time a thread has taken.

use std::time::Duration;

/// The processor time that the calling thread has taken since it began: what a busy machine does
/// meanwhile does not count. Where the system does not tell, the time since the first call.
pub fn thread_cpu_time() -> Duration {
    imp::thread_cpu_time().unwrap_or_else(wall_time)
}

fn wall_time() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod imp {
    use std::time::Duration;

    pub(super) fn thread_cpu_time() -> Option<Duration> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the pointer is to a whole `timespec`, which the call fills and does not keep.
        let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        if status != 0 {
            return None;
        }
        let seconds = u64::try_from(time.tv_sec).ok()?;
        Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod imp {
    pub(super) fn thread_cpu_time() -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_counts() {
        let (start, before) = (Instant::now(), thread_cpu_time());
        while thread_cpu_time() - before < Duration::from_millis(5) {
            assert!(start.elapsed() < Duration::from_secs(60));
        }
        assert!(start.elapsed() >= Duration::from_millis(4));
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn sleep_does_not_count() {
        let before = thread_cpu_time();
        std::thread::sleep(Duration::from_millis(60));
        assert!(thread_cpu_time() - before < Duration::from_millis(30));
    }
}
