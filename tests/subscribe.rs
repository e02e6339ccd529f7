//! `COPY (SUBSCRIBE v) TO STDOUT`: a snapshot, then every change with its epoch and weight.
//!
//! Whatever moments the reader meets, adding up weights gives the view; epochs never go back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use futures::StreamExt;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use support::client::connect;
use support::{Server, scratch};

/// Longer than any healthy answer takes; only a hang gets here.
const HANG: Duration = Duration::from_secs(60);

const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, k text, x int);
    CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n, sum(x) AS s FROM t GROUP BY k;
    INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 3), (4, NULL, 4);
";

#[test]
fn snapshot_then_changes_add_up_to_the_view() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let mut feed = Feed::open(&server, "COPY (SUBSCRIBE v) TO STDOUT");
    feed.read_until(&[("a\t2\t3", 1), ("b\t1\t3", 1), ("\\N\t1\t4", 1)]);
    server.psql("INSERT INTO t VALUES (5, 'b', 10)");
    server.psql("UPDATE t SET k = 'c' WHERE id = 1; DELETE FROM t WHERE id = 4;");
    feed.read_until(&[("a\t1\t2", 1), ("b\t2\t13", 1), ("c\t1\t1", 1)]);
    server.psql("BEGIN; DELETE FROM t; INSERT INTO t VALUES (9, 'z', 9); COMMIT;");
    feed.read_until(&[("z\t1\t9", 1)]);
    let epochs = feed.lines.iter().map(|line| line.epoch).collect::<Vec<_>>();
    assert!(epochs.is_sorted(), "epochs went back: {epochs:?}");
    let last = *epochs.last().unwrap();
    let of_last: i64 = feed.lines.iter().filter(|line| line.epoch == last).map(|line| line.weight).sum();
    assert_eq!(of_last, 1 - 3, "a transaction's changes carry one epoch");
}

#[test]
fn without_snapshot_only_changes_come() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let mut feed = Feed::open(&server, "COPY (SUBSCRIBE v WITH (snapshot = false, progress)) TO STDOUT");
    feed.read_while(|feed| feed.progressed.is_empty());
    assert!(feed.lines.is_empty(), "the rows that were there came: {:?}", feed.lines);
    server.psql("INSERT INTO t VALUES (7, 'q', 7)");
    feed.read_until(&[("q\t1\t7", 1)]);
}

#[test]
fn progress_closes_epochs() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let mut feed = Feed::open(&server, "COPY (SUBSCRIBE v WITH (progress)) TO STDOUT");
    for id in 10..30 {
        server.psql(&format!("INSERT INTO t VALUES ({id}, 'p', 1)"));
    }
    feed.read_while(|feed| feed.sum().get("p\t20\t20") != Some(&1));
    let changed = feed.lines.last().unwrap().epoch;
    feed.read_while(|feed| feed.progressed.last().is_none_or(|epoch| *epoch < changed));
    assert!(feed.progressed.is_sorted(), "progress went back: {:?}", feed.progressed);
}

#[test]
fn a_table_can_be_followed_too() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let mut feed = Feed::open(&server, "COPY (SUBSCRIBE t) TO STDOUT");
    server.psql("UPDATE t SET x = 100 WHERE id = 1; DELETE FROM t WHERE id IN (2, 3, 4);");
    feed.read_until(&[("1\ta\t100", 1)]);
}

/// What a transaction undoes itself is no change: not of the table, not of the view.
#[test]
fn a_transaction_shows_its_sum() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let feed_of = |name: &str| {
        Feed::open(&server, &format!("COPY (SUBSCRIBE {name} WITH (snapshot = false, progress)) TO STDOUT"))
    };
    let (mut table, mut view) = (feed_of("t"), feed_of("v"));
    for feed in [&mut table, &mut view] {
        feed.read_while(|feed| feed.progressed.is_empty()); // it follows
    }
    server.psql(
        "BEGIN;
         INSERT INTO t VALUES (50, 'gone', 1); UPDATE t SET x = 2 WHERE id = 50; DELETE FROM t WHERE id = 50;
         DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'a', 1);
         UPDATE t SET x = 20 WHERE id = 2; UPDATE t SET x = 30 WHERE id = 2;
         SAVEPOINT s; DELETE FROM t; ROLLBACK TO s;
         DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (3, 'b', 33);
         COMMIT;
         INSERT INTO t VALUES (60, 'end', 0);",
    );
    table.read_while(|feed| !feed.sum().contains_key("60\tend\t0"));
    view.read_while(|feed| !feed.sum().contains_key("end\t1\t0"));
    let mut changes: Vec<(i64, &str)> = table.lines.iter().map(|line| (line.weight, line.row.as_str())).collect();
    changes.sort();
    let expected = [(-1, "2\ta\t2"), (-1, "3\tb\t3"), (1, "2\ta\t30"), (1, "3\tb\t33"), (1, "60\tend\t0")];
    assert_eq!(changes, expected);
    assert_eq!(view.lines.len(), 5, "{:?}", view.lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_it_and_the_connection_lives() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let client = connect(&server).await;
    let mut copy = Box::pin(client.copy_out("COPY (SUBSCRIBE v) TO STDOUT").await.expect("the feed opens"));
    let mut seen = String::new();
    while seen.lines().count() < 3 {
        let chunk =
            tokio::time::timeout(HANG, copy.next()).await.expect("the snapshot comes").expect("the feed goes on");
        seen.push_str(&String::from_utf8_lossy(&chunk.expect("no error yet")));
    }
    client.cancel_token().cancel_query(tokio_postgres::NoTls).await.expect("cancel is sent");
    let error = loop {
        let next = tokio::time::timeout(HANG, copy.next()).await.expect("cancel is heard");
        if let Err(error) = next.expect("a cancelled feed ends with an error") {
            break error;
        }
    };
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    drop(copy);
    let row = client.query_one("SELECT 1", &[]).await.expect("the connection is usable");
    assert_eq!(row.get::<_, i32>(0), 1);
}

#[test]
fn dropping_what_is_followed_ends_the_feed_with_its_name() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let mut feed = Feed::open(&server, "COPY (SUBSCRIBE v) TO STDOUT");
    feed.read_while(|feed| feed.lines.len() < 3);
    server.psql("DROP MATERIALIZED VIEW v");
    feed.ends_with("\"v\" was dropped");
    let mut feed = Feed::open(&server, "COPY (SUBSCRIBE t) TO STDOUT");
    feed.read_while(|feed| feed.lines.len() < 4);
    assert_eq!(server.psql("SELECT count(*) FROM t"), "4");
    server.psql("DROP TABLE t");
    feed.ends_with("\"t\" was dropped");
}

/// A reader that stops reading costs a bounded amount of memory, however much the view changes.
#[test]
fn a_slow_reader_does_not_grow_the_server() {
    const ROWS: u64 = 2_000;
    const ROUNDS: u64 = 150; // each changes ROWS rows of about 500 bytes, before and after: 300 MB in all
    const GROWTH_KIB_MAX: u64 = 160 * 1024;
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(&format!(
        "CREATE TABLE wide (id int PRIMARY KEY, x int, payload text);
         CREATE MATERIALIZED VIEW w AS SELECT id, x, payload FROM wide;
         INSERT INTO wide SELECT value, 0, repeat('millpond', 60) FROM generate_series(1, {ROWS}) AS g(value);"
    ));
    let churn = "UPDATE wide SET x = x + 1;\n".repeat(ROUNDS as usize);
    server.psql(&churn); // what the log and the view need by themselves
    let before_kib = server.resident_kib();
    let mut child = subscribe(&server, "COPY (SUBSCRIBE w) TO STDOUT");
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    assert!(!first.is_empty(), "the feed started");
    server.psql(&churn);
    let grown_kib = server.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < GROWTH_KIB_MAX, "a reader that does not read cost {grown_kib} KiB");
    assert_eq!(server.psql("SELECT count(*), min(x), max(x) FROM w"), format!("{ROWS}|{0}|{0}", 2 * ROUNDS));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(server.psql("SELECT 1"), "1");
}

#[derive(Debug)]
struct Line {
    epoch: u64,
    weight: i64,
    row: String,
}

/// A psql that follows something; its lines arrive as they are printed.
struct Feed {
    child: Child,
    receiver: Receiver<String>,
    with_progress: bool,
    lines: Vec<Line>,
    /// Epochs that were declared complete, in order of arrival.
    progressed: Vec<u64>,
}

impl Feed {
    fn open(server: &Server, sql: &str) -> Feed {
        let mut child = subscribe(server, sql);
        let stdout = child.stdout.take().unwrap();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        Feed { child, receiver, with_progress: sql.contains("progress"), lines: vec![], progressed: vec![] }
    }

    /// Reads until the weights add up to exactly these rows.
    fn read_until(&mut self, expected: &[(&str, i64)]) {
        let expected: BTreeMap<String, i64> =
            expected.iter().map(|(row, weight)| ((*row).to_owned(), *weight)).collect();
        self.read_while(|feed| feed.sum() != expected);
    }

    fn read_while(&mut self, condition: impl Fn(&Feed) -> bool) {
        while condition(self) {
            let line = self.receiver.recv_timeout(HANG);
            let line =
                line.unwrap_or_else(|_| panic!("nothing more came; so far: {:?} {:?}", self.lines, self.progressed));
            self.take(&line);
        }
    }

    /// `epoch weight [progressed] columns…`, separated by tabs.
    fn take(&mut self, line: &str) {
        let (epoch, rest) = line.split_once('\t').expect("an epoch");
        let epoch: u64 = epoch.parse().expect("an epoch is a number");
        let closed = self.progressed.last().copied();
        assert!(
            closed.is_none_or(|closed| epoch > closed || rest.contains("\tt\t")),
            "epoch {epoch} was closed: {line}"
        );
        let (weight, mut row) = rest.split_once('\t').expect("a weight");
        if self.with_progress {
            let (progressed, columns) = row.split_once('\t').expect("the progressed column");
            if progressed == "t" {
                return self.progressed.push(epoch);
            }
            row = columns;
        }
        let weight: i64 = weight.parse().expect("a weight is a number");
        assert_ne!(weight, 0, "a change of weight 0: {line}");
        self.lines.push(Line { epoch, weight, row: row.to_owned() });
    }

    /// Reads to the end, which must be an error with this text.
    fn ends_with(&mut self, text: &str) {
        while self.receiver.recv_timeout(HANG).is_ok() {}
        let mut error = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert!(!self.child.wait().unwrap().success(), "psql saw no error");
        assert!(error.contains(text), "{error}");
    }

    fn sum(&self) -> BTreeMap<String, i64> {
        let mut sum = BTreeMap::new();
        for line in &self.lines {
            *sum.entry(line.row.clone()).or_insert(0) += line.weight;
        }
        sum.retain(|_, weight| *weight != 0);
        sum
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn subscribe(server: &Server, sql: &str) -> Child {
    // psql fills a block before it writes to a pipe; a live feed wants every line.
    let psql = server.psql_command();
    let mut command = Command::new("stdbuf");
    command.arg("-oL").arg(psql.get_program()).args(psql.get_args());
    command.args(["-v", "ON_ERROR_STOP=1", "-c", sql]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql starts")
}
