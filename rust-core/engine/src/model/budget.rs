//! Counts the bytes that a model and its sessions take against what they are allowed.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

/// What one loaded model may take in all.
#[derive(Debug)]
pub(super) struct Budget {
    /// `u64::MAX` where there is no limit.
    limit: u64,
    taken: Mutex<u64>,
}

/// Bytes of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.unwrap_or(u64::MAX),
            taken: Mutex::new(0),
        })
    }

    /// Takes `bytes`, or fails with what would be needed in all.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = taken.saturating_add(bytes);
        if needed > self.limit {
            return Err(Error::OutOfMemory {
                needed,
                budget: self.limit,
            });
        }
        *taken = needed;
        Ok(Reservation {
            budget: self.clone(),
            bytes,
        })
    }
}

impl Reservation {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self
            .budget
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(Some(100));
        let first = budget.reserve(60).unwrap();
        match budget.reserve(50) {
            Err(Error::OutOfMemory { needed, budget }) => assert_eq!((needed, budget), (110, 100)),
            other => panic!("{other:?}"),
        }
        let second = budget.reserve(40).unwrap();
        drop(first);
        budget.reserve(61).unwrap_err();
        assert_eq!(budget.reserve(60).unwrap().bytes(), 60);
        drop(second);
        budget.reserve(100).unwrap();
    }

    #[test]
    fn without_a_limit_everything_fits() {
        let budget = Budget::new(None);
        let _all = budget.reserve(u64::MAX).unwrap();
        budget.reserve(1).unwrap();
    }
}
