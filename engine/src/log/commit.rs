//! The commit thread: turns what waits into groups, makes each durable with one sync, then acknowledges it.
//!
//! Batching is natural: while one group syncs, the next one gathers; nobody lingers. Encoding and checksums are done by
//! the callers; the commit thread gives offsets and time, writes and syncs.

use super::Record;
use super::frame::{Kind, encode_batch, encode_frame};
use super::partition::{AppendTimes, TailBatch, compact};
use super::state::{Shared, State};
use super::wal::{Encoded, Wal};
use crate::{Epoch, Error, ObjectId, Offset, PartitionId, Result};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Encoded bytes that wait for or are being made durable; beyond that, [`submit`] blocks.
const SUBMITTED_BYTES_MAX: usize = 256 << 20;

/// A group takes no more transactions once it has this many bytes.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Encoded bytes of one transaction at most.
const TRANSACTION_BYTES_MAX: usize = 1 << 30;

/// How long [`submit`] waits for tails to shrink when they are twice over budget.
const TAIL_WAIT: Duration = Duration::from_secs(30);

/// Transactions that wait.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Submission>,
    /// Encoded bytes of those that wait and those under way.
    bytes: usize,
    /// Set = no more are taken, and why.
    pub stopped: Option<String>,
}

#[derive(Debug)]
struct Submission {
    encoded: Encoded,
    records: Vec<Pending>,
    reply: SyncSender<Result<Epoch>>,
}

/// A record whose frame (its place among the headers; `None` without rows) is encoded.
#[derive(Debug)]
enum Pending {
    Append { stream: ObjectId, partition: PartitionId, batch: RecordBatch, frame: Option<usize>, base: Offset },
    Catalog { frame: usize },
}

/// A submitted transaction.
#[derive(Debug)]
pub struct Ticket(Receiver<Result<Epoch>>);

impl Ticket {
    /// Blocks until the transaction is durable; returns the first epoch at which it is visible.
    ///
    /// # Errors
    /// `NotFound` when a stream was dropped meanwhile; `Io` when the disk was full, and nothing was written; `Stopped`.
    pub fn wait(self) -> Result<Epoch> {
        self.0.recv().unwrap_or_else(|_| Err(Error::Stopped("the log stopped before the commit".into())))
    }
}

/// Checks, encodes and queues a transaction.
pub fn submit(shared: &Shared, transaction: Vec<Record>) -> Result<Ticket> {
    wait_for_tails(shared)?;
    let (reply, receiver) = sync_channel(1);
    let mut submission = Submission { encoded: Encoded::default(), records: Vec::new(), reply };
    for record in transaction {
        submission.add(shared, record)?;
    }
    let bytes = submission.encoded.bytes.len();
    let mut queue = shared.queue.lock();
    while queue.stopped.is_none() && queue.bytes > 0 && queue.bytes + bytes > SUBMITTED_BYTES_MAX {
        shared.drained.wait(&mut queue);
    }
    if let Some(reason) = &queue.stopped {
        return Err(Error::Stopped(reason.clone()));
    }
    queue.bytes += bytes;
    queue.waiting.push_back(submission);
    drop(queue);
    shared.submitted.notify_one();
    Ok(Ticket(receiver))
}

/// The commit thread's life; gives the write-ahead log back when the log stops.
pub fn run(shared: &Shared, mut wal: Wal) -> Wal {
    shared.env.raise_priority();
    // Also when this thread panics: nobody may wait for it for ever.
    let _stop = StopAtEnd(shared);
    while let Some(group) = next_group(shared) {
        let bytes: usize = group.iter().map(|s| s.encoded.bytes.len()).sum();
        let stop = commit_group(shared, &mut wal, group).err();
        shared.queue.lock().bytes -= bytes;
        shared.drained.notify_all();
        if let Some(reason) = stop {
            shared.stop(&reason);
            break;
        }
    }
    wal
}

struct StopAtEnd<'a>(&'a Shared);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop("the commit thread ended");
        // Dropping a reply answers its ticket.
        self.0.queue.lock().waiting.clear();
    }
}

fn wait_for_tails(shared: &Shared) -> Result<()> {
    let most = shared.options.tail_bytes_budget.saturating_mul(2);
    let mut state = shared.state.lock();
    if state.tail_bytes() <= most {
        return Ok(());
    }
    let deadline = Instant::now() + TAIL_WAIT;
    while state.tail_bytes() > most && !state.is_stopped() {
        if shared.moved.wait_until(&mut state, deadline).timed_out() {
            return Err(Error::Limit(format!(
                "records in memory take {} bytes and can't be sealed fast enough (most: {most}); is the disk full?",
                state.tail_bytes()
            )));
        }
    }
    Ok(())
}

impl Submission {
    fn add(&mut self, shared: &Shared, record: Record) -> Result<()> {
        match record {
            Record::Append { stream, partition, batch } => {
                let schema = {
                    let state = shared.state.lock();
                    state.partition(stream, partition)?;
                    state.stream(stream)?.schema.clone()
                };
                let batch = compact(conform(stream, &schema, batch)?)?;
                let frame = match batch.num_rows() {
                    0 => None,
                    rows => Some(self.encode(Kind::Data, (stream, partition), rows, &encode_batch(&batch)?)?),
                };
                self.records.push(Pending::Append { stream, partition, batch, frame, base: Offset(0) });
            }
            Record::Catalog(bytes) => {
                let frame = self.encode(Kind::Catalog, Default::default(), 0, &bytes)?;
                self.records.push(Pending::Catalog { frame });
            }
        }
        Ok(())
    }

    fn encode(&mut self, kind: Kind, at: (ObjectId, PartitionId), rows: usize, payload: &[u8]) -> Result<usize> {
        let place = self.encoded.bytes.len();
        let header = encode_frame(&mut self.encoded.bytes, kind, at, rows, payload)?;
        if self.encoded.bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(Error::Limit(format!(
                "a transaction of more than {TRANSACTION_BYTES_MAX} bytes is too large: split it"
            )));
        }
        self.encoded.headers.push((place, header));
        Ok(self.encoded.headers.len() - 1)
    }
}

/// `batch` with the stream's own schema.
fn conform(stream: ObjectId, schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch> {
    let mismatch = |reason: String| Error::Invalid(format!("a batch does not fit stream {stream}: {reason}"));
    if batch.num_columns() != schema.fields().len() {
        return Err(mismatch(format!("{} columns instead of {}", batch.num_columns(), schema.fields().len())));
    }
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type() != column.data_type() {
            let (want, is) = (field.data_type(), column.data_type());
            return Err(mismatch(format!("column \"{}\" is of type {want}, not {is}", field.name())));
        }
        if !field.is_nullable() && column.logical_null_count() > 0 {
            return Err(mismatch(format!("column \"{}\" is NULL where it must not be", field.name())));
        }
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
}

/// Blocks for the next group; `None` once the log stops and nothing waits any more.
fn next_group(shared: &Shared) -> Option<Vec<Submission>> {
    let mut queue = shared.queue.lock();
    while queue.waiting.is_empty() {
        if queue.stopped.is_some() {
            return None;
        }
        shared.submitted.wait(&mut queue);
    }
    let (mut group, mut bytes) = (Vec::new(), 0);
    while let Some(next) = queue.waiting.front() {
        bytes += next.encoded.bytes.len();
        if !group.is_empty() && bytes > GROUP_BYTES_MAX {
            break;
        }
        group.extend(queue.waiting.pop_front());
    }
    Some(group)
}

/// `Err` = the log must stop, and why.
fn commit_group(shared: &Shared, wal: &mut Wal, group: Vec<Submission>) -> Result<(), String> {
    let mut group = give_offsets(&shared.state.lock(), group);
    if group.iter().all(|s| s.encoded.headers.is_empty()) {
        let epoch = shared.state.lock().epoch();
        group.into_iter().for_each(|s| answer(&s, Ok(epoch)));
        return Ok(());
    }
    let append_ts = wal.group_time();
    let mut encoded: Vec<Encoded> = group.iter_mut().map(|s| std::mem::take(&mut s.encoded)).collect();
    let position = match wal.append(&mut encoded, append_ts) {
        Ok(position) => position,
        Err(e) => {
            group.into_iter().for_each(|s| answer(&s, Err(e.to_error())));
            return match e {
                super::wal::WalError::Refused(_) => Ok(()),
                super::wal::WalError::Fatal(reason) => Err(reason),
            };
        }
    };
    let epoch = Epoch(wal.epoch());
    let mut at = position;
    let mut state = shared.state.lock();
    for (submission, encoded) in group.iter().zip(&encoded) {
        apply(&mut state, submission, encoded, (at, epoch, append_ts));
        at += encoded.bytes.len() as u64;
    }
    state.group_done(position);
    let full = super::sealer::is_full(shared, &state);
    drop(state);
    shared.moved.notify_all();
    if full {
        super::sealer::wake(shared);
    }
    group.into_iter().for_each(|s| answer(&s, Ok(epoch)));
    Ok(())
}

/// Gives every append its base offset; refuses transactions whose stream is gone.
fn give_offsets(state: &State, group: Vec<Submission>) -> Vec<Submission> {
    let mut next: HashMap<(ObjectId, PartitionId), Offset> = HashMap::new();
    let mut accepted = Vec::with_capacity(group.len());
    for mut submission in group {
        let gone = submission.records.iter().find_map(|record| match record {
            Pending::Append { stream, partition, .. } => state.partition(*stream, *partition).err(),
            Pending::Catalog { .. } => None,
        });
        if let Some(error) = gone {
            answer(&submission, Err(error));
            continue;
        }
        for record in &mut submission.records {
            let Pending::Append { stream, partition, batch, frame, base } = record else { continue };
            let upper = next
                .entry((*stream, *partition))
                .or_insert_with(|| state.partition(*stream, *partition).map_or(Offset(0), |p| p.upper()));
            *base = *upper;
            upper.0 += batch.num_rows() as u64;
            if let Some((_, header)) = frame.and_then(|f| submission.encoded.headers.get_mut(f)) {
                header.base = base.0;
            }
        }
        accepted.push(submission);
    }
    accepted
}

/// Shows a durable transaction to readers. `position`: where its first frame begins.
fn apply(state: &mut State, submission: &Submission, encoded: &Encoded, at: (u64, Epoch, i64)) {
    let (position, epoch, append_ts) = at;
    let place = |frame: usize| position + encoded.headers[frame].0 as u64;
    for record in &submission.records {
        match record {
            Pending::Append { stream, partition, batch, frame: Some(frame), base } => {
                let rows = TailBatch {
                    base: *base,
                    times: AppendTimes::all(*base, append_ts),
                    batch: batch.clone(),
                    position: place(*frame),
                    bytes: encoded.headers[*frame].1.frame_bytes(),
                };
                state.push(*stream, *partition, rows);
            }
            Pending::Append { frame: None, .. } => {}
            Pending::Catalog { frame } => state.push_catalog(epoch, place(*frame)),
        }
    }
}

/// A caller that no longer waits is no error.
fn answer(submission: &Submission, result: Result<Epoch>) {
    let _ = submission.reply.send(result);
}
