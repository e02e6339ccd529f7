//! The database over a log on a simulated disk: what the log has is what the process, and its restart, say.

use super::*;
use crate::env::SimEnv;
use crate::log::Record;
use crate::state::StateReader;
use crate::store::{CatalogChange, to_json};
use crate::{Epoch, Offset, PartitionId};
use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::atomic::AtomicBool;
const WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct NoModules;

impl ModuleHost for NoModules {
    fn load(&self, _: &[u8]) -> Result<Arc<dyn Module>> {
        Err(Error::Unsupported("no modules here".into()))
    }
}

/// The log is simulated; the store is below `dir`.
fn open(env: &SimEnv, dir: &Path) -> Result<Arc<Database>> {
    let log = LogOptions { wal_segment_bytes: 8192, background_sealing: false, ..LogOptions::default() };
    let options = DatabaseOptions { log, ..DatabaseOptions::default() };
    let database = Database::open_with(Arc::new(env.clone()), dir, options, Arc::new(NoModules))?;
    for view in database.detached_views() {
        database.attach_view(view.id, Ok(all_of(inputs_of(&view)[0])));
    }
    database.start()?;
    Ok(database)
}

/// As `kill -9`: the log's disk is gone before anything can be tidied.
fn kill(env: &SimEnv, database: Arc<Database>) -> SimEnv {
    let next = env.crash();
    let _ = database.shutdown();
    assert_eq!(Arc::strong_count(&database), 1, "nothing keeps the store open");
    next
}

fn columns() -> Vec<Column> {
    vec![Column { name: "n".into(), data_type: DataType::Int64, nullable: false }]
}

fn table(name: &str) -> Create {
    Create::Table { name: name.into(), columns: columns(), key: vec![0], definition: String::new() }
}

fn stream(name: &str) -> Create {
    Create::Stream { name: name.into(), columns: columns(), partitions: 1, key: vec![], definition: String::new() }
}

/// The plan of every view here.
fn all_of(object: ObjectId) -> Plan {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    Plan::Input { object, columns: vec![0], schema }
}

fn create_view(database: &Database, name: &str, of: ObjectId) -> Result<ObjectId> {
    let (columns, plan, definition) = (columns(), all_of(of), String::new());
    let view = CreateView { name: name.into(), columns, plan, definition, modules: vec![] };
    database.create_view(view, &AtomicBool::new(false), &|_| {})
}

fn append(database: &Arc<Database>, stream: ObjectId, rows: i64) -> Result<Epoch> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let mut transaction = database.transaction();
    transaction.append(stream, RecordBatch::try_from_iter(vec![("n", column)]).unwrap())?;
    transaction.commit()
}

fn names(database: &Database) -> Vec<String> {
    database.catalog().objects().map(|object| object.name.clone()).collect()
}

#[test]
fn a_change_that_the_store_refuses_ends_the_process_and_is_there_after_a_restart() {
    let (dir, env) = (tempfile::tempdir().unwrap(), SimEnv::new(1));
    let database = open(&env, dir.path()).unwrap();
    let gone = database.create(stream("gone")).unwrap();
    database.store.failing.store(true, Ordering::Relaxed);
    assert!(matches!(database.create(table("t")), Err(Error::Stopped(_))));
    assert_eq!(env.fatal_messages().len(), 1, "the process would have ended");
    assert!(matches!(database.create(table("t")), Err(Error::Stopped(_))), "a second record of the name");
    let env = kill(&env, database);

    let database = open(&env, dir.path()).unwrap();
    assert_eq!(names(&database), ["gone", "t"]);
    database.store.failing.store(true, Ordering::Relaxed);
    assert!(matches!(database.drop_objects(&[gone]), Err(Error::Stopped(_))));
    let env = kill(&env, database);
    let database = open(&env, dir.path()).unwrap();
    assert_eq!(names(&database), ["t"]);
    assert_eq!(database.log.streams().len(), 1);
    kill(&env, database);
}

/// Servers before the rule above could leave two records of one name.
#[test]
fn two_objects_of_one_name_do_not_keep_the_directory_shut() {
    let (dir, env) = (tempfile::tempdir().unwrap(), SimEnv::new(2));
    let database = open(&env, dir.path()).unwrap();
    let first = database.create(stream("s")).unwrap();
    let second = ObjectId(first.0 + 1);
    database.log.create_stream(second, &columns(), 1).unwrap();
    let twin = Object { id: second, ..(**database.catalog().by_id(first).unwrap()).clone() };
    database.log.commit(vec![Record::Catalog(to_json(&CatalogChange::Create(twin)).unwrap())]).unwrap();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter(vec![("n", column)]).unwrap();
    database.log.commit(vec![Record::Append { stream: second, partition: PartitionId(0), batch }]).unwrap();
    let mut env = kill(&env, database);
    for _ in 0..2 {
        let database = open(&env, dir.path()).unwrap();
        assert_eq!(names(&database), ["s".to_owned(), format!("s (object {second})")]);
        assert_eq!(database.log.cut().uppers[&second], [Offset(3)], "its rows are kept");
        env = kill(&env, database);
    }
    let database = open(&env, dir.path()).unwrap();
    database.drop_objects(&[first]).unwrap();
    let env = kill(&env, database);
    let database = open(&env, dir.path()).unwrap();
    assert_eq!(names(&database), ["s"]);
    kill(&env, database);
}

/// A tick that failed leaves the published catalog behind: no change may start from it.
#[test]
fn nothing_is_created_or_dropped_after_half_a_tick() {
    let (dir, env) = (tempfile::tempdir().unwrap(), SimEnv::new(3));
    let database = open(&env, dir.path()).unwrap();
    let id = database.create(table("t")).unwrap();
    let graph = database.graph.lock();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from(vec![1]))),
        (crate::input::WEIGHT_COLUMN, Arc::new(Int8Array::from(vec![1]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    database.log.commit(vec![Record::Append { stream: id, partition: PartitionId(0), batch }]).unwrap();
    database.log.seal_all().unwrap();
    let log_dir = std::fs::canonicalize(dir.path()).unwrap().join("log/streams").join(id.to_string());
    let segment = env.list(&log_dir).unwrap().into_iter().find(|name| name.ends_with(".parquet")).unwrap();
    let path = log_dir.join(segment);
    let bytes = env.open(&path).unwrap().len().unwrap();
    env.flip_bit(&path, bytes - 1, 0);
    drop(graph);
    assert!(database.snapshot(ReadMode::Strict, WAIT).is_err(), "the tick cannot read the segment");

    let epoch = database.log.epoch();
    for change in [database.create(table("t2")).map(|_| ()), database.drop_objects(&[id])] {
        assert!(matches!(change, Err(Error::Internal(_))), "{change:?}");
    }
    assert_eq!(database.log.epoch(), epoch, "nothing of it is in the log");
    kill(&env, database);
}

/// What a failed checkpoint collected goes with the next one, but for what was dropped in between.
#[test]
fn a_drop_reaches_state_that_a_failed_checkpoint_collected() {
    let (dir, env) = (tempfile::tempdir().unwrap(), SimEnv::new(5));
    let database = open(&env, dir.path()).unwrap();
    let stream = database.create(stream("s")).unwrap();
    let views = ["kept", "gone"].map(|name| create_view(&database, name, stream).unwrap());
    append(&database, stream, 5).unwrap();
    database.snapshot(ReadMode::Strict, WAIT).unwrap();
    database.store.failing.store(true, Ordering::Relaxed);
    assert!(database.checkpoint().is_err());
    database.store.failing.store(false, Ordering::Relaxed);
    database.drop_objects(&views[1..]).unwrap();
    database.checkpoint().unwrap();
    let saved = views.map(|view| {
        let mut records = 0;
        let visit = &mut |_: &[u8], _: &[u8]| {
            records += 1;
            Ok(())
        };
        database.store.state(view).scan(&[], visit).unwrap();
        records
    });
    assert!(saved[0] > 0 && saved[1] == 0, "{saved:?} records");
    kill(&env, database);
}

/// Who follows the views must hear that nothing will come any more, and the tick thread must not spin.
#[test]
fn a_log_that_stops_ends_the_ticks() {
    let (dir, env) = (tempfile::tempdir().unwrap(), SimEnv::new(4));
    let database = open(&env, dir.path()).unwrap();
    let id = database.create(table("t")).unwrap();
    let mut feed = database.subscribe(id, SubscribeOptions { snapshot: false }).unwrap();
    env.fail_sync_after(0);
    assert!(matches!(database.log.commit(vec![Record::Catalog(vec![])]), Err(Error::Stopped(_))));
    let error = loop {
        match feed.next(WAIT) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the feed did not end"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("the log stopped"), "{error}");
    kill(&env, database);
}

/// Changes made one after the other, the catalog after each, and the number that was acknowledged.
const CATALOGS: [&[&str]; 4] = [&["old"], &["old", "new"], &["old", "new", "view"], &["new", "view"]];

fn change_until_it_fails(database: &Arc<Database>, old: ObjectId) -> usize {
    let Ok(new) = database.create(stream("new")) else { return 0 };
    if append(database, new, 5).is_err() || create_view(database, "view", new).is_err() {
        return 1;
    }
    if database.drop_objects(&[old]).is_err() { 2 } else { 3 }
}

#[test]
fn a_power_cut_at_each_step_of_ddl_leaves_whole_objects() {
    for step in 0.. {
        let (dir, env) = (tempfile::tempdir().unwrap(), SimEnv::new(step));
        let database = open(&env, dir.path()).unwrap();
        let old = database.create(stream("old")).unwrap();
        append(&database, old, 3).unwrap();
        env.cut_power_after(step);
        let done = change_until_it_fails(&database, old);
        let was_cut = env.is_dead();
        let env = kill(&env, database);

        let database = open(&env, dir.path()).unwrap_or_else(|e| panic!("step {step}: {e}"));
        let found = names(&database);
        let may_be = &CATALOGS[done..(done + 2).min(CATALOGS.len())];
        assert!(may_be.iter().any(|names| *names == found), "step {step}: {done} changes acknowledged, {found:?}");
        let rows = |name: &str| {
            let id = database.catalog().get(name)?.id;
            Some(database.log.cut().uppers[&id][0].0)
        };
        assert!(rows("old").is_none_or(|n| n == 3), "step {step}");
        assert!(rows("new").is_none_or(|n| n == 5 || done < 2 && n == 0), "step {step}: {:?}", rows("new"));
        let snapshot = database.snapshot(ReadMode::Strict, WAIT).unwrap();
        if let Some(view) = snapshot.catalog.get("view") {
            assert_eq!(snapshot.row_count(view.id), Some(5), "step {step}");
        }
        let streams = found.iter().filter(|name| *name != "view").count();
        assert_eq!(database.log.streams().len(), streams, "step {step}: nothing is left over");
        drop(snapshot);
        kill(&env, database);
        if !was_cut {
            assert!(step > 20, "it has more steps than that");
            return;
        }
    }
}
