//! The correctness law: after any transaction a view equals its own query run from scratch.
//!
//! Each seed makes a stream and two tables, changes them at random (duplicates, NULLs, keys that come back, upserts,
//! rolled-back and multi-statement transactions with savepoints that read what they wrote), creates views of every
//! operator before and in between, and compares each view with the same SELECT computed from the base relations. Some
//! seeds restart the server (cleanly or by SIGKILL) at random moments; some run beside PostgreSQL, which must agree too.
//! Numbers are multiples of 0.25, so sums are exact.
//!
//! `MILLPOND_SEEDS=1000` runs more; `MILLPOND_SEED=17` runs one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use support::client::{connect, connect_to, rows};
use support::postgres::Postgres;
use support::random::{Random, from_env};
use support::{Server, scratch};
use tokio_postgres::Client;

const SEEDS: u64 = 200;
/// A server serves this many seeds, then a fresh one takes over, so that a restart replays little.
const SEEDS_PER_SERVER: u64 = 25;
const STEPS: u64 = 12;

/// `{s}` stream, `{a}` `{b}` tables, `{w}` one-minute windows over the stream, `{h}` hopping ones, `{v2}` the view of this
/// list's entry 2.
const VIEWS: &[&str] = &[
    "SELECT * FROM {a} WHERE x > 1 OR t IS NULL",
    "SELECT id, coalesce(x, 0) * 2 AS xx, upper(t) AS u FROM {a}",
    "SELECT k, count(*) AS n, count(x) AS nx, sum(x) AS sx, avg(x) AS mx, min(x) AS lo, max(x) AS hi FROM {a} GROUP BY k",
    "SELECT t, count(*) AS c, sum(n) AS sn, min(ts) AS lo, max(ts) AS hi FROM {s} GROUP BY t",
    "SELECT count(*) AS n, sum(x) AS sx, max(x) AS hi FROM {a}",
    "SELECT l.id, r.id AS rid, l.x, r.name FROM {a} l JOIN {b} r ON l.k = r.k",
    "SELECT q.k, q.x, r.name FROM {s} q JOIN {b} r ON q.k = r.k WHERE q.x >= 0",
    "SELECT l.id, r.id AS rid FROM {a} l JOIN {b} r ON l.k = r.k AND l.x < r.y",
    "SELECT q.t, count(*) AS n, sum(l.x) AS sx FROM {s} q JOIN {a} l ON q.k = l.k JOIN {b} r ON r.k = l.k GROUP BY q.t",
    "SELECT k, t FROM {a} UNION ALL SELECT k, name FROM {b}",
    "SELECT k FROM {a} UNION SELECT k FROM {s}",
    "SELECT DISTINCT k, t FROM {a}",
    "SELECT k, count(DISTINCT t) AS d, sum(DISTINCT x) AS sd, count(*) FILTER (WHERE x > 1) AS f FROM {a} GROUP BY k",
    "SELECT w.window_start, w.k, count(*) AS n, sum(w.x) AS sx FROM {w} GROUP BY w.window_start, w.k",
    "SELECT w.window_start, r.name, count(*) AS n FROM {w} JOIN {b} r ON r.k = w.k GROUP BY w.window_start, r.name",
    "SELECT k, max(x) AS hi FROM {a} GROUP BY k HAVING count(*) > 1",
    "SELECT l.id, r.id AS other FROM {a} l JOIN {a} r ON l.k = r.k WHERE l.id < r.id",
    "SELECT CASE WHEN x > 2 THEN 'high' WHEN x IS NULL THEN 'none' ELSE 'low' END AS c, count(*) AS n FROM {s} GROUP BY 1",
    "SELECT k, min(t) AS lo, max(t) AS hi, min(id) AS first FROM {a} GROUP BY k",
    "SELECT * FROM {s} WHERE k IS NOT NULL",
    // views on views
    "SELECT v.n, count(*) AS groups FROM {v2} v GROUP BY v.n",
    "SELECT v.k, v.n, v.hi, r.name FROM {v2} v JOIN {b} r ON v.k = r.k",
    "SELECT v.name, count(*) AS n, sum(v.x) AS sx FROM {v5} v GROUP BY v.name",
    "SELECT v.k, max(v.n) AS busiest FROM {v13} v GROUP BY v.k",
    "SELECT v.k FROM {v15} v UNION ALL SELECT u.k FROM {v11} u",
    // rows that match nothing
    "SELECT l.id, l.x, r.id AS rid, r.name FROM {a} l LEFT JOIN {b} r ON l.k = r.k",
    "SELECT q.k, q.x, r.name FROM {s} q LEFT JOIN {b} r ON q.k = r.k AND q.x < r.y WHERE q.n > 100 OR q.n IS NULL",
    "SELECT l.id, r.id AS rid FROM {a} l FULL JOIN {b} r ON l.k = r.k AND l.x >= r.y",
    "SELECT r.name, count(q.n) AS n, sum(q.x) AS sx FROM {s} q RIGHT JOIN {b} r ON q.k = r.k GROUP BY r.name",
    "SELECT * FROM {a} l WHERE EXISTS (SELECT 1 FROM {b} r WHERE r.k = l.k AND r.y > l.x)",
    "SELECT * FROM {s} q WHERE NOT EXISTS (SELECT 1 FROM {a} l WHERE l.k = q.k)",
    "SELECT id, t FROM {a} WHERE k IN (SELECT k FROM {b} WHERE y > 1)",
    "SELECT id FROM {a} l WHERE x > 3 OR EXISTS (SELECT 1 FROM {s} q WHERE q.k = l.k AND q.n > 500)",
    "SELECT k, t FROM {a} EXCEPT SELECT k, name FROM {b}",
    "SELECT k FROM {s} INTERSECT SELECT k FROM {a}",
    "SELECT l.id, r.name, v.n FROM {a} l LEFT JOIN {b} r ON r.id = l.id LEFT JOIN {v2} v ON v.k = l.k",
    "SELECT k FROM {a} l WHERE l.k IN (SELECT q.k FROM {s} q GROUP BY q.k HAVING count(*) > 3)",
    // all rows of one side meet all of the other
    "SELECT l.id, r.id AS rid FROM {a} l JOIN {b} r ON l.x < r.y AND l.id > r.id",
    "SELECT id, k FROM {a} WHERE k NOT IN (SELECT k FROM {b} WHERE y > 2)",
    "SELECT id, x FROM {a} WHERE x > (SELECT avg(y) FROM {b})",
    "SELECT id, (SELECT max(r.y) FROM {b} r WHERE r.k = l.k) AS top FROM {a} l",
    "SELECT id, EXISTS (SELECT 1 FROM {b} r WHERE r.k = l.k) AS found FROM {a} l",
    "SELECT h.window_start, h.k, count(*) AS n, sum(h.x) AS sx FROM {h} GROUP BY h.window_start, h.k",
    "SELECT k, bool_and(x > 1) AS all_high, bool_or(t IS NULL) AS some_unnamed FROM {a} GROUP BY k",
    "SELECT id FROM {a} WHERE x >= ALL (SELECT y FROM {b} WHERE y IS NOT NULL)",
    "SELECT id FROM {a} l WHERE x < ANY (SELECT y FROM {b} r WHERE r.k = l.k)",
    "SELECT l.id, r.id AS rid FROM {a} l LEFT JOIN {b} r ON l.k = r.k AND 3 = l.k",
    "SELECT id FROM {a} l WHERE EXISTS (SELECT 1 FROM {b} r WHERE r.k = l.k HAVING count(*) = 0)",
    // what Postgres computes otherwise than DataFusion
    "SELECT id, k * 2 - id AS ki, x::int AS xi, id::text || coalesce(t, '') AS label, id / 3 AS q, id % 3 AS m FROM {a}",
    "SELECT to_char(ts, 'YYYY-MM-DD HH24:MI') AS minute, sum(n * 2) AS s, round(max(x)) AS hi FROM {s} GROUP BY 1",
];

#[test]
fn views_equal_their_query_from_scratch() {
    let seeds: Vec<u64> = match from_env("MILLPOND_SEED", u64::MAX) {
        u64::MAX => (0..from_env("MILLPOND_SEEDS", SEEDS)).collect(),
        one => vec![one],
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let postgres = Postgres::start();
        for seeds in seeds.chunks(SEEDS_PER_SERVER as usize) {
            let dir = scratch();
            let mut server = Server::start(dir.path());
            for seed in seeds {
                println!("seed {seed}");
                let target = seed.is_multiple_of(8).then(|| postgres.target());
                run_seed(*seed, &mut server, target.as_deref()).await;
            }
            server.stop();
        }
    });
}

async fn run_seed(seed: u64, server: &mut Server, postgres: Option<&str>) {
    let mut world = World::create(seed, server, postgres).await;
    let chosen = world.choose_views();
    let (early, late) = chosen.split_at(world.random.below(chosen.len() as u64) as usize);
    world.create_views(early).await;
    for step in 0..STEPS {
        world.transaction().await;
        if step == STEPS / 2 {
            world.create_views(late).await;
        }
        if world.random.chance(40) {
            world.compare().await;
        }
        if seed % 5 == 1 && world.random.chance(20) {
            world.restart(server).await;
        }
    }
    world.compare().await;
    world.drop_all().await;
}

/// One seed's relations, and what is known about them.
struct World {
    seed: u64,
    random: Random,
    client: Client,
    postgres: Option<Client>,
    /// Live primary keys of the tables `a` and `b`.
    keys: [BTreeSet<u64>; 2],
    /// Entries of [`VIEWS`] that were created, in order.
    views: Vec<usize>,
    log: Vec<String>,
}

impl World {
    async fn create(seed: u64, server: &Server, postgres: Option<&str>) -> World {
        let postgres = match postgres {
            Some(target) => Some(connect_to(target).await.expect("PostgreSQL accepts connections")),
            None => None,
        };
        let (random, client) = (Random::new(seed), connect(server).await);
        let keys = [BTreeSet::new(), BTreeSet::new()];
        let mut world = World { seed, random, client, postgres, keys, views: vec![], log: vec![] };
        let partitions = 1 + world.random.below(4);
        let columns = "k int, x double precision, n bigint, t text, ts timestamptz";
        world.both(&format!("CREATE STREAM {{s}} ({columns}) WITH (partitions = {partitions})")).await;
        world.both("CREATE TABLE {a} (id int PRIMARY KEY, k int, x double precision, t text)").await;
        world.both("CREATE TABLE {b} (id int PRIMARY KEY, k int, y double precision, name text)").await;
        world
    }

    /// Some of the views, with those they read before them.
    fn choose_views(&mut self) -> Vec<usize> {
        let mut chosen = BTreeSet::new();
        while chosen.len() < 7 {
            let index = self.random.below(VIEWS.len() as u64) as usize;
            chosen.extend((0..index).filter(|base| VIEWS[index].contains(&format!("{{v{base}}}"))));
            chosen.insert(index);
        }
        chosen.into_iter().collect()
    }

    async fn create_views(&mut self, indices: &[usize]) {
        for index in indices {
            let sql = format!("CREATE MATERIALIZED VIEW {{v{index}}} AS {}", VIEWS[*index]);
            self.millpond(&sql).await;
            self.views.push(*index);
        }
    }

    async fn transaction(&mut self) {
        let before = self.keys.clone();
        let count = 1 + self.random.below(5);
        let block = count > 1 || self.random.chance(30);
        let rollback = block && self.random.chance(15);
        if block {
            self.both("BEGIN").await;
        }
        for _ in 0..count {
            let saved = (block && self.random.chance(30)).then(|| self.keys.clone());
            if saved.is_some() {
                self.both("SAVEPOINT s").await;
            }
            let statement = self.statement();
            self.both(&statement).await;
            if let Some(keys) = saved
                && self.random.chance(50)
            {
                self.both("ROLLBACK TO s").await;
                self.keys = keys;
            }
            if block && self.random.chance(50) {
                self.compare_base().await;
            }
        }
        if block {
            self.both(if rollback { "ROLLBACK" } else { "COMMIT" }).await;
        }
        if rollback {
            self.keys = before;
        }
        self.compare_base().await;
    }

    /// Streams and tables as the client sees them now, in a block with what the block has written.
    async fn compare_base(&mut self) {
        for (table, name) in ["{a}", "{b}"].into_iter().enumerate() {
            let found = self.select(&format!("SELECT id FROM {name}")).await;
            let expected = sorted(self.keys[table].iter().map(|id| vec![id.to_string()]).collect());
            assert!(
                found == expected,
                "seed {}: keys of {name}: {found:?}, expected {expected:?}\nhistory:\n{}",
                self.seed,
                self.log.join(";\n")
            );
        }
        let Some(postgres) = &self.postgres else { return };
        for name in ["{a}", "{b}", "{s}"] {
            let sql = self.named(&format!("SELECT * FROM {name}"));
            let expected = sorted(rows(postgres, &sql).await.unwrap());
            let found = self.select(&sql).await;
            assert!(
                found == expected,
                "seed {}: {sql}: {found:?}, PostgreSQL {expected:?}\nhistory:\n{}",
                self.seed,
                self.log.join(";\n")
            );
        }
    }

    fn statement(&mut self) -> String {
        let table = self.random.below(2) as usize;
        let name = ["{a}", "{b}"][table];
        let empty = self.keys[table].is_empty();
        match self.random.below(10) {
            0..3 => self.insert_stream(),
            3 | 4 => self.insert_table(table, name),
            5 => self.upsert(table, name),
            _ if empty => self.insert_table(table, name),
            6 => self.update_where(table, name),
            7 | 8 => self.update_key(table, name),
            _ => self.delete(table, name),
        }
    }

    fn insert_stream(&mut self) -> String {
        let count = 1 + self.random.below(20);
        let row = |r: &mut Random| {
            let (k, x, t) = (small(r), quarter(r), word(r));
            let n = if r.chance(10) { "NULL".into() } else { r.below(1000).to_string() };
            format!("({k}, {x}, {n}, {t}, '2013-01-01 00:0{}:{:02}+00')", r.below(4), r.below(60))
        };
        let mut values: Vec<String> = (0..count).map(|_| row(&mut self.random)).collect();
        if self.random.chance(30) {
            values.push(values[0].clone()); // a stream may hold the same row twice
        }
        format!("INSERT INTO {{s}} VALUES {}", values.join(", "))
    }

    fn insert_table(&mut self, table: usize, name: &str) -> String {
        let mut values = Vec::new();
        for _ in 0..1 + self.random.below(6) {
            // Few enough that deleted keys come back.
            let Some(id) = (0..8).map(|_| self.random.below(60)).find(|id| !self.keys[table].contains(id)) else {
                break;
            };
            self.keys[table].insert(id);
            let r = &mut self.random;
            values.push(format!("({id}, {}, {}, {})", small(r), quarter(r), word(r)));
        }
        if values.is_empty() {
            format!("DELETE FROM {name} WHERE id < 0")
        } else {
            format!("INSERT INTO {name} VALUES {}", values.join(", "))
        }
    }

    /// Of keys that may be there.
    fn upsert(&mut self, table: usize, name: &str) -> String {
        let number = ["x", "y"][table];
        let ids: BTreeSet<u64> = (0..1 + self.random.below(5)).map(|_| self.random.below(60)).collect();
        self.keys[table].extend(&ids);
        let r = &mut self.random;
        let values: Vec<String> =
            ids.iter().map(|id| format!("({id}, {}, {}, {})", small(r), quarter(r), word(r))).collect();
        let update = format!("k = excluded.k, {number} = coalesce({name}.{number}, 0) + excluded.{number}");
        format!("INSERT INTO {name} VALUES {} ON CONFLICT (id) DO UPDATE SET {update}", values.join(", "))
    }

    fn update_where(&mut self, table: usize, name: &str) -> String {
        let number = ["x", "y"][table];
        let r = &mut self.random;
        match r.below(3) {
            0 => format!("UPDATE {name} SET {number} = {number} + 0.25 WHERE k = {}", r.below(6)),
            1 => format!("UPDATE {name} SET k = {} WHERE {number} > {}", small(r), quarter_value(r)),
            _ => format!("UPDATE {name} SET {number} = NULL WHERE k IS NULL"),
        }
    }

    fn update_key(&mut self, table: usize, name: &str) -> String {
        let id = self.some_key(table);
        let words = ["t", "name"][table];
        let r = &mut self.random;
        if r.chance(25) {
            let to = (0..200).find(|to| !self.keys[table].contains(to)).unwrap();
            self.keys[table].remove(&id);
            self.keys[table].insert(to);
            return format!("UPDATE {name} SET id = {to} WHERE id = {id}");
        }
        format!("UPDATE {name} SET {words} = {}, k = {} WHERE id = {id}", word(r), small(r))
    }

    fn delete(&mut self, table: usize, name: &str) -> String {
        let from = self.some_key(table);
        let to = from + self.random.below(5);
        self.keys[table].retain(|id| *id < from || *id > to);
        format!("DELETE FROM {name} WHERE id BETWEEN {from} AND {to}")
    }

    fn some_key(&mut self, table: usize) -> u64 {
        let keys: Vec<u64> = self.keys[table].iter().copied().collect();
        *self.random.pick(&keys)
    }

    async fn compare(&mut self) {
        for index in self.views.clone() {
            let view = self.select(&format!("SELECT * FROM {{v{index}}}")).await;
            let query = from_scratch(VIEWS[index]);
            let recomputed = self.select(&query).await;
            self.check(index, "recomputed", &view, &recomputed);
            let Some(postgres) = &self.postgres else { continue };
            let sql = as_postgres(&self.named(&query));
            let found =
                rows(postgres, &sql).await.unwrap_or_else(|e| panic!("seed {}: PostgreSQL: {sql}: {e:?}", self.seed));
            self.check(index, "PostgreSQL", &view, &sorted(found));
        }
    }

    fn check(&self, index: usize, other: &str, view: &[Vec<String>], expected: &[Vec<String>]) {
        let only = |these: &[Vec<String>], those: &[Vec<String>]| {
            let rows: Vec<&Vec<String>> = these.iter().filter(|row| !those.contains(row)).take(5).collect();
            format!("{rows:?}")
        };
        assert!(
            view == expected,
            "seed {}: view {index} differs from {other}: {} rows, expected {}\n{}\nonly in view: {}\nonly expected: {}\nhistory:\n{}",
            self.seed,
            view.len(),
            expected.len(),
            self.named(VIEWS[index]),
            only(view, expected),
            only(expected, view),
            self.log.join(";\n")
        );
    }

    async fn restart(&mut self, server: &mut Server) {
        let clean = self.random.chance(50);
        self.log.push(format!("-- restart, clean: {clean}"));
        if clean {
            server.stop()
        } else {
            server.kill()
        }
        server.restart();
        self.client = connect(server).await;
        self.compare().await;
    }

    async fn drop_all(&mut self) {
        for index in self.views.clone().into_iter().rev() {
            self.millpond(&format!("DROP MATERIALIZED VIEW {{v{index}}}")).await;
        }
        for sql in ["DROP STREAM {s}", "DROP TABLE {a}", "DROP TABLE {b}"] {
            self.both(sql).await;
        }
    }

    async fn both(&mut self, sql: &str) {
        self.millpond(sql).await;
        let Some(postgres) = &self.postgres else { return };
        let sql = as_postgres(&self.named(sql));
        postgres.batch_execute(&sql).await.unwrap_or_else(|e| panic!("seed {}: PostgreSQL: {sql}: {e:?}", self.seed));
    }

    async fn millpond(&mut self, sql: &str) {
        let sql = self.named(sql);
        self.log.push(sql.clone());
        let done = self.client.batch_execute(&sql).await;
        done.unwrap_or_else(|e| panic!("seed {}: {sql}: {e:?}\nhistory:\n{}", self.seed, self.log.join(";\n")));
    }

    async fn select(&self, sql: &str) -> Vec<Vec<String>> {
        let sql = self.named(sql);
        sorted(rows(&self.client, &sql).await.unwrap_or_else(|e| panic!("seed {}: {sql}: {e:?}", self.seed)))
    }

    /// Placeholders replaced by this seed's names.
    fn named(&self, sql: &str) -> String {
        let seed = self.seed;
        let mut sql = sql.replace("{w}", "TUMBLE({s}, ts, INTERVAL '1 minute') AS w");
        sql = sql.replace("{h}", "HOP({s}, ts, INTERVAL '1 minute', INTERVAL '150 seconds') AS h");
        for name in ["s", "a", "b"] {
            sql = sql.replace(&format!("{{{name}}}"), &format!("{name}_{seed}"));
        }
        (0..VIEWS.len()).fold(sql, |sql, index| sql.replace(&format!("{{v{index}}}"), &format!("v{index}_{seed}")))
    }
}

/// The query with every view it reads replaced by that view's own query.
fn from_scratch(sql: &str) -> String {
    let inline = |sql: String, index: usize| sql.replace(&format!("{{v{index}}}"), &format!("({})", VIEWS[index]));
    (0..VIEWS.len()).fold(sql.to_owned(), inline)
}

fn as_postgres(sql: &str) -> String {
    let sql = sql.split(" WITH (partitions").next().unwrap_or(sql);
    let sql = sql.replace("CREATE STREAM", "CREATE TABLE").replace("DROP STREAM", "DROP TABLE");
    let starts = "(SELECT *, date_trunc('minute', ts) AS window_start FROM {})";
    let sql = spelled(sql, "TUMBLE(", ", ts, INTERVAL '1 minute')", starts);
    let hops = "(SELECT s.*, date_trunc('minute', ts) - i * interval '1 minute' AS window_start \
                FROM {} s, generate_series(0, 2) i \
                WHERE ts < date_trunc('minute', ts) - i * interval '1 minute' + interval '150 seconds')";
    spelled(sql, "HOP(", ", ts, INTERVAL '1 minute', INTERVAL '150 seconds')", hops)
}

/// What stands between `start` and `end` put into `as_query`, instead of both.
fn spelled(sql: String, start: &str, end: &str, as_query: &str) -> String {
    let Some((before, rest)) = sql.split_once(start) else { return sql };
    let (relation, rest) = rest.split_once(end).expect("all windows are alike");
    format!("{before}{}{rest}", as_query.replace("{}", relation))
}

fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}

/// A join key: few values, some NULL.
fn small(r: &mut Random) -> String {
    if r.chance(10) { "NULL".into() } else { r.below(6).to_string() }
}

fn quarter(r: &mut Random) -> String {
    if r.chance(10) { "NULL".into() } else { quarter_value(r) }
}

/// Between -2 and 6 in steps of 0.25.
fn quarter_value(r: &mut Random) -> String {
    format!("{}", r.below(33) as f64 / 4.0 - 2.0)
}

fn word(r: &mut Random) -> String {
    if r.chance(10) {
        "NULL".into()
    } else {
        format!("'{}'", r.pick(&["ink", "pen", "", "ünï", "a longer word than the others"]))
    }
}
