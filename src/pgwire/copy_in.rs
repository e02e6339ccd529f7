//! `COPY … FROM STDIN`: bytes in text, csv or binary format into record batches.
//!
//! CopyData messages cut the input anywhere, so bytes wait in `pending` until a whole row is there; how far the search
//! for its end got is remembered, so a row that arrives in pieces is searched once. Values go straight into builders.
//! Bounds: a row at most [`ROW_BYTES_MAX`], a batch at most [`BATCH_ROWS_MAX`] rows or about [`BATCH_BYTES_MAX`].

use super::error::{Result, WireError};
use super::types::ZONE_SECONDS;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bytes::{Buf, BytesMut};
use millpond_sql::value::{ColumnDecoder, quoted, utf8};
use millpond_sql::{CopyFormat, CopyOptions};

/// Rows of a batch.
const BATCH_ROWS_MAX: usize = 8192;
/// Input bytes after which a batch is handed on although it has few rows.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Longest row.
const ROW_BYTES_MAX: usize = 48 << 20;
/// What a binary COPY begins with.
pub const BINARY_SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Decodes one COPY's input.
pub struct CopyDecoder {
    rows: RowDecoder,
    options: CopyOptions,
    pending: BytesMut,
    /// Bytes of `pending` already searched for the end of the row at its front.
    searched: usize,
    /// Whether the search stands inside csv quotes.
    in_quotes: bool,
    /// Whether the byte after the searched ones is escaped (csv with an escape of its own).
    escaped: bool,
    header_due: bool,
    ended: bool,
}

/// Appends rows to the columns.
struct RowDecoder {
    schema: SchemaRef,
    columns: Vec<ColumnDecoder>,
    scratch: Vec<u8>,
    rows: usize,
    bytes: usize,
    line: u64,
}

impl CopyDecoder {
    pub fn new(schema: SchemaRef, options: CopyOptions) -> CopyDecoder {
        let decoder = |field: &arrow::datatypes::FieldRef| ColumnDecoder::new(field.data_type(), ZONE_SECONDS);
        let columns = schema.fields().iter().map(decoder).collect();
        CopyDecoder {
            rows: RowDecoder { schema, columns, scratch: Vec::new(), rows: 0, bytes: 0, line: 0 },
            header_due: options.header || options.format == CopyFormat::Binary,
            options,
            pending: BytesMut::new(),
            searched: 0,
            in_quotes: false,
            escaped: false,
            ended: false,
        }
    }

    /// Takes the next bytes of the input; call [`CopyDecoder::next_batch`] until it gives `None`.
    pub fn push(&mut self, data: &[u8]) {
        if !self.ended {
            self.pending.extend_from_slice(data);
        }
    }

    /// A full batch, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// 22P04 for rows of the wrong shape, 22P02 and others for values; the context names line and column.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.take_rows(false)?;
        if self.rows.rows >= BATCH_ROWS_MAX || self.rows.bytes >= BATCH_BYTES_MAX {
            return self.rows.finish().map(Some);
        }
        Ok(None)
    }

    /// The input is over: a further batch, or `None` when all rows were given.
    pub fn last_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.take_rows(true)?;
        if self.rows.rows == 0 { Ok(None) } else { self.rows.finish().map(Some) }
    }

    fn take_rows(&mut self, at_end: bool) -> Result<()> {
        let mut position = 0;
        while !self.ended && self.rows.rows < BATCH_ROWS_MAX && self.rows.bytes < BATCH_BYTES_MAX {
            let taken = match self.options.format {
                CopyFormat::Binary => self.take_binary(position, at_end)?,
                CopyFormat::Text | CopyFormat::Csv => self.take_line(position, at_end)?,
            };
            match taken {
                Some(length) => position += length,
                None => break,
            }
        }
        self.pending.advance(position);
        if self.ended {
            self.pending.clear();
        }
        if self.pending.len() > ROW_BYTES_MAX && self.rows.rows < BATCH_ROWS_MAX && self.searched > ROW_BYTES_MAX {
            return Err(self.rows.locate(WireError::new("54000", format!("row is longer than {ROW_BYTES_MAX} bytes"))));
        }
        Ok(())
    }

    /// Decodes the line at `position`; gives its length with its end.
    fn take_line(&mut self, position: usize, at_end: bool) -> Result<Option<usize>> {
        let rest = self.pending.len() - position;
        let (line_length, taken) = match self.find_line_end(position) {
            Some(end) => (end, end + 1),
            None if at_end && rest > 0 => (rest, rest),
            None => return Ok(None),
        };
        self.searched = 0;
        self.rows.line += 1;
        let mut line = &self.pending[position..position + line_length];
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if std::mem::take(&mut self.in_quotes) {
            return Err(self.rows.locate(WireError::new("22P04", "unterminated CSV quoted field")));
        }
        if line == b"\\." {
            self.ended = true;
        } else if !std::mem::take(&mut self.header_due) {
            self.rows.bytes += taken;
            match self.options.format {
                CopyFormat::Csv => self.rows.append_csv(line, &self.options)?,
                _ => self.rows.append_text(line, &self.options)?,
            }
        }
        Ok(Some(taken))
    }

    /// Length of the line at `position`, its newline not counted.
    fn find_line_end(&mut self, position: usize) -> Option<usize> {
        let text = &self.pending[position..];
        if self.options.format == CopyFormat::Text {
            while let Some(found) = memchr::memchr(b'\n', &text[self.searched..]) {
                let end = self.searched + found;
                let backslashes = text[..end].iter().rev().take_while(|b| **b == b'\\').count();
                if backslashes % 2 == 0 {
                    return Some(end);
                }
                self.searched = end + 1;
            }
            self.searched = text.len();
            return None;
        }
        let (quote, escape) = (self.options.quote, self.options.escape);
        while self.searched < text.len() {
            if std::mem::take(&mut self.escaped) {
                self.searched += 1;
                continue;
            }
            let rest = &text[self.searched..];
            let found = match (self.in_quotes, escape == quote) {
                (true, true) => memchr::memchr(quote, rest),
                (true, false) => memchr::memchr2(quote, escape, rest),
                (false, _) => memchr::memchr2(quote, b'\n', rest),
            };
            let Some(found) = found else { break };
            let at = self.searched + found;
            self.searched = at + 1;
            match text[at] {
                byte if byte == quote => self.in_quotes = !self.in_quotes,
                b'\n' if !self.in_quotes => return Some(at),
                _ => self.escaped = true,
            }
        }
        self.searched = self.searched.max(text.len());
        None
    }

    /// Decodes the header or tuple at `position`; gives its length.
    fn take_binary(&mut self, position: usize, at_end: bool) -> Result<Option<usize>> {
        let input = &self.pending[position..];
        if at_end && input.is_empty() && !self.header_due {
            return Ok(None);
        }
        let taken = if self.header_due {
            let taken = binary_header(input)?;
            self.header_due = taken.is_none();
            taken
        } else if input.starts_with(&[0xff, 0xff]) {
            if input.len() > 2 {
                return Err(WireError::new("22P04", "received copy data after EOF marker"));
            }
            self.ended = true;
            Some(2)
        } else {
            self.rows.append_binary(input)?
        };
        if taken.is_none() {
            self.searched = input.len();
            if at_end {
                return Err(self.rows.locate(WireError::new("22P04", "unexpected EOF in COPY data")));
            }
        }
        Ok(taken)
    }
}

/// Length of the header of a binary COPY.
fn binary_header(input: &[u8]) -> Result<Option<usize>> {
    let known = input.len().min(BINARY_SIGNATURE.len());
    if input[..known] != BINARY_SIGNATURE[..known] {
        return Err(WireError::new("22P04", "COPY file signature not recognized"));
    }
    let Some((flags, rest)) = input.get(11..).and_then(|rest| rest.split_first_chunk::<4>()) else { return Ok(None) };
    let Some((extension, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    if u32::from_be_bytes(*flags) >> 16 != 0 {
        return Err(WireError::new("22P04", "unrecognized critical flags in COPY file header"));
    }
    let extension = u32::from_be_bytes(*extension) as usize;
    if extension > ROW_BYTES_MAX {
        return Err(WireError::new("22P04", "invalid COPY file header (wrong length)"));
    }
    Ok((input.len() >= 19 + extension).then_some(19 + extension))
}

impl RowDecoder {
    fn finish(&mut self) -> Result<RecordBatch> {
        let columns = self.columns.iter_mut().map(ColumnDecoder::finish).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    fn append_text(&mut self, line: &[u8], options: &CopyOptions) -> Result<()> {
        let mut rest = Some(line).filter(|line| !(line.is_empty() && self.columns.is_empty()));
        let mut column = 0;
        while let Some(text) = rest {
            self.check_column(column, text)?;
            let (raw, after, has_escapes) = text_field(text, options.delimiter);
            rest = after;
            if raw == options.null.as_bytes() {
                self.append_null(column)?;
            } else if has_escapes {
                let mut scratch = std::mem::take(&mut self.scratch);
                unescape_text(raw, &mut scratch);
                let appended = self.append_value(column, &scratch);
                self.scratch = scratch;
                appended?;
            } else {
                self.append_value(column, raw)?;
            }
            column += 1;
        }
        self.end_row(column, line)
    }

    fn append_csv(&mut self, line: &[u8], options: &CopyOptions) -> Result<()> {
        let mut rest = Some(line).filter(|line| !(line.is_empty() && self.columns.is_empty()));
        let mut column = 0;
        while let Some(text) = rest {
            self.check_column(column, text)?;
            let plain = memchr::memchr2(options.delimiter, options.quote, text);
            match plain.map(|at| (at, text[at])) {
                Some((at, byte)) if byte == options.delimiter => {
                    rest = Some(&text[at + 1..]);
                    self.append_csv_plain(column, &text[..at], options)?;
                }
                None => {
                    rest = None;
                    self.append_csv_plain(column, text, options)?;
                }
                Some(_) => {
                    let mut scratch = std::mem::take(&mut self.scratch);
                    rest = unquote_csv(text, options, &mut scratch);
                    let appended = self.append_value(column, &scratch);
                    self.scratch = scratch;
                    appended?;
                }
            }
            column += 1;
        }
        self.end_row(column, line)
    }

    fn append_csv_plain(&mut self, column: usize, value: &[u8], options: &CopyOptions) -> Result<()> {
        if value == options.null.as_bytes() { self.append_null(column) } else { self.append_value(column, value) }
    }

    /// Appends the tuple at the front of `input`; `None` = it is not all there.
    fn append_binary(&mut self, input: &[u8]) -> Result<Option<usize>> {
        let Some((count, mut rest)) = input.split_first_chunk::<2>() else { return Ok(None) };
        let count = i16::from_be_bytes(*count);
        if usize::try_from(count) != Ok(self.columns.len()) {
            self.line += 1;
            let message = format!("row field count is {count}, expected {}", self.columns.len());
            return Err(self.locate(WireError::new("22P04", message)));
        }
        let mut fields = Vec::with_capacity(self.columns.len());
        for _ in 0..self.columns.len() {
            let Some((length, after)) = rest.split_first_chunk::<4>() else { return Ok(None) };
            rest = after;
            let length = i32::from_be_bytes(*length);
            if length == -1 {
                fields.push(None);
                continue;
            }
            let length = usize::try_from(length).ok().filter(|length| *length <= ROW_BYTES_MAX);
            let Some(length) = length else { return Err(self.locate(WireError::new("22P04", "invalid field size"))) };
            let Some((field, after)) = rest.split_at_checked(length) else { return Ok(None) };
            fields.push(Some(field));
            rest = after;
        }
        self.line += 1;
        for (column, field) in fields.into_iter().enumerate() {
            match field {
                None => self.append_null(column)?,
                Some(field) => {
                    self.columns[column]
                        .append_binary(field)
                        .map_err(|error| self.locate_column(error, column, None))?;
                }
            }
        }
        self.rows += 1;
        self.bytes += input.len() - rest.len();
        Ok(Some(input.len() - rest.len()))
    }

    fn check_column(&self, column: usize, rest: &[u8]) -> Result<()> {
        if column < self.columns.len() {
            return Ok(());
        }
        let mut error = self.locate(WireError::new("22P04", "extra data after last expected column"));
        error.detail = Some(format!("It begins with \"{}\".", quoted(rest)));
        Err(error)
    }

    fn end_row(&mut self, column: usize, line: &[u8]) -> Result<()> {
        if column < self.columns.len() {
            let message = format!("missing data for column \"{}\"", self.schema.field(column).name());
            let mut error = WireError::new("22P04", message);
            error.context = Some(format!("COPY, line {}: \"{}\"", self.line, quoted(line)));
            return Err(error);
        }
        self.rows += 1;
        Ok(())
    }

    fn append_null(&mut self, column: usize) -> Result<()> {
        let field = self.schema.field(column);
        if !field.is_nullable() {
            let message = format!("null value in column \"{}\" violates not-null constraint", field.name());
            return Err(self.locate(WireError::new("23502", message)));
        }
        self.columns[column].append_null();
        Ok(())
    }

    fn append_value(&mut self, column: usize, value: &[u8]) -> Result<()> {
        self.columns[column].append_text(value).map_err(|error| self.locate_column(error, column, Some(value)))
    }

    fn locate(&self, mut error: WireError) -> WireError {
        error.context = Some(format!("COPY, line {}", self.line.max(1)));
        error
    }

    fn locate_column(&self, error: impl Into<WireError>, column: usize, value: Option<&[u8]>) -> WireError {
        let mut error = error.into();
        let value = value.filter(|value| utf8(value).is_ok()).map(|value| format!(": \"{}\"", quoted(value)));
        let name = self.schema.field(column).name();
        error.context = Some(format!("COPY, line {}, column {name}{}", self.line, value.unwrap_or_default()));
        error
    }
}

/// The first field of `text` with its escapes, what follows its delimiter, and whether it has escapes.
fn text_field(text: &[u8], delimiter: u8) -> (&[u8], Option<&[u8]>, bool) {
    let mut from = 0;
    let mut has_escapes = false;
    while let Some(found) = memchr::memchr2(delimiter, b'\\', &text[from..]) {
        let at = from + found;
        if text[at] == delimiter {
            return (&text[..at], Some(&text[at + 1..]), has_escapes);
        }
        has_escapes = true;
        from = (at + 2).min(text.len());
    }
    (text, None, has_escapes)
}

fn unescape_text(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let [code, after @ ..] = &rest[at + 1..] else {
            out.push(b'\\');
            return;
        };
        rest = after;
        match code {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let mut value = u32::from(code - b'0');
                for _ in 0..2 {
                    let [digit @ b'0'..=b'7', after @ ..] = rest else { break };
                    value = value * 8 + u32::from(digit - b'0');
                    rest = after;
                }
                out.push(value as u8);
            }
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0;
                for _ in 0..2 {
                    let Some(digit) = rest.first().and_then(|b| (*b as char).to_digit(16)) else { break };
                    value = value * 16 + digit;
                    rest = &rest[1..];
                }
                out.push(value as u8);
            }
            other => out.push(*other),
        }
    }
    out.extend_from_slice(rest);
}

/// Takes the quotes off the first field of `text`; gives what follows its delimiter. The line is known to be balanced.
fn unquote_csv<'a>(text: &'a [u8], options: &CopyOptions, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    out.clear();
    let mut rest = text;
    let mut in_quotes = false;
    while let [byte, after @ ..] = rest {
        rest = after;
        match *byte {
            byte if in_quotes && byte == options.escape => match after {
                [next, after @ ..] if *next == options.escape || *next == options.quote => {
                    out.push(*next);
                    rest = after;
                }
                _ if byte == options.quote => in_quotes = false,
                _ => out.push(byte),
            },
            byte if byte == options.quote => in_quotes = !in_quotes,
            byte if !in_quotes && byte == options.delimiter => return Some(rest),
            byte => out.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests;
