//! Cancellation: who is connected, and how a CancelRequest or a lost client reaches a running statement.
//!
//! Each running statement has a flag that long work looks at, and the connection a notifier that wakes its loop.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use tokio::sync::Notify;

/// The flag of one statement: set = give up.
pub type CancelFlag = Arc<AtomicBool>;

/// What a connection shares with those who may cancel its statement.
#[derive(Debug, Default)]
pub struct CancelHandle {
    running: Mutex<Option<CancelFlag>>,
    notify: Notify,
}

impl CancelHandle {
    /// A statement begins.
    pub fn begin(&self) -> CancelFlag {
        let flag = CancelFlag::default();
        self.resume(&flag);
        flag
    }

    /// A statement goes on that was suspended.
    pub fn resume(&self, flag: &CancelFlag) {
        *self.running.lock() = Some(flag.clone());
    }

    /// The statement is over; a later request must not hit the next one.
    pub fn end(&self) {
        *self.running.lock() = None;
    }

    /// Cancels the running statement, if there is one.
    pub fn cancel(&self) {
        if let Some(flag) = self.running.lock().as_ref() {
            flag.store(true, Ordering::Release);
            self.notify.notify_one();
        }
    }

    /// Completes once `flag` is set by [`CancelHandle::cancel`].
    pub async fn canceled(&self, flag: &CancelFlag) {
        // A permit may be left over from an earlier statement, so the flag decides.
        while !flag.load(Ordering::Acquire) {
            self.notify.notified().await;
        }
    }
}

/// The connections of a door, by the key given to each client.
#[derive(Debug, Default)]
pub struct Connections {
    next_pid: AtomicI32,
    by_pid: Mutex<HashMap<i32, (i32, Arc<CancelHandle>)>>,
}

impl Connections {
    /// Registers a connection; dropping the registration ends it.
    pub fn register(self: &Arc<Connections>) -> Registration {
        let pid = self.next_pid.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // Keyed by the operating system's randomness, so a client cannot guess another's secret.
        let secret = RandomState::new().hash_one(pid) as i32;
        let handle = Arc::new(CancelHandle::default());
        self.by_pid.lock().insert(pid, (secret, handle.clone()));
        Registration { connections: self.clone(), pid, secret, handle }
    }

    /// Serves a CancelRequest; a wrong key does nothing.
    pub fn cancel(&self, pid: i32, secret: i32) {
        let handle = match self.by_pid.lock().get(&pid) {
            Some((expected, handle)) if *expected == secret => handle.clone(),
            _ => return,
        };
        handle.cancel();
    }
}

/// A connection's place in [`Connections`].
#[derive(Debug)]
pub struct Registration {
    connections: Arc<Connections>,
    pub pid: i32,
    pub secret: i32,
    pub handle: Arc<CancelHandle>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.by_pid.lock().remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_key_and_a_running_statement() {
        let connections = Arc::new(Connections::default());
        let one = connections.register();
        connections.cancel(one.pid, one.secret);
        let flag = one.handle.begin();
        connections.cancel(one.pid, one.secret.wrapping_add(1));
        assert!(!flag.load(Ordering::Acquire), "an earlier request or a wrong key must not cancel");
        connections.cancel(one.pid, one.secret);
        one.handle.canceled(&flag).await;
        one.handle.end();
        let (pid, secret) = (one.pid, one.secret);
        drop(one);
        connections.cancel(pid, secret);
    }
}
