//! `COPY … TO STDOUT`: rows as CopyData messages, one row each, in text, csv or binary format.

use super::copy_in::BINARY_SIGNATURE;
use super::error::Result;
use super::message::{patch_length, put_message};
use super::types::ZONE_SECONDS;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{BufMut, BytesMut};
use millpond_sql::value::Cells;
use millpond_sql::{CopyFormat, CopyOptions};

/// Encodes one COPY's output.
pub struct CopyEncoder {
    options: CopyOptions,
    scratch: BytesMut,
    /// A binary COPY's header travels with its first row, or with its trailer.
    header_due: bool,
}

/// A batch ready to be written row by row.
pub struct CopyRows {
    columns: Vec<Cells>,
    pub rows: usize,
}

impl CopyEncoder {
    pub fn new(options: CopyOptions) -> CopyEncoder {
        let header_due = options.format == CopyFormat::Binary;
        CopyEncoder { options, scratch: BytesMut::new(), header_due }
    }

    pub fn binary(&self) -> bool {
        self.options.format == CopyFormat::Binary
    }

    /// Writes the line of column names, when HEADER asks for it.
    pub fn put_start(&mut self, out: &mut BytesMut, schema: &SchemaRef) {
        if !self.options.header || self.binary() {
            return;
        }
        put_message(out, b'd', |out| {
            for (index, field) in schema.fields().iter().enumerate() {
                self.put_delimiter(out, index);
                self.put_escaped(out, field.name().as_bytes(), schema.fields().len() == 1);
            }
            out.put_u8(b'\n');
        });
    }

    pub fn rows(&self, batch: &RecordBatch) -> Result<CopyRows> {
        let schema = batch.schema_ref();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, array)| Cells::new(field, array, ZONE_SECONDS)).collect::<Result<_, _>>()?;
        Ok(CopyRows { columns, rows: batch.num_rows() })
    }

    /// Writes one row.
    pub fn put_row(&mut self, out: &mut BytesMut, rows: &CopyRows, row: usize) -> Result<()> {
        let frame = out.len();
        out.put_u8(b'd');
        out.put_u32(0);
        if let Err(error) = self.put_body(out, rows, row) {
            out.truncate(frame);
            return Err(error);
        }
        patch_length(out, frame + 1);
        Ok(())
    }

    /// Writes what ends the data: a binary COPY's trailer.
    pub fn put_end(&mut self, out: &mut BytesMut) {
        if self.binary() {
            let header_due = std::mem::take(&mut self.header_due);
            put_message(out, b'd', |out| {
                if header_due {
                    put_binary_header(out);
                }
                out.put_i16(-1);
            });
        }
    }

    fn put_body(&mut self, out: &mut BytesMut, rows: &CopyRows, row: usize) -> Result<()> {
        if self.binary() {
            if std::mem::take(&mut self.header_due) {
                put_binary_header(out);
            }
            out.put_i16(rows.columns.len() as i16);
            return Ok(rows.columns.iter().try_for_each(|cells| cells.put_sized(out, row, true))?);
        }
        let single = rows.columns.len() == 1;
        for (index, cells) in rows.columns.iter().enumerate() {
            self.put_delimiter(out, index);
            if cells.is_null(row) {
                out.put_slice(self.options.null.as_bytes());
                continue;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            cells.put_text(&mut scratch, row);
            self.put_escaped(out, &scratch, single);
            self.scratch = scratch;
        }
        out.put_u8(b'\n');
        Ok(())
    }

    fn put_delimiter(&self, out: &mut BytesMut, index: usize) {
        if index > 0 {
            out.put_u8(self.options.delimiter);
        }
    }

    fn put_escaped(&self, out: &mut BytesMut, value: &[u8], single: bool) {
        match self.options.format {
            CopyFormat::Csv => self.put_csv(out, value, single),
            _ => self.put_text(out, value),
        }
    }

    fn put_text(&self, out: &mut BytesMut, value: &[u8]) {
        let delimiter = self.options.delimiter;
        if !value.iter().any(|b| *b == delimiter || *b == b'\\' || (8..=13).contains(b)) {
            return out.put_slice(value);
        }
        for byte in value.iter().copied() {
            let escaped = match byte {
                8 => b'b',
                9 => b't',
                10 => b'n',
                11 => b'v',
                12 => b'f',
                13 => b'r',
                other if other == b'\\' || other == delimiter => other,
                other => {
                    out.put_u8(other);
                    continue;
                }
            };
            out.put_u8(b'\\');
            out.put_u8(escaped);
        }
    }

    fn put_csv(&self, out: &mut BytesMut, value: &[u8], single: bool) {
        let (delimiter, quote, escape) = (self.options.delimiter, self.options.quote, self.options.escape);
        let special = |b: &u8| *b == delimiter || *b == quote || matches!(b, b'\n' | b'\r');
        let needs_quotes =
            value == self.options.null.as_bytes() || value.iter().any(special) || (single && value == b"\\.");
        if !needs_quotes {
            return out.put_slice(value);
        }
        out.put_u8(quote);
        for byte in value.iter().copied() {
            if byte == quote || byte == escape {
                out.put_u8(escape);
            }
            out.put_u8(byte);
        }
        out.put_u8(quote);
    }
}

fn put_binary_header(out: &mut BytesMut) {
    out.put_slice(BINARY_SIGNATURE);
    out.put_u64(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgwire::copy_in::CopyDecoder;
    use crate::pgwire::message::{Frontend, take_frontend};
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;

    fn options(format: CopyFormat) -> CopyOptions {
        let csv = format == CopyFormat::Csv;
        CopyOptions {
            format,
            header: csv,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".into() },
            quote: b'"',
            escape: b'"',
        }
    }

    fn batch() -> RecordBatch {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![Some("a\t\"b\",\\n\n"), None, Some(""), Some("\\N")]));
        RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true)]).expect("a batch")
    }

    fn encode(format: CopyFormat) -> Vec<Vec<u8>> {
        let batch = batch();
        let mut encoder = CopyEncoder::new(options(format));
        let mut out = BytesMut::new();
        encoder.put_start(&mut out, &batch.schema());
        let rows = encoder.rows(&batch).expect("rows");
        for row in 0..rows.rows {
            encoder.put_row(&mut out, &rows, row).expect("a row");
        }
        encoder.put_end(&mut out);
        let mut messages = Vec::new();
        while let Ok(Some(Frontend::CopyData(data))) = take_frontend(&mut out) {
            messages.push(data.to_vec());
        }
        messages
    }

    #[test]
    fn lines_read_as_in_postgres() {
        let text = encode(CopyFormat::Text).concat();
        assert_eq!(String::from_utf8_lossy(&text), "1\ta\\t\"b\",\\\\n\\n\n\\N\t\\N\n3\t\n4\t\\\\N\n");
        let csv = encode(CopyFormat::Csv).concat();
        assert_eq!(String::from_utf8_lossy(&csv), "a,b\n1,\"a\t\"\"b\"\",\\n\n\"\n,\n3,\"\"\n4,\\N\n");
    }

    #[test]
    fn what_goes_out_comes_back() {
        for format in [CopyFormat::Text, CopyFormat::Csv, CopyFormat::Binary] {
            let mut decoder = CopyDecoder::new(batch().schema(), options(format));
            for message in encode(format) {
                decoder.push(&message);
                assert!(decoder.next_batch().expect("no error").is_none());
            }
            assert_eq!(decoder.last_batch(), Ok(Some(batch())), "{format:?}");
        }
    }
}
