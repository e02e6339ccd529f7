//! The small durable state beside the log: catalog, module bytes and checkpoints, in RocksDB.
//!
//! Column families:
//! - `meta`: `format` (u32), `seed` (u64), `next_id` (u32), `catalog_epoch` (u64), `checkpoint` ([`Checkpoint`] as
//!   JSON), `object/<id, 4 bytes BE>` ([`Object`] as JSON), `dropped/<id, 4 bytes BE>` (tombstone, until the next start);
//! - `modules`: SHA-256 of an upload → its bytes;
//! - `state`: `<object id, 4 bytes BE><key of the owner>` → bytes, see `dataflow` and `relation`.
//!
//! Invariants: every write is one synced `WriteBatch`; a checkpoint's state and its [`Checkpoint`] record are in the
//! same batch; nothing here is touched per row.

use crate::catalog::Object;
use crate::state::{StateReader, StateWriter};
use crate::{Epoch, Error, ObjectId, Offset, Result};
use parking_lot::Mutex;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, Direction, ErrorKind, IteratorMode, Options, WriteBatch,
    WriteOptions,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const META: &str = "meta";
const MODULES: &str = "modules";
const STATE: &str = "state";
/// Prefixes of keys in `meta`.
const OBJECT: &[u8] = b"object/";
const DROPPED: &[u8] = b"dropped/";

/// Version of everything in the data directory; a server refuses versions it does not know.
const FORMAT_VERSION: u32 = 1;
/// Ids below are left to Postgres' own objects.
const FIRST_OBJECT_ID: u32 = 16_384;
/// Memory of RocksDB's write buffers, in bytes, per column family.
const WRITE_BUFFER_BYTES: usize = 16 << 20;

/// A change of the catalog, as the log records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogChange {
    Create(Object),
    Drop(Vec<ObjectId>),
}

/// How far the state in the store is: the inputs' offsets and what was saved with which plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub epoch: Epoch,
    /// First offset not yet contained, per partition of each stream or table changelog.
    pub uppers: BTreeMap<ObjectId, Vec<Offset>>,
    /// Plan fingerprint of every object whose state is in the checkpoint.
    pub fingerprints: BTreeMap<ObjectId, u64>,
}

/// The RocksDB database of a data directory.
#[derive(Debug)]
pub struct Store {
    db: DB,
    seed: u64,
    /// What checkpoints collected that could not be written, as a `WriteBatch`'s data: the next one begins with it.
    unwritten: Mutex<Option<Vec<u8>>>,
    /// Writes fail from now on.
    #[cfg(test)]
    pub(crate) failing: std::sync::atomic::AtomicBool,
}

impl Store {
    /// Whether there is a store in `dir`.
    pub fn exists(dir: &Path) -> bool {
        dir.join("CURRENT").exists()
    }

    /// Opens or creates the store in `dir`. `fresh_seed` becomes the row-hash seed of a new store.
    ///
    /// # Errors
    /// `Corrupt`, `Unsupported` (a newer format).
    pub fn open(dir: &Path, fresh_seed: u64) -> Result<Store> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_keep_log_file_num(4);
        options.set_max_total_wal_size(64 << 20);
        // The default cuts RocksDB's own log at the first damaged record, and what follows it off, without a word.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        let families = [META, MODULES, STATE].map(|name| {
            let mut options = Options::default();
            options.set_write_buffer_size(WRITE_BUFFER_BYTES);
            options.set_compression_type(rocksdb::DBCompressionType::Zstd);
            ColumnFamilyDescriptor::new(name, options)
        });
        let db = DB::open_cf_descriptors(&options, dir, families).map_err(|e| cannot_open(dir, e))?;
        let mut store = Store {
            db,
            seed: fresh_seed,
            unwritten: Mutex::default(),
            #[cfg(test)]
            failing: Default::default(),
        };
        store.initialise()?;
        Ok(store)
    }

    fn initialise(&mut self) -> Result<()> {
        match self.number::<4>("format")?.map(u32::from_be_bytes) {
            Some(FORMAT_VERSION) => {}
            Some(other) => {
                return Err(Error::Unsupported(format!(
                    "data directory has format {other}, this server knows format {FORMAT_VERSION}; use a newer server"
                )));
            }
            None => {
                let mut batch = WriteBatch::default();
                batch.put_cf(self.family(META)?, "seed", self.seed.to_be_bytes());
                batch.put_cf(self.family(META)?, "format", FORMAT_VERSION.to_be_bytes());
                self.write(batch)?;
            }
        }
        if let Some(seed) = self.number::<8>("seed")? {
            self.seed = u64::from_be_bytes(seed);
        }
        Ok(())
    }

    /// Seed of all row hashes of this data directory.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Every object, by id.
    pub fn objects(&self) -> Result<Vec<Object>> {
        self.meta(OBJECT)?.map(|entry| from_json(&entry?.1)).collect()
    }

    /// Objects whose drop was folded in since the last [`Store::forget_dropped`].
    pub fn dropped(&self) -> Result<BTreeSet<ObjectId>> {
        let id = |key: &[u8]| {
            let bytes = key.strip_prefix(DROPPED).and_then(|id| id.try_into().ok());
            bytes.map(|id| ObjectId(u32::from_be_bytes(id)))
        };
        self.meta(DROPPED)?.filter_map(|entry| entry.map(|(key, _)| id(&key)).transpose()).collect()
    }

    /// Removes these objects' tombstones: nothing of them is left.
    pub fn forget_dropped(&self, ids: &BTreeSet<ObjectId>) -> Result<()> {
        let mut batch = WriteBatch::default();
        for id in ids {
            batch.delete_cf(self.family(META)?, meta_key(DROPPED, *id));
        }
        self.write(batch)
    }

    fn meta(&self, prefix: &'static [u8]) -> Result<impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>)>>> {
        let entries = self.db.iterator_cf(self.family(META)?, IteratorMode::From(prefix, Direction::Forward));
        let inside = move |entry: &Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>| {
            entry.as_ref().map_or(true, |(key, _)| key.starts_with(prefix))
        };
        Ok(entries.take_while(inside).map(|entry| Ok(entry?)))
    }

    /// Catalog changes below this epoch are folded in.
    pub fn catalog_epoch(&self) -> Result<Epoch> {
        Ok(Epoch(self.number::<8>("catalog_epoch")?.map_or(0, u64::from_be_bytes)))
    }

    /// The id the next object gets.
    pub fn next_id(&self) -> Result<ObjectId> {
        Ok(ObjectId(self.number::<4>("next_id")?.map_or(FIRST_OBJECT_ID, u32::from_be_bytes)))
    }

    /// Folds a change in, with the state of dropped objects removed; durable on return. Applying it twice is harmless.
    pub fn apply(&self, change: &CatalogChange, upto: Epoch) -> Result<()> {
        let meta = self.family(META)?;
        let mut batch = WriteBatch::default();
        match change {
            CatalogChange::Create(object) => {
                batch.put_cf(meta, meta_key(OBJECT, object.id), to_json(object)?);
                let next = self.next_id()?.0.max(object.id.0 + 1);
                batch.put_cf(meta, "next_id", next.to_be_bytes());
            }
            CatalogChange::Drop(ids) => {
                for id in ids {
                    batch.delete_cf(meta, meta_key(OBJECT, *id));
                    batch.put_cf(meta, meta_key(DROPPED, *id), []);
                    clear_state(&mut batch, self.family(STATE)?, *id);
                }
                self.drop_unwritten(ids)?;
            }
        }
        batch.put_cf(meta, "catalog_epoch", upto.0.to_be_bytes());
        self.write(batch)
    }

    /// The next checkpoint may begin with state of these objects, which it must not bring back.
    fn drop_unwritten(&self, ids: &[ObjectId]) -> Result<()> {
        let mut unwritten = self.unwritten.lock();
        if let Some(data) = &mut *unwritten {
            let mut batch = WriteBatch::from_data(data);
            let family = self.family(STATE)?;
            ids.iter().for_each(|id| clear_state(&mut batch, family, *id));
            *data = batch.data().to_vec();
        }
        Ok(())
    }

    /// Keeps a module's bytes; durable on return.
    pub fn put_module(&self, hash: &[u8; 32], bytes: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(MODULES)?, hash, bytes);
        self.write(batch)
    }

    /// A module's bytes.
    pub fn module(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>> {
        Ok(self.db.get_cf(self.family(MODULES)?, hash)?)
    }

    /// Forgets modules whose hash is not in `live`.
    pub fn retain_modules(&self, live: &[[u8; 32]]) -> Result<()> {
        let family = self.family(MODULES)?;
        let mut batch = WriteBatch::default();
        for entry in self.db.iterator_cf(family, IteratorMode::Start) {
            let (key, _) = entry?;
            if !live.iter().any(|hash| hash[..] == key[..]) {
                batch.delete_cf(family, key);
            }
        }
        self.write(batch)
    }

    /// The last checkpoint, or the empty one at epoch 0.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        match self.db.get_cf(self.family(META)?, "checkpoint")? {
            Some(bytes) => from_json(&bytes),
            None => Ok(Checkpoint::default()),
        }
    }

    /// Begins a checkpoint.
    pub fn checkpoint_writer(&self) -> CheckpointWriter<'_> {
        let unwritten = self.unwritten.lock().take();
        let batch = unwritten.map_or_else(WriteBatch::default, |data| WriteBatch::from_data(&data));
        CheckpointWriter { store: self, batch }
    }

    /// Reads the saved state of one object.
    pub fn state(&self, object: ObjectId) -> ObjectState<'_> {
        ObjectState { store: self, object }
    }

    fn number<const N: usize>(&self, key: &str) -> Result<Option<[u8; N]>> {
        let Some(bytes) = self.db.get_cf(self.family(META)?, key)? else { return Ok(None) };
        let number = bytes.try_into().map_err(|_| Error::Internal(format!("meta key {key} has a wrong length")))?;
        Ok(Some(number))
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily> {
        self.db.cf_handle(name).ok_or_else(|| Error::Internal(format!("column family {name} is missing")))
    }

    fn write(&self, batch: WriteBatch) -> Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        #[cfg(test)]
        if self.failing.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Internal("a write that a test made fail".into()));
        }
        Ok(self.db.write_opt(batch, &options)?)
    }
}

/// Collects one atomic checkpoint.
pub struct CheckpointWriter<'a> {
    store: &'a Store,
    batch: WriteBatch,
}

impl CheckpointWriter<'_> {
    /// Where `object` saves its changed state.
    pub fn object(&mut self, object: ObjectId) -> Result<ObjectWriter<'_>> {
        let family = self.store.family(STATE)?;
        Ok(ObjectWriter { family, batch: &mut self.batch, object })
    }

    /// Forgets everything saved for `object`.
    pub fn clear(&mut self, object: ObjectId) -> Result<()> {
        clear_state(&mut self.batch, self.store.family(STATE)?, object);
        Ok(())
    }

    /// Bytes collected so far.
    pub fn bytes(&self) -> usize {
        self.batch.size_in_bytes()
    }

    /// Makes state and record durable together. What cannot be written (the disk is full) is part of the next checkpoint.
    ///
    /// # Errors
    /// `Internal` from RocksDB.
    pub fn commit(mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.batch.put_cf(self.store.family(META)?, "checkpoint", to_json(checkpoint)?);
        // RocksDB takes the batch, also when it fails.
        let copy = self.batch.data().to_vec();
        self.store.write(self.batch).inspect_err(|_| *self.store.unwritten.lock() = Some(copy))
    }
}

/// Writes one object's part of a checkpoint.
pub struct ObjectWriter<'a> {
    family: &'a ColumnFamily,
    batch: &'a mut WriteBatch,
    object: ObjectId,
}

impl StateWriter for ObjectWriter<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.family, state_key(self.object, key), value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.batch.delete_cf(self.family, state_key(self.object, key));
    }
}

/// Reads one object's saved state.
#[derive(Debug)]
pub struct ObjectState<'a> {
    store: &'a Store,
    object: ObjectId,
}

impl StateReader for ObjectState<'_> {
    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let from = state_key(self.object, prefix);
        let family = self.store.family(STATE)?;
        for entry in self.store.db.iterator_cf(family, IteratorMode::From(&from, Direction::Forward)) {
            let (key, value) = entry?;
            if !key.starts_with(&from) {
                break;
            }
            visit(&key[size_of::<u32>()..], &value)?;
        }
        Ok(())
    }
}

/// Removes all that is saved for `object`.
fn clear_state(batch: &mut WriteBatch, state: &ColumnFamily, object: ObjectId) {
    batch.delete_range_cf(state, object.0.to_be_bytes(), (object.0 + 1).to_be_bytes());
}

fn meta_key(prefix: &[u8], id: ObjectId) -> Vec<u8> {
    [prefix, &id.0.to_be_bytes()].concat()
}

fn cannot_open(dir: &Path, error: rocksdb::Error) -> Error {
    if error.kind() != ErrorKind::Corruption {
        return error.into();
    }
    let reason = format!(
        "{error}. The catalog is damaged, so the server does not start and changes nothing. Check the disk, then restore \
         the data directory from a backup"
    );
    Error::Corrupt { file: dir.to_path_buf(), byte: 0, reason }
}

fn state_key(object: ObjectId, key: &[u8]) -> Vec<u8> {
    [&object.0.to_be_bytes(), key].concat()
}

/// Encodes catalog and checkpoint records.
pub fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Internal(format!("encoding: {e}")))
}

/// Decodes catalog and checkpoint records.
pub fn from_json<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::Internal(format!("decoding a stored record: {e}")))
}
