//! A transaction: appends and table changes that become durable and visible together, or not at all.
//!
//! Streams need no locks. A table is locked from its first change until the transaction ends. So what was read from a
//! snapshot taken under the lock is still true at commit, and a key needs to be checked once only, when it is written:
//! against the table as of the last durable change (the lock keeps it there) and the transaction's own changes.

mod budget;
mod changelog;
mod lock;
mod own;

pub(crate) use budget::Budget;
pub use budget::OPEN_TRANSACTIONS_BYTES_MAX;
pub(crate) use lock::TableLocks;
pub use own::{KeyState, OwnChanges};

use crate::catalog::{Object, ObjectKind};
use crate::database::{Database, ReadMode};
use crate::log::Record;
use crate::{Epoch, Error, ObjectId, Result};
use arrow::array::{ArrayRef, RecordBatch};
use changelog::{Change, conform};
use own::WriteNumber;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a statement waits for another transaction's table lock.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How long a write waits for the table it checks to catch up with the log.
const CATCH_UP_WAIT: Duration = Duration::from_secs(60);
/// Bytes of rows one transaction may hold.
pub const TRANSACTION_BYTES_MAX: usize = 1 << 30;
/// What is kept of a changed table row besides the row and its key.
const VERSION_BYTES: usize = 96;
/// What a batch takes besides its rows, and each of its columns: schema, array, buffers at their least size, places in lists.
const BATCH_BYTES: usize = 512;
const COLUMN_BYTES: usize = 384;

/// Collects writes; nothing is visible before [`Transaction::commit`]; dropping it discards them and frees its locks.
#[derive(Debug)]
pub struct Transaction {
    database: Arc<Database>,
    writes: Vec<Write>,
    own: OwnChanges,
    bytes: usize,
    locks: Vec<ObjectId>,
    /// Locked tables whose last durable change the dataflow has applied.
    caught_up: HashSet<ObjectId>,
}

#[derive(Debug)]
struct Write {
    object: Arc<Object>,
    change: Change,
    bytes: usize,
}

/// A point of a transaction to go back to; the default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Savepoint(WriteNumber);

impl Transaction {
    pub(crate) fn new(database: Arc<Database>) -> Transaction {
        Transaction {
            database,
            writes: vec![],
            own: OwnChanges::default(),
            bytes: 0,
            locks: vec![],
            caught_up: HashSet::new(),
        }
    }

    /// Takes the write lock of a table until the transaction ends, so that what is read from a snapshot taken
    /// afterwards stays true until commit. Idempotent. `wait`: at most this long, usually [`LOCK_WAIT`].
    ///
    /// # Errors
    /// `Locked` when the lock is not free within `wait`.
    pub fn lock_table(&mut self, table: ObjectId, wait: Duration) -> Result<()> {
        self.table(table, wait).map(|_| ())
    }

    /// Adds rows (user columns, in order) to a stream. Checks types and NOT NULL, chooses partitions.
    pub fn append(&mut self, stream: ObjectId, batch: RecordBatch) -> Result<()> {
        let object = self.object(stream, |kind| matches!(kind, ObjectKind::Stream { .. }))?;
        let batch = conform(&object, batch)?;
        self.write(object, Change::Append(batch))
    }

    /// Inserts rows (user columns) into a table. Locks the table.
    ///
    /// # Errors
    /// `DuplicateKey`; then none of the rows is in.
    pub fn insert(&mut self, table: ObjectId, batch: RecordBatch) -> Result<()> {
        let object = self.table(table, LOCK_WAIT)?;
        let batch = conform(&object, batch)?;
        self.write(object, Change::Insert(batch))
    }

    /// Replaces `before[i]` by `after[i]`. The caller locked the table before it read `before`.
    ///
    /// # Errors
    /// `DuplicateKey`; then no row is replaced.
    pub fn update(&mut self, table: ObjectId, before: RecordBatch, after: RecordBatch) -> Result<()> {
        let object = self.table(table, LOCK_WAIT)?;
        let (before, after) = (conform(&object, before)?, conform(&object, after)?);
        if before.num_rows() != after.num_rows() {
            return Err(Error::Internal("an update needs one new row per old row".into()));
        }
        self.write(object, Change::Update { before, after })
    }

    /// Deletes rows, given whole. The caller locked the table before it read them.
    pub fn delete(&mut self, table: ObjectId, rows: RecordBatch) -> Result<()> {
        let object = self.table(table, LOCK_WAIT)?;
        let rows = conform(&object, rows)?;
        self.write(object, Change::Delete(rows))
    }

    /// How the keys of rows to be inserted stand to the table. Locks it. Rows written after `since` belong to the
    /// statement that asks.
    pub fn key_states(&mut self, table: ObjectId, rows: &RecordBatch, since: Savepoint) -> Result<Vec<KeyState>> {
        let object = self.table(table, LOCK_WAIT)?;
        let ObjectKind::Table { key } = &object.kind else { return Ok(vec![]) };
        let committed = self.committed(&object, key, rows)?;
        own::key_states(self.own.table(table), key, rows, &committed, since.0)
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// What was written so far.
    pub fn own_changes(&self) -> OwnChanges {
        self.own.clone()
    }

    /// The point reached; takes no copy of anything.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint(self.writes.len())
    }

    /// Takes back what was written after `savepoint`. Locks are kept.
    pub fn rollback_to(&mut self, savepoint: Savepoint) -> Result<()> {
        while self.writes.len() > savepoint.0 {
            let Some(write) = self.writes.pop() else { break };
            self.take_back(self.writes.len(), &write.object, &write.change)?;
            self.give_back(write.bytes);
        }
        Ok(())
    }

    /// Makes everything durable; blocks until it is. Returns the epoch at which it is visible.
    ///
    /// # Errors
    /// `NotFound` when an object was dropped meanwhile; then nothing was written.
    pub fn commit(mut self) -> Result<Epoch> {
        let catalog = self.database.catalog();
        if let Some(write) = self.writes.iter().find(|w| catalog.by_id(w.object.id).is_none()) {
            return Err(Error::NotFound(format!("\"{}\" was dropped meanwhile", write.object.name)));
        }
        let records = self.records()?;
        if records.is_empty() {
            return Ok(self.database.log.cut().epoch);
        }
        self.database.log.commit(records)
    }

    fn records(&mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut rewritten: BTreeMap<ObjectId, (Arc<Object>, Vec<Change>)> = BTreeMap::new();
        for write in std::mem::take(&mut self.writes) {
            if self.own.rewrites(write.object.id) {
                let (_, changes) = rewritten.entry(write.object.id).or_insert_with(|| (write.object, vec![]));
                changes.push(write.change);
            } else {
                write.change.record(&write.object, || self.database.next_partition(), &mut records)?;
            }
        }
        for (table, changes) in rewritten.values() {
            records.extend(changelog::net(table, self.database.store.seed(), changes)?);
        }
        Ok(records)
    }

    fn object(&self, id: ObjectId, fits: impl Fn(&ObjectKind) -> bool) -> Result<Arc<Object>> {
        let catalog = self.database.catalog();
        let object = catalog.by_id(id).ok_or_else(|| Error::NotFound(format!("object {id} does not exist")))?;
        if !fits(&object.kind) {
            return Err(Error::Invalid(format!(
                "cannot write to {} \"{}\" like this",
                object.kind.noun(),
                object.name
            )));
        }
        Ok(object.clone())
    }

    /// A table, locked.
    fn table(&mut self, id: ObjectId, wait: Duration) -> Result<Arc<Object>> {
        let object = self.object(id, |kind| matches!(kind, ObjectKind::Table { .. }))?;
        if !self.locks.contains(&id) {
            self.database.table_locks.lock(&object, wait)?;
            self.locks.push(id);
        }
        Ok(object)
    }

    fn write(&mut self, object: Arc<Object>, change: Change) -> Result<()> {
        if change.rows() == 0 {
            return Ok(());
        }
        let versions = match object.kind {
            ObjectKind::Table { .. } => change.rows() * VERSION_BYTES,
            _ => 0,
        };
        let overhead = change.batches() * (BATCH_BYTES + object.columns.len() * COLUMN_BYTES);
        let bytes = change.memory_bytes() + versions + overhead;
        self.database.transaction_budget.take(self.bytes, bytes)?;
        self.bytes += bytes;
        if let Err(error) = self.apply(self.writes.len(), &object, &change) {
            self.take_back(self.writes.len(), &object, &change)?;
            self.give_back(bytes);
            return Err(error);
        }
        self.writes.push(Write { object, change, bytes });
        Ok(())
    }

    /// Makes a write visible to the transaction itself.
    fn apply(&mut self, number: WriteNumber, object: &Arc<Object>, change: &Change) -> Result<()> {
        let key = match &object.kind {
            ObjectKind::Table { key } => key,
            _ => {
                if let Change::Append(batch) = change {
                    self.own.append(object.id, batch.clone());
                }
                return Ok(());
            }
        };
        if let Some(gone) = change.gone() {
            self.own.table_mut(object, key).remove(number, gone)?;
        }
        if let Some(here) = change.here() {
            let committed = self.committed(object, key, here)?;
            self.own.table_mut(object, key).add(number, here, &committed)?;
        }
        Ok(())
    }

    fn take_back(&mut self, number: WriteNumber, object: &Arc<Object>, change: &Change) -> Result<()> {
        match &object.kind {
            ObjectKind::Table { key } => {
                let halves: Vec<&RecordBatch> = change.gone().into_iter().chain(change.here()).collect();
                self.own.table_mut(object, key).take_back(number, &halves)
            }
            _ => {
                self.own.take_back_append(object.id);
                Ok(())
            }
        }
    }

    /// Which rows' keys a committed row has.
    fn committed(&mut self, table: &Object, key: &[usize], rows: &RecordBatch) -> Result<Vec<bool>> {
        if self.caught_up.insert(table.id) {
            self.database.snapshot(ReadMode::Strict, CATCH_UP_WAIT).inspect_err(|_| {
                self.caught_up.remove(&table.id);
            })?;
        }
        let columns: Vec<ArrayRef> = key.iter().map(|column| rows.column(*column).clone()).collect();
        match self.database.graph.lock().table(table.id) {
            Some(relation) => relation.contains_keys(&columns, rows.num_rows()),
            None => Err(Error::NotFound(format!("table \"{}\" was dropped meanwhile", table.name))),
        }
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.database.transaction_budget.give_back(bytes);
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.database.transaction_budget.give_back(self.bytes);
        self.database.table_locks.unlock(&self.locks);
    }
}
