//! The write-ahead log: one sequence of commit groups over all streams, in preallocated files.
//!
//! A *position* counts bytes since the log began; file `<position of its first byte, 20 digits>.wal` holds
//! `[start, start + bytes)`. It begins with 64 bytes, little-endian, then come frames (`frame.rs`):
//!
//! ```text
//! byte  0            8            16           24                        32
//!       ┌────────────┬────────────┬────────────┬─────────────────────────┐
//!       │ "MPONDWAL" │ start      │ bytes      │ epoch of the first group│
//!    32 ├────────────┴┬───────────┴┬───────┬───┴───┬─────────────────────┤
//!       │ previous end│previous ts │ nonce │ crc   │ catalog epoch       │
//!       └─────────────┴────────────┴───────┴───────┴─────────────────────┘
//! ```
//!
//! Invariants:
//! - a file is named `.wal` only after its header is durable; `previous end` is where the file before it ends, so bytes
//!   behind that place never count, and a missing file is noticed;
//! - `catalog epoch` is where the last catalog record before this file is visible (0 = none): what was folded into the
//!   store must reach at least to that of the oldest file;
//! - a group lies in one file; it is acknowledged only after one `sync_data` that covers all of it;
//! - a write or sync that fails once the group has begun ends the process ([`Env::fatal`]). Only when a new file can't be
//!   made because the disk is full, or handles have run out, is it an ordinary error, and leaves the log as it was;
//! - free files are kept for reuse, up to [`SPARES_MAX`]; their old frames carry another nonce;
//! - files go from the oldest on, each durably before the next: what is left has no gap. One that can't be freed now is
//!   freed later, and no later one before it. A failed sync of this directory ends the process too.

use super::frame::{FRAME_ALIGN, Header, Kind, padded};
use super::recovery::Recovered;
use crate::Error;
use crate::env::{Env, EnvFile, is_exhausted};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Free segment files kept for reuse.
pub const SPARES_MAX: usize = 2;

/// Encoded transactions from this size on are written from where they are; smaller ones are gathered first.
const GATHER_BYTES_MAX: usize = 256 << 10;

const SEGMENT_MAGIC: &[u8; 8] = b"MPONDWAL";
const SUFFIX: &str = ".wal";
const SPARE_PREFIX: &str = "spare-";
/// A file that gets its header.
const UNNAMED: &str = "next";
/// A spare that is being made.
const FILLING: &str = "filling";

/// Why a group was not made durable.
#[derive(Debug)]
pub enum WalError {
    /// Nothing was written; the next group may succeed.
    Refused(io::Error),
    /// What is on disk is not known; the log must not be used any more.
    Fatal(String),
}

/// The frames of one transaction, encoded; headers are written when their group is.
#[derive(Debug, Default)]
pub struct Encoded {
    pub bytes: Vec<u8>,
    /// Each header with its place in `bytes`.
    pub headers: Vec<(usize, Header)>,
}

/// The writing end. Owned by the commit thread.
#[derive(Debug)]
pub struct Wal {
    files: Arc<WalFiles>,
    active: Option<Active>,
    /// Where the next group begins, unless it needs a new file.
    end: u64,
    /// Number of the next group.
    epoch: u64,
    /// Time of the last group.
    append_ts: i64,
    /// Epoch at which the last catalog record is visible.
    catalog_epoch: u64,
}

#[derive(Debug)]
struct Active {
    file: Box<dyn EnvFile>,
    path: PathBuf,
    header: SegmentHeader,
}

/// The files behind the log, shared by the commit thread (which adds) and the sealer (which frees).
#[derive(Debug)]
pub struct WalFiles {
    env: Arc<dyn Env>,
    dir: PathBuf,
    segment_bytes: u64,
    list: Mutex<FileList>,
    /// Held while files are freed or made in advance.
    tidying: Mutex<()>,
}

#[derive(Debug, Default)]
struct FileList {
    /// Oldest first; the last one is never freed: it carries epoch and time over a restart.
    segments: VecDeque<SegmentHeader>,
    spares: Vec<PathBuf>,
    spares_made: u64,
}

/// The first 64 bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub start: u64,
    pub bytes: u64,
    pub epoch: u64,
    pub previous_end: u64,
    pub previous_ts: i64,
    pub nonce: u32,
    pub catalog_epoch: u64,
}

impl Wal {
    /// Continues after recovery. The first group opens a new file.
    pub fn new(files: Arc<WalFiles>, recovered: &Recovered) -> Wal {
        let Recovered { end, epoch, append_ts, catalog_epoch, .. } = *recovered;
        Wal { files, active: None, end, epoch, append_ts, catalog_epoch }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Time for a group that begins now; never before the last group's.
    pub fn group_time(&self) -> i64 {
        self.files.env.now_micros().max(self.append_ts)
    }

    /// Writes one group and makes it durable. Returns the position of its first frame.
    pub fn append(&mut self, group: &mut [Encoded], append_ts: i64) -> Result<u64, WalError> {
        let bytes = group.iter().map(|t| t.bytes.len() as u64).sum::<u64>() + FRAME_ALIGN as u64;
        self.make_room(bytes)?;
        let Some(active) = &self.active else { return Err(WalError::Fatal("no active WAL file".into())) };
        let (start, nonce) = (self.end, active.header.nonce);
        for transaction in group.iter_mut() {
            for (at, header) in &mut transaction.headers {
                (header.nonce, header.append_ts) = (nonce, append_ts);
                transaction.bytes[*at..*at + FRAME_ALIGN].copy_from_slice(&header.encode());
            }
        }
        let commit = Header::mark(Kind::Commit, nonce, self.epoch, append_ts, start).encode();
        active.write_group(group, &commit, start).map_err(|e| self.files.fatal("write to", &active.path, &e))?;
        active.file.sync_data().map_err(|e| self.files.fatal("sync", &active.path, &e))?;
        let end = start + bytes;
        active.write_proof(Header::mark(Kind::Proof, nonce, self.epoch, append_ts, end), end);
        (self.end, self.epoch, self.append_ts) = (end, self.epoch + 1, append_ts);
        if group.iter().flat_map(|t| &t.headers).any(|(_, header)| header.kind == Kind::Catalog) {
            self.catalog_epoch = self.epoch;
        }
        Ok(start)
    }

    /// Ends the log with a file that holds nothing but its header, so that all before it can be freed.
    pub fn finish(&mut self) -> Result<(), WalError> {
        self.open_segment(FRAME_ALIGN as u64)?;
        self.active = None;
        Ok(())
    }

    fn make_room(&mut self, bytes: u64) -> Result<(), WalError> {
        let fits = self.active.as_ref().is_some_and(|a| self.end + bytes <= a.header.start + a.header.bytes);
        if fits {
            return Ok(());
        }
        self.open_segment(self.files.segment_bytes.max(padded(bytes as usize) as u64 + FRAME_ALIGN as u64))
    }

    fn open_segment(&mut self, bytes: u64) -> Result<(), WalError> {
        let header = SegmentHeader {
            start: self.files.next_start(),
            bytes,
            epoch: self.epoch,
            previous_end: self.end,
            previous_ts: self.append_ts,
            nonce: self.files.env.random() as u32,
            catalog_epoch: self.catalog_epoch,
        };
        let active = self.files.create_segment(header)?;
        self.end = header.start + FRAME_ALIGN as u64;
        self.active = Some(active);
        Ok(())
    }
}

impl Active {
    fn write_group(&self, group: &[Encoded], commit: &[u8], start: u64) -> io::Result<()> {
        let mut at = start - self.header.start;
        let mut gathered = Vec::new();
        for bytes in group.iter().map(|t| t.bytes.as_slice()).chain([commit]) {
            if gathered.len() + bytes.len() > GATHER_BYTES_MAX {
                self.file.write_at(&gathered, at)?;
                at += gathered.len() as u64;
                gathered.clear();
            }
            if bytes.len() > GATHER_BYTES_MAX {
                self.file.write_at(bytes, at)?;
                at += bytes.len() as u64;
            } else {
                gathered.extend_from_slice(bytes);
            }
        }
        self.file.write_at(&gathered, at)
    }

    /// Best effort: the group is durable already.
    fn write_proof(&self, proof: Header, end: u64) {
        let at = end - self.header.start;
        if at + FRAME_ALIGN as u64 <= self.header.bytes
            && let Err(e) = self.file.write_at(&proof.encode(), at)
        {
            tracing::warn!("could not write to {}: {e}", self.path.display());
        }
    }
}

impl WalFiles {
    /// `segments`: the files recovery found, oldest first. Tidies what is none of them.
    pub fn new(
        env: Arc<dyn Env>,
        dir: PathBuf,
        segment_bytes: u64,
        segments: Vec<SegmentHeader>,
    ) -> io::Result<WalFiles> {
        let mut spares = Vec::new();
        for name in env.list(&dir)? {
            let path = dir.join(&name);
            if name.starts_with(SPARE_PREFIX) && is_spare(&*env, &path, segment_bytes)? && spares.len() < SPARES_MAX {
                spares.push(path);
            } else if !name.ends_with(SUFFIX) {
                env.remove_file(&path)?;
            }
        }
        let list = FileList { segments: segments.into(), spares, spares_made: 0 };
        Ok(WalFiles { env, dir, segment_bytes, list: Mutex::new(list), tidying: Mutex::default() })
    }

    /// Frees files that end at or before `pinned`, the position of the first frame still needed. The last file stays.
    pub fn free_before(&self, pinned: u64) -> Result<(), WalError> {
        let _tidying = self.tidying.lock();
        while let Some(header) = self.first_free(pinned) {
            let spare = self.free(&header)?;
            let mut list = self.list.lock();
            list.segments.pop_front();
            list.spares.extend(spare);
        }
        Ok(())
    }

    /// Removes a file, or makes it a spare.
    fn free(&self, header: &SegmentHeader) -> Result<Option<PathBuf>, WalError> {
        let path = segment_path(&self.dir, header.start);
        let wanted = header.bytes == self.segment_bytes && self.list.lock().spares.len() < SPARES_MAX;
        let is_whole = || Ok(self.env.open(&path)?.len()? == header.bytes);
        let spare = (wanted && is_whole().map_err(WalError::Refused)?).then(|| self.spare_path());
        let freed = match &spare {
            Some(spare) => self.env.rename(&path, spare),
            None => self.env.remove_file(&path),
        };
        freed.map_err(WalError::Refused)?;
        // Before anyone writes into it: its old name must not come back with a new header.
        self.sync_names()?;
        Ok(spare)
    }

    /// Makes a spare file if there is none, so that the commit thread need not.
    pub fn prepare_spare(&self) -> Result<(), WalError> {
        let _tidying = self.tidying.lock();
        if !self.list.lock().spares.is_empty() {
            return Ok(());
        }
        let (filling, spare) = (self.dir.join(FILLING), self.spare_path());
        let made = self.env.create_anew(&filling).and_then(|file| {
            file.fill_zero(self.segment_bytes)?;
            file.sync_data()?;
            self.env.rename(&filling, &spare)
        });
        if let Err(e) = made {
            let _ = self.env.remove_file(&filling);
            return Err(WalError::Refused(e));
        }
        self.sync_names()?;
        self.list.lock().spares.push(spare);
        Ok(())
    }

    /// Bytes of all files that hold frames.
    pub fn bytes(&self) -> u64 {
        self.list.lock().segments.iter().map(|s| s.bytes).sum()
    }

    fn first_free(&self, pinned: u64) -> Option<SegmentHeader> {
        let list = self.list.lock();
        let first = list.segments.front()?;
        if list.segments.len() < 2 || first.start + first.bytes > pinned {
            return None;
        }
        Some(*first)
    }

    /// A name that is free.
    fn spare_path(&self) -> PathBuf {
        let mut list = self.list.lock();
        list.spares_made += 1;
        self.dir.join(format!("{SPARE_PREFIX}{:016x}-{}", self.env.random(), list.spares_made))
    }

    /// A failure is fatal: names that the commit thread relies on may be among those it lost.
    fn sync_names(&self) -> Result<(), WalError> {
        self.env.sync_dir(&self.dir).map_err(|e| self.fatal("sync", &self.dir, &e))
    }

    fn fatal(&self, doing: &str, path: &Path, error: &io::Error) -> WalError {
        let message = format!("could not {doing} {}: {error}", path.display());
        self.env.fatal(&message);
        WalError::Fatal(message)
    }

    fn next_start(&self) -> u64 {
        self.list.lock().segments.back().map_or(0, |s| s.start + s.bytes)
    }

    /// Up to its name a new file is nobody's, so what fails can be given up. After that it may be there after a crash.
    fn create_segment(&self, header: SegmentHeader) -> Result<Active, WalError> {
        let spare = match header.bytes == self.segment_bytes {
            true => self.list.lock().spares.pop(),
            false => None,
        };
        let unnamed = spare.clone().unwrap_or_else(|| self.dir.join(UNNAMED));
        let path = segment_path(&self.dir, header.start);
        let named = self.fill_segment(spare.as_deref(), &unnamed, &header).and_then(|file| {
            self.env.rename_new(&unnamed, &path)?;
            Ok(file)
        });
        let file = named.map_err(|e| {
            // If this fails too, the next attempt or the next start does it.
            let _ = self.env.remove_file(&unnamed);
            if is_exhausted(&e) { WalError::Refused(e) } else { self.fatal("create a file in", &self.dir, &e) }
        })?;
        self.sync_names()?;
        self.list.lock().segments.push_back(header);
        Ok(Active { file, path, header })
    }

    /// A file with this header, durable, that has no name of the log's yet.
    fn fill_segment(
        &self,
        spare: Option<&Path>,
        unnamed: &Path,
        header: &SegmentHeader,
    ) -> io::Result<Box<dyn EnvFile>> {
        let file = match spare {
            Some(path) => self.env.open(path)?,
            None => {
                let file = self.env.create_anew(unnamed)?;
                file.fill_zero(header.bytes)?;
                file
            }
        };
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        Ok(file)
    }
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; FRAME_ALIGN] {
        let mut bytes = [0; FRAME_ALIGN];
        bytes[0..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..16].copy_from_slice(&self.start.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous_end.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.previous_ts.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.catalog_epoch.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes[52..56].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when these bytes are no header.
    pub fn decode(bytes: &[u8]) -> Option<SegmentHeader> {
        let mut unsigned: [u8; FRAME_ALIGN] = bytes.get(..FRAME_ALIGN)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        unsigned[52..56].fill(0);
        if !bytes.starts_with(SEGMENT_MAGIC) || crc32c::crc32c(&unsigned) != u32_at(52) {
            return None;
        }
        Some(SegmentHeader {
            start: u64_at(8),
            bytes: u64_at(16),
            epoch: u64_at(24),
            previous_end: u64_at(32),
            previous_ts: u64_at(40) as i64,
            nonce: u32_at(48),
            catalog_epoch: u64_at(56),
        })
    }
}

/// Whether a file can be reused. One with a second name may hold frames: renaming took two steps once, and a server that
/// was killed between them left both names.
fn is_spare(env: &dyn Env, path: &Path, bytes: u64) -> io::Result<bool> {
    let file = env.open(path)?;
    Ok(file.len()? == bytes && file.links()? == 1)
}

/// Path of the file that begins at `start`.
pub fn segment_path(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:020}{SUFFIX}"))
}

/// The position in a file's name; `None` for other files.
pub fn start_of(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX)?.parse().ok()
}

impl WalError {
    /// The same error for each waiter of a group.
    pub fn to_error(&self) -> Error {
        match self {
            WalError::Refused(e) => {
                Error::io("the log could not take this transaction", io::Error::new(e.kind(), e.to_string()))
            }
            WalError::Fatal(m) => Error::Stopped(format!("the log stopped: {m}")),
        }
    }
}
