use super::*;
use std::sync::atomic::AtomicBool;

#[test]
fn every_task_runs_once_for_any_size() {
    let pool = Pool::new(4);
    for tasks in (0..70).chain([1000]) {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|task, worker| {
            assert!(worker < 4);
            counts[task].fetch_add(1, Ordering::Relaxed);
        });
        assert!(
            counts
                .iter()
                .all(|count| count.load(Ordering::Relaxed) == 1)
        );
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    let pool = Pool::new(3);
    for round in 0..50 {
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(64, &|task, _| assert_ne!(task, round, "task {task} fails"));
        }));
        let payload = result.unwrap_err();
        let message = payload.downcast_ref::<String>().unwrap();
        assert!(
            message.contains(&format!("task {round} fails")),
            "{message}"
        );
        let sum = AtomicUsize::new(0);
        pool.run(64, &|task, _| {
            sum.fetch_add(task, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 64 * 63 / 2);
    }
}

#[test]
fn the_place_of_a_panic_comes_with_it() {
    static STARTED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let pool = Pool::with_on_start(2, |name| lock(&STARTED).push(name.to_owned()));
    let result = catch_unwind(AssertUnwindSafe(|| {
        let entered = AtomicBool::new(false);
        pool.run(2, &|_, worker| {
            if worker > 0 {
                // As a panic hook would.
                note_panic_place(Some("there".to_owned()));
                entered.store(true, Ordering::Relaxed);
                panic!("a task fails");
            }
            while !entered.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        });
    }));
    assert!(result.is_err());
    assert_eq!(take_panic_place().as_deref(), Some("there"));
    assert_eq!(take_panic_place(), None, "told twice");
    assert_eq!(*lock(&STARTED), ["dormouse-1"]);
}

#[test]
fn runs_from_many_threads_while_resized() {
    let pool = Pool::new(2);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let runners: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..1500 {
                        let busy: [AtomicBool; 4] = Default::default();
                        let sum = AtomicUsize::new(0);
                        pool.run(round % 17, &|task, worker| {
                            assert!(!busy[worker].swap(true, Ordering::SeqCst), "worker shared");
                            sum.fetch_add(task + 1, Ordering::Relaxed);
                            busy[worker].store(false, Ordering::SeqCst);
                        });
                        let tasks = round % 17;
                        assert_eq!(sum.into_inner(), tasks * (tasks + 1) / 2);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut threads = 0;
            while !stop.load(Ordering::Relaxed) {
                threads = threads % 4 + 1;
                pool.resize(threads);
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        for runner in runners {
            runner.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn sleeping_workers_wake_and_limits_hold() {
    let pool = Pool::new(4);
    for _ in 0..20 {
        let highest = AtomicUsize::new(0);
        pool.run_limited(200, 2, &|_, worker| {
            highest.fetch_max(worker, Ordering::Relaxed);
            std::thread::yield_now();
        });
        assert!(highest.into_inner() < 2);
        std::thread::sleep(Duration::from_millis(2));
    }
    let helped = AtomicBool::new(false);
    pool.run(400, &|_, worker| {
        if worker > 0 {
            helped.store(true, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_micros(50));
    });
    assert!(helped.into_inner(), "no worker woke up");
}

#[test]
fn a_nested_run_completes() {
    let pool = Pool::new(2);
    let count = AtomicUsize::new(0);
    pool.run(4, &|_, _| {
        pool.run(5, &|_, worker| {
            assert_eq!(worker, 0);
            count.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(count.into_inner(), 20);
}
