//! Recovery: reads the write-ahead log from its oldest file and decides where it ends.
//!
//! Law: walk the groups; let `g` be the start of the first one that does not check out.
//! - In any file but the last, the next header says where this file ends; `g` before that place is **corruption**.
//! - In the last file, a commit or proof frame of this file whose `previous end` lies beyond `g` says that the group at
//!   `g` was durable once: **corruption** too.
//! - Otherwise that group was never acknowledged: it is cut off.
//!
//! Corruption is an error that names file and byte; nothing is changed then. A `.wal` file whose header is unreadable
//! is corruption always, since it got its name after its header was durable.

use super::frame::{FRAME_ALIGN, Header, Kind};
use super::wal::{SegmentHeader, segment_path, start_of};
use crate::env::Env;
use crate::{Error, Result};
use arrow::buffer::{Buffer, MutableBuffer};
use std::path::{Path, PathBuf};

/// A frame of a durable group.
#[derive(Debug)]
pub struct Frame<'a> {
    pub header: Header,
    pub payload: Buffer,
    /// Position in the log.
    pub position: u64,
    /// Number of its group.
    pub epoch: u64,
    /// For messages: the file and the byte in it.
    pub path: &'a Path,
    pub byte: u64,
}

/// What recovery found.
#[derive(Debug, Default)]
pub struct Recovered {
    pub segments: Vec<SegmentHeader>,
    /// Where the last durable group ends.
    pub end: u64,
    /// Number of the next group.
    pub epoch: u64,
    /// Time of the last group.
    pub append_ts: i64,
    /// Epoch at which the last catalog record is visible, whether it is still here or not.
    pub catalog_epoch: u64,
    /// Catalog records visible at this epoch or before are no longer here.
    pub catalog_forgotten: u64,
}

/// Reads the whole log in `dir`, gives every frame of every durable group to `visit` in order, cuts off a torn last
/// group and makes the rest durable.
///
/// # Errors
/// `Corrupt`; whatever `visit` returns.
pub fn recover(env: &dyn Env, dir: &Path, visit: &mut dyn FnMut(Frame<'_>) -> Result<()>) -> Result<Recovered> {
    let context = || format!("reading the log in {}", dir.display());
    let names = env.list(dir).map_err(|e| Error::io(context(), e))?;
    let mut starts: Vec<u64> = names.iter().filter_map(|n| start_of(n)).collect();
    starts.sort_unstable();
    let mut recovered = Recovered::default();
    let mut file = starts.first().map(|start| SegmentFile::read(env, dir, *start)).transpose()?;
    for i in 0..starts.len() {
        let next = starts.get(i + 1).map(|start| SegmentFile::read(env, dir, *start)).transpose()?;
        let Some(this) = file.take() else { break };
        this.check_follows(&recovered, i == 0)?;
        this.walk(next.as_ref(), &mut recovered, visit)?;
        if next.is_none() {
            this.cut(env, recovered.end)?;
        }
        file = next;
    }
    Ok(recovered)
}

/// One file, whole in memory.
struct SegmentFile {
    path: PathBuf,
    header: SegmentHeader,
    bytes: Buffer,
}

impl SegmentFile {
    fn read(env: &dyn Env, dir: &Path, start: u64) -> Result<SegmentFile> {
        let path = segment_path(dir, start);
        let context = |e| Error::io(format!("reading {}", path.display()), e);
        let file = env.open(&path).map_err(context)?;
        let length = file.len().map_err(context)? as usize;
        let mut bytes = MutableBuffer::from_len_zeroed(length);
        file.read_at(&mut bytes, 0).map_err(context)?;
        let bytes = Buffer::from(bytes);
        match SegmentHeader::decode(&bytes) {
            Some(header) if header.start == start => Ok(SegmentFile { path, header, bytes }),
            _ => Err(corrupt(&path, 0, "the header of this log file is damaged")),
        }
    }

    /// Whether this file continues what `before` it was read.
    fn check_follows(&self, before: &Recovered, first: bool) -> Result<()> {
        let header = &self.header;
        let follows = (header.previous_end, header.epoch) == (before.end, before.epoch);
        if !first && !follows {
            let reason = format!(
                "the log file before this one is missing or incomplete: it should end at position {} with epoch {}, but \
                 what is there ends at {} with epoch {}",
                header.previous_end, header.epoch, before.end, before.epoch
            );
            return Err(corrupt(&self.path, 0, &reason));
        }
        Ok(())
    }

    /// Visits all durable groups; `recovered` moves along.
    fn walk(
        &self,
        next: Option<&SegmentFile>,
        recovered: &mut Recovered,
        visit: &mut dyn FnMut(Frame<'_>) -> Result<()>,
    ) -> Result<()> {
        recovered.segments.push(self.header);
        if recovered.segments.len() == 1 {
            (recovered.epoch, recovered.append_ts) = (self.header.epoch, self.header.previous_ts);
            recovered.catalog_forgotten = self.header.catalog_epoch;
            recovered.catalog_epoch = self.header.catalog_epoch;
        }
        // An empty file still ends where the file before it did.
        let mut group_start = FRAME_ALIGN as u64;
        recovered.end = self.header.previous_end;
        let known_end = next.map(|n| n.header.previous_end);
        loop {
            if known_end.is_some_and(|end| end == recovered.end) {
                return Ok(());
            }
            match self.read_group(group_start, recovered) {
                Ok((frames, commit, end)) => {
                    for (header, payload, byte) in frames {
                        if header.kind == Kind::Catalog {
                            recovered.catalog_epoch = commit.base + 1;
                        }
                        let position = self.header.start + byte;
                        visit(Frame { header, payload, position, epoch: commit.base, path: &self.path, byte })?;
                    }
                    (recovered.epoch, recovered.append_ts) = (commit.base + 1, commit.append_ts);
                    recovered.end = self.header.start + end;
                    group_start = end;
                }
                Err(Bad { byte, reason }) => {
                    self.check_never_durable(group_start, known_end)
                        .map_err(|proof| corrupt(&self.path, byte, &format!("{reason}, but {proof}")))?;
                    return Ok(());
                }
            }
        }
    }

    /// The frames of the group at `start`, its commit frame and its end.
    fn read_group(&self, start: u64, so_far: &Recovered) -> Result<(Vec<(Header, Buffer, u64)>, Header, u64), Bad> {
        let mut frames = Vec::new();
        let mut at = start;
        loop {
            let bad = |reason: &str| Bad { byte: at, reason: reason.to_string() };
            let rest = self.bytes.get(at as usize..).unwrap_or_default();
            let header = Header::decode(rest, self.header.nonce).map_err(bad)?;
            let payload_end = header.frame_bytes();
            let payload = rest.get(FRAME_ALIGN..payload_end).ok_or_else(|| bad("the file ends inside a frame"))?;
            if crc32c::crc32c(payload) != header.payload_crc {
                return Err(bad("the payload's checksum is wrong"));
            }
            match header.kind {
                Kind::Data | Kind::Catalog => {
                    let body = at as usize + FRAME_ALIGN;
                    frames.push((header, self.bytes.slice_with_length(body, header.payload_bytes as usize), at));
                }
                Kind::Commit if header.link != self.header.start + start || header.base != so_far.epoch => {
                    return Err(bad("the commit frame does not continue the group before it"));
                }
                Kind::Commit => return Ok((frames, header, at + payload_end as u64)),
                Kind::Proof => return Err(bad("no frame of a group starts here")),
            }
            at += payload_end as u64;
        }
    }

    /// `Err` says how we know that the group at `group_start` was durable once.
    fn check_never_durable(&self, group_start: u64, known_end: Option<u64>) -> Result<(), String> {
        if let Some(end) = known_end {
            return Err(format!(
                "the next log file says that this one is whole up to byte {}",
                end.saturating_sub(self.header.start)
            ));
        }
        if (self.bytes.len() as u64) < self.header.bytes && self.bytes.len() as u64 != group_start {
            return Err(format!("the file had {} bytes and has {}", self.header.bytes, self.bytes.len()));
        }
        let group = self.header.start + group_start;
        let witness = self.frames_behind(group_start).find(|(_, h)| is_mark(h) && h.link > group);
        match witness {
            Some((at, _)) => Err(format!("a valid frame at byte {at} says that it was durable")),
            None => Ok(()),
        }
    }

    /// Every valid header from `from` on, wherever it stands.
    fn frames_behind(&self, from: u64) -> impl Iterator<Item = (u64, Header)> {
        let units = self.bytes.get(from as usize..).unwrap_or_default().chunks_exact(FRAME_ALIGN);
        units.enumerate().filter_map(move |(i, unit)| {
            let header = Header::decode(unit, self.header.nonce).ok()?;
            Some((from + (i * FRAME_ALIGN) as u64, header))
        })
    }

    /// Removes a torn group behind `end` and makes what is before it durable.
    fn cut(&self, env: &dyn Env, end: u64) -> Result<()> {
        let context = |e| Error::io(format!("cutting {}", self.path.display()), e);
        // The end of an empty file is that of the file before it: at or before its own start.
        let end = end.saturating_sub(self.header.start).max(FRAME_ALIGN as u64);
        let file = env.open(&self.path).map_err(context)?;
        if self.frames_behind(end).any(|(_, header)| header.kind != Kind::Proof) {
            tracing::warn!("{}: cut off a group at byte {end} that was never acknowledged", self.path.display());
            file.set_len(end).map_err(context)?;
        }
        file.sync_data().map_err(context)
    }
}

struct Bad {
    byte: u64,
    reason: String,
}

fn is_mark(header: &Header) -> bool {
    matches!(header.kind, Kind::Commit | Kind::Proof)
}

/// An error that tells what to do.
pub fn corrupt(path: &Path, byte: u64, reason: &str) -> Error {
    let reason = format!(
        "{reason}. Acknowledged records are damaged, so the server does not start and cuts nothing off. Check the disk, \
         then restore the data directory from a backup"
    );
    Error::Corrupt { file: path.to_path_buf(), byte, reason }
}
