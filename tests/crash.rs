//! `kill -9` under load: nothing acknowledged is lost, doubled, reordered or half there, and the views say so too.
//!
//! Each writer numbers its rows 1, 2, 3, … in a stream (its number is the partition key) and notes the last number in its
//! row of a table, both in one transaction. So at every moment, for every reader: a writer's rows are 1..=m without gap,
//! m is what its table row says, and m is at least what was acknowledged. One more client creates and drops tables and views.
//! The server is killed at a random moment, restarted on the same directory, checked, and the clients go on from where they
//! find themselves. Checkpoints are made so often that kills meet them and starts begin with them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::client::{connect, rows};
use support::random::{Random, from_env};
use support::{Server, scratch};
use tokio_postgres::Client;

const KILLS: u64 = 30;
const WRITERS: u64 = 4;
const ROWS_PER_TRANSACTION_MAX: u64 = 5;
/// Several in every round.
const OPTIONS: [&str; 2] = ["--checkpoint-interval", "0.02"];
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
    let mut server = Server::start_with(dir.path(), &OPTIONS);
    connect(&server).await.batch_execute(SCHEMA).await.expect("the schema is created");
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..WRITERS).map(|_| AtomicU64::new(0)).collect());
    let made = Arc::new(Mutex::new(Made::default()));
    let mut from_checkpoints = 0;
    for round in 0..from_env("MILLPOND_KILLS", KILLS) {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        let before: u64 = total(&acknowledged);
        for writer in 0..WRITERS {
            let random = Random::new(random.next());
            tasks.push(tokio::spawn(write(connect(&server).await, writer, random, acknowledged.clone())));
        }
        tasks.push(tokio::spawn(read(connect(&server).await, stopping.clone())));
        tasks.push(tokio::spawn(define(connect(&server).await, made.clone())));
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
        from_checkpoints += u64::from(!server.wait_for_log("database is ready").contains("from=0 "));
        let when = format!("seed {seed} round {round}");
        check(&connect(&server).await, &acknowledged, &when).await;
        check_made(&connect(&server).await, &made, &when).await;
    }
    let (statements, kills) = (made.lock().unwrap().statements, from_env("MILLPOND_KILLS", KILLS));
    println!(
        "{statements} tables and views were created or dropped, {from_checkpoints} starts began with a checkpoint"
    );
    assert!(statements >= kills && from_checkpoints >= kills / 2, "the kills met too little");
    server.stop();
    server.restart();
    check(&connect(&server).await, &acknowledged, "after a clean stop").await;
    check_made(&connect(&server).await, &made, "after a clean stop").await;
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

/// Tables and views that come and go. `made_<n>` is a table with one row, `seen_<n>` the view [`SEEN`] over it.
#[derive(Default)]
struct Made {
    /// What is there, as far as acknowledged; of a table: whether its row is.
    there: BTreeMap<String, bool>,
    /// What a statement without an answer yet creates, drops or fills: either way is right.
    unsure: Option<String>,
    next: u64,
    statements: u64,
}

const SEEN: &str = "SELECT m.n, l.writer, count(*) AS rows, sum(l.n) AS total FROM made m JOIN log l ON l.writer = m.id GROUP BY m.n, l.writer";

/// What `seen_<n>` shows.
fn seen(n: &str) -> String {
    SEEN.replace("FROM made m", &format!("FROM made_{n} m"))
}

/// Creates a table and a view over it, then drops those before, until the server is gone.
async fn define(client: Client, made: Arc<Mutex<Made>>) {
    loop {
        let (n, before) = {
            let mut made = made.lock().unwrap();
            made.next += 1;
            // Views, which are later in the alphabet, go first.
            (made.next, made.there.keys().rev().cloned().collect::<Vec<_>>())
        };
        let mut statements = vec![
            (format!("made_{n}"), format!("CREATE TABLE made_{n} (id int PRIMARY KEY, n bigint)"), Some(false)),
            (format!("made_{n}"), format!("INSERT INTO made_{n} VALUES (1, {n})"), Some(true)),
            (format!("seen_{n}"), format!("CREATE MATERIALIZED VIEW seen_{n} AS {}", seen(&n.to_string())), Some(true)),
        ];
        statements.extend(before.into_iter().map(|name| {
            let noun = if name.starts_with("made") { "TABLE" } else { "MATERIALIZED VIEW" };
            (name.clone(), format!("DROP {noun} {name}"), None)
        }));
        for (name, sql, then) in statements {
            made.lock().unwrap().unsure = Some(name.clone());
            if let Err(error) = client.batch_execute(&sql).await {
                return assert!(error.as_db_error().is_none(), "{sql} was refused: {error:?}");
            }
            let mut made = made.lock().unwrap();
            made.unsure = None;
            made.statements += 1;
            match then {
                Some(filled) => made.there.insert(name, filled),
                None => made.there.remove(&name),
            };
        }
    }
}

/// What was acknowledged is there, and nothing else; views over it are exact. What was not sure is known afterwards.
async fn check_made(client: &Client, made: &Mutex<Made>, when: &str) {
    let ask = async |sql: &str| rows(client, sql).await.unwrap_or_else(|e| panic!("{when}: {sql}: {e:?}"));
    let listed = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'made%' UNION ALL SELECT matviewname FROM pg_matviews WHERE matviewname LIKE 'seen%'";
    let mut found = BTreeMap::new();
    for name in ask(listed).await.into_iter().flatten() {
        let filled = match name.strip_prefix("seen_") {
            Some(n) => {
                let shown = ask(&format!("SELECT * FROM {name} ORDER BY 1, 2")).await;
                let query = format!("SELECT * FROM ({}) AS q ORDER BY 1, 2", seen(n));
                assert_eq!(shown, ask(&query).await, "{when}: view {name} equals its query");
                true
            }
            None => !ask(&format!("SELECT * FROM {name}")).await.is_empty(),
        };
        found.insert(name, filled);
    }
    let mut made = made.lock().unwrap();
    let unsure = made.unsure.take();
    let sure = |all: &BTreeMap<String, bool>| -> Vec<(String, bool)> {
        all.iter()
            .filter(|(name, _)| Some(*name) != unsure.as_ref())
            .map(|(name, filled)| (name.clone(), *filled))
            .collect()
    };
    assert_eq!(sure(&found), sure(&made.there), "{when}: what was acknowledged is there (not sure: {unsure:?})");
    made.there = found;
}
