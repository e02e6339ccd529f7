//! A transaction: appends and table changes that become durable and visible together, or not at all.
//!
//! Streams need no locks. A table is locked from its first change until the transaction ends, so what was read from a
//! snapshot taken under the lock is still true at commit. Keys are checked at commit, against the table as of the last
//! durable change (the lock keeps it there) and the transaction's own changes in order.

use crate::catalog::{Object, ObjectKind};
use crate::database::{Database, ReadMode};
use crate::input::WEIGHT_COLUMN;
use crate::log::Record;
use crate::{Epoch, Error, ObjectId, PartitionId, Result};
use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use twox_hash::XxHash3_64;

/// How long a statement waits for another transaction's table lock.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How long a commit waits for the table it checks to catch up with the log.
const CATCH_UP_WAIT: Duration = Duration::from_secs(60);
/// Bytes of rows one transaction may hold.
pub const TRANSACTION_BYTES_MAX: usize = 1 << 30;

/// Which tables are locked.
#[derive(Debug, Default)]
pub(crate) struct TableLocks {
    locked: Mutex<HashSet<ObjectId>>,
    freed: Condvar,
}

/// Collects writes; nothing is visible before [`Transaction::commit`]; dropping it discards them and frees its locks.
#[derive(Debug)]
pub struct Transaction {
    database: Arc<Database>,
    writes: Vec<Write>,
    bytes: usize,
    locks: Vec<ObjectId>,
}

#[derive(Debug)]
struct Write {
    object: Arc<Object>,
    change: Change,
}

/// User columns throughout; `Update`'s batches have the same number of rows.
#[derive(Debug)]
enum Change {
    Append(RecordBatch),
    Insert(RecordBatch),
    Update { before: RecordBatch, after: RecordBatch },
    Delete(RecordBatch),
}

impl Transaction {
    pub(crate) fn new(database: Arc<Database>) -> Transaction {
        Transaction { database, writes: vec![], bytes: 0, locks: vec![] }
    }

    /// Takes the write lock of a table until the transaction ends, so that what is read from a snapshot taken
    /// afterwards stays true until commit. Idempotent.
    ///
    /// # Errors
    /// `Limit` when the lock is not free within [`LOCK_WAIT`].
    pub fn lock_table(&mut self, table: ObjectId) -> Result<()> {
        if self.locks.contains(&table) {
            return Ok(());
        }
        let locks = &self.database.table_locks;
        let deadline = Instant::now() + LOCK_WAIT;
        let mut locked = locks.locked.lock();
        while !locked.insert(table) {
            if locks.freed.wait_until(&mut locked, deadline).timed_out() {
                return Err(Error::Limit("another transaction holds the table's write lock; try again".into()));
            }
        }
        self.locks.push(table);
        Ok(())
    }

    /// Adds rows (user columns, in order) to a stream. Checks types and NOT NULL, chooses partitions.
    pub fn append(&mut self, stream: ObjectId, batch: RecordBatch) -> Result<()> {
        let object = self.object(stream, |kind| matches!(kind, ObjectKind::Stream { .. }))?;
        let batch = conform(&object, batch)?;
        self.add(object, batch.get_array_memory_size(), Change::Append(batch))
    }

    /// Inserts rows (user columns) into a table. Locks the table. Duplicate keys are found at commit.
    pub fn insert(&mut self, table: ObjectId, batch: RecordBatch) -> Result<()> {
        let object = self.table(table)?;
        let batch = conform(&object, batch)?;
        self.add(object, batch.get_array_memory_size(), Change::Insert(batch))
    }

    /// Replaces `before[i]` by `after[i]`. The caller locked the table before it read `before`.
    pub fn update(&mut self, table: ObjectId, before: RecordBatch, after: RecordBatch) -> Result<()> {
        let object = self.table(table)?;
        let (before, after) = (conform(&object, before)?, conform(&object, after)?);
        if before.num_rows() != after.num_rows() {
            return Err(Error::Internal("an update needs one new row per old row".into()));
        }
        let bytes = before.get_array_memory_size() + after.get_array_memory_size();
        self.add(object, bytes, Change::Update { before, after })
    }

    /// Deletes rows, given whole. The caller locked the table before it read them.
    pub fn delete(&mut self, table: ObjectId, rows: RecordBatch) -> Result<()> {
        let object = self.table(table)?;
        let rows = conform(&object, rows)?;
        self.add(object, rows.get_array_memory_size(), Change::Delete(rows))
    }

    /// Whether this transaction has pending changes of `object`.
    pub fn touches(&self, object: ObjectId) -> bool {
        self.writes.iter().any(|write| write.object.id == object)
    }

    /// Makes everything durable; blocks until it is. Returns the epoch at which it is visible.
    ///
    /// # Errors
    /// `DuplicateKey`, `NotFound` when an object was dropped meanwhile; then nothing was written.
    pub fn commit(mut self) -> Result<Epoch> {
        let catalog = self.database.catalog();
        if let Some(write) = self.writes.iter().find(|w| catalog.by_id(w.object.id).is_none()) {
            return Err(Error::NotFound(format!("\"{}\" was dropped meanwhile", write.object.name)));
        }
        self.check_keys()?;
        let mut records = Vec::new();
        for write in std::mem::take(&mut self.writes) {
            let changelog = |batch| Record::Append { stream: write.object.id, partition: PartitionId(0), batch };
            match write.change {
                Change::Append(batch) => self.partition(&write.object, batch, &mut records)?,
                Change::Insert(batch) => records.push(changelog(with_weights(&[(&batch, 1)])?)),
                Change::Delete(batch) => records.push(changelog(with_weights(&[(&batch, -1)])?)),
                Change::Update { before, after } => {
                    records.push(changelog(with_weights(&[(&before, -1), (&after, 1)])?));
                }
            }
        }
        if records.is_empty() {
            return Ok(self.database.log.cut().epoch);
        }
        Ok(self.database.log.commit(records)?.epoch)
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

    fn table(&mut self, id: ObjectId) -> Result<Arc<Object>> {
        let object = self.object(id, |kind| matches!(kind, ObjectKind::Table { .. }))?;
        self.lock_table(id)?;
        Ok(object)
    }

    fn add(&mut self, object: Arc<Object>, bytes: usize, change: Change) -> Result<()> {
        self.bytes += bytes;
        if self.bytes > TRANSACTION_BYTES_MAX {
            return Err(Error::Limit(format!(
                "a transaction may hold {} MiB of rows; write them in smaller transactions",
                TRANSACTION_BYTES_MAX >> 20
            )));
        }
        if change.rows() > 0 {
            self.writes.push(Write { object, change });
        }
        Ok(())
    }

    /// Splits a stream's rows over its partitions: by hash of the key, else each batch whole to the next partition.
    fn partition(&self, object: &Object, batch: RecordBatch, out: &mut Vec<Record>) -> Result<()> {
        let ObjectKind::Stream { partitions, key } = &object.kind else { return Ok(()) };
        let stream = object.id;
        if *partitions == 1 || key.is_empty() {
            let partition = PartitionId(self.database.next_partition() % partitions);
            out.push(Record::Append { stream, partition, batch });
            return Ok(());
        }
        let mut rows_of = vec![Vec::new(); *partitions as usize];
        for (row, key) in encode_keys(&batch, key)?.iter().enumerate() {
            let hash = XxHash3_64::oneshot(key.as_ref());
            rows_of[(hash % u64::from(*partitions)) as usize].push(row as u32);
        }
        for (partition, rows) in rows_of.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let batch = take_record_batch(&batch, &UInt32Array::from(rows))?;
            out.push(Record::Append { stream, partition: PartitionId(partition as u32), batch });
        }
        Ok(())
    }

    /// Checks that every key is there at most once after each change.
    fn check_keys(&self) -> Result<()> {
        let mut inserts = self.writes.iter().filter(|w| matches!(w.change, Change::Insert(_) | Change::Update { .. }));
        if inserts.next().is_none() {
            return Ok(());
        }
        self.database.snapshot(ReadMode::Strict, CATCH_UP_WAIT)?;
        let mut present: HashMap<(ObjectId, Box<[u8]>), bool> = HashMap::new();
        for write in &self.writes {
            let ObjectKind::Table { key } = &write.object.kind else { continue };
            for (batch, appears) in write.change.halves() {
                self.check_half(&write.object, key, batch, appears, &mut present)?;
            }
        }
        Ok(())
    }

    fn check_half(
        &self,
        table: &Object,
        key: &[usize],
        batch: &RecordBatch,
        appears: bool,
        present: &mut HashMap<(ObjectId, Box<[u8]>), bool>,
    ) -> Result<()> {
        let columns: Vec<ArrayRef> = key.iter().map(|column| batch.column(*column).clone()).collect();
        let stored = match self.database.graph.lock().table(table.id) {
            Some(relation) => relation.contains_keys(&columns, batch.num_rows())?,
            None => return Err(Error::NotFound(format!("table \"{}\" was dropped meanwhile", table.name))),
        };
        for (row, encoded) in encode_keys(batch, key)?.iter().enumerate() {
            let entry = present.entry((table.id, encoded.as_ref().into())).or_insert(stored[row]);
            if appears && *entry {
                return Err(duplicate_key(table, key, &columns, row));
            }
            *entry = appears;
        }
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let locks = &self.database.table_locks;
        let mut locked = locks.locked.lock();
        for table in &self.locks {
            locked.remove(table);
        }
        locks.freed.notify_all();
    }
}

impl Change {
    fn rows(&self) -> usize {
        match self {
            Change::Append(batch) | Change::Insert(batch) | Change::Delete(batch) => batch.num_rows(),
            Change::Update { before, .. } => before.num_rows(),
        }
    }

    /// What disappears (`false`), then what appears (`true`).
    fn halves(&self) -> Vec<(&RecordBatch, bool)> {
        match self {
            Change::Append(_) => vec![],
            Change::Insert(batch) => vec![(batch, true)],
            Change::Delete(batch) => vec![(batch, false)],
            Change::Update { before, after } => vec![(before, false), (after, true)],
        }
    }
}

/// Gives `batch` the object's exact schema, or says what does not fit.
fn conform(object: &Object, batch: RecordBatch) -> Result<RecordBatch> {
    if batch.num_columns() != object.columns.len() {
        let (got, want) = (batch.num_columns(), object.columns.len());
        return Err(Error::Internal(format!("{got} columns for the {want} of \"{}\"", object.name)));
    }
    for (column, array) in object.columns.iter().zip(batch.columns()) {
        if *array.data_type() != column.data_type {
            let (got, want) = (array.data_type(), &column.data_type);
            return Err(Error::Internal(format!("column \"{}\" is {want}, not {got}", column.name)));
        }
        if !column.nullable && array.null_count() > 0 {
            return Err(Error::NullValue { column: column.name.clone(), relation: object.name.clone() });
        }
    }
    Ok(RecordBatch::try_new(object.schema(), batch.columns().to_vec())?)
}

/// A changelog batch: the rows of each part, interleaved row by row, with the part's weight.
fn with_weights(parts: &[(&RecordBatch, i8)]) -> Result<RecordBatch> {
    let (first, rows) = (parts[0].0, parts[0].0.num_rows());
    let order: UInt32Array =
        (0..rows).flat_map(|row| (0..parts.len()).map(move |part| (part * rows + row) as u32)).collect();
    let mut fields: Vec<Arc<Field>> = first.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(WEIGHT_COLUMN, DataType::Int8, false)));
    let mut columns = Vec::with_capacity(fields.len());
    for column in 0..first.num_columns() {
        let arrays: Vec<&dyn Array> = parts.iter().map(|(batch, _)| batch.column(column).as_ref()).collect();
        columns.push(concat(&arrays)?);
    }
    let weights = parts.iter().flat_map(|(_, weight)| std::iter::repeat_n(*weight, rows));
    columns.push(Arc::new(Int8Array::from_iter_values(weights)) as ArrayRef);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    if parts.len() == 1 { Ok(batch) } else { Ok(take_record_batch(&batch, &order)?) }
}

/// Order-preserving bytes of the key columns of every row.
fn encode_keys(batch: &RecordBatch, key: &[usize]) -> Result<arrow::row::Rows> {
    let columns: Vec<ArrayRef> = key.iter().map(|column| batch.column(*column).clone()).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    Ok(RowConverter::new(fields)?.convert_columns(&columns)?)
}

fn duplicate_key(table: &Object, key: &[usize], columns: &[ArrayRef], row: usize) -> Error {
    let names: Vec<&str> = key.iter().map(|column| table.columns[*column].name.as_str()).collect();
    let value = |column: &ArrayRef| {
        let formatter = ArrayFormatter::try_new(column, &FormatOptions::default());
        formatter.map_or_else(|_| "?".into(), |f| f.value(row).to_string())
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    let detail = format!("Key ({})=({}) already exists.", names.join(", "), values.join(", "));
    Error::DuplicateKey { table: table.name.clone(), detail }
}
