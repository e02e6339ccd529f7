//! From log to dataflow: reads offset ranges of streams and changelogs and hands them over as deltas.
//!
//! A stream's rows arrive as inserts with the system columns added; a table's changelog rows carry their weight in the
//! last column, `_weight`, which becomes the delta's weights here.

use crate::catalog::{Column, Object, ObjectKind};
use crate::delta::Delta;
use crate::log::Log;
use crate::{Error, ObjectId, Offset, PartitionId, Result};
use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Int8Type, SchemaRef};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Column of a changelog that holds the weight of each row.
pub const WEIGHT_COLUMN: &str = "_weight";
/// Rows that go through the graph in one step; a tick over more is cut into several steps.
pub const STEP_ROWS: u64 = 65_536;

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

/// The part of the logs between two cuts, read step by step.
#[derive(Debug)]
pub struct Reader<'a> {
    log: &'a Log,
    objects: Vec<(Arc<Object>, Vec<Range<Offset>>)>,
}

impl<'a> Reader<'a> {
    /// Reads `objects` (streams and tables) from `lower` to `upper`; what is missing in `lower` starts at 0.
    pub fn new(log: &'a Log, objects: &[Arc<Object>], lower: &Uppers, upper: &Uppers) -> Reader<'a> {
        let ranges = |object: &Arc<Object>| {
            let to = upper.get(&object.id)?;
            let from = lower.get(&object.id);
            let range = |(partition, to): (usize, &Offset)| {
                from.and_then(|from| from.get(partition).copied()).unwrap_or_default()..*to
            };
            let ranges: Vec<_> = to.iter().enumerate().map(range).collect();
            ranges.iter().any(|r| r.start < r.end).then(|| (object.clone(), ranges))
        };
        Reader { log, objects: objects.iter().filter_map(ranges).collect() }
    }

    /// Rows still to be read.
    pub fn rows_left(&self) -> u64 {
        self.objects.iter().flat_map(|(_, ranges)| ranges).map(|r| r.end.0 - r.start.0).sum()
    }

    /// The next at most [`STEP_ROWS`] rows, spread over the objects in id order; empty when all is read.
    pub fn next_step(&mut self) -> Result<HashMap<ObjectId, Vec<Delta>>> {
        let mut budget = STEP_ROWS;
        let mut step = HashMap::new();
        for (object, ranges) in &mut self.objects {
            let mut deltas = Vec::new();
            for (partition, range) in ranges.iter_mut().enumerate() {
                let take = budget.min(range.end.0 - range.start.0);
                if take == 0 {
                    continue;
                }
                let part = range.start..Offset(range.start.0 + take);
                read_range(self.log, object, PartitionId(partition as u32), part.clone(), &mut deltas)?;
                range.start = part.end;
                budget -= take;
            }
            if !deltas.is_empty() {
                step.insert(object.id, deltas);
            }
        }
        self.objects.retain(|(_, ranges)| ranges.iter().any(|r| r.start < r.end));
        Ok(step)
    }
}

fn read_range(
    log: &Log,
    object: &Object,
    partition: PartitionId,
    offsets: Range<Offset>,
    out: &mut Vec<Delta>,
) -> Result<()> {
    for piece in log.read(object.id, partition, offsets)? {
        for batch in log.read_piece(&piece, STEP_ROWS as usize)? {
            out.push(to_delta(object, partition, batch?)?);
        }
    }
    Ok(())
}

/// `batch`: the log's columns, `_offset`, `_append_ts`.
fn to_delta(object: &Object, partition: PartitionId, batch: RecordBatch) -> Result<Delta> {
    let rows = batch.num_rows();
    let user = object.columns.len();
    let mut columns: Vec<ArrayRef> = batch.columns()[..user].to_vec();
    if matches!(object.kind, ObjectKind::Table { .. }) {
        let weights = batch.column(user).as_primitive_opt::<Int8Type>().ok_or_else(|| {
            Error::Internal(format!("changelog of \"{}\" has no {WEIGHT_COLUMN} column", object.name))
        })?;
        let weights = weights.values().iter().map(|w| i64::from(*w)).collect();
        return Ok(Delta::weighted(with_rows(object.schema(), columns, rows)?, weights));
    }
    columns.push(Arc::new(Int32Array::from_value(partition.0 as i32, rows)));
    columns.extend_from_slice(&batch.columns()[user..]);
    Ok(Delta::inserts(with_rows(object.full_schema(), columns, rows)?))
}

/// A batch that keeps its row count even without columns.
fn with_rows(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
