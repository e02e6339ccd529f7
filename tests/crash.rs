//! `kill -9` under load: nothing acknowledged is lost, doubled, reordered or half there, and the views say so too.
//!
//! Each writer numbers its rows 1, 2, 3, … in a stream (its number is the partition key) and notes the last number in its
//! row of a table, both in one transaction. So at every moment, for every reader: a writer's rows are 1..=m without gap,
//! m is what its table row says, and m is at least what was acknowledged. The server is killed at a random moment, restarted
//! on the same directory, checked, and the writers go on from where they find themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::client::{connect, rows};
use support::random::{Random, from_env};
use support::{Server, scratch};
use tokio_postgres::Client;

const KILLS: u64 = 30;
const WRITERS: u64 = 4;
const ROWS_PER_TRANSACTION_MAX: u64 = 5;
/// A round writes at least this much before it may be killed, so that every kill has something to lose.
const ACKNOWLEDGED_PER_ROUND_MIN: u64 = 8;

const SCHEMA: &str = "
    CREATE STREAM log (writer int, n bigint, tx bigint, size int) WITH (partitions = 3, key = 'writer');
    CREATE TABLE state (writer int PRIMARY KEY, n bigint);
    CREATE MATERIALIZED VIEW counts AS SELECT writer, count(*) AS n, sum(n) AS total, max(n) AS last FROM log GROUP BY writer;
    CREATE MATERIALIZED VIEW whole AS SELECT count(*) AS writers, sum(n) AS rows FROM state;
    CREATE MATERIALIZED VIEW joined AS SELECT s.writer, s.n, c.total FROM state s JOIN counts c ON c.writer = s.writer;
    CREATE MATERIALIZED VIEW torn AS SELECT c.writer FROM counts c JOIN state s ON s.writer = c.writer WHERE c.n <> s.n OR c.last <> s.n;
";

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_rows_survive_kill_exactly_once_in_order() {
    let seed = from_env("MILLPOND_SEED", 1);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let dir = scratch();
    let mut server = Server::start(dir.path());
    connect(&server).await.batch_execute(SCHEMA).await.expect("the schema is created");
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    for round in 0..from_env("MILLPOND_KILLS", KILLS) {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        let before: u64 = total(&acknowledged);
        for writer in 0..WRITERS {
            let random = Random::new(random.next());
            tasks.push(tokio::spawn(write(connect(&server).await, writer, random, acknowledged.clone())));
        }
        tasks.push(tokio::spawn(read(connect(&server).await, stopping.clone())));
        while total(&acknowledged) < before + ACKNOWLEDGED_PER_ROUND_MIN {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let failed = tasks.iter().position(|task| task.is_finished());
            assert_eq!(failed, None, "seed {seed} round {round}: a client gave up before the kill");
        }
        tokio::time::sleep(Duration::from_micros(random.below(150_000))).await;
        stopping.store(true, Ordering::SeqCst);
        server.kill();
        for task in tasks {
            task.await.unwrap_or_else(|e| panic!("seed {seed} round {round}: {e}"));
        }
        server.restart();
        check(&connect(&server).await, &acknowledged, &format!("seed {seed} round {round}")).await;
    }
    server.stop();
    server.restart();
    check(&connect(&server).await, &acknowledged, "after a clean stop").await;
}

fn total(acknowledged: &[AtomicU64]) -> u64 {
    acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).sum()
}

/// Writes until the server is gone.
async fn write(client: Client, writer: u64, mut random: Random, acknowledged: Arc<Vec<AtomicU64>>) {
    let found = match rows(&client, &format!("SELECT n FROM state WHERE writer = {writer}")).await {
        Ok(found) => found,
        Err(error) => return assert!(error.as_db_error().is_none(), "writer {writer} cannot read: {error:?}"),
    };
    let mut last: u64 = found.first().map_or(0, |row| row[0].parse().unwrap());
    let mut exists = !found.is_empty();
    loop {
        let size = 1 + random.below(ROWS_PER_TRANSACTION_MAX);
        let values: Vec<String> =
            (last + 1..=last + size).map(|n| format!("({writer}, {n}, {}, {size})", last + 1)).collect();
        let next = last + size;
        let state = if exists {
            format!("UPDATE state SET n = {next} WHERE writer = {writer}")
        } else {
            format!("INSERT INTO state VALUES ({writer}, {next})")
        };
        let (first, second) = values.split_at(random.below(size) as usize + 1);
        let mut sql = format!("BEGIN; INSERT INTO log VALUES {}; {state};", first.join(", "));
        if !second.is_empty() {
            sql.push_str(&format!(" INSERT INTO log VALUES {};", second.join(", ")));
        }
        match client.batch_execute(&format!("{sql} COMMIT")).await {
            Ok(()) => acknowledged[writer as usize].store(next, Ordering::SeqCst),
            Err(error) => {
                assert!(error.as_db_error().is_none(), "writer {writer} was refused: {error:?}");
                return;
            }
        }
        (last, exists) = (next, true);
    }
}

/// Reads while others write: no cut shows half a transaction, neither over the bases nor in the views.
async fn read(client: Client, stopping: Arc<AtomicBool>) {
    let cut = "SELECT (SELECT count(*) FROM log), (SELECT coalesce(sum(n), 0) FROM state), (SELECT count(*) FROM torn),
               (SELECT coalesce(sum(n), 0) FROM counts)";
    loop {
        match rows(&client, cut).await {
            Ok(rows) => {
                let row = &rows[0];
                assert!(
                    row[0] == row[1] && row[0] == row[3] && row[2] == "0",
                    "a cut shows half a transaction: {row:?}"
                );
            }
            Err(error) => {
                let refused = error.as_db_error().is_some() && !stopping.load(Ordering::SeqCst);
                assert!(!refused, "the reader was refused: {error:?}");
                return;
            }
        }
    }
}

async fn check(client: &Client, acknowledged: &[AtomicU64], when: &str) {
    let ask = async |sql: &str| rows(client, sql).await.unwrap_or_else(|e| panic!("{when}: {sql}: {e:?}"));
    for (writer, acknowledged) in acknowledged.iter().enumerate() {
        let log = ask(&format!("SELECT n, tx, size FROM log WHERE writer = {writer} ORDER BY _offset")).await;
        let numbers: Vec<u64> = log.iter().map(|row| row[0].parse().unwrap()).collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "{when}: writer {writer}: rows by offset are 1, 2, 3, … once each");
        let acknowledged = acknowledged.load(Ordering::SeqCst);
        assert!(
            numbers.len() as u64 >= acknowledged,
            "{when}: writer {writer}: {acknowledged} acknowledged, {} there",
            numbers.len()
        );
        let state = ask(&format!("SELECT n FROM state WHERE writer = {writer}")).await;
        let state: u64 = state.first().map_or(0, |row| row[0].parse().unwrap());
        assert_eq!(state, numbers.len() as u64, "{when}: writer {writer}: stream and table commit together");
        let spread = ask(&format!("SELECT count(DISTINCT _partition) FROM log WHERE writer = {writer}")).await;
        assert!(numbers.is_empty() || spread[0][0] == "1", "{when}: a key lives in one partition");
    }
    let halves = ask("SELECT tx FROM log GROUP BY writer, tx, size HAVING count(*) <> size").await;
    assert!(halves.is_empty(), "{when}: transactions that are not whole: {halves:?}");
    let holes = ask("SELECT _partition FROM log GROUP BY _partition HAVING min(_offset) <> 0 OR max(_offset) + 1 <> count(*) OR count(DISTINCT _offset) <> count(*)").await;
    assert!(holes.is_empty(), "{when}: offsets are not dense in partitions {holes:?}");
    for (view, query) in [
        ("counts", "SELECT writer, count(*) AS n, sum(n) AS total, max(n) AS last FROM log GROUP BY writer"),
        ("whole", "SELECT count(*) AS writers, sum(n) AS rows FROM state"),
        (
            "joined",
            "SELECT s.writer, s.n, c.total FROM state s JOIN (SELECT writer, sum(n) AS total FROM log GROUP BY writer) c ON c.writer = s.writer",
        ),
    ] {
        let found = ask(&format!("SELECT * FROM {view} ORDER BY 1")).await;
        let recomputed = ask(&format!("SELECT * FROM ({query}) AS q ORDER BY 1")).await;
        assert_eq!(found, recomputed, "{when}: view {view} equals its query");
    }
}
