//! Batches as DataRow messages.

use super::error::Result;
use super::message::patch_length;
use super::types::{Formats, ZONE_SECONDS};
use arrow::array::RecordBatch;
use bytes::{BufMut, BytesMut};
use millpond_sql::value::Cells;

/// The columns of a batch, ready to be sent as DataRow messages.
pub struct RowEncoder {
    columns: Vec<(Cells, bool)>,
}

impl RowEncoder {
    pub fn new(batch: &RecordBatch, formats: &Formats) -> Result<RowEncoder> {
        let schema = batch.schema_ref();
        let columns = schema.fields().iter().zip(batch.columns()).enumerate();
        let columns =
            columns.map(|(index, (field, array))| Ok((Cells::new(field, array, ZONE_SECONDS)?, formats.binary(index))));
        Ok(RowEncoder { columns: columns.collect::<Result<_>>()? })
    }

    /// Writes one DataRow.
    pub fn put_row(&self, out: &mut BytesMut, row: usize) -> Result<()> {
        let frame = out.len();
        out.put_u8(b'D');
        out.put_u32(0);
        out.put_i16(self.columns.len() as i16);
        for (cells, binary) in &self.columns {
            if let Err(error) = cells.put_sized(out, row, *binary) {
                out.truncate(frame);
                return Err(error.into());
            }
        }
        patch_length(out, frame + 1);
        Ok(())
    }
}
