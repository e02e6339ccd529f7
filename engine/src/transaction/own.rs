//! What a transaction has written so far, as its own statements see it.
//!
//! Every key of a table that the transaction touched has its versions, newest first, each made by one write:
//!
//! ```text
//! key ──▶ row 2 of write 7 ──▶ gone by write 3 ──▶ (what is committed)
//! ```
//!
//! The table as the transaction sees it = the committed rows whose key has no version + the rows of the newest versions.
//! Taking a write back pops its versions: a savepoint costs nothing, going back to it costs the rows written since.

use crate::batch::interleave_rows;
use crate::catalog::Object;
use crate::row_hash::canonical_keys;
use crate::{Error, ObjectId, Result};
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// A transaction's own changes. A value: what the transaction writes later does not change it.
#[derive(Clone, Debug, Default)]
pub struct OwnChanges {
    tables: HashMap<ObjectId, Arc<TableChanges>>,
    /// User columns of rows that have no offsets yet.
    appends: HashMap<ObjectId, Arc<Vec<RecordBatch>>>,
}

impl OwnChanges {
    /// The rows of `table` as the transaction sees them, given those that are committed.
    pub fn overlay(&self, table: ObjectId, committed: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        match self.tables.get(&table) {
            Some(changes) => changes.overlay(committed),
            None => Ok(committed),
        }
    }

    /// Rows added to `stream`, in order.
    pub fn appended(&self, stream: ObjectId) -> &[RecordBatch] {
        self.appends.get(&stream).map_or(&[], |batches| batches.as_slice())
    }

    /// Whether changes of `table` may undo each other.
    pub(super) fn rewrites(&self, table: ObjectId) -> bool {
        self.table(table).is_some_and(|changes| changes.rewritten)
    }

    pub(super) fn append(&mut self, stream: ObjectId, batch: RecordBatch) {
        Arc::make_mut(self.appends.entry(stream).or_default()).push(batch);
    }

    /// Takes back the newest batch of `stream`.
    pub(super) fn take_back_append(&mut self, stream: ObjectId) {
        if let Some(batches) = self.appends.get_mut(&stream) {
            Arc::make_mut(batches).pop();
        }
    }

    pub(super) fn table(&self, table: ObjectId) -> Option<&TableChanges> {
        self.tables.get(&table).map(Arc::as_ref)
    }

    pub(super) fn table_mut(&mut self, table: &Arc<Object>, key: &[usize]) -> &mut TableChanges {
        let new = || TableChanges {
            table: table.clone(),
            key: key.to_vec(),
            versions: HashMap::new(),
            rows: BTreeMap::new(),
            rewritten: false,
        };
        Arc::make_mut(self.tables.entry(table.id).or_insert_with(|| Arc::new(new())))
    }
}

/// The number of a write in its transaction.
pub(super) type WriteNumber = usize;

/// How the key of a row to be inserted stands to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    Free,
    /// A row has it.
    Taken,
    /// A row has it that the same statement wrote, or is about to write.
    Repeated,
}

/// The changes of one table.
#[derive(Clone, Debug)]
pub(super) struct TableChanges {
    table: Arc<Object>,
    key: Vec<usize>,
    versions: HashMap<Box<[u8]>, Version>,
    /// What each write put in.
    rows: BTreeMap<WriteNumber, RecordBatch>,
    /// A key was written more than once.
    rewritten: bool,
}

#[derive(Clone, Debug)]
struct Version {
    write: WriteNumber,
    /// Row of what the write put in; `None`: the key is gone.
    row: Option<u32>,
    older: Option<Box<Version>>,
}

impl TableChanges {
    /// Rows that are there leave.
    pub(super) fn remove(&mut self, write: WriteNumber, rows: &RecordBatch) -> Result<()> {
        for key in &encode_keys(rows, &self.key)? {
            self.set(key.as_ref(), write, None);
        }
        Ok(())
    }

    /// Rows come in. `committed[i]`: a committed row has the key of row `i`.
    ///
    /// # Errors
    /// `DuplicateKey`; the rows before it are in: the caller takes the write back.
    pub(super) fn add(&mut self, write: WriteNumber, rows: &RecordBatch, committed: &[bool]) -> Result<()> {
        self.rows.insert(write, rows.clone());
        for (row, key) in encode_keys(rows, &self.key)?.iter().enumerate() {
            if self.versions.get(key.as_ref()).map_or(committed[row], |version| version.row.is_some()) {
                return Err(duplicate_key(&self.table, &self.key, rows, row));
            }
            self.set(key.as_ref(), write, Some(row as u32));
        }
        Ok(())
    }

    /// Undoes the newest write; `halves` are the rows it removed and added.
    pub(super) fn take_back(&mut self, write: WriteNumber, halves: &[&RecordBatch]) -> Result<()> {
        for rows in halves {
            for key in &encode_keys(rows, &self.key)? {
                let Some(version) = self.versions.get_mut(key.as_ref()).filter(|version| version.write == write) else {
                    continue;
                };
                match version.older.take() {
                    Some(older) => *version = *older,
                    None => drop(self.versions.remove(key.as_ref())),
                }
            }
        }
        self.rows.remove(&write);
        Ok(())
    }

    fn set(&mut self, key: &[u8], write: WriteNumber, row: Option<u32>) {
        match self.versions.get_mut(key) {
            // An update's own key: gone with the old row, back with the new one.
            Some(version) if version.write == write => version.row = row,
            Some(version) => {
                let older = std::mem::replace(version, Version { write, row, older: None });
                version.older = Some(Box::new(older));
                self.rewritten = true;
            }
            None => drop(self.versions.insert(key.into(), Version { write, row, older: None })),
        }
    }

    fn overlay(&self, committed: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let mut seen = Vec::with_capacity(committed.len() + 1);
        for batch in committed {
            let keys = encode_keys(&batch, &self.key)?;
            let kept: BooleanArray = keys.iter().map(|key| Some(!self.versions.contains_key(key.as_ref()))).collect();
            let batch = if kept.true_count() == batch.num_rows() { batch } else { filter_record_batch(&batch, &kept)? };
            seen.extend((batch.num_rows() > 0).then_some(batch));
        }
        seen.extend(self.own_rows()?);
        Ok(seen)
    }

    /// The rows of the newest versions, in the order they were written.
    fn own_rows(&self) -> Result<Option<RecordBatch>> {
        let mut places: Vec<(WriteNumber, u32)> =
            self.versions.values().filter_map(|version| Some((version.write, version.row?))).collect();
        if places.is_empty() {
            return Ok(None);
        }
        places.sort_unstable();
        let (writes, batches): (Vec<WriteNumber>, Vec<&RecordBatch>) = self.rows.iter().unzip();
        let position: HashMap<WriteNumber, usize> = writes.into_iter().enumerate().map(|(n, w)| (w, n)).collect();
        let indices: Vec<(usize, usize)> = places.iter().map(|(write, row)| (position[write], *row as usize)).collect();
        let columns = interleave_rows(&batches, &indices)?;
        Ok(Some(RecordBatch::try_new(batches[0].schema(), columns)?))
    }
}

/// How the keys of `rows` stand; a write numbered `since` or later belongs to the same statement.
pub(super) fn key_states(
    changes: Option<&TableChanges>,
    key: &[usize],
    rows: &RecordBatch,
    committed: &[bool],
    since: WriteNumber,
) -> Result<Vec<KeyState>> {
    let keys = encode_keys(rows, key)?;
    let mut met: HashSet<&[u8]> = HashSet::new();
    let mut states = Vec::with_capacity(rows.num_rows());
    for (row, key) in keys.iter().enumerate() {
        let version = changes.and_then(|changes| changes.versions.get(key.as_ref()));
        let taken = version.map_or(committed[row], |version| version.row.is_some());
        let repeated = !met.insert(key.data()) || taken && version.is_some_and(|version| version.write >= since);
        states.push(match taken {
            _ if repeated => KeyState::Repeated,
            true => KeyState::Taken,
            false => KeyState::Free,
        });
    }
    Ok(states)
}

/// Bytes of the key columns of every row: the same for keys that are equal, and for no others.
pub(super) fn encode_keys(batch: &RecordBatch, key: &[usize]) -> Result<Rows> {
    let columns = canonical_keys(key.iter().map(|column| batch.column(*column).clone()).collect());
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    Ok(RowConverter::new(fields)?.convert_columns(&columns)?)
}

fn duplicate_key(table: &Object, key: &[usize], rows: &RecordBatch, row: usize) -> Error {
    let names: Vec<&str> = key.iter().map(|column| table.columns[*column].name.as_str()).collect();
    let value = |column: &usize| {
        let formatter = ArrayFormatter::try_new(rows.column(*column), &FormatOptions::default());
        formatter.map_or_else(|_| "?".into(), |f| f.value(row).to_string())
    };
    let values: Vec<String> = key.iter().map(value).collect();
    let detail = format!("Key ({})=({}) already exists.", names.join(", "), values.join(", "));
    Error::DuplicateKey { table: table.name.clone(), detail }
}
