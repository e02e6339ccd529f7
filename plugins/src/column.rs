//! Arrow columns into the arguments of the adapter, and its answers back (layouts: see `adapter`).
//!
//! Columns are handed over as they are, so that they are copied once, into the sandbox; nothing here is decided per row but
//! NULLs. Answers come from generated code around a guest: every length and offset in them is checked before use.

use crate::adapter::{ANSWER_HEADER_BYTES, ARGUMENT_BYTES_MAX, ROWS_MAX, width};
use crate::signature::{GuestFunction, Scalar};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, PrimitiveArray, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use millpond_engine::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// The checked arguments of one `call`.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    function: &'a GuestFunction,
    columns: &'a [ArrayRef],
    /// Not-NULL in every parameter that does not see NULL; `None` when all rows are.
    callable: Option<NullBuffer>,
    rows: usize,
}

impl<'a> Arguments<'a> {
    /// # Errors
    /// `Invalid` when the columns do not fit the signature, `Function` with 22003 when a value does not fit its WIT type.
    pub(crate) fn new(function: &'a GuestFunction, columns: &'a [ArrayRef], rows: usize) -> Result<Arguments<'a>> {
        let mismatch = |what: String| Err(Error::Invalid(format!("function {}: {what}", function.signature().name)));
        if columns.len() != function.parameters.len() {
            return mismatch(format!("{} arguments for {} parameters", columns.len(), function.parameters.len()));
        }
        let mut callable = None;
        for (column, (name, shape)) in columns.iter().zip(&function.parameters) {
            if column.data_type() != &shape.scalar.sql() || column.len() != rows {
                return mismatch(format!(
                    "argument {name} is {} values of {}, expected {rows} of {}",
                    column.len(),
                    column.data_type(),
                    shape.scalar.sql()
                ));
            }
            if !shape.optional {
                callable = NullBuffer::union(callable.as_ref(), column.nulls());
            }
        }
        let callable = callable.filter(|nulls| nulls.null_count() > 0);
        let arguments = Arguments { function, columns, callable, rows };
        arguments.check_ranges()?;
        Ok(arguments)
    }

    fn is_callable(&self, row: usize) -> bool {
        self.callable.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }

    fn check_ranges(&self) -> Result<()> {
        for (column, (name, shape)) in self.columns.iter().zip(&self.function.parameters) {
            let bad = match shape.scalar {
                Scalar::U64 => {
                    let values = column.as_primitive::<Decimal128Type>();
                    self.first(column, |row| u64::try_from(values.value(row)).is_err())
                }
                scalar => match scalar.range() {
                    Some(range) => self.first_outside(column, range),
                    None => None,
                },
            };
            if let Some(row) = bad {
                return Err(Error::Function {
                    sqlstate: "22003",
                    function: self.function.signature().name,
                    message: format!("argument {name} is out of the range of {:?}", shape.scalar).to_lowercase(),
                    detail: format!("row {row} of the batch"),
                });
            }
        }
        Ok(())
    }

    fn first_outside(&self, column: &ArrayRef, (least, most): (i64, i64)) -> Option<usize> {
        let outside = |value: i64| value < least || value > most;
        match column.data_type() {
            DataType::Int16 => {
                let values = column.as_primitive::<Int16Type>();
                self.first(column, |row| outside(values.value(row).into()))
            }
            DataType::Int32 => {
                let values = column.as_primitive::<Int32Type>();
                self.first(column, |row| outside(values.value(row).into()))
            }
            _ => {
                let values = column.as_primitive::<Int64Type>();
                self.first(column, |row| outside(values.value(row)))
            }
        }
    }

    /// The first row that the guest would see and `bad` holds for.
    fn first(&self, column: &ArrayRef, bad: impl Fn(usize) -> bool) -> Option<usize> {
        (0..self.rows).find(|&row| column.is_valid(row) && self.is_callable(row) && bad(row))
    }

    /// The longest range of rows from `start`, up to `end`, that one call takes.
    ///
    /// # Errors
    /// `Function` with 54000 when a single row has too many bytes.
    pub(crate) fn batch(&self, start: usize, end: usize) -> Result<Range<usize>> {
        let most = ROWS_MAX.min(end - start);
        if self.packed_bytes(start, most) <= ARGUMENT_BYTES_MAX {
            return Ok(start..start + most);
        }
        // The largest n that fits: bytes grow with n.
        let (mut fits, mut exceeds) = (0, most);
        while exceeds - fits > 1 {
            let n = fits + (exceeds - fits) / 2;
            if self.packed_bytes(start, n) <= ARGUMENT_BYTES_MAX { fits = n } else { exceeds = n }
        }
        if fits == 0 {
            return Err(Error::Function {
                sqlstate: "54000",
                function: self.function.signature().name,
                message: format!("arguments of one row exceed {ARGUMENT_BYTES_MAX} bytes"),
                detail: format!("row {start} of the batch has {} bytes", self.packed_bytes(start, 1)),
            });
        }
        Ok(start..start + fits)
    }

    /// Bytes of [`Arguments::buffers`].
    fn packed_bytes(&self, start: usize, rows: usize) -> usize {
        let columns = self.columns.iter().zip(&self.function.parameters).map(|(column, (_, shape))| {
            let valid = if shape.optional { rows } else { 0 };
            let values = match offsets(column) {
                Some(offsets) => 4 * (rows + 1) + (offsets[start + rows] - offsets[start]) as usize,
                None => rows * width(shape.scalar),
            };
            valid + values
        });
        rows + columns.sum::<usize>()
    }

    /// The adapter's arguments for rows `batch`: the columns' own bytes where they are what the adapter reads, else what is
    /// put into `made`.
    pub(crate) fn buffers<'b>(&'b self, batch: &Range<usize>, made: &'b mut Vec<u8>) -> Vec<&'b [u8]> {
        made.clear();
        let mut parts = Vec::with_capacity(1 + 3 * self.columns.len());
        parts.push(match &self.callable {
            Some(callable) => make(made, batch.clone().map(|row| u8::from(callable.is_null(row)))),
            None => Part::Whole(&[]),
        });
        for (column, (_, shape)) in self.columns.iter().zip(&self.function.parameters) {
            push_values(column, shape.scalar, batch, made, &mut parts);
            if shape.optional {
                parts.push(make(made, batch.clone().map(|row| u8::from(column.is_valid(row)))));
            }
        }
        let made: &'b [u8] = made;
        parts.into_iter().map(|part| part.bytes(made)).collect()
    }
}

/// A buffer of the arguments: a column's own bytes, or a range of those made.
enum Part<'a> {
    Whole(&'a [u8]),
    Made(Range<usize>),
}

impl<'a> Part<'a> {
    fn bytes(self, made: &'a [u8]) -> &'a [u8] {
        match self {
            Part::Whole(bytes) => bytes,
            Part::Made(range) => &made[range],
        }
    }
}

fn make<'a>(made: &mut Vec<u8>, bytes: impl Iterator<Item = u8>) -> Part<'a> {
    let start = made.len();
    made.extend(bytes);
    Part::Made(start..made.len())
}

fn push_values<'a>(
    column: &'a ArrayRef,
    scalar: Scalar,
    batch: &Range<usize>,
    made: &mut Vec<u8>,
    parts: &mut Vec<Part<'a>>,
) {
    match scalar {
        Scalar::Bool => {
            let values = column.as_boolean().values();
            parts.push(make(made, batch.clone().map(|row| u8::from(values.value(row)))));
        }
        Scalar::U64 => {
            let values = &column.as_primitive::<Decimal128Type>().values()[batch.clone()];
            // Checked values; those of NULL rows are never read.
            parts.push(make(made, values.iter().flat_map(|value| (*value as u64).to_le_bytes())));
        }
        Scalar::String => {
            let column = column.as_string::<i32>();
            push_variable(column.offsets(), column.value_data(), batch, parts);
        }
        Scalar::Bytes => {
            let column = column.as_binary::<i32>();
            push_variable(column.offsets(), column.value_data(), batch, parts);
        }
        fixed => {
            let width = width(fixed);
            parts.push(Part::Whole(&raw_values(column)[batch.start * width..batch.end * width]));
        }
    }
}

fn push_variable<'a>(offsets: &'a OffsetBuffer<i32>, data: &'a [u8], batch: &Range<usize>, parts: &mut Vec<Part<'a>>) {
    let starts = &offsets.inner().inner().as_slice()[4 * batch.start..4 * (batch.end + 1)];
    let (from, to) = (offsets[batch.start], offsets[batch.end]);
    parts.extend([Part::Whole(starts), Part::Whole(&data[from as usize..to as usize])]);
}

fn offsets(column: &ArrayRef) -> Option<&[i32]> {
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().offsets()),
        DataType::Binary => Some(column.as_binary::<i32>().offsets()),
        _ => None,
    }
}

/// The values of a fixed-width column as bytes.
fn raw_values(column: &ArrayRef) -> &[u8] {
    fn of<T: ArrowPrimitiveType>(column: &ArrayRef) -> &[u8] {
        column.as_primitive::<T>().values().inner().as_slice()
    }
    match column.data_type() {
        DataType::Int16 => of::<Int16Type>(column),
        DataType::Int32 => of::<Int32Type>(column),
        DataType::Int64 => of::<Int64Type>(column),
        DataType::Float32 => of::<Float32Type>(column),
        _ => of::<Float64Type>(column),
    }
}

/// What one answer said.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Rows computed, from the first of the batch.
    pub(crate) done: usize,
    /// Text of the `err` of row `done`.
    pub(crate) failed: Option<String>,
}

/// Collects answers into the result column of one `call`.
#[derive(Debug)]
pub(crate) struct Results {
    scalar: Scalar,
    optional: bool,
    /// Fixed width: the values, booleans one byte each. Else: the data.
    bytes: MutableBuffer,
    /// Ends of the values of variable width.
    ends: Vec<i32>,
    /// One per row when the result can be NULL.
    valid: Vec<bool>,
}

/// Longest `err` text kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 8 << 10;

impl Results {
    pub(crate) fn new(function: &GuestFunction, rows: usize) -> Results {
        let scalar = function.result.scalar;
        let (fixed, variable) = if scalar.is_variable() { (0, rows + 1) } else { (rows * width(scalar), 0) };
        let mut ends = Vec::with_capacity(variable);
        if scalar.is_variable() {
            ends.push(0);
        }
        let optional = function.result.optional;
        Results { scalar, optional, bytes: MutableBuffer::new(fixed), ends, valid: Vec::new() }
    }

    /// Bytes collected so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the answer for rows `batch`. `None` when the answer is malformed.
    pub(crate) fn append(&mut self, answer: &[u8], arguments: &Arguments<'_>, batch: &Range<usize>) -> Option<Outcome> {
        let word = |index: usize| u32_at(answer, 4 * index).map(|w| w as usize);
        let (done, failed) = (word(0)?, word(1)? == 1);
        if done > batch.len() || (done == 0 && !failed) {
            return None;
        }
        let values = answer.get(ANSWER_HEADER_BYTES..)?;
        let (values, rest) = values.split_at_checked(batch.len() * width(self.scalar))?;
        let rows = batch.start..batch.start + done;
        let known = self.valid.len();
        if self.optional {
            let valid = rest.get(..done)?;
            self.valid.extend(rows.clone().zip(valid).map(|(row, v)| *v != 0 && arguments.is_callable(row)));
        } else if arguments.callable.is_some() {
            self.valid.extend(rows.clone().map(|row| arguments.is_callable(row)));
        }
        if self.scalar.is_variable() {
            self.append_variable(answer, values, done, known)?;
        } else {
            self.bytes.extend_from_slice(&values[..done * width(self.scalar)]);
        }
        let failed = match failed {
            true => Some(message(span(answer, word(2)?, word(3)?)?)),
            false => None,
        };
        Some(Outcome { done, failed })
    }

    /// `known`: how many rows `valid` held before these.
    fn append_variable(&mut self, answer: &[u8], values: &[u8], done: usize, known: usize) -> Option<()> {
        let may_be_null = self.valid.len() > known;
        for (row, entry) in values.chunks_exact(8).take(done).enumerate() {
            if !may_be_null || self.valid[known + row] {
                let (start, bytes) = (u32_at(entry, 0)? as usize, u32_at(entry, 4)? as usize);
                self.bytes.extend_from_slice(span(answer, start, bytes)?);
            }
            self.ends.push(i32::try_from(self.bytes.len()).ok()?);
        }
        Some(())
    }

    /// Whether a text holds a NUL character, which SQL's text cannot.
    pub(crate) fn has_nul(&self) -> bool {
        self.scalar == Scalar::String && self.bytes.contains(&0)
    }

    /// The column. `None` when strings are not UTF-8.
    pub(crate) fn finish(mut self) -> Option<ArrayRef> {
        match self.scalar {
            Scalar::F32 => canonical(self.bytes.typed_data_mut::<f32>(), |v| v.is_nan(), f32::NAN),
            Scalar::F64 => canonical(self.bytes.typed_data_mut::<f64>(), |v| v.is_nan(), f64::NAN),
            _ => {}
        }
        let nulls = (!self.valid.is_empty()).then(|| NullBuffer::from(self.valid)).filter(|n| n.null_count() > 0);
        let bytes = Buffer::from(self.bytes);
        Some(match self.scalar {
            Scalar::Bool => {
                let bits = BooleanBuffer::collect_bool(bytes.len(), |row| bytes[row] != 0);
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Scalar::S8 | Scalar::U8 | Scalar::S16 => fixed::<Int16Type>(bytes, nulls),
            Scalar::U16 | Scalar::S32 => fixed::<Int32Type>(bytes, nulls),
            Scalar::U32 | Scalar::S64 => fixed::<Int64Type>(bytes, nulls),
            Scalar::F32 => fixed::<Float32Type>(bytes, nulls),
            Scalar::F64 => fixed::<Float64Type>(bytes, nulls),
            Scalar::U64 => {
                let values = ScalarBuffer::<u64>::from(bytes);
                let values: Vec<i128> = values.iter().map(|v| i128::from(*v)).collect();
                Arc::new(Decimal128Array::new(values.into(), nulls).with_data_type(Scalar::U64.sql()))
            }
            Scalar::String => Arc::new(StringArray::try_new(OffsetBuffer::new(self.ends.into()), bytes, nulls).ok()?),
            Scalar::Bytes => Arc::new(BinaryArray::try_new(OffsetBuffer::new(self.ends.into()), bytes, nulls).ok()?),
        })
    }
}

/// Makes all NaNs one. WebAssembly leaves their bits to the processor, and rows that differ in them are different rows.
fn canonical<T: Copy>(values: &mut [T], is_nan: impl Fn(T) -> bool, nan: T) {
    values.iter_mut().for_each(|value| *value = if is_nan(*value) { nan } else { *value });
}

fn fixed<T: ArrowPrimitiveType>(bytes: Buffer, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(bytes), nulls))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// `bytes` bytes from `start`. Empty values may start anywhere.
fn span(answer: &[u8], start: usize, bytes: usize) -> Option<&[u8]> {
    if bytes == 0 {
        return Some(&[]);
    }
    answer.get(start..start.checked_add(bytes)?)
}

fn message(text: &[u8]) -> String {
    let kept = &text[..text.len().min(MESSAGE_BYTES_MAX)];
    String::from_utf8_lossy(kept).into_owned()
}
