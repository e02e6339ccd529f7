//! The threads behind the graph: one ticks whenever something became durable, one checkpoints now and then.

use crate::database::Database;
use crate::{Error, Result};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the tick thread waits for the log before it looks whether it should stop.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Stack of a thread that plans or computes; address space only, until it is used. The planner takes up to 10 KiB for each
/// link of a chain of operators, computing some of that, and a statement may have a thousand links.
pub const STACK_BYTES: usize = 64 << 20;

/// The running threads.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Ticker {
    /// Starts both threads.
    pub fn start(database: &Arc<Database>) -> Result<Ticker> {
        let stop = Arc::new(Stop::default());
        let spawn = |name: &str, run: fn(&Database, &Stop)| {
            let (database, stop) = (database.clone(), stop.clone());
            let thread = std::thread::Builder::new().name(name.into()).stack_size(STACK_BYTES);
            let thread = thread.spawn(move || run(&database, &stop));
            thread.map_err(|e| Error::io(format!("starting thread {name}"), e))
        };
        let threads = vec![spawn("millpond-tick", tick_loop)?, spawn("millpond-checkpoint", checkpoint_loop)?];
        Ok(Ticker { stop, threads })
    }

    /// Stops both threads and waits for them.
    pub fn stop(self) {
        *self.stop.stopped.lock() = true;
        self.stop.changed.notify_all();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a background thread had panicked");
            }
        }
    }
}

impl Stop {
    fn wait(&self, timeout: Duration) -> bool {
        let mut stopped = self.stopped.lock();
        if !*stopped {
            self.changed.wait_for(&mut stopped, timeout);
        }
        *stopped
    }
}

fn tick_loop(database: &Database, stop: &Stop) {
    // A panic here would leave readers waiting for an epoch that never comes: tell them.
    let run = || -> Result<()> {
        while !*stop.stopped.lock() {
            let seen = database.graph.lock().epoch;
            if database.log.wait_for(seen, IDLE_WAIT).epoch > seen {
                database.tick()?;
            } else if database.log.is_stopped() && !*stop.stopped.lock() {
                return Err(Error::Stopped("the log stopped".into()));
            }
        }
        Ok(())
    };
    let reason = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the tick thread panicked".into(),
    };
    tracing::error!(reason, "views do not advance any more; restart the server");
    database.stop_publishing(format!("views do not advance any more ({reason}); restart the server"));
}

fn checkpoint_loop(database: &Database, stop: &Stop) {
    let mut saved = database.graph.lock().epoch;
    while !stop.wait(database.options.checkpoint_interval) {
        let epoch = database.graph.lock().epoch;
        if epoch == saved {
            continue;
        }
        match database.checkpoint() {
            Ok(()) => saved = epoch,
            Err(error) => tracing::error!(%error, "no checkpoint: a restart would replay from the last one"),
        }
    }
}
