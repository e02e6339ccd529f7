//! The memory of all sandboxes of a host together, so that many functions on many threads cannot take the process' own.
//!
//! Invariant: what is taken is given back when the [`Share`] is dropped, and their sum never exceeds the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What sandboxes may take together, and have taken, in bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    taken: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Budget> {
        Arc::new(Budget { taken: AtomicUsize::new(0), bytes_max })
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// What one sandbox has taken.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    pub(crate) fn of(budget: &Arc<Budget>) -> Share {
        Share { budget: budget.clone(), bytes: 0 }
    }

    /// Takes `bytes` more; `false` when the budget is used up.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let taken = self.budget.take(bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let budget = Budget::new(100);
        let (mut one, mut two) = (Share::of(&budget), Share::of(&budget));
        assert!(one.take(60) && two.take(40));
        assert!(!two.take(1) && !two.take(usize::MAX));
        drop(one);
        assert!(two.take(60) && !two.take(1));
        drop(two);
        assert!(Share::of(&budget).take(100));
    }
}
