//! A model that nobody asks takes no time. The only test here: it looks at the whole process.
#![cfg(all(feature = "reference", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

mod common;
mod tiny;

use dormouse::model::LoadOptions;
use dormouse::{GenerateOptions, Session, SessionOptions};
use tiny::encode::architectures;

/// Nanoseconds that all threads of the process have been on a processor.
fn cpu_time() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let times = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("schedstat"));
        stat.ok()?.split(' ').next()?.parse::<u64>().ok()
    });
    times.sum()
}

#[test]
fn two_idle_seconds_cost_next_to_nothing() {
    let (_, file) = architectures().next().unwrap();
    let mut options = LoadOptions::default();
    options.threads = Some(3);
    let model = tiny::load(&file, options).unwrap();
    let session = Session::new(&model, SessionOptions::default()).unwrap();
    let mut options = GenerateOptions::default();
    options.max_tokens = Some(20);
    let reply = session.complete("a", &options).unwrap();
    let before = cpu_time();
    assert!(before > 0, "no time is told");
    reply.finish().unwrap();
    let begun = cpu_time();
    assert!(begun > before, "a reply takes time");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let idle = cpu_time() - begun;
    assert!(idle < 20_000_000, "{idle} ns of two idle seconds");
}
