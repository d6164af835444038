//! A mutex that serves waiters in the order they came, so that several sessions share one
//! compute pool evenly. A std mutex lets the last holder take it again at once.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A first-come, first-served mutex.
#[derive(Debug)]
pub(super) struct FairMutex<T> {
    queue: Mutex<Queue>,
    turn: Condvar,
    value: Mutex<T>,
}

#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    serving: u64,
}

/// Holds the lock; the next in line is woken when it is dropped.
pub(super) struct FairGuard<'a, T> {
    owner: &'a FairMutex<T>,
    // An Option only so that it is released before the next waiter is called.
    value: Option<MutexGuard<'a, T>>,
}

impl<T> FairMutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            queue: Mutex::new(Queue::default()),
            turn: Condvar::new(),
            value: Mutex::new(value),
        }
    }

    /// Waits for its turn. A panic of a former holder does not bar the way: every user sets the
    /// buffers anew.
    pub(super) fn lock(&self) -> FairGuard<'_, T> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        while queue.serving != ticket {
            queue = self
                .turn
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(queue);
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        FairGuard {
            owner: self,
            value: Some(value),
        }
    }
}

impl<T> Drop for FairGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.owner
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .serving += 1;
        self.owner.turn.notify_all();
    }
}

impl<T> Deref for FairGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // Present from construction until drop.
        self.value.as_ref().expect("the guard holds the lock")
    }
}

impl<T> DerefMut for FairGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("the guard holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::FairMutex;
    use std::sync::Mutex;
    use std::time::Duration;

    #[test]
    fn waiters_are_served_in_order() {
        let lock = FairMutex::new(());
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let first = lock.lock();
            for index in 0..6 {
                let (lock, order) = (&lock, &order);
                scope.spawn(move || {
                    let _turn = lock.lock();
                    order.lock().unwrap().push(index);
                });
                // Each waiter is in line before the next one comes.
                while lock.queue.lock().unwrap().next_ticket < index + 2 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            drop(first);
        });
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_panicking_holder_does_not_bar_the_way() {
        let lock = FairMutex::new(1);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _turn = lock.lock();
            panic!("holder");
        }));
        assert!(result.is_err());
        assert_eq!(*lock.lock(), 1);
    }
}
