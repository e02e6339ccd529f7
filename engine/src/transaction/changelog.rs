//! From a transaction's writes to the records of the log.
//!
//! A table's changelog is its rows with a weight, in the order of the writes or, where these touch a row again, their sum; a stream's rows are spread over its partitions: by hash of the key, else
//! each batch whole to the next partition.

use super::own::encode_keys;
use crate::batch::{copy_rows, memory_bytes};
use crate::catalog::{Object, ObjectKind};
use crate::consolidate::consolidate;
use crate::delta::Delta;
use crate::input::WEIGHT_COLUMN;
use crate::log::Record;
use crate::row_hash::RowHasher;
use crate::{Error, PartitionId, Result};
use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// A batch may keep this many bytes alive, besides twice its own, before it is copied.
const SHARED_BYTES_MAX: usize = 4096;

/// One write. User columns throughout; `Update`'s batches have the same number of rows.
#[derive(Debug)]
pub(super) enum Change {
    Append(RecordBatch),
    Insert(RecordBatch),
    Update { before: RecordBatch, after: RecordBatch },
    Delete(RecordBatch),
}

impl Change {
    pub(super) fn rows(&self) -> usize {
        match self {
            Change::Append(batch) | Change::Insert(batch) | Change::Delete(batch) => batch.num_rows(),
            Change::Update { before, .. } => before.num_rows(),
        }
    }

    pub(super) fn batches(&self) -> usize {
        if matches!(self, Change::Update { .. }) { 2 } else { 1 }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Change::Append(batch) | Change::Insert(batch) | Change::Delete(batch) => memory_bytes(batch),
            Change::Update { before, after } => memory_bytes(before) + memory_bytes(after),
        }
    }

    /// A table's rows that disappear.
    pub(super) fn gone(&self) -> Option<&RecordBatch> {
        match self {
            Change::Update { before: batch, .. } | Change::Delete(batch) => Some(batch),
            Change::Append(_) | Change::Insert(_) => None,
        }
    }

    /// A table's rows that appear.
    pub(super) fn here(&self) -> Option<&RecordBatch> {
        match self {
            Change::Update { after: batch, .. } | Change::Insert(batch) => Some(batch),
            Change::Append(_) | Change::Delete(_) => None,
        }
    }

    /// Adds the change's records to `out`; `turn` chooses the partition of a batch without a key.
    pub(super) fn record(self, object: &Object, turn: impl Fn() -> u32, out: &mut Vec<Record>) -> Result<()> {
        let stream = object.id;
        let changelog = |batch| Record::Append { stream, partition: PartitionId(0), batch };
        match self {
            Change::Append(batch) => spread(object, batch, turn, out)?,
            Change::Insert(batch) => out.push(changelog(with_weights(&[(&batch, 1)])?)),
            Change::Delete(batch) => out.push(changelog(with_weights(&[(&batch, -1)])?)),
            Change::Update { before, after } => {
                out.push(changelog(with_weights(&[(&before, -1), (&after, 1)])?));
            }
        }
        Ok(())
    }
}

/// The changes of one table that touched a row more than once, as their sum: what they undid themselves is not logged.
pub(super) fn net(table: &Object, seed: u64, changes: &[Change]) -> Result<Vec<Record>> {
    let weighted = |batch: &RecordBatch, weight| Delta::weighted(batch.clone(), vec![weight; batch.num_rows()]);
    let halves = |change: &Change| {
        let gone = change.gone().map(|batch| weighted(batch, -1));
        gone.into_iter().chain(change.here().map(|batch| weighted(batch, 1))).collect::<Vec<_>>()
    };
    let net = consolidate(&RowHasher::new(seed), changes.iter().flat_map(halves).collect())?;
    let mut records = Vec::new();
    // First what leaves, so that no key is there twice in between.
    for wanted in [-1, 1] {
        for delta in &net {
            let rows: UInt32Array =
                (0..delta.rows() as u32).filter(|row| delta.weight(*row as usize) == wanted).collect();
            let batch = take_record_batch(&delta.batch, &rows)?;
            if batch.num_rows() > 0 {
                let batch = with_weights(&[(&batch, wanted as i8)])?;
                records.push(Record::Append { stream: table.id, partition: PartitionId(0), batch });
            }
        }
    }
    Ok(records)
}

fn spread(object: &Object, batch: RecordBatch, turn: impl Fn() -> u32, out: &mut Vec<Record>) -> Result<()> {
    let ObjectKind::Stream { partitions, key } = &object.kind else { return Ok(()) };
    let stream = object.id;
    if *partitions == 1 || key.is_empty() {
        out.push(Record::Append { stream, partition: PartitionId(turn() % partitions), batch });
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

/// Gives `batch` the object's exact schema and memory of its own, or says what does not fit.
pub(super) fn conform(object: &Object, batch: RecordBatch) -> Result<RecordBatch> {
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
    compact(RecordBatch::try_new(object.schema(), batch.columns().to_vec())?)
}

/// The rows in memory of their own, if they would keep much more alive than they take: that is all that is charged for.
fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let batch = crate::log::compact(batch)?;
    let wasteful = batch.get_array_memory_size() > 2 * memory_bytes(&batch) + SHARED_BYTES_MAX;
    if wasteful { copy_rows(&batch) } else { Ok(batch) }
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
