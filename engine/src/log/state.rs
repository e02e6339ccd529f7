//! What the log knows in memory, and the locks around it.
//!
//! Lock order: `sealing`, then `queue` or `state` (never both), then those inside `WalFiles`. No lock but `sealing` is
//! held during I/O.

use super::manifest::{Manifest, SegmentEntry};
use super::partition::{Partition, TailBatch};
use super::recovery::Recovered;
use super::segment::segment_name;
use super::wal::WalFiles;
use super::{Cut, LogOptions, SegmentFile};
use crate::catalog::Column;
use crate::env::Env;
use crate::{Epoch, Error, ObjectId, Offset, PartitionId, Result};
use arrow::datatypes::SchemaRef;
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Shared by the callers, the commit thread and the sealer.
#[derive(Debug)]
pub struct Shared {
    pub env: Arc<dyn Env>,
    pub dir: PathBuf,
    pub options: LogOptions,
    pub files: Arc<WalFiles>,
    /// Catalog records up to here were released before this start and are gone.
    pub catalog_forgotten: Epoch,
    pub queue: Mutex<super::commit::Queue>,
    /// Something was submitted, or the log stops.
    pub submitted: Condvar,
    /// There is room in the queue, or the log stops.
    pub drained: Condvar,
    pub state: Mutex<State>,
    /// The epoch moved, tails shrank, or the log stops.
    pub moved: Condvar,
    /// Held while a stream's directory changes.
    pub sealing: Mutex<()>,
    pub sealer: Mutex<super::sealer::Signal>,
    pub sealer_woken: Condvar,
}

impl Shared {
    pub fn streams_dir(&self) -> PathBuf {
        self.dir.join("streams")
    }

    pub fn stream_dir(&self, id: ObjectId) -> PathBuf {
        self.streams_dir().join(id.to_string())
    }

    /// Takes no more transactions; those that wait are still committed unless the commit thread has ended.
    pub fn stop(&self, reason: &str) {
        self.queue.lock().stopped.get_or_insert_with(|| reason.to_string());
        self.submitted.notify_all();
        self.drained.notify_all();
        self.state.lock().stopped = true;
        self.moved.notify_all();
        self.sealer.lock().stopped = true;
        self.sealer_woken.notify_all();
    }
}

/// Streams, epoch and what the write-ahead log is still needed for.
#[derive(Debug)]
pub struct State {
    epoch: Epoch,
    /// Position of the last group: what comes after it is not in the tails yet.
    group_position: u64,
    streams: BTreeMap<ObjectId, Stream>,
    uppers: Arc<BTreeMap<ObjectId, Vec<Offset>>>,
    /// Partitions with a tail.
    dirty: BTreeSet<(ObjectId, PartitionId)>,
    tail_bytes: usize,
    /// Catalog records to keep: first epoch at which each is visible, position.
    catalog: VecDeque<(Epoch, u64)>,
    stopped: bool,
}

/// A stream's log.
#[derive(Debug)]
pub struct Stream {
    pub schema: SchemaRef,
    pub columns: Vec<Column>,
    /// Number of its manifest.
    pub manifest: u64,
    pub partitions: Vec<Partition>,
}

/// A partition to seal: its tail as of one moment.
#[derive(Debug)]
pub struct Unsealed {
    pub partition: PartitionId,
    pub rows: Vec<TailBatch>,
}

impl Stream {
    /// A stream as its manifest says, with empty tails.
    pub fn new(schema: SchemaRef, manifest: Manifest, number: u64, dir: &Path) -> Stream {
        let partitions = (0u32..).zip(manifest.partitions).map(|(p, entries)| {
            let files = entries.iter().map(|e| Arc::new(segment_file(dir, PartitionId(p), e)));
            Partition::sealed(files.collect())
        });
        Stream { schema, columns: manifest.columns, manifest: number, partitions: partitions.collect() }
    }

    /// The manifest of what is sealed.
    pub fn to_manifest(&self, id: ObjectId) -> Manifest {
        let entries = |p: &Partition| p.segments().iter().map(|s| segment_entry(s)).collect();
        let partitions = self.partitions.iter().map(entries).collect();
        Manifest { stream: id, columns: self.columns.clone(), partitions }
    }
}

/// The file that a manifest's entry names; not compared with it yet.
pub fn segment_file(dir: &Path, partition: PartitionId, entry: &SegmentEntry) -> SegmentFile {
    SegmentFile {
        path: dir.join(segment_name(partition, entry.lower)),
        offsets: entry.lower..entry.upper,
        bytes: entry.bytes,
        append_ts: entry.append_ts_min..entry.append_ts_max + 1,
        crc32c: entry.crc32c,
        verified: Mutex::new(false),
        removal: OnceLock::new(),
    }
}

fn segment_entry(file: &SegmentFile) -> SegmentEntry {
    SegmentEntry {
        lower: file.offsets.start,
        upper: file.offsets.end,
        bytes: file.bytes,
        crc32c: file.crc32c,
        append_ts_min: file.append_ts.start,
        append_ts_max: file.append_ts.end - 1,
    }
}

impl State {
    pub fn new(streams: BTreeMap<ObjectId, Stream>) -> State {
        let mut state = State {
            epoch: Epoch(0),
            group_position: 0,
            streams: BTreeMap::new(),
            uppers: Arc::default(),
            dirty: BTreeSet::new(),
            tail_bytes: 0,
            catalog: VecDeque::new(),
            stopped: false,
        };
        streams.into_iter().for_each(|(id, stream)| state.add(id, stream));
        state
    }

    /// After the frames of all recovered groups were pushed.
    pub fn recovered(&mut self, recovered: &Recovered) {
        (self.epoch, self.group_position) = (Epoch(recovered.epoch), recovered.end);
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub fn uppers(&self) -> &BTreeMap<ObjectId, Vec<Offset>> {
        &self.uppers
    }

    pub fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    pub fn group_position(&self) -> u64 {
        self.group_position
    }

    pub fn cut(&self) -> Cut {
        Cut { epoch: self.epoch, uppers: self.uppers.clone() }
    }

    pub fn has(&self, id: ObjectId) -> bool {
        self.streams.contains_key(&id)
    }

    pub fn add(&mut self, id: ObjectId, stream: Stream) {
        let uppers = stream.partitions.iter().map(Partition::upper).collect();
        Arc::make_mut(&mut self.uppers).insert(id, uppers);
        self.streams.insert(id, stream);
    }

    /// Forgets a stream and returns it, if there was one.
    pub fn remove(&mut self, id: ObjectId) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        Arc::make_mut(&mut self.uppers).remove(&id);
        self.dirty.retain(|(stream, _)| *stream != id);
        self.tail_bytes -= stream.partitions.iter().map(Partition::tail_bytes).sum::<usize>();
        Some(stream)
    }

    pub fn stream(&self, id: ObjectId) -> Result<&Stream> {
        self.streams.get(&id).ok_or_else(|| Error::NotFound(format!("stream {id} does not exist")))
    }

    pub fn partition(&self, id: ObjectId, partition: PartitionId) -> Result<&Partition> {
        let stream = self.stream(id)?;
        stream.partitions.get(partition.0 as usize).ok_or_else(|| {
            Error::NotFound(format!("stream {id} has partitions 0 to {}, not {partition}", stream.partitions.len() - 1))
        })
    }

    /// Adds durable rows; a stream dropped meanwhile is no error.
    pub fn push(&mut self, id: ObjectId, partition: PartitionId, rows: TailBatch) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(state) = stream.partitions.get_mut(partition.0 as usize) else { return };
        self.tail_bytes += state.push(rows);
        self.dirty.insert((id, partition));
        let uppers = Arc::make_mut(&mut self.uppers).get_mut(&id);
        if let Some(upper) = uppers.and_then(|u| u.get_mut(partition.0 as usize)) {
            *upper = state.upper();
        }
    }

    /// Notes a durable catalog record.
    pub fn push_catalog(&mut self, visible: Epoch, position: u64) {
        self.catalog.push_back((visible, position));
    }

    /// The group at `position` is all there.
    pub fn group_done(&mut self, position: u64) {
        (self.epoch, self.group_position) = (self.epoch.next(), position);
    }

    pub fn release_catalog(&mut self, upto: Epoch) {
        while self.catalog.front().is_some_and(|(visible, _)| *visible <= upto) {
            self.catalog.pop_front();
        }
    }

    /// Partitions with a tail.
    pub fn dirty(&self) -> impl Iterator<Item = (ObjectId, PartitionId, &Partition)> {
        self.dirty.iter().filter_map(|(id, p)| Some((*id, *p, self.streams.get(id)?.partitions.get(p.0 as usize)?)))
    }

    /// The tails of these partitions as of now.
    pub fn unsealed(&self, id: ObjectId, partitions: &[PartitionId]) -> Result<Vec<Unsealed>> {
        let mut unsealed = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let rows = self.partition(id, *partition)?.tail().to_vec();
            unsealed.push(Unsealed { partition: *partition, rows });
        }
        unsealed.retain(|u| !u.rows.is_empty());
        Ok(unsealed)
    }

    /// The manifest with this number names these segments; their rows leave memory.
    pub fn seal(&mut self, id: ObjectId, manifest: u64, segments: Vec<(PartitionId, SegmentFile)>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.manifest = manifest;
        for (partition, file) in segments {
            let Some(state) = stream.partitions.get_mut(partition.0 as usize) else { continue };
            self.tail_bytes -= state.seal(Arc::new(file));
            if state.tail().is_empty() {
                self.dirty.remove(&(id, partition));
            }
        }
    }

    /// Position from which on the write-ahead log is needed; `None` = for nothing that is in memory.
    pub fn pinned(&self) -> Option<u64> {
        let tails = self.dirty().filter_map(|(_, _, p)| p.pinned());
        tails.chain(self.catalog.front().map(|(_, position)| *position)).min()
    }

    /// As [`State::pinned`], but never beyond the last group: a later one may be on its way.
    pub fn pinned_while_running(&self) -> u64 {
        self.pinned().unwrap_or(self.group_position).min(self.group_position)
    }
}
