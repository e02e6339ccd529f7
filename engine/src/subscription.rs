//! A reader with a position: snapshot at an epoch, then every change after it, then progress.
//!
//! The tick pushes, the reader pulls. One tick's changes may be large ([`TICK_BYTES_MAX`]) and always go to a reader that
//! keeps up. One that still has more than [`SUBSCRIPTION_BYTES_MAX`] waiting when the next tick comes is ended with an error
//! that says so, and its buffer is freed. So what waits for a reader is less than the sum of the two. Nobody else waits.

use crate::delta::Delta;
use crate::graph::Failure;
use crate::relation::RelationSnapshot;
use crate::{Epoch, Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Bytes of changes that may still wait for a reader when more come.
pub const SUBSCRIPTION_BYTES_MAX: usize = 64 << 20;
/// Bytes of changes of one object in one tick that are kept for its readers.
pub const TICK_BYTES_MAX: usize = 512 << 20;

/// What a subscription starts with.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeOptions {
    /// Start with the rows that are there already (all of weight > 0, at one epoch).
    pub snapshot: bool,
}

/// What a subscriber receives, in epoch order.
#[derive(Debug)]
pub enum Event {
    /// Rows that came (weight > 0) or went (weight < 0) at `epoch`.
    Changes { epoch: Epoch, delta: Delta },
    /// No more changes at epochs `<= epoch` will follow.
    Progress { epoch: Epoch },
}

/// A live subscription; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    schema: SchemaRef,
    start: Epoch,
    snapshot: Option<Arc<RelationSnapshot>>,
    pending: VecDeque<RecordBatch>,
    reported: Option<Epoch>,
    feed: Arc<Feed>,
}

/// The end the tick pushes into.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    feed: Weak<Feed>,
}

#[derive(Debug)]
struct Feed {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    changes: VecDeque<(Epoch, Delta)>,
    bytes: usize,
    progress: Epoch,
    ended: Option<Ending>,
}

/// Why a feed has no future. Kept in parts because an error is raised once per reader.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    Dropped(String),
    Stopped(String),
    Behind,
    /// One tick changed more than can be kept.
    TickTooLarge,
    /// Rows of the view, or of what it reads, cannot be computed.
    Failing(String, Failure),
}

impl Subscription {
    /// A subscription that starts at `epoch` with `snapshot` (the rows then there), and its pushing end.
    pub(crate) fn start(
        schema: SchemaRef,
        epoch: Epoch,
        snapshot: Option<Arc<RelationSnapshot>>,
    ) -> (Subscription, Subscriber) {
        let queue = Queue { changes: VecDeque::new(), bytes: 0, progress: epoch, ended: None };
        let feed = Arc::new(Feed { queue: Mutex::new(queue), changed: Condvar::new() });
        let subscriber = Subscriber { feed: Arc::downgrade(&feed) };
        let pending = VecDeque::new();
        (Subscription { schema, start: epoch, snapshot, pending, reported: None, feed }, subscriber)
    }

    /// Columns of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Blocks up to `timeout` for the next event; `None` when nothing came.
    ///
    /// # Errors
    /// `Limit` when the reader fell behind its buffer, `NotFound` when the object was dropped, `Stopped` when the
    /// view or the server stopped.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>> {
        if let Some(event) = self.next_of_snapshot()? {
            return Ok(Some(event));
        }
        let deadline = Instant::now() + timeout;
        let mut queue = self.feed.queue.lock();
        loop {
            if let Some((epoch, delta)) = queue.changes.pop_front() {
                queue.bytes -= delta.bytes();
                return Ok(Some(Event::Changes { epoch, delta }));
            }
            if let Some(ending) = &queue.ended {
                return Err(ending.error());
            }
            if self.reported.is_none_or(|reported| reported < queue.progress) {
                self.reported = Some(queue.progress);
                return Ok(Some(Event::Progress { epoch: queue.progress }));
            }
            if self.feed.changed.wait_until(&mut queue, deadline).timed_out() {
                return Ok(None);
            }
        }
    }

    fn next_of_snapshot(&mut self) -> Result<Option<Event>> {
        if let Some(snapshot) = self.snapshot.take() {
            self.pending = snapshot.batches()?.into();
        }
        let batch = self.pending.pop_front();
        Ok(batch.map(|batch| Event::Changes { epoch: self.start, delta: Delta::inserts(batch) }))
    }
}

impl Subscriber {
    /// Whether anybody still reads.
    pub(crate) fn is_live(&self) -> bool {
        self.feed.strong_count() > 0
    }

    /// Hands over the changes of one tick.
    pub(crate) fn push(&self, epoch: Epoch, deltas: &[Delta]) {
        let Some(feed) = self.feed.upgrade() else { return };
        let mut queue = feed.queue.lock();
        if queue.ended.is_some() {
            return;
        }
        if queue.bytes > SUBSCRIPTION_BYTES_MAX && deltas.iter().any(|d| d.rows() > 0) {
            queue.end(Ending::Behind);
            feed.changed.notify_all();
            return;
        }
        for delta in deltas.iter().filter(|d| d.rows() > 0) {
            queue.bytes += delta.bytes();
            queue.changes.push_back((epoch, delta.clone()));
        }
        queue.progress = epoch;
        feed.changed.notify_all();
    }

    /// Ends the feed after what is queued.
    pub(crate) fn end(&self, ending: Ending) {
        if let Some(feed) = self.feed.upgrade() {
            feed.queue.lock().ended = Some(ending);
            feed.changed.notify_all();
        }
    }
}

impl Queue {
    fn end(&mut self, ending: Ending) {
        self.changes.clear();
        self.bytes = 0;
        self.ended = Some(ending);
    }
}

impl Ending {
    fn error(&self) -> Error {
        match self {
            Ending::Dropped(name) => Error::NotFound(format!("\"{name}\" was dropped")),
            Ending::Stopped(reason) => Error::Stopped(reason.clone()),
            Ending::Failing(view, failure) => failure.error(view),
            Ending::Behind => Error::Limit(format!(
                "subscription fell more than {} MiB behind; subscribe again to start from a fresh snapshot",
                SUBSCRIPTION_BYTES_MAX >> 20
            )),
            Ending::TickTooLarge => Error::Limit(format!(
                "one tick changed more than {} MiB; subscribe again to start from a fresh snapshot",
                TICK_BYTES_MAX >> 20
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    fn batch(rows: usize) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![7; rows]))]).unwrap()
    }

    #[test]
    fn a_reader_that_falls_behind_is_ended_and_its_buffer_freed() {
        let (mut subscription, subscriber) = Subscription::start(batch(0).schema(), Epoch(1), None);
        let delta = Delta::inserts(batch(1 << 20));
        for epoch in 2..20 {
            subscriber.push(Epoch(epoch), std::slice::from_ref(&delta));
        }
        assert!(matches!(subscription.next(Duration::ZERO), Err(Error::Limit(_))));
        assert_eq!(subscription.feed.queue.lock().bytes, 0);
    }

    #[test]
    fn a_reader_that_keeps_up_gets_a_tick_of_any_size() {
        let (mut subscription, subscriber) = Subscription::start(batch(0).schema(), Epoch(1), None);
        let delta = Delta::inserts(batch(1 << 20));
        for epoch in 2..5 {
            let tick = vec![delta.clone(); 2 * SUBSCRIPTION_BYTES_MAX / delta.bytes()];
            subscriber.push(Epoch(epoch), &tick);
            for _ in 0..tick.len() {
                assert!(matches!(subscription.next(Duration::ZERO), Ok(Some(Event::Changes { .. }))));
            }
            assert!(matches!(subscription.next(Duration::ZERO), Ok(Some(Event::Progress { .. }))));
        }
    }

    #[test]
    fn changes_come_before_the_progress_that_covers_them() {
        let (mut subscription, subscriber) = Subscription::start(batch(0).schema(), Epoch(1), None);
        subscriber.push(Epoch(4), &[Delta::inserts(batch(2))]);
        let events: Vec<_> = std::iter::from_fn(|| subscription.next(Duration::ZERO).unwrap()).collect();
        assert!(
            matches!(&events[..], [Event::Changes { epoch: Epoch(4), .. }, Event::Progress { epoch: Epoch(4) }]),
            "{events:?}"
        );
    }

    #[test]
    fn dropping_the_reader_tells_the_tick() {
        let (subscription, subscriber) = Subscription::start(batch(0).schema(), Epoch(0), None);
        assert!(subscriber.is_live());
        drop(subscription);
        assert!(!subscriber.is_live());
    }
}
