//! One partition in memory: its sealed segments (names only) and its tail (rows that are in the write-ahead log only).
//!
//! ```text
//!  offsets  0 ────────── sealed_upper ───────────── upper
//!           │ segments …            │ tail batches … │ next append
//! ```
//!
//! Both lists are dense and in offset order. Tiny appends are merged as they arrive, like digits of a counter in base
//! [`MERGE_FAN_IN`], so a row is copied a bounded number of times and a tail of `n` rows is never more than
//! `n / MERGE_ROWS_MAX + 3 × MERGE_FAN_IN` batches of small ones. Merging keeps each row's time of append.

use super::{Piece, SegmentFile};
use crate::{Offset, PartitionId, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};
use std::ops::Range;
use std::sync::Arc;

const MERGE_FAN_IN: usize = 16;

/// Batches of this many rows are left alone.
const MERGE_ROWS_MAX: usize = 4096;

/// When each row was appended: runs of equal times, as (offset of the first row, µs since 1970), by offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendTimes(Arc<[(Offset, i64)]>);

impl AppendTimes {
    /// All rows from `base` on at one time.
    pub fn all(base: Offset, append_ts: i64) -> AppendTimes {
        AppendTimes(Arc::new([(base, append_ts)]))
    }

    /// The time of the row at `offset`.
    pub fn at(&self, offset: Offset) -> i64 {
        let run = self.0.partition_point(|(start, _)| *start <= offset);
        self.0.get(run.saturating_sub(1)).map_or(0, |(_, append_ts)| *append_ts)
    }

    /// One value per row of `offsets`; the type of `_append_ts`.
    pub fn array(&self, offsets: Range<Offset>) -> ArrayRef {
        let mut values = Vec::with_capacity((offsets.end.0 - offsets.start.0) as usize);
        let mut run = self.0.partition_point(|(start, _)| *start <= offsets.start).saturating_sub(1);
        let mut at = offsets.start.0;
        while at < offsets.end.0 && run < self.0.len() {
            let run_end = self.0.get(run + 1).map_or(u64::MAX, |(start, _)| start.0).min(offsets.end.0);
            values.resize(values.len() + (run_end - at) as usize, self.0[run].1);
            (at, run) = (run_end, run + 1);
        }
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    }

    fn merged<'a>(parts: impl Iterator<Item = &'a AppendTimes>) -> AppendTimes {
        let mut runs: Vec<(Offset, i64)> = Vec::new();
        for run in parts.flat_map(|p| p.0.iter()) {
            if runs.last().is_none_or(|(_, append_ts)| *append_ts != run.1) {
                runs.push(*run);
            }
        }
        AppendTimes(runs.into())
    }
}

/// Rows of the tail that lie together.
#[derive(Clone, Debug)]
pub struct TailBatch {
    pub base: Offset,
    pub times: AppendTimes,
    pub batch: RecordBatch,
    /// Where the first of its frames begins in the write-ahead log.
    pub position: u64,
    /// Bytes it takes, about.
    pub bytes: usize,
}

impl TailBatch {
    pub fn upper(&self) -> Offset {
        Offset(self.base.0 + self.batch.num_rows() as u64)
    }

    /// Drops the rows below `lower`, which lies inside.
    fn cut_below(&mut self, lower: Offset) {
        let (rows, cut) = (self.batch.num_rows(), (lower.0 - self.base.0) as usize);
        self.bytes -= self.bytes * cut / rows.max(1);
        self.batch = self.batch.slice(cut, rows - cut);
        self.base = lower;
    }

    /// 0 = up to 15 rows, 1 = up to 255 …
    fn level(&self) -> u32 {
        self.batch.num_rows().max(1).ilog(MERGE_FAN_IN)
    }
}

/// A partition's segments and tail.
#[derive(Debug, Default)]
pub struct Partition {
    segments: Vec<Arc<SegmentFile>>,
    tail: Vec<TailBatch>,
    tail_bytes: usize,
}

impl Partition {
    /// A partition of which nothing but `segments` is known; they are dense from the first one on.
    pub fn sealed(segments: Vec<Arc<SegmentFile>>) -> Partition {
        Partition { segments, ..Partition::default() }
    }

    /// Offset of the next record.
    pub fn upper(&self) -> Offset {
        self.tail.last().map_or_else(|| self.sealed_upper(), TailBatch::upper)
    }

    /// Where the tail begins.
    pub fn sealed_upper(&self) -> Offset {
        self.segments.last().map_or(Offset(0), |s| s.offsets.end)
    }

    pub fn segments(&self) -> &[Arc<SegmentFile>] {
        &self.segments
    }

    pub fn tail(&self) -> &[TailBatch] {
        &self.tail
    }

    pub fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Position in the write-ahead log from which on this partition needs it.
    pub fn pinned(&self) -> Option<u64> {
        self.tail.first().map(|b| b.position)
    }

    /// Time of the oldest row of the tail.
    pub fn oldest(&self) -> Option<i64> {
        self.tail.first().map(|b| b.times.at(b.base))
    }

    /// Adds rows at the end. Returns how many bytes the tail grew by.
    pub fn push(&mut self, batch: TailBatch) -> usize {
        assert_eq!(batch.base, self.upper(), "offsets are dense");
        let bytes = batch.bytes;
        self.tail.push(batch);
        self.tail_bytes += bytes;
        self.merge_small();
        bytes
    }

    /// The tail up to `segment.offsets.end` now lies in `segment`. Returns how many bytes the tail shrank by.
    pub fn seal(&mut self, segment: Arc<SegmentFile>) -> usize {
        assert_eq!(segment.offsets.start, self.sealed_upper(), "segments are dense");
        let before = self.tail_bytes;
        let upper = segment.offsets.end;
        let whole = self.tail.partition_point(|b| b.upper() <= upper);
        self.tail.drain(..whole);
        if let Some(first) = self.tail.first_mut().filter(|b| b.base < upper) {
            first.cut_below(upper);
        }
        self.tail_bytes = self.tail.iter().map(|b| b.bytes).sum();
        self.segments.push(segment);
        before.saturating_sub(self.tail_bytes)
    }

    /// The records in `offsets`, in order. What lies outside of what is there is left out.
    pub fn pieces(&self, partition: PartitionId, offsets: Range<Offset>) -> Vec<Piece> {
        let first = self.segments.partition_point(|s| s.offsets.end <= offsets.start);
        let sealed = self.segments[first..].iter().map_while(|file| {
            let offsets = clip(&file.offsets, &offsets)?;
            Some(Piece::Segment { partition, offsets, file: file.clone() })
        });
        let first = self.tail.partition_point(|b| b.upper() <= offsets.start);
        let tail = self.tail[first..].iter().map_while(|b| {
            let part = clip(&(b.base..b.upper()), &offsets)?;
            let (skip, rows) = ((part.start.0 - b.base.0) as usize, (part.end.0 - part.start.0) as usize);
            let batch = b.batch.slice(skip, rows);
            Some(Piece::Tail { partition, base: part.start, times: b.times.clone(), batch })
        });
        sealed.chain(tail).collect()
    }

    fn merge_small(&mut self) {
        let levels = MERGE_ROWS_MAX.ilog(MERGE_FAN_IN);
        for level in 0..levels {
            let run = self.tail.iter().rev().take_while(|b| b.level() <= level).count();
            if run >= MERGE_FAN_IN {
                let from = self.tail.len() - run;
                // A merge that fails (it would overflow 32-bit string offsets) leaves the batches as they are.
                if let Ok(merged) = merge(&self.tail[from..]) {
                    self.tail.truncate(from);
                    self.tail.push(merged);
                }
            }
        }
    }
}

fn merge(parts: &[TailBatch]) -> Result<TailBatch> {
    let schema = parts[0].batch.schema();
    let batch = compact(concat_batches(&schema, parts.iter().map(|p| &p.batch))?)?;
    Ok(TailBatch {
        base: parts[0].base,
        times: AppendTimes::merged(parts.iter().map(|p| &p.times)),
        batch,
        position: parts[0].position,
        bytes: parts.iter().map(|p| p.bytes).sum(),
    })
}

/// Rewrites view columns whose buffers hold much more than their rows: a slice must not keep its whole origin.
pub fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let is_view = |c: &ArrayRef| matches!(c.data_type(), DataType::Utf8View | DataType::BinaryView);
    if !batch.columns().iter().any(is_view) {
        return Ok(batch);
    }
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => compact_views::<StringViewType>(column),
        DataType::BinaryView => compact_views::<BinaryViewType>(column),
        _ => column.clone(),
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

fn compact_views<T: ByteViewType>(column: &ArrayRef) -> ArrayRef {
    let views = column.as_byte_view::<T>();
    let held: usize = views.data_buffers().iter().map(|b| b.len()).sum();
    let wasteful = views.data_buffers().len() > 1 || held > 2 * views.total_buffer_bytes_used();
    if wasteful { Arc::new(views.gc()) } else { column.clone() }
}

fn clip(have: &Range<Offset>, want: &Range<Offset>) -> Option<Range<Offset>> {
    let part = have.start.max(want.start)..have.end.min(want.end);
    (part.start < part.end).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringViewArray};
    use std::path::PathBuf;
    use std::sync::OnceLock;

    fn numbers(range: Range<u64>) -> RecordBatch {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(range.map(|v| v as i64)));
        RecordBatch::try_from_iter(vec![("n", values)]).unwrap()
    }

    fn tail(range: Range<u64>, append_ts: i64) -> TailBatch {
        let base = Offset(range.start);
        let (position, bytes) = (range.start * 100, (range.end - range.start) as usize * 8);
        TailBatch { base, times: AppendTimes::all(base, append_ts), batch: numbers(range), position, bytes }
    }

    fn segment(range: Range<u64>) -> Arc<SegmentFile> {
        let offsets = Offset(range.start)..Offset(range.end);
        Arc::new(SegmentFile {
            path: PathBuf::new(),
            offsets,
            bytes: 0,
            append_ts: 0..1,
            crc32c: 0,
            verified: Default::default(),
            removal: OnceLock::new(),
        })
    }

    /// (offset, append time) of every row of tail pieces; the value is the offset.
    fn rows(pieces: &[Piece]) -> Vec<(u64, i64)> {
        let mut rows = Vec::new();
        for piece in pieces {
            let Piece::Tail { base, times, batch, .. } = piece else { continue };
            for (i, value) in batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().iter().enumerate()
            {
                assert_eq!(*value as u64, base.0 + i as u64);
                rows.push((*value as u64, times.at(Offset(base.0 + i as u64))));
            }
        }
        rows
    }

    #[test]
    fn many_tiny_appends_become_few_batches_and_keep_their_times() {
        let mut partition = Partition::default();
        for i in 0..5000 {
            partition.push(tail(i..i + 1, i as i64 / 3));
        }
        assert!(partition.tail().len() < 3 * MERGE_FAN_IN + 2, "{}", partition.tail().len());
        let pieces = partition.pieces(PartitionId(0), Offset(10)..Offset(4990));
        let expected: Vec<(u64, i64)> = (10..4990).map(|i| (i, i as i64 / 3)).collect();
        assert_eq!(rows(&pieces), expected);
        assert_eq!(partition.tail_bytes(), 5000 * 8);
    }

    #[test]
    fn times_come_as_one_value_per_row() {
        let times = AppendTimes::merged([AppendTimes::all(Offset(0), 5), AppendTimes::all(Offset(2), 7)].iter());
        let array = times.array(Offset(1)..Offset(4));
        assert_eq!(array.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().values(), &[5, 7, 7]);
    }

    #[test]
    fn sealing_cuts_a_batch_that_was_merged_over_the_edge() {
        let mut partition = Partition::default();
        for i in 0..40 {
            partition.push(tail(i..i + 1, 0));
        }
        partition.seal(segment(0..20));
        assert_eq!(partition.sealed_upper(), Offset(20));
        assert_eq!(partition.upper(), Offset(40));
        let pieces = partition.pieces(PartitionId(0), Offset(0)..Offset(40));
        assert!(matches!(&pieces[0], Piece::Segment { offsets, .. } if *offsets == (Offset(0)..Offset(20))));
        assert_eq!(rows(&pieces).len(), 20);
        partition.seal(segment(20..40));
        assert_eq!((partition.tail_bytes(), partition.pinned()), (0, None));
    }

    #[test]
    fn a_slice_of_views_does_not_keep_its_origin() {
        let words = StringViewArray::from_iter_values((0..1000).map(|i| format!("a word too long to be inline {i}")));
        let batch = RecordBatch::try_from_iter(vec![("w", Arc::new(words) as ArrayRef)]).unwrap();
        let small = compact(batch.slice(0, 1)).unwrap();
        assert_eq!(small, batch.slice(0, 1));
        assert!(small.get_array_memory_size() < 1000);
    }
}
