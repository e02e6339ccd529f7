//! Arrow batches as operators build them: conformed to a declared schema, and with a row count even without columns.

use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, MutableArrayData, RecordBatch, RecordBatchOptions, UInt32Array, make_array};
use arrow::compute::{CastOptions, cast_with_options, concat, interleave, take};
use arrow::datatypes::{DataType, IntervalUnit, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

/// Memory of the rows, in bytes. Of buffers that are shared with other batches only this one's part counts.
pub fn memory_bytes(batch: &RecordBatch) -> usize {
    let column = |column: &ArrayRef| {
        let data = column.to_data();
        data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    batch.columns().iter().map(column).sum()
}

/// Rows per chunk of stored state and of amplified output.
pub(crate) const CHUNK_ROWS: usize = 8192;

/// A batch of `rows` rows; columns are conformed to the types of `schema`.
///
/// # Errors
/// `Internal` when a column that is declared NOT NULL holds a NULL, or has another length.
pub(crate) fn build(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let conformed: Result<Vec<ArrayRef>> =
        columns.into_iter().zip(schema.fields()).map(|(column, field)| conform(column, field.data_type())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), conformed?, &options)
        .map_err(|error| Error::Internal(format!("operator output does not fit its schema: {error}")))
}

/// The same values as `data_type`: views become plain strings, time zones are relabelled, numbers are cast.
pub(crate) fn conform(column: ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(column);
    }
    let options = CastOptions { safe: false, ..Default::default() };
    Ok(cast_with_options(&column, data_type, &options)?)
}

/// The rows at `indices`, in that order.
pub(crate) fn take_rows(batch: &RecordBatch, indices: Vec<u32>) -> Result<RecordBatch> {
    let rows = indices.len();
    let columns = take_columns(batch.columns(), indices)?;
    build(batch.schema_ref(), columns, rows)
}

/// [`take_rows`] on columns.
pub(crate) fn take_columns(columns: &[ArrayRef], indices: Vec<u32>) -> Result<Vec<ArrayRef>> {
    let indices = UInt32Array::from(indices);
    columns.iter().map(|column| Ok(take(column, &indices, None)?)).collect()
}

/// The rows at `(batch, row)`, in that order.
pub(crate) fn interleave_rows(batches: &[&RecordBatch], indices: &[(usize, usize)]) -> Result<Vec<ArrayRef>> {
    let columns = batches.first().map_or(0, |batch| batch.num_columns());
    let column = |at: usize| {
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        Ok(interleave(&parts, indices)?)
    };
    (0..columns).map(column).collect()
}

/// All rows of all batches; at least one batch.
pub(crate) fn concat_rows(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let column = |at: usize| {
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        Ok(concat(&parts)?)
    };
    let columns: Result<Vec<ArrayRef>> = (0..schema.fields().len()).map(column).collect();
    build(schema, columns?, rows)
}

/// A copy with buffers of its own, so that keeping it does not keep a larger allocation alive.
pub(crate) fn copy_rows(batch: &RecordBatch) -> Result<RecordBatch> {
    let copy = |column: &ArrayRef| {
        let data = column.to_data();
        let mut out = MutableArrayData::new(vec![&data], false, data.len());
        out.try_extend(0, 0, data.len())?;
        Ok(make_array(out.freeze()))
    };
    let columns: Result<Vec<ArrayRef>> = batch.columns().iter().map(copy).collect();
    build(batch.schema_ref(), columns?, batch.num_rows())
}

/// An Arrow IPC stream of one batch.
pub(crate) fn to_ipc(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// Reads what [`to_ipc`] wrote; the types must be those of `schema`.
pub(crate) fn from_ipc(bytes: &[u8], schema: &SchemaRef) -> Result<RecordBatch> {
    let mut reader = StreamReader::try_new(bytes, None)?;
    let batch = reader.next().ok_or_else(|| Error::Internal("saved chunk holds no batch".into()))??;
    let found = batch.schema();
    let types = |s: &Schema| s.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
    if types(&found) != types(schema) {
        return Err(Error::Internal(format!(
            "saved chunk has types {:?}, expected {:?}",
            types(&found),
            types(schema)
        )));
    }
    build(schema, batch.columns().to_vec(), batch.num_rows())
}

/// Refuses types that keys, state and identity do not handle.
pub(crate) fn check_schema(schema: &Schema) -> Result<()> {
    schema.fields().iter().try_for_each(|field| check_type(field.data_type()))
}

/// [`check_schema`] for one type.
pub(crate) fn check_type(data_type: &DataType) -> Result<()> {
    use DataType::*;
    match data_type {
        Boolean
        | Int8
        | Int16
        | Int32
        | Int64
        | Float32
        | Float64
        | Decimal128(..)
        | Utf8
        | Utf8View
        | LargeUtf8
        | Binary
        | Date32
        | UInt8
        | UInt16
        | UInt32
        | UInt64
        | Time64(_)
        | Timestamp(_, _)
        | Interval(IntervalUnit::MonthDayNano) => Ok(()),
        other => Err(Error::Unsupported(format!("type {other} is not supported in materialized views"))),
    }
}
