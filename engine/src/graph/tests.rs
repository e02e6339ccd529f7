//! The graph where only its inside can make the trouble: a log that cannot be read amid a tick, and a tap that overflows.

use super::*;
use crate::PartitionId;
use crate::catalog::Column;
use crate::env::{Env, SimEnv};
use crate::input::STEP_ROWS;
use crate::log::{LogOptions, Record};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use std::path::{Path, PathBuf};

const FIRST: ObjectId = ObjectId(1);
const SECOND: ObjectId = ObjectId(2);
const VIEW: ObjectId = ObjectId(3);

fn column() -> Column {
    Column { name: "n".into(), data_type: DataType::Int64, nullable: true }
}

fn numbers(rows: usize) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let column: ArrayRef = Arc::new(Int64Array::from(vec![7; rows]));
    RecordBatch::try_new(schema, vec![column]).unwrap()
}

fn object(id: ObjectId, kind: ObjectKind) -> Arc<Object> {
    let (name, definition) = (format!("o{id}"), String::new());
    Arc::new(Object { id, name, kind, columns: vec![column()], definition, modules: vec![] })
}

fn open(env: &SimEnv) -> Log {
    let options = LogOptions { background_sealing: false, ..LogOptions::default() };
    Log::open(Arc::new(env.clone()), Path::new("/db"), options).unwrap().0
}

fn append(log: &Log, stream: ObjectId, rows: usize) {
    log.commit(vec![Record::Append { stream, partition: PartitionId(0), batch: numbers(rows) }]).unwrap();
}

/// Two streams and a view of all rows of both.
fn graph() -> Graph {
    let stream = |id| object(id, ObjectKind::Stream { partitions: 1, key: vec![] });
    let view = object(VIEW, ObjectKind::View { append_only: true, inputs: vec![FIRST, SECOND] });
    let objects = [stream(FIRST), stream(SECOND), view.clone()];
    let catalog = objects.iter().map(|object| object.as_ref().clone()).collect();
    let mut graph = Graph::new(Arc::new(Catalog::from_objects(catalog, HashMap::new())));
    graph.add_source(objects[0].clone(), None);
    graph.add_source(objects[1].clone(), None);
    let input = |object| Plan::Input { object, columns: vec![0], schema: view.schema() };
    let plan = Plan::UnionAll { inputs: vec![input(FIRST), input(SECOND)], schema: view.schema() };
    let state = ViewState::new(&view, &plan, &|_| true, 7).unwrap();
    graph.add_view(view, state);
    graph
}

/// The first step of the tick went through, the second cannot be read: the view is ahead of the cut, so from then on
/// nothing is shown, saved or moved.
#[test]
fn a_tick_that_ends_halfway_is_never_shown_or_saved() {
    let env = SimEnv::new(1);
    let log = open(&env);
    log.create_stream(FIRST, &[column()], 1).unwrap();
    log.create_stream(SECOND, &[column()], 1).unwrap();
    append(&log, SECOND, 10);
    log.seal_all().unwrap();
    append(&log, FIRST, STEP_ROWS as usize);
    let mut graph = graph();
    let view = graph.catalog.by_id(VIEW).unwrap().clone();
    let (mut feed, subscriber) = crate::subscription::Subscription::start(view.schema(), graph.epoch, None);
    graph.subscribe(VIEW, subscriber);
    env.remove_file(&segment(&env, SECOND)).unwrap();

    assert!(graph.tick(&log, &log.cut()).is_err(), "a segment is missing");
    assert_eq!((graph.epoch, graph.uppers.len()), (Epoch(0), 0), "the cut did not move");
    let told = feed.next(std::time::Duration::ZERO);
    assert!(matches!(told, Ok(Some(crate::subscription::Event::Progress { epoch: Epoch(0) }))), "{told:?}");
    let halfway = |result: Result<()>| {
        let error = result.expect_err("the graph is not whole").to_string();
        assert!(error.contains("halfway"), "{error}");
    };
    halfway(graph.check_whole());
    halfway(graph.tick(&log, &log.cut()));
    let dir = tempfile::tempdir().unwrap();
    let store = crate::store::Store::open(dir.path(), 7).unwrap();
    let mut writer = store.checkpoint_writer();
    halfway(graph.save(&mut writer).map(|_| ()));
}

fn segment(env: &SimEnv, stream: ObjectId) -> PathBuf {
    let dir = Path::new("/db/streams").join(stream.to_string());
    let name = env.list(&dir).unwrap().into_iter().find(|name| name.ends_with(".parquet"));
    dir.join(name.expect("a segment"))
}

/// What waits for a view under construction is bounded; when it is too much the view is given up, not the memory.
#[test]
fn a_tap_that_is_not_drained_overflows_and_is_freed() {
    let mut graph = graph();
    let tap = graph.tap(&[VIEW]);
    // Clones share their memory and count in full.
    let delta = Delta::inserts(numbers(1 << 20));
    let bytes = delta.bytes();
    let step = Step::from([(VIEW, vec![delta.clone()]), (FIRST, vec![delta])]);
    for _ in 0..TAP_BYTES_MAX / bytes {
        tap.collect(&step);
    }
    assert_eq!(tap.drain().unwrap().len(), TAP_BYTES_MAX / bytes, "up to the bound all is there");
    assert_eq!(tap.drain().unwrap().len(), 0);
    for _ in 0..=TAP_BYTES_MAX / bytes {
        tap.collect(&step);
    }
    assert_eq!(tap.collected.lock().steps.len(), 0, "freed at once");
    assert!(matches!(tap.drain(), Err(Error::Limit(_))));
    tap.collect(&step);
    assert!(matches!(tap.drain(), Err(Error::Limit(_))), "what was lost does not come back");
}

/// One tick's changes are kept for its readers up to a bound, beyond which these are told.
#[test]
fn a_tick_that_changes_too_much_ends_the_readers() {
    let mut graph = graph();
    let view = graph.catalog.by_id(VIEW).unwrap().clone();
    let (mut feed, subscriber) = crate::subscription::Subscription::start(view.schema(), Epoch(0), None);
    graph.subscribe(VIEW, subscriber);
    let delta = Delta::inserts(numbers(1 << 20));
    let count = TICK_BYTES_MAX / delta.bytes() + 1;
    let node = graph.nodes.get_mut(&VIEW).unwrap();
    node.keep(std::iter::repeat_n(&delta, count));
    assert!(node.changes.is_empty(), "freed at once");
    node.publish(Epoch(1));
    let ended = feed.next(std::time::Duration::ZERO);
    assert!(matches!(&ended, Err(Error::Limit(text)) if text.contains("one tick")), "{ended:?}");
}
