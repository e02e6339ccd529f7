//! The manifest of a stream: what its log columns are and which segments hold its sealed records.
//!
//! `<dir>/streams/<id>/manifest-<n>.json`: one line `millpond-manifest 1 crc32c=<8 hex digits>`, then JSON (it is written
//! anew for every seal: no spaces), of which that is the checksum. Numbered and create-only: a change writes the next number (temporary file, sync, rename to a
//! name that must be free, sync of the directory), then the older one is removed. The highest number counts; since it
//! got its name after its content was durable, one that does not check out is corruption.
//!
//! A stream exists from its manifest 0 on. Dropping first makes a file `dropped` durable, then removes the rest, so a
//! directory is always one of: whole, being dropped (finished at start), or never finished (no manifest, no segment).

use super::recovery::corrupt;
use crate::catalog::Column;
use crate::env::{Env, is_exhausted};
use crate::{Error, ObjectId, Offset, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const TITLE: &str = "millpond-manifest 1 crc32c=";
const PREFIX: &str = "manifest-";
const SUFFIX: &str = ".json";
const UNFINISHED: &str = "manifest.tmp";
const DROPPED: &str = "dropped";

/// The content of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub stream: ObjectId,
    pub columns: Vec<Column>,
    /// Per partition its segments, by offset, dense.
    pub partitions: Vec<Vec<SegmentEntry>>,
}

/// One sealed segment, `[lower, upper)`; `append_ts_*` are inclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    pub lower: Offset,
    pub upper: Offset,
    pub bytes: u64,
    pub crc32c: u32,
    pub append_ts_min: i64,
    pub append_ts_max: i64,
}

/// A manifest was not written, or perhaps it was.
#[derive(Debug)]
pub struct WriteError {
    pub error: Error,
    pub unsure: bool,
}

/// What a stream's directory turned out to be.
#[derive(Debug)]
pub enum Found {
    Stream {
        number: u64,
        manifest: Manifest,
    },
    /// Being dropped or never finished: to be removed.
    Leftover,
}

impl Manifest {
    /// Makes this manifest number `number` of the stream in `dir`, durably.
    ///
    /// # Errors
    /// `unsure` tells whether the change may have taken place nonetheless.
    pub fn write(&self, env: &dyn Env, dir: &Path, number: u64) -> Result<(), WriteError> {
        let unfinished = dir.join(UNFINISHED);
        if let Err(error) = self.stage(env, &unfinished) {
            // Removal may fail as well: then it is removed at the next start.
            let _ = env.remove_file(&unfinished);
            return Err(WriteError { error, unsure: false });
        }
        let path = manifest_path(dir, number);
        let context = |unsure, e| WriteError { error: Error::io(format!("naming {}", path.display()), e), unsure };
        if let Err(e) = env.rename_new(&unfinished, &path) {
            let _ = env.remove_file(&unfinished);
            return Err(context(!is_exhausted(&e), e));
        }
        env.sync_dir(dir).map_err(|e| context(true, e))
    }

    fn stage(&self, env: &dyn Env, path: &Path) -> Result<()> {
        let text = self.encode()?;
        let context = |e| Error::io(format!("writing {}", path.display()), e);
        let file = env.create_anew(path).map_err(context)?;
        file.write_at(text.as_bytes(), 0).map_err(context)?;
        file.sync_data().map_err(context)
    }

    /// Reads the stream in `dir`; removes what an interrupted change left behind.
    pub fn find(env: &dyn Env, dir: &Path) -> Result<Found> {
        let context = |e| Error::io(format!("reading {}", dir.display()), e);
        let names = env.list(dir).map_err(context)?;
        if names.iter().any(|n| n == DROPPED) {
            return Ok(Found::Leftover);
        }
        let Some(number) = names.iter().filter_map(|n| number_of(n)).max() else {
            return match names.iter().find(|n| super::segment::is_segment(n)) {
                Some(name) => Err(corrupt(&dir.join(name), 0, "the manifest of this segment's stream is missing")),
                None => Ok(Found::Leftover),
            };
        };
        let path = manifest_path(dir, number);
        let manifest = Manifest::decode(&path, &read_text(env, &path)?)?;
        let kept: HashSet<String> = (0u32..)
            .zip(&manifest.partitions)
            .flat_map(|(p, entries)| {
                entries.iter().map(move |e| super::segment::segment_name(crate::PartitionId(p), e.lower))
            })
            .collect();
        let is_ours = |n: &String| number_of(n).is_some() || super::segment::is_segment(n) || n.ends_with(".tmp");
        for name in names.iter().filter(|n| is_ours(n) && number_of(n) != Some(number) && !kept.contains(*n)) {
            env.remove_file(&dir.join(name)).map_err(context)?;
        }
        Ok(Found::Stream { number, manifest })
    }

    fn encode(&self) -> Result<String> {
        let json = serde_json::to_string(self).map_err(|e| Error::Internal(format!("manifest: {e}")))?;
        Ok(format!("{TITLE}{:08x}\n{json}", crc32c::crc32c(json.as_bytes())))
    }

    fn decode(path: &Path, text: &str) -> Result<Manifest> {
        let (title, json) = text.split_once('\n').unwrap_or_default();
        let checksum = title.strip_prefix(TITLE).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        if checksum != Some(crc32c::crc32c(json.as_bytes())) {
            return Err(corrupt(path, 0, "the manifest's checksum is wrong"));
        }
        let manifest: Manifest =
            serde_json::from_str(json).map_err(|e| corrupt(path, 0, &format!("the manifest can't be read: {e}")))?;
        match manifest.partitions.iter().any(|entries| !is_dense(entries)) {
            true => Err(corrupt(path, 0, "the manifest's segments leave a gap")),
            false => Ok(manifest),
        }
    }

    /// Whether what is stored reads back as the same; a type whose name can't be parsed again must not be stored.
    pub fn check_readable(&self) -> Result<()> {
        let same = self.encode().and_then(|text| Manifest::decode(Path::new(""), &text)).is_ok_and(|m| m == *self);
        let types: Vec<String> = self.columns.iter().map(|c| c.data_type.to_string()).collect();
        match same {
            true => Ok(()),
            false => Err(Error::Unsupported(format!("a column type among {} can't be stored", types.join(", ")))),
        }
    }
}

/// Removes manifest `number`, which is no longer the highest.
pub fn remove_old(env: &dyn Env, dir: &Path, number: u64) -> Result<()> {
    let path = manifest_path(dir, number);
    env.remove_file(&path).map_err(|e| Error::io(format!("removing {}", path.display()), e))
}

/// Marks the stream in `dir` as dropped, durably.
pub fn mark_dropped(env: &dyn Env, dir: &Path) -> Result<()> {
    let context = |e| Error::io(format!("dropping {}", dir.display()), e);
    // Anew: if syncing the name failed once, only a new name can become durable.
    env.create_anew(&dir.join(DROPPED)).map_err(context)?;
    env.sync_dir(dir).map_err(context)
}

/// Removes a dropped or unfinished stream's directory; the mark goes last.
pub fn remove_dropped(env: &dyn Env, dir: &Path) -> Result<()> {
    let context = |e| Error::io(format!("removing {}", dir.display()), e);
    let names = env.list(dir).map_err(context)?;
    for name in names.iter().filter(|n| *n != DROPPED) {
        env.remove_file(&dir.join(name)).map_err(context)?;
    }
    env.sync_dir(dir).map_err(context)?;
    if names.iter().any(|n| n == DROPPED) {
        env.remove_file(&dir.join(DROPPED)).map_err(context)?;
    }
    env.remove_dir(dir).map_err(context)
}

fn is_dense(entries: &[SegmentEntry]) -> bool {
    let ordered = entries.iter().all(|e| e.lower < e.upper);
    ordered && entries.windows(2).all(|pair| pair[0].upper == pair[1].lower)
}

fn manifest_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number}{SUFFIX}"))
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

fn read_text(env: &dyn Env, path: &Path) -> Result<String> {
    let context = |e| Error::io(format!("reading {}", path.display()), e);
    let file = env.open(path).map_err(context)?;
    let mut bytes = vec![0; file.len().map_err(context)? as usize];
    file.read_at(&mut bytes, 0).map_err(context)?;
    String::from_utf8(bytes).map_err(|_| corrupt(path, 0, "the manifest is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SimEnv;
    use arrow::datatypes::{DataType, TimeUnit};

    fn sample() -> Manifest {
        let column = |name: &str, data_type| Column { name: name.into(), data_type, nullable: true };
        let entry = SegmentEntry {
            lower: Offset(0),
            upper: Offset(3),
            bytes: 9,
            crc32c: 1,
            append_ts_min: 1,
            append_ts_max: 2,
        };
        Manifest {
            stream: ObjectId(4),
            columns: vec![
                column("a", DataType::Int64),
                column("b", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
                column("c", DataType::Decimal128(12, 2)),
                column("d", DataType::Utf8View),
            ],
            partitions: vec![vec![entry], vec![]],
        }
    }

    fn stream_dir(env: &SimEnv) -> PathBuf {
        let dir = PathBuf::from("/s/4");
        env.create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn the_highest_manifest_counts_and_leftovers_go() {
        let env = SimEnv::new(1);
        let dir = stream_dir(&env);
        let mut manifest = sample();
        manifest.write(&env, &dir, 0).unwrap();
        manifest.partitions[1] = manifest.partitions[0].clone();
        manifest.write(&env, &dir, 1).unwrap();
        for name in ["0-00000000000000000000.parquet", "0-00000000000000000003.parquet", "seal.tmp"] {
            env.create(&dir.join(name)).unwrap();
        }
        let Found::Stream { number, manifest: found } = Manifest::find(&env, &dir).unwrap() else { panic!() };
        assert_eq!((number, &found), (1, &manifest));
        assert_eq!(env.list(&dir).unwrap(), ["0-00000000000000000000.parquet", "manifest-1.json"]);
    }

    #[test]
    fn a_number_is_given_once() {
        let env = SimEnv::new(1);
        let dir = stream_dir(&env);
        sample().write(&env, &dir, 0).unwrap();
        assert!(sample().write(&env, &dir, 0).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let text = sample().encode().unwrap();
        assert_eq!(Manifest::decode(Path::new("m"), &text).unwrap(), sample());
        assert_eq!(text.lines().count(), 2, "{text}");
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(bad) = String::from_utf8(bytes) else { continue };
            assert!(Manifest::decode(Path::new("m"), &bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn segments_without_a_manifest_are_corruption_unless_dropped() {
        let env = SimEnv::new(1);
        let dir = stream_dir(&env);
        env.create(&dir.join("0-00000000000000000000.parquet")).unwrap();
        assert!(matches!(Manifest::find(&env, &dir), Err(Error::Corrupt { .. })));
        mark_dropped(&env, &dir).unwrap();
        assert!(matches!(Manifest::find(&env, &dir), Ok(Found::Leftover)));
        remove_dropped(&env, &dir).unwrap();
        assert!(env.list(&dir).is_err());
    }
}
