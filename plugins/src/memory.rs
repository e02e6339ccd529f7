//! The memory that sandboxes share, so that many functions on many threads cannot take the process' own.
//!
//! Invariants: what is taken is given back when the [`Share`] is dropped, and the sum never exceeds the bound; nothing is
//! refused as long as an instance that nobody uses holds memory: those go first.

use crate::instance::Instance;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// What the sandboxes of one kind (see `CallsOf`) may take together, and have taken, in bytes.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    /// Whose it is, as messages say it.
    of: &'static str,
    taken: AtomicUsize,
    bytes_max: usize,
    /// Those of living callers, and a few of dead ones.
    idle: Mutex<Vec<Weak<IdleInstances>>>,
}

impl SharedMemory {
    pub(crate) fn new(of: &'static str, bytes_max: usize) -> Arc<SharedMemory> {
        Arc::new(SharedMemory { of, taken: AtomicUsize::new(0), bytes_max, idle: Mutex::default() })
    }

    pub(crate) fn of(&self) -> &'static str {
        self.of
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn take(&self, bytes: usize) -> bool {
        while !self.take_free(bytes) {
            if bytes > self.bytes_max {
                return false;
            }
            if !self.drop_idle() {
                // Another thread may have dropped the last one.
                return self.take_free(bytes);
            }
        }
        true
    }

    fn take_free(&self, bytes: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Drops one instance that nobody uses; `false` when there is none.
    fn drop_idle(&self) -> bool {
        // One caller's after the other's, so that a caller that is called often loses its instances no more often than others.
        let mut idle = self.idle.lock();
        let found = idle.iter().enumerate().find_map(|(place, caller)| Some((place, caller.upgrade()?.take()?)));
        let Some((place, instance)) = found else { return false };
        idle.rotate_left(place + 1);
        // Under the lock: who finds nothing idle may count on what was.
        drop(instance);
        true
    }
}

/// Instances of one caller that nobody uses.
#[derive(Debug)]
pub(crate) struct IdleInstances {
    instances: Mutex<Vec<Instance>>,
    instances_max: usize,
}

impl IdleInstances {
    /// Of a new caller, whose instances take from `memory`.
    pub(crate) fn new(memory: &SharedMemory, instances_max: usize) -> Arc<IdleInstances> {
        let made = Arc::new(IdleInstances { instances: Mutex::default(), instances_max });
        let mut idle = memory.idle.lock();
        if idle.len() == idle.capacity() {
            // Before it grows, so rarely, and then by as much as is alive.
            idle.retain(|caller| caller.strong_count() > 0);
            let living = idle.len();
            idle.reserve(living + 1);
        }
        idle.push(Arc::downgrade(&made));
        made
    }

    pub(crate) fn take(&self) -> Option<Instance> {
        self.instances.lock().pop()
    }

    pub(crate) fn give_back(&self, instance: Instance) {
        let mut instances = self.instances.lock();
        if instances.len() < self.instances_max {
            instances.push(instance);
        }
    }
}

/// What one sandbox has taken.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<SharedMemory>,
    bytes: usize,
}

impl Share {
    pub(crate) fn of(memory: &Arc<SharedMemory>) -> Share {
        Share { memory: memory.clone(), bytes: 0 }
    }

    /// Takes `bytes` more; `false` when all is taken by sandboxes that are in use.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let taken = self.memory.take(bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }

    pub(crate) fn memory(&self) -> &SharedMemory {
        &self.memory
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let memory = SharedMemory::new("statements", 100);
        let (mut one, mut two) = (Share::of(&memory), Share::of(&memory));
        assert!(one.take(60) && two.take(40));
        assert!(!two.take(1) && !two.take(usize::MAX));
        drop(one);
        assert!(two.take(60) && !two.take(1));
        drop(two);
        assert!(Share::of(&memory).take(100));
    }

    #[test]
    fn callers_that_are_gone_are_forgotten() {
        let memory = SharedMemory::new("statements", 100);
        let living: Vec<_> = (0..10).map(|_| IdleInstances::new(&memory, 1)).collect();
        for _ in 0..1000 {
            drop(IdleInstances::new(&memory, 1));
        }
        assert!(memory.idle.lock().len() <= 4 * living.len());
    }
}
