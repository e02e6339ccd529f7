//! The log: every record of every stream, durable and in order.
//!
//! ```text
//!  submit ─▶ queue ─▶ commit thread ──▶ write-ahead log (one fdatasync per group) ──▶ acknowledged, epoch + 1
//!                                  └──▶ tails in memory ─▶ sealer ─▶ Parquet segment ─▶ manifest ─▶ WAL freed
//! ```
//!
//! Invariants:
//! - a *group* is what was waiting when the last sync ended. Group `n` makes epoch `n + 1`; both are dense over the life
//!   of the data directory. A transaction lies in one group, so it is there whole or not at all;
//! - offsets of a partition are given at commit, dense from 0, and never change or come back;
//! - everything readers can see ([`Log::cut`], [`Log::pieces`]) is durable;
//! - a record is in a segment that a manifest names, or in the write-ahead log, at every moment (often in both: recovery
//!   skips frames whose offsets are sealed already);
//! - what fails after a group's first byte was written ends the process; it is never acknowledged and never retried.
//!
//! On disk (`<dir>`): `wal/` (see `wal.rs`, `frame.rs`), `streams/<id>/` (see `manifest.rs`, `segment.rs`). A stream's
//! directory is removed only after its drop is durable, so frames of a stream without one belong to a dropped stream.
//!
//! The one ambiguity: damage of the very last group, if the machine lost power before anything was written behind it,
//! looks like a torn write of a group that was never acknowledged, and is cut.

mod commit;
mod frame;
mod manifest;
mod open;
mod partition;
mod recovery;
mod sealer;
mod segment;
mod state;
#[cfg(test)]
mod tests;
mod wal;

pub use commit::Ticket;
pub use partition::AppendTimes;
pub(crate) use partition::compact;
pub use segment::PieceReader;

use crate::catalog::{Column, SYSTEM_COLUMNS, system_fields};
use crate::env::Env;
use crate::{Epoch, Error, ObjectId, Offset, PartitionId, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use manifest::Manifest;
use parking_lot::Mutex;
use state::{Shared, Stream};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Partitions of one stream at most.
pub const PARTITIONS_MAX: u32 = 256;

const OFFSET: &str = SYSTEM_COLUMNS[1];
const APPEND_TS: &str = SYSTEM_COLUMNS[2];

/// A contiguous run of durable records of one partition. Stays readable while sealing goes on.
#[derive(Clone, Debug)]
pub enum Piece {
    /// A sealed Parquet file. It holds the stream's log columns, then `_offset` (Int64) and `_append_ts`.
    /// Only rows with `_offset` in `offsets` belong to the piece (a cut may end inside a file).
    Segment { partition: PartitionId, offsets: Range<Offset>, file: Arc<SegmentFile> },
    /// Rows still in memory: the stream's log columns only; offsets are `base..base + rows`.
    Tail { partition: PartitionId, base: Offset, times: AppendTimes, batch: RecordBatch },
}

impl Piece {
    pub fn partition(&self) -> PartitionId {
        match self {
            Piece::Segment { partition, .. } | Piece::Tail { partition, .. } => *partition,
        }
    }

    /// The offsets it covers; never empty.
    pub fn offsets(&self) -> Range<Offset> {
        match self {
            Piece::Segment { offsets, .. } => offsets.clone(),
            Piece::Tail { base, batch, .. } => *base..Offset(base.0 + batch.num_rows() as u64),
        }
    }
}

/// A sealed segment. When its stream is dropped, the file is removed once nobody holds this any more.
#[derive(Debug)]
pub struct SegmentFile {
    pub path: PathBuf,
    pub offsets: Range<Offset>,
    pub bytes: u64,
    /// Times of append, µs since 1970.
    pub append_ts: Range<i64>,
    /// Of the whole file.
    pub crc32c: u32,
    /// Whether this process has compared the file with `crc32c`. Held while it does, so that it reads the file once.
    verified: Mutex<bool>,
    /// Set when the stream was dropped: what removes the file.
    removal: OnceLock<Arc<dyn Env>>,
}

impl SegmentFile {
    /// Whether this process knows already that the file is what was sealed.
    pub fn is_verified(&self) -> bool {
        self.verified.try_lock().is_some_and(|verified| *verified)
    }

    /// Whether the file is what was sealed; read whole by the first call that gets as far, never again.
    ///
    /// # Errors
    /// `Corrupt` when the medium changed it.
    fn verify(&self, env: &dyn Env) -> Result<()> {
        let mut verified = self.verified.lock();
        if !*verified {
            segment::compare(env, self)?;
            *verified = true;
        }
        Ok(())
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        let Some(env) = self.removal.get() else { return };
        if let Err(error) = env.remove_file(&self.path) {
            // The next start removes it.
            tracing::warn!(file = %self.path.display(), %error, "a dropped stream's segment could not be removed");
        }
    }
}

/// Sizes and times; the defaults suit a server.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Size of a write-ahead log file.
    pub wal_segment_bytes: u64,
    /// From this size on, the partitions that keep the oldest files of the write-ahead log are sealed.
    pub wal_bytes_budget: u64,
    /// A partition's tail is sealed from this size on …
    pub seal_bytes: usize,
    /// … or when its oldest record is this old.
    pub seal_age: Duration,
    /// When all tails together are larger, the largest are sealed; at twice this size appends wait.
    pub tail_bytes_budget: usize,
    /// Seal in the background (switched off only by tests that choose the moment).
    pub background_sealing: bool,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            wal_segment_bytes: 64 << 20,
            wal_bytes_budget: 1 << 30,
            seal_bytes: 64 << 20,
            seal_age: Duration::from_secs(300),
            tail_bytes_budget: 512 << 20,
            background_sealing: true,
        }
    }
}

/// One record of a transaction.
#[derive(Clone, Debug)]
pub enum Record {
    /// Rows for one partition; columns as the stream was created with.
    Append { stream: ObjectId, partition: PartitionId, batch: RecordBatch },
    /// An opaque change of the catalog.
    Catalog(Vec<u8>),
}

/// A catalog record found at start. `epoch` is the first at which it is visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogRecord {
    pub epoch: Epoch,
    pub bytes: Vec<u8>,
}

/// What is durable at one epoch: per stream, the next offset of each partition.
#[derive(Clone, Debug)]
pub struct Cut {
    pub epoch: Epoch,
    pub uppers: Arc<BTreeMap<ObjectId, Vec<Offset>>>,
}

/// The open log of a data directory. One per directory and process.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    commit: Option<JoinHandle<wal::Wal>>,
    sealer: Option<JoinHandle<()>>,
}

impl Log {
    /// Opens or creates the log in `dir` and recovers it. Also returns the catalog records that the write-ahead log still
    /// holds, in order; some of them may have been released before.
    ///
    /// # Errors
    /// `Corrupt` when acknowledged bytes are damaged or missing.
    pub fn open(env: Arc<dyn Env>, dir: &Path, options: LogOptions) -> Result<(Log, Vec<CatalogRecord>)> {
        let (shared, wal, records) = open::open(env, dir, options)?;
        let shared = Arc::new(shared);
        let commit = spawn("millpond-commit", shared.clone(), |shared| commit::run(&shared, wal))?;
        let mut threads = Threads { commit: Some(commit), ..Threads::default() };
        if shared.options.background_sealing {
            threads.sealer = Some(spawn("millpond-sealer", shared.clone(), |shared| sealer::run(&shared))?);
        }
        Ok((Log { shared, threads: Mutex::new(threads) }, records))
    }

    /// Makes an empty stream durable. Call it before the catalog record that makes it visible is committed.
    pub fn create_stream(&self, id: ObjectId, columns: &[Column], partitions: u32) -> Result<()> {
        if partitions == 0 || partitions > PARTITIONS_MAX {
            return Err(Error::Invalid(format!("a stream has 1 to {PARTITIONS_MAX} partitions, not {partitions}")));
        }
        if let Some(column) = columns.iter().find(|c| c.name == OFFSET || c.name == APPEND_TS) {
            return Err(Error::Invalid(format!("column name \"{}\" is reserved for the system", column.name)));
        }
        let manifest =
            Manifest { stream: id, columns: columns.to_vec(), partitions: vec![Vec::new(); partitions as usize] };
        manifest.check_readable()?;
        let schema = schema_of(columns);
        segment::check_storable(&schema)?;
        let _sealing = self.shared.sealing.lock();
        if self.shared.state.lock().has(id) {
            return Err(Error::AlreadyExists(format!("the log of stream {id} exists already")));
        }
        let dir = self.shared.stream_dir(id);
        let context = |e| Error::io(format!("creating {}", dir.display()), e);
        self.shared.env.create_dir(&dir).map_err(context)?;
        self.shared.env.sync_dir(&self.shared.streams_dir()).map_err(context)?;
        manifest.write(&*self.shared.env, &dir, 0).map_err(|e| e.error)?;
        self.shared.state.lock().add(id, Stream::new(schema, manifest, 0, &dir));
        Ok(())
    }

    /// Removes a stream and its records. Call it after the catalog record that drops it is durable. Idempotent.
    /// Segments somebody still holds go when they are let go; what else is in the directory then goes at the next start.
    pub fn drop_stream(&self, id: ObjectId) -> Result<()> {
        let _sealing = self.shared.sealing.lock();
        if !self.shared.state.lock().has(id) {
            return Ok(());
        }
        let dir = self.shared.stream_dir(id);
        // First this: until the mark is durable a start would find the stream, and miss what the write-ahead log let go.
        manifest::mark_dropped(&*self.shared.env, &dir)?;
        let Some(stream) = self.shared.state.lock().remove(id) else { return Ok(()) };
        let mut files: Vec<Weak<SegmentFile>> = Vec::new();
        for file in stream.partitions.iter().flat_map(|partition| partition.segments()) {
            file.removal.get_or_init(|| self.shared.env.clone());
            files.push(Arc::downgrade(file));
        }
        drop(stream);
        if files.iter().any(|file| file.strong_count() > 0) {
            tracing::info!(stream = %id, "dropped while it is being read: its files go when the readers end");
            return Ok(());
        }
        manifest::remove_dropped(&*self.shared.env, &dir)
    }

    /// Streams that have a log.
    pub fn streams(&self) -> Vec<ObjectId> {
        self.shared.state.lock().uppers().keys().copied().collect()
    }

    /// Hands a transaction to the commit thread. Blocks while too much is waiting.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` when a record does not fit its stream; `Limit` when sealing can't keep up; `Stopped`.
    pub fn submit(&self, transaction: Vec<Record>) -> Result<Ticket> {
        commit::submit(&self.shared, transaction)
    }

    /// Makes a transaction durable and blocks until it is; returns the first epoch at which it is visible.
    pub fn commit(&self, transaction: Vec<Record>) -> Result<Epoch> {
        self.submit(transaction)?.wait()
    }

    /// The durable state of this moment.
    pub fn cut(&self) -> Cut {
        self.shared.state.lock().cut()
    }

    /// Blocks until there is an epoch after `after`, `timeout` passed or the log stopped; returns the latest cut.
    pub fn wait_for(&self, after: Epoch, timeout: Duration) -> Cut {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state.lock();
        while state.epoch() <= after && !state.is_stopped() {
            if self.shared.moved.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.cut()
    }

    /// Whether it takes no more transactions: it was told to stop, or its commit thread ended.
    pub fn is_stopped(&self) -> bool {
        self.shared.state.lock().is_stopped()
    }

    /// The epoch of [`Log::cut`].
    pub fn epoch(&self) -> Epoch {
        self.shared.state.lock().epoch()
    }

    /// The records `offsets` of a partition, as pieces in offset order that cover them exactly. Reads nothing: whoever opens
    /// a segment by itself calls [`Log::verify`] first.
    ///
    /// # Errors
    /// `NotFound` when there is no such stream; `Invalid` when `offsets` goes beyond what is durable.
    pub fn pieces(&self, stream: ObjectId, partition: PartitionId, offsets: Range<Offset>) -> Result<Vec<Piece>> {
        let state = self.shared.state.lock();
        let partition_state = state.partition(stream, partition)?;
        if offsets.end > partition_state.upper() {
            return Err(Error::Invalid(format!(
                "offset {} of partition {partition} of stream {stream} is not durable yet",
                offsets.end
            )));
        }
        Ok(partition_state.pieces(partition, offsets))
    }

    /// Compares a segment with its checksum, once in the life of this process: what is shown is what was sealed. Reads the
    /// whole file.
    ///
    /// # Errors
    /// `Corrupt` when the medium changed it; `Io`.
    pub fn verify(&self, file: &SegmentFile) -> Result<()> {
        file.verify(&*self.shared.env)
    }

    /// The rows of a piece in batches of at most `batch_rows`: log columns, `_offset`, `_append_ts`. Verifies the segment.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn read_piece(&self, piece: &Piece, batch_rows: usize) -> Result<PieceReader> {
        PieceReader::open(&*self.shared.env, piece, None, batch_rows)
    }

    /// As [`Log::read_piece`], but only these of its columns, in this order.
    pub fn read_piece_columns(&self, piece: &Piece, columns: &[usize], batch_rows: usize) -> Result<PieceReader> {
        PieceReader::open(&*self.shared.env, piece, Some(columns), batch_rows)
    }

    /// The catalog as of `upto` is durable elsewhere: records visible at `upto` or before need not be kept.
    pub fn release_catalog(&self, upto: Epoch) {
        self.shared.state.lock().release_catalog(upto);
    }

    /// Records visible at this epoch or before were released and gone when the log was opened.
    pub fn catalog_forgotten(&self) -> Epoch {
        self.shared.catalog_forgotten
    }

    /// Seals all tails now.
    pub fn seal_all(&self) -> Result<()> {
        sealer::seal_all(&self.shared)
    }

    /// Ends the process as a failed sync does: what is durable does not fit what is in memory. In simulation the log stops.
    pub(crate) fn fail(&self, message: &str) -> Error {
        self.shared.env.fatal(message);
        self.shared.stop(message);
        Error::Stopped(format!("the log stopped: {message}"))
    }

    /// Commits what was submitted, seals everything, frees the write-ahead log and stops. Idempotent.
    ///
    /// # Errors
    /// When sealing fails; nothing is lost then, the next start finds it in the write-ahead log.
    pub fn shutdown(&self) -> Result<()> {
        let Some(mut wal) = self.stop_threads() else { return Ok(()) };
        sealer::seal_all(&self.shared)?;
        wal.finish().map_err(|e| e.to_error())?;
        sealer::free_all(&self.shared)
    }

    /// `None` when they were stopped before or the commit thread failed.
    fn stop_threads(&self) -> Option<wal::Wal> {
        self.shared.stop("the server is stopping");
        let mut threads = self.threads.lock();
        if let Some(sealer) = threads.sealer.take() {
            let _ = sealer.join();
        }
        threads.commit.take()?.join().ok()
    }
}

impl Drop for Log {
    /// Stops without sealing: what was acknowledged is durable already.
    fn drop(&mut self) {
        self.stop_threads();
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    shared: Arc<Shared>,
    run: impl FnOnce(Arc<Shared>) -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let builder = std::thread::Builder::new().name(name.into());
    builder.spawn(move || run(shared)).map_err(|e| Error::io(format!("starting thread {name}"), e))
}

/// The log columns as an Arrow schema.
fn schema_of(columns: &[Column]) -> SchemaRef {
    let field = |c: &Column| Field::new(&c.name, c.data_type.clone(), c.nullable);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// What a segment holds: log columns, `_offset`, `_append_ts`.
fn file_schema(schema: &SchemaRef) -> SchemaRef {
    let [_, offset, append_ts] = system_fields();
    let fields = schema.fields().iter().cloned().chain([Arc::new(offset), Arc::new(append_ts)]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
