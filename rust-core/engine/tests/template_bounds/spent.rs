//! What a thread spends: its processor time, which other tests and programs do not add to, and its
//! memory, by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use dormouse::metrics::thread_cpu_time;

struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn note(grown: usize, shrunk: usize) {
    // Threads that end have none any more.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + grown as isize - shrunk as isize);
        MOST.with(|most| most.set(most.get().max(now.get())));
    });
}

// SAFETY: everything is the system allocator's; the note that is taken allocates nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: as asked of us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: as asked of us.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment there can be both.
        note(size, 0);
        note(0, layout.size());
        // SAFETY: as asked of us.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: as asked of us.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What `work` gives on a thread with a large stack, the time that it takes of the processor and the
/// bytes that it holds at once.
pub(crate) fn spent<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (T, Duration, usize) {
    dormouse::threads::spawn_with_large_stack("test", move || {
        let (time, bytes) = (thread_cpu_time(), NOW.get());
        MOST.set(bytes);
        let result = work();
        let bytes = MOST.get() - bytes;
        (result, thread_cpu_time() - time, bytes.unsigned_abs())
    })
    .unwrap()
    .join()
    .unwrap()
}
