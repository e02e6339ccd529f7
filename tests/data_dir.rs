//! The data directory as the command line gives it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;
use support::{Server, scratch};

/// Sealed segments are files that DataFusion opens by URL, which has no place for a relative path; and a path with
/// characters that URLs escape must be found as it is.
#[test]
fn sealed_segments_are_read_below_a_relative_directory() {
    for relative in ["data", "./da ta/100%25 #1?", "../over/there"] {
        let dir = scratch();
        let working_dir = dir.path().join("here");
        std::fs::create_dir(&working_dir).unwrap();
        let mut server = Server::start_from(&working_dir, Path::new(relative));
        server.psql(
            "CREATE STREAM s (n bigint, t text);
             CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(n) AS total FROM s;
             INSERT INTO s SELECT value, 'x' FROM generate_series(1, 1000) AS g(value);",
        );
        server.stop(); // seals
        let segments = working_dir.join(relative).join("log/streams");
        assert!(contains_parquet(&segments), "nothing was sealed below {}", segments.display());
        let mut server = Server::start_from(&working_dir, Path::new(relative));
        assert_eq!(server.psql("SELECT count(*), sum(n), min(t) FROM s"), "1000|500500|x", "{relative}");
        assert_eq!(server.psql("SELECT n FROM s WHERE n > 998 ORDER BY n"), "999\n1000", "{relative}");
        assert_eq!(server.psql("SELECT n, total FROM v"), "1000|500500", "{relative}");
        server.psql("CREATE MATERIALIZED VIEW late AS SELECT max(n) AS m FROM s");
        assert_eq!(server.psql("SELECT m FROM late"), "1000", "{relative}");
        server.stop();
    }
}

fn contains_parquet(dir: &Path) -> bool {
    std::fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        path.extension().is_some_and(|extension| extension == "parquet") || path.is_dir() && contains_parquet(&path)
    })
}
