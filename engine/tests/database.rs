//! What a database promises across restarts, drops and failures, through its public calls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::ScalarValue;
use datafusion_expr_common::operator::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, Column as ColumnExpr, Literal};
use millpond_engine::database::{CreateView, Database, DatabaseOptions, ReadMode};
use millpond_engine::log::Piece;
use millpond_engine::plan::{Aggregate, AggregateKind, Expr, Plan};
use millpond_engine::subscription::{SubscribeOptions, Subscription};
use millpond_engine::{Error, ObjectId, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use support::{NoModules, WAIT, append, close, copy, create_stream, no_views, numbers, open, schema};

fn create_view(database: &Database, name: &str, plan: Plan) -> ObjectId {
    let view = CreateView { name: name.into(), columns: numbers(), plan, definition: String::new(), modules: vec![] };
    database.create_view(view, &AtomicBool::new(false), &|_| {}).unwrap()
}

fn rows(database: &Database, view: ObjectId) -> Result<Vec<i64>> {
    let snapshot = database.snapshot(ReadMode::Strict, WAIT)?;
    let mut rows: Vec<i64> = Vec::new();
    for batch in snapshot.relation(view)? {
        rows.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    rows.sort_unstable();
    Ok(rows)
}

fn n() -> Expr {
    Arc::new(ColumnExpr::new("n", 0))
}

fn number(value: i64) -> Expr {
    Arc::new(Literal::new(ScalarValue::Int64(Some(value))))
}

fn input(object: ObjectId) -> Plan {
    Plan::Input { object, columns: vec![0], schema: schema() }
}

/// The distinct numbers for which `n op value`.
fn those(object: ObjectId, op: Operator, value: i64) -> Plan {
    let predicate: Expr = Arc::new(BinaryExpr::new(n(), op, number(value)));
    let input = Box::new(Plan::Filter { input: Box::new(input(object)), predicate });
    Plan::Aggregate { input, keys: vec![n()], aggregates: vec![], schema: schema() }
}

/// The sum of all numbers.
fn total(object: ObjectId) -> Plan {
    let sum = Aggregate {
        kind: AggregateKind::Sum,
        argument: Some(n()),
        filter: None,
        distinct: false,
        argument_type: DataType::Int64,
        output_type: DataType::Int64,
    };
    Plan::Aggregate { input: Box::new(input(object)), keys: vec![], aggregates: vec![sum], schema: schema() }
}

/// 1000 / n for each number: fails at 0.
fn shares(object: ObjectId) -> Plan {
    let share: Expr = Arc::new(BinaryExpr::new(number(1000), Operator::Divide, n()));
    Plan::Project { input: Box::new(input(object)), exprs: vec![share], schema: schema() }
}

/// A view whose input does not run again after a restart holds no current answer, however good its checkpoint is.
#[test]
fn a_view_over_a_view_that_cannot_run_again_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    let low = create_view(&database, "low", those(stream, Operator::Lt, 50));
    let sum = create_view(&database, "sum", total(low));
    let beside = create_view(&database, "beside", total(stream));
    append(&database, stream, 0..100);
    assert_eq!(rows(&database, sum).unwrap(), [1225]);
    close(database);

    let plans = |name: &str| match name {
        "low" => Err(Error::Invalid("its function is gone".into())),
        "sum" => Ok(total(low)),
        _ => Ok(total(stream)),
    };
    let database = open(dir.path(), &plans);
    append(&database, stream, [1000]);
    for view in [low, sum] {
        match rows(&database, view) {
            Err(Error::ViewStopped { reason, .. }) => assert!(reason.contains("its function is gone"), "{reason}"),
            other => panic!("a stopped view answered {other:?}"),
        }
    }
    assert_eq!(rows(&database, beside).unwrap(), [4950 + 1000], "others go on");
    close(database);

    // Once the input runs again, both are rebuilt: what was saved before is not current.
    let database = open(dir.path(), &|name| match name {
        "low" => Ok(those(stream, Operator::Lt, 50)),
        "sum" => Ok(total(low)),
        _ => Ok(total(stream)),
    });
    append(&database, stream, [-5]);
    assert_eq!(rows(&database, sum).unwrap(), [1225 - 5]);
    close(database);
}

/// State saved for another plan, or for a dropped view of the same name, is never read.
#[test]
fn saved_state_belongs_to_one_view_and_one_plan() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    append(&database, stream, 0..100);
    let first = create_view(&database, "v", those(stream, Operator::Lt, 50));
    assert_eq!(rows(&database, first).unwrap().len(), 50);
    close(database);

    // The same object with another plan, as when a newer planner lowers the query in another way.
    let high = |_: &str| Ok(those(stream, Operator::GtEq, 90));
    let expected: Vec<i64> = (90..100).collect();
    let database = open(dir.path(), &high);
    assert_eq!(rows(&database, first).unwrap(), expected);
    close(database);
    let database = open(dir.path(), &high);
    assert_eq!(rows(&database, first).unwrap(), expected, "what the first plan left behind was read back");

    database.drop_objects(&[first]).unwrap();
    let second = create_view(&database, "v", those(stream, Operator::Lt, 3));
    assert_ne!(first, second);
    close(database);
    let low = |_: &str| Ok(those(stream, Operator::Lt, 3));
    let database = open(dir.path(), &low);
    assert_eq!(rows(&database, second).unwrap(), [0, 1, 2]);
    append(&database, stream, [-1]);
    assert_eq!(rows(&database, second).unwrap(), [-1, 0, 1, 2]);
    close(database);
}

/// An older log under a newer store: acknowledged groups are missing, and the open says so instead of serving less.
#[test]
fn a_log_shorter_than_the_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    let view = create_view(&database, "v", total(stream));
    append(&database, stream, 0..10);
    assert_eq!(rows(&database, view).unwrap(), [45]);
    close(database);
    let older = tempfile::tempdir().unwrap();
    copy(&dir.path().join("log"), &older.path().join("log"));

    let plans = |_: &str| Ok(total(stream));
    let database = open(dir.path(), &plans);
    append(&database, stream, [1000]);
    assert_eq!(rows(&database, view).unwrap(), [1045]);
    close(database);
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    copy(&older.path().join("log"), &dir.path().join("log"));
    match Database::open(dir.path(), DatabaseOptions::default(), Arc::new(NoModules)) {
        Err(Error::Internal(reason)) => assert!(reason.contains("acknowledged groups are missing"), "{reason}"),
        other => panic!("a shorter log was taken: {other:?}"),
    }
}

/// A row that cannot be computed, in the second step of a tick: the view says so instead of showing the others, what
/// reads it too, its subscribers are told, and everything beside it is exact. So it is after a restart.
#[test]
fn a_view_with_a_row_that_fails_is_isolated() {
    const ROWS: i64 = 150_000;
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    let bad = create_view(&database, "bad", shares(stream));
    let over = create_view(&database, "over", total(bad));
    let good = create_view(&database, "good", total(stream));
    let mut feed = database.subscribe(bad, SubscribeOptions { snapshot: false }).unwrap();
    append(&database, stream, (1..=ROWS).chain([0]));
    let sum = ROWS * (ROWS + 1) / 2;
    for round in 0..2 {
        assert_eq!(rows(&database, good).unwrap(), [sum + round]);
        for view in [bad, over] {
            assert_failing(&database, view);
        }
        append(&database, stream, [1]);
    }
    let reason = ending(&mut feed).to_string();
    assert!(reason.contains("zero"), "{reason}");
    assert!(matches!(database.subscribe(bad, SubscribeOptions { snapshot: true }), Err(Error::ViewFailing { .. })));
    close(database);

    let plans = |name: &str| match name {
        "bad" => Ok(shares(stream)),
        "over" => Ok(total(bad)),
        _ => Ok(total(stream)),
    };
    let database = open(dir.path(), &plans);
    assert_eq!(rows(&database, good).unwrap(), [sum + 2]);
    for view in [bad, over] {
        assert_failing(&database, view);
    }
    database.drop_objects(&[over, bad]).unwrap();
    close(database);
}

fn assert_failing(database: &Database, view: ObjectId) {
    match rows(database, view) {
        Err(Error::ViewFailing { origin, rows: 1, error, .. }) => {
            assert_eq!((origin.as_str(), error.message.as_str()), ("bad", "division by zero"));
        }
        other => panic!("a view with a row that fails answered {other:?}"),
    }
}

/// The error that ends a feed, after whatever was queued.
fn ending(feed: &mut Subscription) -> Error {
    loop {
        match feed.next(WAIT) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the feed did not end"),
            Err(error) => return error,
        }
    }
}

#[test]
fn dropping_what_is_followed_ends_the_feed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    let view = create_view(&database, "v", total(stream));
    append(&database, stream, [1]);
    let mut alone = database.subscribe(view, SubscribeOptions { snapshot: true }).unwrap();
    database.drop_objects(&[view]).unwrap();
    let error = ending(&mut alone);
    assert!(matches!(&error, Error::NotFound(text) if text == "\"v\" was dropped"), "{error:?}");

    let view = create_view(&database, "w", total(stream));
    let mut with_stream = database.subscribe(view, SubscribeOptions { snapshot: true }).unwrap();
    database.drop_objects(&[stream, view]).unwrap();
    let error = ending(&mut with_stream);
    assert!(matches!(&error, Error::NotFound(text) if text == "\"w\" was dropped"), "{error:?}");
    close(database);
}

/// A reader that keeps up gets a tick whatever its size.
#[test]
fn a_tick_larger_than_the_buffer_does_not_end_a_reader_that_keeps_up() {
    const ROWS: i64 = 10_000_000; // 80 MB of numbers, in one transaction
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    let all = create_view(&database, "all", input(stream));
    let mut feed = database.subscribe(all, SubscribeOptions { snapshot: false }).unwrap();
    append(&database, stream, 0..ROWS);
    let mut seen = 0;
    while seen < ROWS {
        match feed.next(WAIT).expect("the feed goes on") {
            Some(millpond_engine::subscription::Event::Changes { delta, .. }) => seen += delta.rows() as i64,
            Some(_) => {}
            None => panic!("only {seen} rows came"),
        }
    }
    assert_eq!(seen, ROWS);
    close(database);
}

/// A dropped stream's segments stay as long as somebody reads them, and not longer.
#[test]
fn a_scan_outlives_the_drop_of_its_stream() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    append(&database, stream, 0..1000);
    close(database); // seals
    let database = open(dir.path(), &no_views);
    let snapshot = database.snapshot(ReadMode::Strict, WAIT).unwrap();
    let path = |piece: &Piece| match piece {
        Piece::Segment { file, .. } => Some(file.path.clone()),
        Piece::Tail { .. } => None,
    };
    let files: Vec<PathBuf> = snapshot.stream(stream).unwrap().iter().filter_map(path).collect();
    assert_eq!(files.len(), 1, "the rows are in one segment");
    database.drop_objects(&[stream]).unwrap();
    assert!(files[0].exists(), "the snapshot that showed it is still held");
    drop(snapshot);
    assert!(!files[0].exists(), "nobody reads it any more");
    close(database);
    let database = open(dir.path(), &no_views);
    assert!(!files[0].parent().unwrap().exists(), "the next start tidies up");
    close(database);
}
