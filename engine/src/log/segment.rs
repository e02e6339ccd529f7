//! Sealed segments: one Parquet file per run of a partition's records, written once, never changed.
//!
//! `<dir>/streams/<id>/<partition>-<base offset, 20 digits>.parquet` holds the stream's log columns, then `_offset`
//! (Int64, delta-encoded, sorted, dense) and `_append_ts` (timestamp µs, UTC), in zstd row groups of
//! [`ROW_GROUP_ROWS`]. The name is given (and must be free) after the content is durable and was read back: checksum of
//! the bytes, number of rows and every offset. Only then may a manifest mention it and the write-ahead log let go.
//! Parquet pages carry no checksum of their own, so each process compares the whole file with the manifest's checksum
//! before it uses anything of it, the footer's statistics included ([`compare`]). Which segments a reader needs at all, the
//! manifest says: by partition, offsets and times of append.

use super::manifest::SegmentEntry;
use super::partition::{AppendTimes, TailBatch};
use super::{APPEND_TS, OFFSET, Piece, SegmentFile, file_schema};
use crate::env::{Env, EnvFile};
use crate::{Error, Offset, PartitionId, Result};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::ColumnPath;
use std::io::{self, BufReader, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Rows of a row group: the unit of pruning and of the writer's memory.
const ROW_GROUP_ROWS: usize = 256 << 10;

/// Bytes of a row group at most, so that wide rows don't make one huge.
const ROW_GROUP_BYTES: usize = 128 << 20;

const ZSTD_LEVEL: i32 = 1;

/// Rows per batch when a file is checked.
const CHECK_ROWS: usize = 64 << 10;

/// Bytes read at once when a file is checked.
const CHECK_BYTES: usize = 1 << 20;

const UNFINISHED: &str = "segment.tmp";
const SUFFIX: &str = ".parquet";

/// Writes `rows` (dense, of one partition) into a file of `dir`; durable and named when it returns, except that the
/// directory is not synced yet. On error nothing is left behind.
pub fn write_segment(
    env: &dyn Env,
    dir: &Path,
    partition: PartitionId,
    schema: &SchemaRef,
    rows: &[TailBatch],
) -> Result<SegmentEntry> {
    let unfinished = dir.join(UNFINISHED);
    let written = fill(env, &unfinished, schema, rows).and_then(|entry| {
        check(env, &unfinished, &entry)?;
        let path = dir.join(segment_name(partition, entry.lower));
        env.rename_new(&unfinished, &path).map_err(|e| Error::io(format!("naming {}", path.display()), e))?;
        Ok(entry)
    });
    if written.is_err() {
        // Removal may fail as well: then it is removed at the next start.
        let _ = env.remove_file(&unfinished);
    }
    written
}

/// File name of the segment of `partition` that begins at `lower`.
pub fn segment_name(partition: PartitionId, lower: Offset) -> String {
    format!("{partition}-{:020}{SUFFIX}", lower.0)
}

/// Whether a file's name is a segment's.
pub fn is_segment(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// Reads the rows of a piece: the log columns, `_offset`, `_append_ts`, or those chosen.
pub struct PieceReader(Source);

enum Source {
    Tail { batch: RecordBatch, at: usize, batch_rows: usize },
    File { reader: ParquetRecordBatchReader, columns: Vec<usize>, file: Arc<SegmentFile> },
}

impl PieceReader {
    /// `columns`: which of the columns, in which order (`None` = all). `batch_rows`: rows per batch at most.
    pub fn open(env: &dyn Env, piece: &Piece, columns: Option<&[usize]>, batch_rows: usize) -> Result<PieceReader> {
        let batch_rows = batch_rows.max(1);
        match piece {
            Piece::Tail { base, times, batch, .. } => {
                let batch = with_system_columns(batch, *base, times)?;
                let batch = columns.map_or(Ok(batch.clone()), |c| batch.project(c))?;
                Ok(PieceReader(Source::Tail { batch, at: 0, batch_rows }))
            }
            Piece::Segment { offsets, file, .. } => open_file(env, offsets, file, columns, batch_rows),
        }
    }
}

impl Iterator for PieceReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        match &mut self.0 {
            Source::Tail { batch, at, batch_rows } => {
                let rows = (batch.num_rows() - *at).min(*batch_rows);
                let part = batch.slice(*at, rows);
                *at += rows;
                (rows > 0).then_some(Ok(part))
            }
            Source::File { reader, columns, file } => {
                let batch = reader.next()?.map_err(|e| unreadable(&file.path, &e));
                Some(batch.and_then(|b| Ok(b.project(columns)?)))
            }
        }
    }
}

impl std::fmt::Debug for PieceReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PieceReader")
    }
}

fn open_file(
    env: &dyn Env,
    offsets: &Range<Offset>,
    file: &Arc<SegmentFile>,
    columns: Option<&[usize]>,
    batch_rows: usize,
) -> Result<PieceReader> {
    file.verify(env)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(Chunks::open(env, &file.path)?)
        .map_err(|e| unreadable(&file.path, &e))?;
    let width = builder.schema().fields().len();
    let wanted: Vec<usize> = columns.map_or_else(|| (0..width).collect(), <[usize]>::to_vec);
    if wanted.iter().any(|c| *c >= width) {
        return Err(Error::Internal(format!("column {wanted:?} of {width} in {}", file.path.display())));
    }
    let mut read = wanted.clone();
    read.sort_unstable();
    read.dedup();
    // A column's place among those that are read.
    let columns = wanted.iter().map(|c| read.partition_point(|r| r < c)).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), read);
    let reader = builder
        .with_projection(mask)
        .with_offset((offsets.start.0 - file.offsets.start.0) as usize)
        .with_limit((offsets.end.0 - offsets.start.0) as usize)
        .with_batch_size(batch_rows)
        .build()
        .map_err(|e| unreadable(&file.path, &e))?;
    Ok(PieceReader(Source::File { reader, columns, file: file.clone() }))
}

/// `batch` (log columns, beginning at `base`) followed by `_offset` and `_append_ts`.
fn with_system_columns(batch: &RecordBatch, base: Offset, times: &AppendTimes) -> Result<RecordBatch> {
    let offsets = base..Offset(base.0 + batch.num_rows() as u64);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(offsets.start.0 as i64..offsets.end.0 as i64));
    let mut columns = batch.columns().to_vec();
    columns.extend([numbers, times.array(offsets)]);
    Ok(RecordBatch::try_new(file_schema(&batch.schema()), columns)?)
}

/// Refuses columns that frames or segments can't hold.
pub fn check_storable(schema: &SchemaRef) -> Result<()> {
    let unsupported = |field: &Field, reason: &str| {
        Error::Unsupported(format!(
            "column \"{}\" of type {} can't be stored in a log yet: {reason}",
            field.name(),
            field.data_type()
        ))
    };
    for field in schema.fields() {
        if !is_plain(field.data_type()) {
            return Err(unsupported(field, "dictionaries and unions are not supported"));
        }
        // The writer says no only when it sees a value, so show it one.
        let one = Arc::new(Schema::new(vec![field.as_ref().clone().with_nullable(true)]));
        let written = RecordBatch::try_new(one.clone(), vec![new_null_array(field.data_type(), 1)])
            .map_err(ParquetError::from)
            .and_then(|batch| {
                let mut writer = ArrowWriter::try_new(io::sink(), one, Some(properties()))?;
                writer.write(&batch)?;
                writer.close()
            });
        written.map_err(|e| unsupported(field, &e.to_string()))?;
    }
    Ok(())
}

/// Neither a dictionary nor a union, all the way down.
fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) | DataType::Union(..) | DataType::RunEndEncoded(..) => false,
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
            is_plain(f.data_type())
        }
        DataType::ListView(f) | DataType::LargeListView(f) => is_plain(f.data_type()),
        DataType::Struct(fields) => fields.iter().all(|f| is_plain(f.data_type())),
        _ => true,
    }
}

fn properties() -> WriterProperties {
    let offset = ColumnPath::from(OFFSET);
    let append_ts = ColumnPath::from(APPEND_TS);
    WriterProperties::builder()
        .set_created_by("millpond".into())
        .set_compression(ZstdLevel::try_new(ZSTD_LEVEL).map_or(Compression::UNCOMPRESSED, Compression::ZSTD))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_column_dictionary_enabled(offset.clone(), false)
        .set_column_encoding(offset, Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(append_ts.clone(), false)
        .set_column_encoding(append_ts, Encoding::DELTA_BINARY_PACKED)
        .build()
}

/// Writes and syncs the file's content.
fn fill(env: &dyn Env, path: &Path, schema: &SchemaRef, rows: &[TailBatch]) -> Result<SegmentEntry> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Err(Error::Internal("an empty segment".into()));
    };
    let context = |e| Error::io(format!("writing {}", path.display()), e);
    let sink = Sink { file: env.create_anew(path).map_err(context)?, bytes: 0, crc32c: 0 };
    let in_writing = |e: ParquetError| match e {
        ParquetError::External(e) => match e.downcast::<io::Error>() {
            Ok(e) => context(*e),
            Err(e) => Error::Internal(format!("writing {}: {e}", path.display())),
        },
        other => Error::Internal(format!("writing {}: {other}", path.display())),
    };
    let mut writer = ArrowWriter::try_new(sink, file_schema(schema), Some(properties())).map_err(in_writing)?;
    for part in rows {
        writer.write(&with_system_columns(&part.batch, part.base, &part.times)?).map_err(in_writing)?;
    }
    let mut sink = writer.into_inner().map_err(in_writing)?;
    sink.flush().map_err(context)?;
    sink.file.sync_data().map_err(context)?;
    Ok(SegmentEntry {
        lower: first.base,
        upper: last.upper(),
        bytes: sink.bytes,
        crc32c: sink.crc32c,
        append_ts_min: first.times.at(first.base),
        append_ts_max: last.times.at(Offset(last.upper().0 - 1)),
    })
}

/// Reads a file back: its bytes are those written, its offsets are dense and those expected.
fn check(env: &dyn Env, path: &Path, entry: &SegmentEntry) -> Result<()> {
    let damaged = |reason: &str| Error::Corrupt { file: path.to_path_buf(), byte: 0, reason: reason.into() };
    if checksum(env, path)? != (entry.bytes, entry.crc32c) {
        return Err(damaged("a segment read back differs from what was written"));
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(Chunks::open(env, path)?)?;
    let place = builder.schema().fields().len() - 2;
    let mask = ProjectionMask::roots(builder.parquet_schema(), [place]);
    let mut next = entry.lower.0 as i64;
    for batch in builder.with_projection(mask).with_batch_size(CHECK_ROWS).build()? {
        for offset in batch?.column(0).as_primitive::<Int64Type>().values() {
            if *offset != next {
                return Err(damaged("a segment read back lacks rows"));
            }
            next += 1;
        }
    }
    if next as u64 == entry.upper.0 { Ok(()) } else { Err(damaged("a segment read back lacks rows")) }
}

/// Whether a sealed file still has the bytes that its manifest's entry says.
///
/// # Errors
/// `Corrupt`, `Io`.
pub fn compare(env: &dyn Env, file: &SegmentFile) -> Result<()> {
    if checksum(env, &file.path)? == (file.bytes, file.crc32c) {
        return Ok(());
    }
    let reason = "the checksum of this sealed segment is wrong: the medium changed it after it was written. Its rows are \
                  not shown. Check the disk, then restore the file from a backup";
    Err(Error::Corrupt { file: file.path.clone(), byte: 0, reason: reason.into() })
}

/// Length and CRC32C of a file.
fn checksum(env: &dyn Env, path: &Path) -> Result<(u64, u32)> {
    let context = |e| Error::io(format!("reading {}", path.display()), e);
    let file = env.open(path).map_err(context)?;
    let length = file.len().map_err(context)?;
    let mut buffer = vec![0; CHECK_BYTES];
    let (mut at, mut crc) = (0, 0);
    while at < length {
        let n = (length - at).min(buffer.len() as u64) as usize;
        file.read_at(&mut buffer[..n], at).map_err(context)?;
        crc = crc32c::crc32c_append(crc, &buffer[..n]);
        at += n as u64;
    }
    Ok((length, crc))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Corrupt { file: path.to_path_buf(), byte: 0, reason: format!("this segment can't be read: {error}") }
}

/// Appends to a file and sums up what it appended.
struct Sink {
    file: Box<dyn EnvFile>,
    bytes: u64,
    crc32c: u32,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.bytes)?;
        self.bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file as the Parquet reader wants it.
struct Chunks {
    file: Arc<dyn EnvFile>,
    bytes: u64,
}

impl Chunks {
    fn open(env: &dyn Env, path: &Path) -> Result<Chunks> {
        let context = |e| Error::io(format!("opening {}", path.display()), e);
        let file: Arc<dyn EnvFile> = env.open(path).map_err(context)?.into();
        let bytes = file.len().map_err(context)?;
        Ok(Chunks { file, bytes })
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<Cursor>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<BufReader<Cursor>> {
        Ok(BufReader::new(Cursor { file: self.file.clone(), at: start, end: self.bytes }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of {}", self.bytes)));
        }
        let mut buffer = vec![0; length];
        self.file.read_at(&mut buffer, start)?;
        Ok(buffer.into())
    }
}

struct Cursor {
    file: Arc<dyn EnvFile>,
    at: u64,
    end: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(self.end.saturating_sub(self.at) as usize);
        self.file.read_at(&mut buffer[..n], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
