//! What a transaction accepts and what it holds, through its public calls.

mod support;

use arrow::array::{ArrayRef, Float32Array, Float64Array, RecordBatch};
use arrow::datatypes::DataType;
use millpond_engine::Error;
use millpond_engine::catalog::Column;
use millpond_engine::database::{Create, Database};
use std::sync::Arc;
use support::{close, no_views, open};

/// One key, spelled in different bits.
#[test]
fn equal_floats_are_one_key_whatever_their_bits() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    for data_type in [DataType::Float64, DataType::Float32] {
        for (first, second) in [(0.0, -0.0), (f64::NAN, -f64::NAN)] {
            for together in [true, false] {
                check_duplicate(&database, &data_type, first, second, together);
            }
        }
    }
    close(database);
}

fn check_duplicate(database: &Arc<Database>, data_type: &DataType, first: f64, second: f64, together: bool) {
    let name = format!("{data_type} {first} {together}");
    let columns = vec![Column { name: "k".into(), data_type: data_type.clone(), nullable: false }];
    let create = Create::Table { name: name.clone(), columns, key: vec![0], definition: String::new() };
    let table = database.create(create).unwrap();
    let row = |key: f64| {
        let column: ArrayRef = match data_type {
            DataType::Float32 => Arc::new(Float32Array::from(vec![key as f32])),
            _ => Arc::new(Float64Array::from(vec![key])),
        };
        RecordBatch::try_from_iter(vec![("k", column)]).unwrap()
    };
    let mut transaction = database.transaction();
    transaction.insert(table, row(first)).unwrap();
    if !together {
        transaction.commit().unwrap();
        transaction = database.transaction();
    }
    let again = transaction.insert(table, row(second));
    assert!(matches!(again, Err(Error::DuplicateKey { .. })), "{name}: {again:?}");
    // A row is found by its key too: gone with the one spelling, free for the other.
    transaction.delete(table, row(first)).unwrap();
    transaction.insert(table, row(second)).unwrap();
    transaction.commit().unwrap();
}
