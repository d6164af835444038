//! A thread pool for kernels: short runs of equal tasks, started thousands of times a second.
//!
//! A run publishes a job through `gate`, a word that holds an epoch, an open flag and the number
//! of workers inside the job. Workers join an open job, claim tasks from a counter until none
//! are left, and leave. The caller works too; when the tasks are used up it closes the gate and
//! waits only for those workers that had joined, so a worker the system has put to sleep never
//! delays a run. Idle workers spin for some tens of microseconds, which covers the gap between
//! two operations of a forward pass, and then sleep.

use std::any::Any;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an idle worker spins before it sleeps.
const SPIN: Duration = Duration::from_micros(60);

const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;
const EPOCH_SHIFT: u32 = 32;

type Task = dyn Fn(usize, usize) + Sync;

thread_local! {
    /// Set while this thread executes a task, so that a nested run does not wait for itself.
    static IN_TASK: Cell<bool> = const { Cell::new(false) };

    static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes where a panic on this thread began: for a program's panic hook. The panic of a task goes
/// on in the caller of [`Pool::run`] past the hook, and takes the note with it.
pub fn note_panic_place(place: Option<String>) {
    // While a thread ends its notes are gone already; nobody is left to ask for them.
    let _ = PANIC_PLACE.try_with(|noted| noted.replace(place));
}

/// What was noted last on this thread; each note is given once.
pub fn take_panic_place() -> Option<String> {
    PANIC_PLACE.try_with(RefCell::take).ok().flatten()
}

/// A pool of compute threads, shared by reference between sessions.
///
/// The calling thread counts as one of the threads. Runs from several threads take turns.
pub struct Pool {
    shared: Arc<Shared>,
    on_start: fn(&str),
    control: Mutex<Vec<JoinHandle<()>>>,
}

struct Job {
    task: *const Task,
    tasks: usize,
    workers: usize,
}

/// What the first task that panicked in a run did so with, and where.
struct Panic {
    payload: Box<dyn Any + Send>,
    place: Option<String>,
}

/// Keeps the task counter, which every worker writes, off the cache line of the gate.
#[repr(align(128))]
struct Counter(AtomicUsize);

struct Shared {
    gate: AtomicU64,
    next: Counter,
    job: UnsafeCell<Job>,
    /// Threads asked for; takes effect at the next run.
    wanted: AtomicUsize,
    /// Threads that may exist; a worker whose index is not below ends.
    limit: AtomicUsize,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    panic: Mutex<Option<Panic>>,
}

// SAFETY: `job` is written only by the thread that holds `control`, while the gate is closed and
// nobody is inside; it is read only by workers inside. The raw pointer in it is dereferenced
// only then, while `run` keeps the closure alive. All other fields are `Sync` by themselves.
unsafe impl Sync for Shared {}
// SAFETY: see `Sync`; the pointer is never used by the thread that drops `Shared`.
unsafe impl Send for Shared {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing these mutexes guard can be left half-changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool of `threads` threads (at least 1), the caller of [`run`](Self::run) included.
    ///
    /// Threads start at the first run. If the system refuses to start one, the pool works with
    /// fewer.
    pub fn new(threads: usize) -> Pool {
        Self::with_on_start(threads, |_| {})
    }

    /// A pool whose own threads call `on_start` first, with their name.
    pub fn with_on_start(threads: usize, on_start: fn(&str)) -> Pool {
        fn nothing(_: usize, _: usize) {}
        let shared = Shared {
            gate: AtomicU64::new(0),
            next: Counter(AtomicUsize::new(0)),
            job: UnsafeCell::new(Job {
                task: &nothing as *const Task,
                tasks: 0,
                workers: 0,
            }),
            wanted: AtomicUsize::new(threads.max(1)),
            limit: AtomicUsize::new(1),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            panic: Mutex::new(None),
        };
        Pool {
            shared: Arc::new(shared),
            on_start,
            control: Mutex::new(Vec::new()),
        }
    }

    /// The number of threads of the next run.
    pub fn threads(&self) -> usize {
        self.shared.wanted.load(Ordering::Relaxed)
    }

    /// Asks for another number of threads (at least 1). Takes effect at the next run; a run in
    /// progress keeps its threads. May be called from any thread at any time.
    pub fn resize(&self, threads: usize) {
        self.shared.wanted.store(threads.max(1), Ordering::Relaxed);
    }

    /// Calls `f(task, worker)` once for each `task` in `0..tasks`, spread over the threads, and
    /// returns when all calls have returned. `worker` is below the number of threads, and no two
    /// calls with the same `worker` overlap.
    ///
    /// Which worker gets which task is left to chance, so results must not depend on it.
    /// Called from within a task, it executes the tasks one after the other as worker 0.
    ///
    /// # Panics
    /// If a task panics, the tasks not yet begun are dropped and the panic goes on in the
    /// caller; the pool stays usable.
    pub fn run(&self, tasks: usize, f: &(dyn Fn(usize, usize) + Sync)) {
        self.run_limited(tasks, usize::MAX, f);
    }

    /// Like [`run`](Self::run) with at most `max_workers` workers (at least 1), for callers whose
    /// buffers per worker were sized before the pool was resized.
    pub fn run_limited(&self, tasks: usize, max_workers: usize, f: &(dyn Fn(usize, usize) + Sync)) {
        if tasks == 0 {
            return;
        }
        if IN_TASK.get() {
            (0..tasks).for_each(|task| f(task, 0));
            return;
        }
        let mut handles = lock(&self.control);
        self.adjust(&mut handles);
        let workers = (handles.len() + 1).min(max_workers.max(1));
        if tasks == 1 || workers == 1 {
            let _mark = Mark::set();
            (0..tasks).for_each(|task| f(task, 0));
            return;
        }

        let shared = &*self.shared;
        let task: *const (dyn Fn(usize, usize) + Sync + '_) = f;
        // SAFETY: only the lifetime changes. The pointer is dereferenced by workers inside the
        // job alone, and this function does not return before the last of them has left.
        let task = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize, usize) + Sync + '_), *const Task>(task)
        };
        // SAFETY: `control` is held and the gate is closed with nobody inside, so no other
        // thread reads or writes the job.
        unsafe {
            *shared.job.get() = Job {
                task,
                tasks,
                workers,
            }
        };
        shared.next.0.store(0, Ordering::Relaxed);
        let epoch = (shared.gate.load(Ordering::Relaxed) >> EPOCH_SHIFT).wrapping_add(1);
        shared
            .gate
            .store((epoch << EPOCH_SHIFT) | OPEN, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = lock(&shared.sleep);
            shared.wake.notify_all();
        }

        shared.claim(f, tasks, 0);

        shared.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while shared.gate.load(Ordering::Acquire) & INSIDE != 0 {
            spins += 1;
            if spins.is_multiple_of(256) {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        let panic = lock(&shared.panic).take();
        drop(handles);
        if let Some(Panic { payload, place }) = panic {
            note_panic_place(place);
            resume_unwind(payload);
        }
    }

    /// Starts or ends threads until their number is the one asked for.
    fn adjust(&self, handles: &mut Vec<JoinHandle<()>>) {
        let wanted = self.shared.wanted.load(Ordering::Relaxed);
        if handles.len() + 1 > wanted {
            self.shared.set_limit(wanted);
            for handle in handles.drain(wanted - 1..) {
                // A worker catches the panics of tasks and has none of its own.
                let _ = handle.join();
            }
        }
        while handles.len() + 1 < wanted {
            let index = handles.len() + 1;
            self.shared.limit.store(index + 1, Ordering::SeqCst);
            let shared = Arc::clone(&self.shared);
            let seen = shared.gate.load(Ordering::Relaxed) >> EPOCH_SHIFT;
            let on_start = self.on_start;
            let name = format!("dormouse-{index}");
            let thread = std::thread::Builder::new().name(name.clone());
            let life = move || {
                on_start(&name);
                shared.work(index, seen);
            };
            match thread.spawn(life) {
                Ok(handle) => handles.push(handle),
                Err(_) => {
                    self.shared.wanted.store(index, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.set_limit(1);
        for handle in lock(&self.control).drain(..) {
            let _ = handle.join();
        }
    }
}

/// Marks the thread as executing tasks until dropped, also by a panic.
struct Mark;

impl Mark {
    fn set() -> Mark {
        IN_TASK.set(true);
        Mark
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        IN_TASK.set(false);
    }
}

impl Shared {
    fn epoch(&self) -> u64 {
        self.gate.load(Ordering::SeqCst) >> EPOCH_SHIFT
    }

    fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::SeqCst);
        let _guard = lock(&self.sleep);
        self.wake.notify_all();
    }

    /// Executes tasks until the counter runs out. A panic empties the counter and is kept.
    fn claim(&self, f: &(dyn Fn(usize, usize) + Sync), tasks: usize, worker: usize) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _mark = Mark::set();
            loop {
                let task = self.next.0.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    break;
                }
                f(task, worker);
            }
        }));
        if let Err(payload) = result {
            self.next.0.store(tasks, Ordering::Relaxed);
            lock(&self.panic).get_or_insert_with(|| Panic {
                payload,
                place: take_panic_place(),
            });
        }
    }

    /// The life of a worker thread.
    fn work(&self, index: usize, mut seen: u64) {
        while self.wait(index, seen) {
            let gate = self.gate.load(Ordering::Acquire);
            seen = gate >> EPOCH_SHIFT;
            if !self.join(gate) {
                continue;
            }
            // SAFETY: this worker is inside, so the job is not written, and the closure lives.
            let (task, tasks, workers) = unsafe {
                let job = &*self.job.get();
                (&*job.task, job.tasks, job.workers)
            };
            if index < workers {
                self.claim(task, tasks, index);
            }
            self.gate.fetch_sub(1, Ordering::Release);
        }
    }

    /// Enters the job of the epoch that `gate` shows; false if it is closed by now.
    fn join(&self, mut gate: u64) -> bool {
        let epoch = gate >> EPOCH_SHIFT;
        while gate & OPEN != 0 && gate >> EPOCH_SHIFT == epoch {
            match self.gate.compare_exchange_weak(
                gate,
                gate + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(now) => gate = now,
            }
        }
        false
    }

    /// Waits for an epoch other than `seen`; false if the worker is to end.
    fn wait(&self, index: usize, seen: u64) -> bool {
        let start = Instant::now();
        loop {
            for _ in 0..32 {
                if index >= self.limit.load(Ordering::SeqCst) {
                    return false;
                }
                if self.epoch() != seen {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() > SPIN {
                break;
            }
        }
        let mut guard = lock(&self.sleep);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.epoch() == seen && index < self.limit.load(Ordering::SeqCst) {
            guard = self
                .wake
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        index < self.limit.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests;
