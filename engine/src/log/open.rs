//! Opening a data directory: manifests say what is sealed, the write-ahead log what is not.

use super::frame::{Kind, decode_batch};
use super::manifest::{Found, Manifest, remove_dropped};
use super::partition::{AppendTimes, TailBatch};
use super::recovery::{Frame, Recovered, corrupt, recover};
use super::state::{Shared, State, Stream};
use super::wal::{Wal, WalFiles};
use super::{CatalogRecord, LogOptions, schema_of};
use crate::env::Env;
use crate::{Epoch, Error, ObjectId, Result};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Recovers the log in `dir`. Nothing runs yet.
pub fn open(env: Arc<dyn Env>, dir: &Path, options: LogOptions) -> Result<(Shared, Wal, Vec<CatalogRecord>)> {
    let (wal_dir, streams_dir) = (dir.join("wal"), dir.join("streams"));
    let context = |e| Error::io(format!("opening the log in {}", dir.display()), e);
    for made in [&wal_dir, &streams_dir] {
        env.create_dir_durably(made).map_err(context)?;
    }
    // Again: a server that was killed may have made them, and not have come that far.
    env.sync_dir(dir).map_err(context)?;
    dir.parent().map_or(Ok(()), |parent| env.sync_dir(parent)).map_err(context)?;
    let mut replay = Replay { state: State::new(find_streams(&*env, &streams_dir)?), ..Replay::default() };
    let mut recovered = recover(&*env, &wal_dir, &mut |frame| replay.frame(frame))?;
    replay.check_has_log(&recovered, &wal_dir)?;
    replay.state.recovered(&recovered);
    let segments = std::mem::take(&mut recovered.segments);
    let files = WalFiles::new(env.clone(), wal_dir, options.wal_segment_bytes, segments).map_err(context)?;
    let files = Arc::new(files);
    let wal = Wal::new(files.clone(), &recovered);
    let shared = Shared {
        env,
        dir: dir.to_path_buf(),
        options,
        files,
        catalog_forgotten: Epoch(recovered.catalog_forgotten),
        queue: Mutex::default(),
        submitted: Condvar::new(),
        drained: Condvar::new(),
        state: Mutex::new(replay.state),
        moved: Condvar::new(),
        sealing: Mutex::default(),
        sealer: Mutex::default(),
        sealer_woken: Condvar::new(),
    };
    Ok((shared, wal, replay.catalog))
}

/// Reads all manifests; finishes interrupted drops.
fn find_streams(env: &dyn Env, dir: &Path) -> Result<BTreeMap<ObjectId, Stream>> {
    let names = env.list(dir).map_err(|e| Error::io(format!("reading {}", dir.display()), e))?;
    let mut streams = BTreeMap::new();
    for name in names {
        let Ok(id) = name.parse().map(ObjectId) else { continue };
        let dir = dir.join(&name);
        match Manifest::find(env, &dir)? {
            Found::Leftover => remove_dropped(env, &dir)?,
            Found::Stream { manifest, .. } if manifest.stream != id => {
                return Err(corrupt(&dir, 0, &format!("this is the manifest of stream {}", manifest.stream)));
            }
            Found::Stream { number, manifest } => {
                let stream = Stream::new(schema_of(&manifest.columns), manifest, number, &dir);
                check_segments(env, &stream)?;
                streams.insert(id, stream);
            }
        }
    }
    Ok(streams)
}

/// Every segment is there with its size. (Its content is compared before its first use.)
fn check_segments(env: &dyn Env, stream: &Stream) -> Result<()> {
    for file in stream.partitions.iter().flat_map(|p| p.segments()) {
        match env.open(&file.path).and_then(|f| f.len()) {
            Ok(bytes) if bytes == file.bytes => {}
            Ok(bytes) => {
                return Err(corrupt(&file.path, bytes, &format!("a segment of {} bytes has {bytes}", file.bytes)));
            }
            Err(e) => return Err(corrupt(&file.path, 0, &format!("a segment can't be opened: {e}"))),
        }
    }
    Ok(())
}

/// The state while the write-ahead log is read.
#[derive(Debug)]
struct Replay {
    state: State,
    catalog: Vec<CatalogRecord>,
}

impl Default for Replay {
    fn default() -> Replay {
        Replay { state: State::new(BTreeMap::new()), catalog: Vec::new() }
    }
}

impl Replay {
    fn frame(&mut self, frame: Frame<'_>) -> Result<()> {
        match frame.header.kind {
            Kind::Catalog => {
                let epoch = Epoch(frame.epoch).next();
                self.catalog.push(CatalogRecord { epoch, bytes: frame.payload.to_vec() });
                self.state.push_catalog(epoch, frame.position);
                Ok(())
            }
            Kind::Data => self.data(frame),
            Kind::Commit | Kind::Proof => Ok(()),
        }
    }

    fn data(&mut self, frame: Frame<'_>) -> Result<()> {
        let Frame { header, payload, position, path, byte, .. } = frame;
        if !self.state.has(header.stream) {
            // It was dropped: what the catalog knows must have a directory, and the caller insists on it.
            return Ok(());
        }
        let damaged = |reason: String| corrupt(path, byte, &reason);
        let partition = self.state.partition(header.stream, header.partition).map_err(|e| damaged(e.to_string()))?;
        let (base, rows) = (header.base_offset(), header.rows);
        if base.0.saturating_add(rows.into()) <= partition.sealed_upper().0 {
            return Ok(());
        }
        if base != partition.upper() {
            let (stream, partition_id, upper) = (header.stream, header.partition, partition.upper());
            return Err(damaged(format!(
                "stream {stream} partition {partition_id} goes on at offset {base} instead of {upper}"
            )));
        }
        let schema = self.state.stream(header.stream)?.schema.clone();
        let batch = decode_batch(&payload, &schema, rows).map_err(damaged)?;
        let times = AppendTimes::all(base, header.append_ts);
        let rows = TailBatch { base, times, batch, position, bytes: header.frame_bytes() };
        self.state.push(header.stream, header.partition, rows);
        Ok(())
    }

    /// Sealed records came through a write-ahead log; without one, epochs would start again.
    fn check_has_log(&self, recovered: &Recovered, dir: &Path) -> Result<()> {
        let written = self.state.uppers().values().flatten().any(|upper| upper.0 > 0);
        if recovered.segments.is_empty() && written {
            return Err(corrupt(dir, 0, "the write-ahead log is missing"));
        }
        Ok(())
    }
}
