//! An allocator that remembers what a thread has asked for: the largest single block, and the most
//! that it held at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Watched;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// Bytes that the thread has taken and not given back; what another gave it counts below zero.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST_HELD: Cell<isize> = const { Cell::new(0) };
}

/// Notes that `old` bytes become `new`, which can be two blocks for a while.
fn note(old: usize, new: usize) {
    // Threads that end have none any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(new)));
    let _ = HELD.try_with(|held| {
        let both = held.get() + new as isize;
        let _ = MOST_HELD.try_with(|most| most.set(most.get().max(both)));
        held.set(both - old as isize);
    });
}

// SAFETY: everything is the system allocator's; the note that is taken allocates nothing.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(0, layout.size());
        // SAFETY: as asked of us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(0, layout.size());
        // SAFETY: as asked of us.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(layout.size(), size);
        // SAFETY: as asked of us.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(layout.size(), 0);
        // SAFETY: as asked of us.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What this thread took in some work, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    /// The largest single block.
    pub(crate) largest: usize,
    /// The most that it held at once, of what it did not hold before.
    pub(crate) most: usize,
}

pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (T, Taken) {
    let before = HELD.get();
    LARGEST.set(0);
    MOST_HELD.set(before);
    let result = work();
    let taken = Taken {
        largest: LARGEST.get(),
        most: (MOST_HELD.get() - before) as usize,
    };
    (result, taken)
}
