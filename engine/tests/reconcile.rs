//! Log and store of one data directory that do not belong together: refused by name, and nothing is removed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use millpond_engine::database::{Database, DatabaseOptions, ReadMode};
use millpond_engine::{Error, ObjectId};
use std::path::Path;
use std::sync::Arc;
use support::{NoModules, WAIT, append, close, copy, create_stream, no_views, open};

/// Why `dir` does not open.
fn refused(dir: &Path) -> String {
    match Database::open(dir, DatabaseOptions::default(), Arc::new(NoModules)) {
        Err(error @ Error::Corrupt { .. }) => error.to_string(),
        other => panic!("it was opened: {other:?}"),
    }
}

fn rows(database: &Database, stream: ObjectId) -> u64 {
    let snapshot = database.snapshot(ReadMode::Strict, WAIT).unwrap();
    snapshot.stream(stream).unwrap().iter().map(|piece| piece.offsets().end.0 - piece.offsets().start.0).sum()
}

fn stream_dir(dir: &Path, stream: ObjectId) -> std::path::PathBuf {
    dir.join("log/streams").join(stream.to_string())
}

#[test]
fn a_lost_store_does_not_take_the_data_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    append(&database, stream, 0..1000);
    close(database);
    let (store, aside) = (dir.path().join("store"), dir.path().join("aside"));
    std::fs::rename(&store, &aside).unwrap();
    for _ in 0..2 {
        let reason = refused(dir.path());
        assert!(reason.contains("epoch 0") && reason.contains("Put back"), "{reason}");
        assert!(!store.exists(), "an empty store would stand in the way of the real one");
    }
    std::fs::rename(&aside, &store).unwrap();
    let database = open(dir.path(), &no_views);
    assert_eq!(rows(&database, stream), 1000);
    close(database);
}

#[test]
fn an_older_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let first = create_stream(&database, "first");
    append(&database, first, 0..10);
    close(database);
    let older = tempfile::tempdir().unwrap();
    copy(&dir.path().join("store"), older.path());
    let database = open(dir.path(), &no_views);
    let second = create_stream(&database, "second");
    append(&database, second, 0..20);
    close(database);

    std::fs::rename(dir.path().join("store"), dir.path().join("aside")).unwrap();
    copy(older.path(), &dir.path().join("store"));
    let reason = refused(dir.path());
    assert!(reason.contains("older than the log"), "{reason}");
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    std::fs::rename(dir.path().join("aside"), dir.path().join("store")).unwrap();
    let database = open(dir.path(), &no_views);
    assert_eq!((rows(&database, first), rows(&database, second)), (10, 20));
    close(database);
}

/// As long as the log holds every change of the catalog, it is enough by itself.
#[test]
fn a_log_that_is_whole_makes_a_new_store() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let gone = create_stream(&database, "gone");
    append(&database, gone, 0..10);
    database.drop_objects(&[gone]).unwrap();
    let stream = create_stream(&database, "s");
    append(&database, stream, 0..10);
    let other = tempfile::tempdir().unwrap();
    copy(&dir.path().join("log"), &other.path().join("log"));
    close(database);
    let database = open(other.path(), &no_views);
    assert_eq!(rows(&database, stream), 10);
    assert_eq!(database.catalog().objects().count(), 1);
    close(database);
}

/// A log without an owner goes if its drop is known, and only then.
#[test]
fn an_orphan_with_rows_goes_only_if_it_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    let stream = create_stream(&database, "s");
    append(&database, stream, 0..1000);
    close(database);
    let files = tempfile::tempdir().unwrap();
    copy(&stream_dir(dir.path(), stream), files.path());
    let database = open(dir.path(), &no_views);
    database.drop_objects(&[stream]).unwrap();
    close(database);
    assert!(!stream_dir(dir.path(), stream).exists());

    copy(files.path(), &stream_dir(dir.path(), stream));
    close(open(dir.path(), &no_views));
    assert!(!stream_dir(dir.path(), stream).exists(), "a drop that was cut short is finished");

    copy(files.path(), &stream_dir(dir.path(), stream));
    let reason = refused(dir.path());
    assert!(reason.contains(&format!("records of objects {stream}")), "{reason}");
    assert!(stream_dir(dir.path(), stream).join("manifest-1.json").exists(), "nothing was removed");
}

#[test]
fn damage_inside_the_stores_own_log_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &no_views);
    for i in 0..20 {
        create_stream(&database, &format!("s{i}"));
    }
    close(database);
    let logs = std::fs::read_dir(dir.path().join("store")).unwrap().map(|entry| entry.unwrap().path());
    let logs: Vec<_> = logs.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    assert_eq!(logs.len(), 1);
    let mut bytes = std::fs::read(&logs[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&logs[0], &bytes).unwrap();
    let reason = refused(dir.path());
    assert!(reason.contains("The catalog is damaged"), "{reason}");
}
