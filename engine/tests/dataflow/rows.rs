//! Rows as plain values, and batches made of and turned into them.

use arrow::array::*;
use arrow::datatypes::*;
use millpond_engine::delta::Delta;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A value that compares bit for bit; NULL is the least.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// Bits of a double, reordered so that integers order as the doubles do (IEEE total order).
    Float(i64),
    Decimal(i128),
    Text(String),
}

pub type Row = Vec<Value>;
/// Rows with their multiplicities, none 0.
pub type Rows = BTreeMap<Row, i64>;

pub fn float(x: f64) -> Value {
    let bits = x.to_bits() as i64;
    Value::Float(bits ^ (((bits >> 63) as u64) >> 1) as i64)
}

impl Value {
    pub fn as_float(&self) -> f64 {
        match self {
            Value::Float(bits) => f64::from_bits((bits ^ (((bits >> 63) as u64) >> 1) as i64) as u64),
            Value::Int(x) => *x as f64,
            other => panic!("{other:?} is no number"),
        }
    }

    /// As grouping sees it: -0.0 is 0.0.
    pub fn key(&self) -> Value {
        if *self == float(-0.0) { float(0.0) } else { self.clone() }
    }
}

pub const DECIMAL: DataType = DataType::Decimal128(10, 2);

pub fn schema_of(types: &[DataType]) -> SchemaRef {
    let field = |(i, t): (usize, &DataType)| Field::new(format!("c{i}"), t.clone(), true);
    Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>()))
}

pub fn batch_of(types: &[DataType], rows: &[Row]) -> RecordBatch {
    let column = |at: usize| rows.iter().map(|row| &row[at]).collect::<Vec<_>>();
    let columns = types.iter().enumerate().map(|(at, t)| array_of(t, &column(at))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema_of(types), columns, &options).unwrap()
}

fn array_of(data_type: &DataType, values: &[&Value]) -> ArrayRef {
    let ints = || values.iter().map(|v| if let Value::Int(x) = v { Some(*x) } else { None });
    match data_type {
        DataType::Int64 => Arc::new(ints().collect::<Int64Array>()),
        DataType::Boolean => {
            let bools = values.iter().map(|v| if let Value::Bool(x) = v { Some(*x) } else { None });
            Arc::new(bools.collect::<BooleanArray>())
        }
        DataType::Float64 => {
            let floats = values.iter().map(|v| (**v != Value::Null).then(|| v.as_float()));
            Arc::new(floats.collect::<Float64Array>())
        }
        DataType::Utf8 => {
            let texts = values.iter().map(|v| if let Value::Text(x) = v { Some(x.as_str()) } else { None });
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::Decimal128(p, s) => {
            let decimals = values.iter().map(|v| if let Value::Decimal(x) = v { Some(*x) } else { None });
            Arc::new(decimals.collect::<Decimal128Array>().with_precision_and_scale(*p, *s).unwrap())
        }
        other => panic!("no rows of {other}"),
    }
}

pub fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let value = |array: &ArrayRef, at: usize| match array.data_type() {
        _ if array.is_null(at) => Value::Null,
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(at)),
        DataType::Boolean => Value::Bool(array.as_boolean().value(at)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(at)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(at).to_string()),
        DataType::Decimal128(..) => Value::Decimal(array.as_primitive::<Decimal128Type>().value(at)),
        other => panic!("no rows of {other}"),
    };
    (0..batch.num_rows()).map(|at| batch.columns().iter().map(|array| value(array, at)).collect()).collect()
}

pub fn add(rows: &mut Rows, row: Row, weight: i64) {
    let sum = rows.entry(row.clone()).or_default();
    *sum += weight;
    if *sum == 0 {
        rows.remove(&row);
    }
}

pub fn add_delta(rows: &mut Rows, delta: &Delta) {
    for (at, row) in rows_of(&delta.batch).into_iter().enumerate() {
        add(rows, row, delta.weight(at));
    }
}

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
