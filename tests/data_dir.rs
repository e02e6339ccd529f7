//! The data directory as the command line gives it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use support::{Server, scratch};

/// Sealed segments are files that DataFusion opens by URL, which has no place for a relative path; and a path with
/// characters that URLs escape must be found as it is.
#[test]
fn sealed_segments_are_read_below_a_relative_directory() {
    for relative in ["data", "./da ta/100%25 #1?", "../over/there"] {
        let dir = scratch();
        let working_dir = dir.path().join("here");
        std::fs::create_dir(&working_dir).unwrap();
        let mut server = Server::start_from(&working_dir, Path::new(relative), &[]);
        server.psql(
            "CREATE STREAM s (n bigint, t text);
             CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(n) AS total FROM s;
             INSERT INTO s SELECT value, 'x' FROM generate_series(1, 1000) AS g(value);",
        );
        server.stop(); // seals
        let segments = working_dir.join(relative).join("log/streams");
        assert!(!parquet(&segments).is_empty(), "nothing was sealed below {}", segments.display());
        let mut server = Server::start_from(&working_dir, Path::new(relative), &[]);
        assert_eq!(server.psql("SELECT count(*), sum(n), min(t) FROM s"), "1000|500500|x", "{relative}");
        assert_eq!(server.psql("SELECT n FROM s WHERE n > 998 ORDER BY n"), "999\n1000", "{relative}");
        assert_eq!(server.psql("SELECT n, total FROM v"), "1000|500500", "{relative}");
        server.psql("CREATE MATERIALIZED VIEW late AS SELECT max(n) AS m FROM s");
        assert_eq!(server.psql("SELECT m FROM late"), "1000", "{relative}");
        server.stop();
    }
}

/// Each start seals what the last one wrote. A query reads the segments it needs, and of a damaged one says so; others are
/// answered as before.
#[test]
fn a_damaged_segment_is_reported_by_queries_that_need_it() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    server.psql("CREATE STREAM s (n bigint, t text)");
    for hundred in 0..3 {
        let (first, last) = (hundred * 100, hundred * 100 + 99);
        server.psql(&format!("INSERT INTO s SELECT value, 'x' FROM generate_series({first}, {last}) AS g(value)"));
        server.stop(); // seals
        server.restart();
    }
    let between = server.psql("SELECT min(_append_ts), max(_append_ts) FROM s WHERE n >= 100 AND n < 200");
    let (from, to) = between.split_once('|').unwrap();
    server.stop();
    let mut segments = parquet(&dir.path().join("log/streams"));
    segments.sort();
    assert_eq!(segments.len(), 3, "{segments:?}");
    let mut bytes = std::fs::read(&segments[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segments[1], bytes).unwrap();
    server.restart();
    let sum = |condition: &str| format!("SELECT count(n), sum(n) FROM s WHERE {condition}");
    let earlier = format!("_append_ts < '{from}'");
    for condition in
        ["_offset < 100", "_offset BETWEEN 200 AND 299 AND n > 0", "_offset = 250 OR _offset < 99", &earlier]
    {
        let answer = server.psql(&sum(condition));
        assert!(answer.starts_with("100|"), "{condition}: {answer}");
    }
    assert_eq!(server.psql(&sum("_partition = 1")), "0|");
    let range = format!("_append_ts BETWEEN '{from}' AND '{to}'");
    for condition in ["true", "_offset = 150", "_offset < 101", "n < 0", &range] {
        assert_eq!(server.psql_error(&sum(condition)), "XX001", "{condition}");
    }
    assert_eq!(server.psql_error("CREATE MATERIALIZED VIEW v AS SELECT sum(n) FROM s"), "XX001");
    server.stop();
}

/// The segments below a directory.
fn parquet(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    files.into_iter().filter(is_segment).chain(dirs.iter().flat_map(|dir| parquet(dir))).collect()
}
