//! What a transaction accepts and what it holds, through its public calls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use millpond_engine::Error;
use millpond_engine::catalog::Column;
use millpond_engine::database::{Create, Database, DatabaseOptions};
use std::sync::Arc;
use support::{NoModules, close, create_stream, no_views, open, schema};

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

fn numbers(values: std::ops::Range<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_new(schema(), vec![column]).unwrap()
}

#[test]
fn many_small_writes_are_charged_for_what_they_take() {
    let dir = tempfile::tempdir().unwrap();
    let options = DatabaseOptions { transactions_bytes_max: 1 << 20, ..DatabaseOptions::default() };
    let database = Database::open(dir.path(), options, Arc::new(NoModules)).unwrap();
    database.start().unwrap();
    let stream = create_stream(&database, "s");
    let mut transaction = database.transaction();
    let taken = (0..100_000).take_while(|i| transaction.append(stream, numbers(*i..i + 1)).is_ok()).count();
    assert!((500..2000).contains(&taken), "{taken} rows of 8 bytes in 1 MiB");
    drop(transaction);
    let mut transaction = database.transaction();
    transaction.append(stream, numbers(0..100_000)).unwrap();
    drop(transaction);
    close(database);
}

#[test]
fn a_slice_does_not_keep_what_it_was_cut_from() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    let mut transaction = database.transaction();
    let large = numbers(0..1_000_000);
    transaction.append(stream, large.slice(500_000, 10)).unwrap();
    let own = transaction.own_changes();
    assert_eq!(own.appended(stream)[0], numbers(500_000..500_010));
    assert!(own.appended(stream)[0].get_array_memory_size() < 10_000);
    drop((transaction, own));
    close(database);
}
