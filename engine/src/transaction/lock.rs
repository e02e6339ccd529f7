//! Table locks: at most one transaction at a time changes a table.
//!
//! A lock is held until its transaction ends, also when a savepoint takes the change back that asked for it. There is no
//! search for deadlocks: a wait that is longer than its bound is an error of the one who waits.

use crate::catalog::Object;
use crate::{Error, ObjectId, Result};
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Which tables are locked.
#[derive(Debug, Default)]
pub(crate) struct TableLocks {
    locked: Mutex<HashSet<ObjectId>>,
    freed: Condvar,
}

impl TableLocks {
    /// Takes the lock of `table`, which the caller does not hold.
    ///
    /// # Errors
    /// `Locked` when it is not free within `wait`.
    pub(crate) fn lock(&self, table: &Object, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        let mut locked = self.locked.lock();
        while !locked.insert(table.id) {
            if wait.is_zero() || self.freed.wait_until(&mut locked, deadline).timed_out() {
                return Err(Error::Locked { table: table.name.clone() });
            }
        }
        Ok(())
    }

    pub(crate) fn unlock(&self, tables: &[ObjectId]) {
        let mut locked = self.locked.lock();
        for table in tables {
            locked.remove(table);
        }
        self.freed.notify_all();
    }
}
