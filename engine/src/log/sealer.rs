//! The sealer: moves tails into Parquet segments, then lets the write-ahead log go. Commits never wait for it.
//!
//! ```text
//!  tail ─▶ segment.tmp, synced, checked ─▶ named ─▶ directory synced ─▶ manifest n+1 ─▶ tail dropped ─▶ WAL freed
//! ```
//!
//! A crash before manifest n+1 is durable leaves a segment that no manifest names: removed at the next start, its rows
//! are in the write-ahead log. A crash after it leaves frames that are sealed already: skipped at the next start.
//! A failure before the manifest is tried again later; if the manifest itself is unsure, the process ends. A stream that
//! can't be sealed, by an error or a panic, keeps neither the others nor the tidying from their turn.

use super::segment::{segment_name, write_segment};
use super::state::{Shared, State, Unsealed, segment_file};
use super::wal::WalError;
use super::{SegmentFile, manifest};
use crate::error::caught;
use crate::{Error, ObjectId, PartitionId, Result};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often ages are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// At least this long between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Pause after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Wakes the sealer.
#[derive(Debug, Default)]
pub struct Signal {
    work: bool,
    pub stopped: bool,
}

/// Something to seal: whole partitions of one stream share a manifest.
type Due = BTreeMap<ObjectId, Vec<PartitionId>>;

/// The sealer thread's life.
pub fn run(shared: &Shared) {
    let mut pause = LOOK_PAUSE;
    while wait_for_work(shared, pause) {
        let due = choose(shared, &shared.state.lock());
        let sealed = seal(shared, due);
        let tidied =
            caught("the sealer", || tidy(shared)).inspect_err(|error| tracing::warn!(%error, "tidying is tried again"));
        pause = if sealed.and(tidied).is_ok() { LOOK_PAUSE } else { RETRY_INTERVAL };
    }
}

/// Seals all tails now.
pub fn seal_all(shared: &Shared) -> Result<()> {
    let mut due = Due::new();
    for (id, partition, _) in shared.state.lock().dirty() {
        due.entry(id).or_default().push(partition);
    }
    let sealed = seal(shared, due);
    free(shared)?;
    sealed
}

/// Frees every file of the write-ahead log but the last, if nothing in memory needs it. Only when nobody commits.
pub fn free_all(shared: &Shared) -> Result<()> {
    let pinned = shared.state.lock().pinned().unwrap_or(u64::MAX);
    shared.files.free_before(pinned).map_err(|e| wal_failed(shared, "freeing the write-ahead log", e))
}

/// Whether the sealer should look now rather than later.
pub fn is_full(shared: &Shared, state: &State) -> bool {
    state.tail_bytes() > shared.options.seal_bytes.min(shared.options.tail_bytes_budget)
        || shared.files.bytes() > shared.options.wal_bytes_budget
}

/// Makes the sealer look now.
pub fn wake(shared: &Shared) {
    shared.sealer.lock().work = true;
    shared.sealer_woken.notify_one();
}

/// `false` = the log stops.
fn wait_for_work(shared: &Shared, pause: Duration) -> bool {
    let now = Instant::now();
    let mut signal = shared.sealer.lock();
    while !signal.stopped {
        let until = if signal.work { now + pause } else { now + LOOK_INTERVAL.max(pause) };
        if Instant::now() >= until {
            signal.work = false;
            return true;
        }
        shared.sealer_woken.wait_until(&mut signal, until);
    }
    false
}

fn choose(shared: &Shared, state: &State) -> Due {
    let options = &shared.options;
    let born_before = shared.env.now_micros() - options.seal_age.as_micros() as i64;
    let (mut due, mut rest, mut left) = (Due::new(), Vec::new(), state.tail_bytes());
    for (id, partition, tail) in state.dirty() {
        let old = tail.oldest().is_some_and(|t| t <= born_before);
        if old || tail.tail_bytes() >= options.seal_bytes {
            due.entry(id).or_default().push(partition);
            left -= tail.tail_bytes();
        } else {
            rest.push((id, partition, tail.tail_bytes(), tail.pinned().unwrap_or(u64::MAX)));
        }
    }
    // Down to half a budget, so that the next append does not start over.
    if left > options.tail_bytes_budget {
        rest.sort_by_key(|(_, _, bytes, _)| Reverse(*bytes));
        let mut taken = 0;
        while left > options.tail_bytes_budget / 2 && taken < rest.len() {
            left -= rest[taken].2;
            taken += 1;
        }
        for (id, partition, ..) in rest.drain(..taken) {
            due.entry(id).or_default().push(partition);
        }
    }
    if shared.files.bytes() > options.wal_bytes_budget {
        let keep_from = state.group_position().saturating_sub(options.wal_bytes_budget / 2);
        for (id, partition, ..) in rest.iter().filter(|(.., pinned)| *pinned < keep_from) {
            due.entry(*id).or_default().push(*partition);
        }
    }
    due
}

/// Seals each stream that can be; returns the last failure.
fn seal(shared: &Shared, due: Due) -> Result<()> {
    let mut done = Ok(());
    for (id, partitions) in due {
        // A panic lets go of `sealing`, which guards no data.
        if let Err(error) = caught("the sealer", || seal_stream(shared, id, &partitions)) {
            tracing::warn!(stream = %id, %error, "a stream could not be sealed; it is tried again");
            done = Err(error);
        }
    }
    done
}

/// Seals some partitions of a stream as they are now. A stream that was dropped is done.
fn seal_stream(shared: &Shared, id: ObjectId, partitions: &[PartitionId]) -> Result<()> {
    let _sealing = shared.sealing.lock();
    let (schema, unsealed, mut manifest, number) = {
        let state = shared.state.lock();
        let Ok(stream) = state.stream(id) else { return Ok(()) };
        (stream.schema.clone(), state.unsealed(id, partitions)?, stream.to_manifest(id), stream.manifest + 1)
    };
    if unsealed.is_empty() {
        return Ok(());
    }
    let dir = shared.stream_dir(id);
    let mut written: Vec<(PartitionId, SegmentFile)> = Vec::with_capacity(unsealed.len());
    let wrote = unsealed.iter().try_for_each(|Unsealed { partition, rows }| {
        let entry = write_segment(&*shared.env, &dir, *partition, &schema, rows)?;
        written.push((*partition, segment_file(&dir, *partition, &entry)));
        manifest.partitions[partition.0 as usize].push(entry);
        Ok(())
    });
    let named = wrote
        .and_then(|()| shared.env.sync_dir(&dir).map_err(|e| Error::io(format!("syncing {}", dir.display()), e)))
        .map_err(|error| manifest::WriteError { error, unsure: false })
        .and_then(|()| manifest.write(&*shared.env, &dir, number));
    if let Err(failed) = named {
        return Err(give_up(shared, &dir, &written, failed));
    }
    shared.state.lock().seal(id, number, written);
    shared.moved.notify_all();
    manifest::remove_old(&*shared.env, &dir, number - 1)
}

/// Removes the segments that no manifest names, or ends the process if one might.
fn give_up(shared: &Shared, dir: &Path, written: &[(PartitionId, SegmentFile)], failed: manifest::WriteError) -> Error {
    if failed.unsure {
        let message = format!("the manifest in {} is in an unknown state: {}", dir.display(), failed.error);
        shared.env.fatal(&message);
        shared.stop(&message);
        return failed.error;
    }
    for (partition, file) in written {
        let path = dir.join(segment_name(*partition, file.offsets.start));
        if let Err(e) = shared.env.remove_file(&path) {
            tracing::warn!("could not remove {}: {e}", path.display());
        }
    }
    failed.error
}

fn tidy(shared: &Shared) -> Result<()> {
    free(shared)?;
    shared.files.prepare_spare().map_err(|e| wal_failed(shared, "preparing a file of the write-ahead log", e))
}

fn free(shared: &Shared) -> Result<()> {
    let pinned = shared.state.lock().pinned_while_running();
    shared.files.free_before(pinned).map_err(|e| wal_failed(shared, "freeing the write-ahead log", e))
}

fn wal_failed(shared: &Shared, doing: &str, error: WalError) -> Error {
    match error {
        WalError::Refused(e) => Error::io(doing, e),
        WalError::Fatal(message) => {
            shared.stop(&message);
            Error::Stopped(format!("the log stopped: {message}"))
        }
    }
}
