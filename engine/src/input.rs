//! From log to dataflow: reads offset ranges of streams and changelogs and hands them over as deltas.
//!
//! A stream's rows arrive as inserts with the system columns added; a table's changelog rows carry their weight in the
//! last column, `_weight`, which becomes the delta's weights here. Of a stream only the columns that are wanted are read;
//! the others are there with the type `Null`, so that every column keeps its place.

use crate::batch::memory_bytes;
use crate::catalog::{Column, Object, ObjectKind};
use crate::delta::Delta;
use crate::log::{Log, Piece, PieceReader};
use crate::{Error, ObjectId, Offset, PartitionId, Result};
use arrow::array::{ArrayRef, AsArray, Int32Array, NullArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Int8Type, Schema, SchemaRef};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Column of a changelog that holds the weight of each row.
pub const WEIGHT_COLUMN: &str = "_weight";
/// Rows that go through the graph in one step; a tick over more is cut into several steps.
pub const STEP_ROWS: u64 = 65_536;
/// Bytes after which a step takes no further batch.
const STEP_BYTES: usize = 64 << 20;
/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// Upper offsets of every partition of every log.
pub type Uppers = BTreeMap<ObjectId, Vec<Offset>>;

/// Columns of the log behind a stream or table.
pub fn log_columns(object: &Object) -> Vec<Column> {
    let mut columns = object.columns.clone();
    if matches!(object.kind, ObjectKind::Table { .. }) {
        columns.push(Column { name: WEIGHT_COLUMN.into(), data_type: DataType::Int8, nullable: false });
    }
    columns
}

/// What to read of an object.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub object: Arc<Object>,
    /// Columns of a stream, as positions in its full schema; a table is always read whole.
    pub columns: BTreeSet<usize>,
}

/// The part of the logs between two cuts, read step by step.
#[derive(Debug)]
pub struct Reader<'a> {
    log: &'a Log,
    objects: Vec<(Wanted, Vec<Progress>)>,
}

/// How far a partition is read.
#[derive(Debug)]
struct Progress {
    partition: PartitionId,
    left: Range<Offset>,
    /// Pieces not opened yet; `None` before the first one is.
    pieces: Option<VecDeque<Piece>>,
    open: Option<PieceReader>,
}

impl<'a> Reader<'a> {
    /// Reads streams and tables from `lower` to `upper`; what is missing in `lower` starts at 0.
    pub fn new(log: &'a Log, wanted: Vec<Wanted>, lower: &Uppers, upper: &Uppers) -> Reader<'a> {
        let progress = |wanted: Wanted| {
            let to = upper.get(&wanted.object.id)?;
            let from = lower.get(&wanted.object.id);
            let progress = |(partition, to): (usize, &Offset)| {
                let from = from.and_then(|from| from.get(partition).copied()).unwrap_or_default();
                let partition = PartitionId(partition as u32);
                (from < *to).then_some(Progress { partition, left: from..*to, pieces: None, open: None })
            };
            let partitions: Vec<_> = to.iter().enumerate().filter_map(progress).collect();
            (!partitions.is_empty()).then_some((wanted, partitions))
        };
        Reader { log, objects: wanted.into_iter().filter_map(progress).collect() }
    }

    /// Rows still to be read.
    pub fn rows_left(&self) -> u64 {
        self.objects.iter().flat_map(|(_, partitions)| partitions).map(Progress::rows).sum()
    }

    /// The next rows, at most [`STEP_ROWS`] of them, spread over the objects in id order; empty when all is read.
    pub fn next_step(&mut self) -> Result<HashMap<ObjectId, Vec<Delta>>> {
        let (mut rows, mut bytes) = (0, 0);
        let mut step = HashMap::new();
        for (wanted, partitions) in &mut self.objects {
            let mut deltas = Vec::new();
            for progress in partitions.iter_mut() {
                while rows < STEP_ROWS && bytes < STEP_BYTES && progress.rows() > 0 {
                    let batch = progress.next_batch(self.log, wanted)?;
                    rows += batch.num_rows() as u64;
                    bytes += memory_bytes(&batch);
                    deltas.push(wanted.to_delta(progress.partition, batch)?);
                }
            }
            if !deltas.is_empty() {
                step.insert(wanted.object.id, deltas);
            }
            partitions.retain(|progress| progress.rows() > 0);
        }
        self.objects.retain(|(_, partitions)| !partitions.is_empty());
        Ok(step)
    }
}

impl Progress {
    fn rows(&self) -> u64 {
        self.left.end.0 - self.left.start.0
    }

    /// The next batch of a partition that is not read to its end.
    fn next_batch(&mut self, log: &Log, wanted: &Wanted) -> Result<RecordBatch> {
        if self.pieces.is_none() {
            self.pieces = Some(log.pieces(wanted.object.id, self.partition, self.left.clone())?.into());
        }
        loop {
            if let Some(batch) = self.open.as_mut().and_then(Iterator::next) {
                let batch = batch?;
                self.left.start.0 += batch.num_rows() as u64;
                return Ok(batch);
            }
            let Some(piece) = self.pieces.as_mut().and_then(VecDeque::pop_front) else {
                let (id, at) = (wanted.object.id, self.left.start);
                return Err(Error::Internal(format!("the log of object {id} ends before offset {at}")));
            };
            self.open = Some(match wanted.log_columns() {
                Some(columns) => log.read_piece_columns(&piece, &columns, BATCH_ROWS)?,
                None => log.read_piece(&piece, BATCH_ROWS)?,
            });
        }
    }
}

impl Wanted {
    /// All of a stream or table.
    pub fn all(object: Arc<Object>) -> Wanted {
        let columns = (0..object.full_schema().fields().len()).collect();
        Wanted { object, columns }
    }

    /// Positions in the log's batches, where `_partition` is no column; `None` = all.
    fn log_columns(&self) -> Option<Vec<usize>> {
        let user = self.object.columns.len();
        let of_log = |column: &usize| match column.cmp(&user) {
            Ordering::Less => Some(*column),
            Ordering::Equal => None,
            Ordering::Greater => Some(column - 1),
        };
        let is_stream = matches!(self.object.kind, ObjectKind::Stream { .. });
        is_stream.then(|| self.columns.iter().filter_map(of_log).collect())
    }

    fn to_delta(&self, partition: PartitionId, batch: RecordBatch) -> Result<Delta> {
        match self.object.kind {
            ObjectKind::Table { .. } => changelog(&self.object, &batch),
            _ => self.appended(partition, &batch),
        }
    }

    /// `batch`: the wanted columns that the log has, in order.
    fn appended(&self, partition: PartitionId, batch: &RecordBatch) -> Result<Delta> {
        let (schema, rows, user) = (self.object.full_schema(), batch.num_rows(), self.object.columns.len());
        let mut given = batch.columns().iter();
        let mut fields = Vec::with_capacity(schema.fields().len());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for (at, field) in schema.fields().iter().enumerate() {
            if !self.columns.contains(&at) {
                fields.push(Arc::new(Field::new(field.name(), DataType::Null, true)));
                columns.push(Arc::new(NullArray::new(rows)));
                continue;
            }
            fields.push(field.clone());
            columns.push(match at == user {
                true => Arc::new(Int32Array::from_value(partition.0 as i32, rows)),
                false => given.next().cloned().ok_or_else(|| Error::Internal(format!("no column {at} was read")))?,
            });
        }
        Ok(Delta::inserts(with_rows(Arc::new(Schema::new(fields)), columns, rows)?))
    }
}

/// `batch`: the log's columns, `_offset`, `_append_ts`.
fn changelog(object: &Object, batch: &RecordBatch) -> Result<Delta> {
    let (rows, user) = (batch.num_rows(), object.columns.len());
    let weights = batch
        .column(user)
        .as_primitive_opt::<Int8Type>()
        .ok_or_else(|| Error::Internal(format!("changelog of \"{}\" has no {WEIGHT_COLUMN} column", object.name)))?;
    let weights = weights.values().iter().map(|w| i64::from(*w)).collect();
    Ok(Delta::weighted(with_rows(object.schema(), batch.columns()[..user].to_vec(), rows)?, weights))
}

/// A batch that keeps its row count even without columns.
fn with_rows(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
