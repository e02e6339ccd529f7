//! How long a call may run: one thread advances wasmtime's epoch every [`TICK`], and at each a running guest stops for a
//! look at its [`CallTime`]: past its deadline, or when its statement is cancelled, it traps.
//!
//! Invariant: the thread runs as long as any host, module or instance that needs it, and ends with the last of them.

use crate::instance::Failure;
use millpond_engine::function::CallLimits;
use millpond_engine::{Error, Result};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Time between two epochs: the resolution of deadlines, and how long a cancelled guest may run on.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Advances the epoch of a `wasmtime::Engine` until dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    /// Dropping it wakes and ends the thread.
    _alive: Sender<()>,
}

impl Ticker {
    pub(crate) fn start(engine: &wasmtime::Engine) -> Result<Ticker> {
        let (alive, dropped) = channel::<()>();
        let engine = engine.weak();
        std::thread::Builder::new()
            .name("wasm-deadline".into())
            .spawn(move || {
                while dropped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    match engine.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                }
            })
            .map_err(|e| Error::io("start the deadline thread", e))?;
        Ok(Ticker { _alive: alive })
    }
}

/// The time of one call into the sandbox.
#[derive(Clone, Debug)]
pub(crate) struct CallTime {
    started: Instant,
    whole: Duration,
    limits: CallLimits,
}

impl CallTime {
    pub(crate) fn start(limits: &CallLimits) -> CallTime {
        CallTime { started: Instant::now(), whole: limits.left(), limits: limits.clone() }
    }

    /// What the call was given, in milliseconds.
    pub(crate) fn whole_ms(&self) -> u128 {
        self.whole.as_millis()
    }

    /// Whether the call may go on.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.limits.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        if self.started.elapsed() >= self.whole {
            return Err(Failure::Deadline);
        }
        Ok(())
    }
}
