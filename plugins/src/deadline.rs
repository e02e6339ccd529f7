//! How long a call may run: one thread advances wasmtime's epoch every [`TICK`]; guests trap when theirs has passed.
//!
//! Invariant: the thread runs as long as any host, module or instance that needs it, and ends with the last of them.

use millpond_engine::{Error, Result};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Time between two epochs: the resolution of deadlines.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// Longest deadline, so that epochs never overflow.
const DEADLINE_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

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

/// The time left for one `call`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    started: Instant,
    whole: Duration,
}

impl Budget {
    pub(crate) fn start(whole: Duration) -> Budget {
        Budget { started: Instant::now(), whole: whole.min(DEADLINE_MAX) }
    }

    /// What the call was given, in milliseconds.
    pub(crate) fn whole_ms(&self) -> u128 {
        self.whole.as_millis()
    }

    /// Epochs until the deadline, rounded up and one more, as the current one has partly passed; `None` when it is over.
    pub(crate) fn ticks_left(&self) -> Option<u64> {
        let left = self.whole.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())?;
        Some(u64::try_from(left.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX / 2) + 2)
    }
}
