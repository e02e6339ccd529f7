//! The example, as a user runs it: every SQL file through psql, its views equal to what PostgreSQL answered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use support::{Server, psql, scratch, text};

#[test]
fn the_example_answers_like_postgres() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    for file in ["01-streams.sql", "02-load.sql", "03-module.sql", "04-views.sql"] {
        run(&server, file);
    }
    let expected = std::fs::read_to_string(example().join("expected/queries.txt")).unwrap();
    same(&expected, &run(&server, "expected/queries.sql"), "after loading");
    run(&server, "05-queries.sql");

    server.kill();
    server.restart();
    same(&expected, &run(&server, "expected/queries.sql"), "after kill -9");
    server.stop();
    server.restart();
    same(&expected, &run(&server, "expected/queries.sql"), "after a clean restart");
    server.stop();
}

/// Views first, flights later: maintained instead of backfilled, with the same answers.
#[test]
fn flights_that_arrive_after_the_views_give_the_same() {
    let dir = scratch();
    let server = Server::start(dir.path());
    run(&server, "01-streams.sql");
    for file in ["03-module.sql", "04-views.sql", "02-load.sql"] {
        run(&server, file);
    }
    let expected = std::fs::read_to_string(example().join("expected/queries.txt")).unwrap();
    same(&expected, &run(&server, "expected/queries.sql"), "loaded last");
    assert_eq!(server.psql("SELECT sum(n) FROM (SELECT flight.delay_class(dep_delay) AS class, count(*) AS n FROM flights GROUP BY 1) AS c"), "12208");
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights")
}

fn run(server: &Server, file: &str) -> String {
    let mut command = server.psql_command();
    command.args(["-q", "-v", "ON_ERROR_STOP=1", "-f", file]).current_dir(example());
    let output = psql(&mut command, "");
    assert!(output.status.success(), "{file}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn same(expected: &str, found: &str, when: &str) {
    let differs = |(number, (expected, found)): (usize, (&str, &str))| {
        (expected != found).then(|| format!("line {}: expected {expected}, found {found}", number + 1))
    };
    let lines: Vec<String> = expected.lines().zip(found.lines()).enumerate().filter_map(differs).take(10).collect();
    let counts = (expected.lines().count(), found.lines().count());
    assert!(
        lines.is_empty() && counts.0 == counts.1,
        "{when}: {counts:?} lines (expected, found)\n{}",
        lines.join("\n")
    );
}
