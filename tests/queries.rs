//! Random SELECTs answer what PostgreSQL answers: joins of all kinds, subqueries, set operations, groups, and conditions
//! in three-valued logic, over tables with NULLs and columns of the same names.
//!
//! What is not supported here (0A000) is skipped, but most must be answered. Columns are `int` and `boolean`, and numbers
//! stay small, so that no difference of types or ranges hides one of meaning.
//!
//! `MILLPOND_SEEDS=20000` runs more queries; `MILLPOND_SEED=17` runs one and shows it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use support::client::{connect, connect_to, rows};
use support::postgres::Postgres;
use support::random::{Random, from_env};
use support::{Server, scratch};
use tokio_postgres::Client;

const SEEDS: u64 = 1500;
/// Of a hundred queries, those that may be refused.
const REFUSED_MAX: u64 = 20;

/// Differences that a failure shows.
const SHOWN: usize = 10;

const TABLES: &str = "
    CREATE TABLE a (id int PRIMARY KEY, x int, y int, f boolean);
    CREATE TABLE b (id int PRIMARY KEY, x int, z int, f boolean);
    CREATE TABLE c (id int PRIMARY KEY, x int, g boolean);
    INSERT INTO a VALUES (1, 1, NULL, true), (2, 1, 1, false), (3, 2, 1, NULL), (4, NULL, 2, true), (5, 3, 9, NULL);
    INSERT INTO b VALUES (1, 2, 1, true), (2, NULL, 3, false), (3, 2, NULL, NULL), (7, 5, 5, true);
    INSERT INTO c VALUES (1, NULL, true), (2, 2, NULL), (4, 4, false);";

/// Relation, integer columns, boolean column.
const RELATIONS: [(&str, &[&str], &str); 3] =
    [("a", &["id", "x", "y"], "f"), ("b", &["id", "x", "z"], "f"), ("c", &["id", "x"], "g")];

#[tokio::test]
async fn random_queries_answer_the_same_as_postgres() {
    let postgres = Postgres::start();
    let dir = scratch();
    let server = Server::start(dir.path());
    let (ours, theirs) = (connect(&server).await, connect_to(&postgres.target()).await.expect("PostgreSQL answers"));
    for client in [&ours, &theirs] {
        client.batch_execute(TABLES).await.unwrap();
    }
    let only = from_env("MILLPOND_SEED", u64::MAX);
    let seeds = if only == u64::MAX { 0..from_env("MILLPOND_SEEDS", SEEDS) } else { only..only + 1 };
    let (count, mut refused, mut wrong) = (seeds.end - seeds.start, 0, Vec::new());
    for seed in seeds {
        let sql = Query { random: Random::new(seed), aliases: 0 }.text();
        if only != u64::MAX {
            println!("{sql}");
        }
        let (found, wanted) = (answer(&ours, &sql).await, answer(&theirs, &sql).await);
        if matches!(&found, Err(state) if state == "0A000") {
            refused += 1;
            continue;
        }
        if found != wanted {
            wrong.push(format!("MILLPOND_SEED={seed}\n{sql}\n  Millpond   {found:?}\n  PostgreSQL {wanted:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} differ; the first are\n{}",
        wrong.len(),
        wrong[..wrong.len().min(SHOWN)].join("\n")
    );
    assert!(refused * 100 <= count * REFUSED_MAX, "{refused} of {count} are refused");
}

/// The rows in any order, or the SQLSTATE.
async fn answer(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, String> {
    match rows(client, sql).await {
        Ok(mut rows) => {
            rows.sort();
            Ok(rows)
        }
        Err(error) => Err(error.as_db_error().expect("the server answers with an error").code().code().to_owned()),
    }
}

/// A relation in scope: its place in [`RELATIONS`] and its alias.
type Scope = [(usize, String)];

struct Query {
    random: Random,
    aliases: u32,
}

impl Query {
    fn text(&mut self) -> String {
        let first = self.select(2);
        if !self.random.chance(15) {
            return first;
        }
        let operator = *self.random.pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
        let (from, scope) = self.from();
        let (left, right) = (self.number(&scope, 1), self.boolean(&scope, 1));
        format!("{first} {operator} SELECT {left}, {right} FROM {from}")
    }

    /// Two columns: a number and a boolean.
    fn select(&mut self, depth: u32) -> String {
        let (from, scope) = self.from();
        let filter = match self.random.chance(65) {
            true => format!(" WHERE {}", self.boolean(&scope, depth)),
            false => String::new(),
        };
        if self.random.chance(30) {
            let key = self.column(&scope);
            let (sum, all) = (self.number(&scope, 1), self.boolean(&scope, 1));
            let having = if self.random.chance(30) { " HAVING count(*) > 1" } else { "" };
            let aggregate = *self.random.pick(&["sum", "max", "min", "count"]);
            return format!(
                "SELECT {aggregate}({sum})::int, bool_or({all}) FROM {from}{filter} GROUP BY {key}{having}"
            );
        }
        let distinct = if self.random.chance(15) { "DISTINCT " } else { "" };
        format!("SELECT {distinct}{}, {} FROM {from}{filter}", self.number(&scope, depth), self.boolean(&scope, depth))
    }

    fn relation(&mut self) -> (usize, String) {
        self.aliases += 1;
        (self.random.below(3) as usize, format!("t{}", self.aliases))
    }

    fn from(&mut self) -> (String, Vec<(usize, String)>) {
        let first = self.relation();
        let mut text = format!("{} {}", RELATIONS[first.0].0, first.1);
        let mut scope = vec![first];
        for _ in 0..self.random.below(3) {
            let other = self.relation();
            let name = RELATIONS[other.0].0;
            let source = match self.random.chance(20) {
                true => format!("(SELECT * FROM {name} WHERE {})", self.boolean(&[(other.0, name.to_owned())], 1)),
                false => name.to_owned(),
            };
            let join = *self.random.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"]);
            let key = self.column(&scope);
            let own = self.column(&[other.clone()]);
            text.push_str(&format!(" {join} {source} {}", other.1));
            scope.push(other);
            if join != "CROSS JOIN" {
                text.push_str(&format!(" ON {key} = {own}"));
                if join != "FULL JOIN" && self.random.chance(30) {
                    text.push_str(&format!(" AND {}", self.boolean(&scope, 1)));
                }
            }
        }
        (text, scope)
    }

    fn column(&mut self, scope: &Scope) -> String {
        let (relation, alias) = self.random.pick(scope).clone();
        format!("{alias}.{}", self.random.pick(RELATIONS[relation].1))
    }

    fn number(&mut self, scope: &Scope, depth: u32) -> String {
        if depth == 0 || self.random.chance(45) {
            return self.column(scope);
        }
        let depth = depth - 1;
        match self.random.below(6) {
            0 => self.random.pick(&["0", "1", "2", "5", "-1", "NULL::int"]).to_string(),
            1 => format!("coalesce({}, {})", self.number(scope, depth), self.number(scope, depth)),
            2 => format!("nullif({}, {})", self.number(scope, depth), self.number(scope, depth)),
            3 => {
                let when = self.boolean(scope, depth);
                format!("CASE WHEN {when} THEN {} ELSE {} END", self.number(scope, depth), self.number(scope, depth))
            }
            4 => {
                let (inner, matched) = self.correlated(scope);
                let aggregate = *self.random.pick(&["count(*)::int", "max({})", "min({})"]);
                let aggregate = aggregate.replace("{}", &self.column(&[inner.clone()]));
                format!("(SELECT {aggregate} FROM {} {} WHERE {matched})", RELATIONS[inner.0].0, inner.1)
            }
            _ => format!(
                "({} {} {})",
                self.number(scope, depth),
                *self.random.pick(&["+", "-", "*"]),
                self.number(scope, depth)
            ),
        }
    }

    /// A relation for a subquery, and a condition that joins it to the scope.
    fn correlated(&mut self, scope: &Scope) -> ((usize, String), String) {
        let inner = self.relation();
        let own = self.column(&[inner.clone()]);
        let mut matched = format!("{own} = {}", self.column(scope));
        if self.random.chance(30) {
            matched = format!("{matched} AND {}", self.boolean(&[inner.clone()], 1));
        }
        (inner, matched)
    }

    fn boolean(&mut self, scope: &Scope, depth: u32) -> String {
        if depth == 0 || self.random.chance(20) {
            let operator = *self.random.pick(&["=", "<>", "<", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"]);
            let left = if self.random.chance(15) { "2".to_owned() } else { self.column(scope) };
            return format!("{left} {operator} {}", self.column(scope));
        }
        let depth = depth - 1;
        let not = *self.random.pick(&["", "NOT "]);
        match self.random.below(11) {
            0 => {
                let (relation, alias) = self.random.pick(scope).clone();
                format!("{alias}.{}", RELATIONS[relation].2)
            }
            1 => format!("{} IS {not}NULL", self.number(scope, depth)),
            2 | 3 => {
                let connective = *self.random.pick(&["AND", "OR"]);
                format!("({} {connective} {})", self.boolean(scope, depth), self.boolean(scope, depth))
            }
            4 => format!("NOT ({})", self.boolean(scope, depth)),
            5 => {
                let test = *self.random.pick(&["TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN", "NOT UNKNOWN"]);
                format!("({}) IS {test}", self.boolean(scope, depth))
            }
            6 => {
                let item = *self.random.pick(&["1", "NULL", "3"]);
                format!("{} {not}IN ({item}, {}, 2)", self.number(scope, depth), self.column(scope))
            }
            7 => {
                let (low, high) = (self.number(scope, depth), self.number(scope, depth));
                format!("{} {not}BETWEEN {low} AND {high}", self.number(scope, depth))
            }
            8 => {
                let (inner, matched) = self.correlated(scope);
                format!("{not}EXISTS (SELECT 1 FROM {} {} WHERE {matched})", RELATIONS[inner.0].0, inner.1)
            }
            _ => {
                let inner = self.relation();
                let alone = vec![inner.clone()];
                let (value, filter) = (self.column(&alone), self.boolean(&alone, 1));
                let rows = format!("SELECT {value} FROM {} {} WHERE {filter}", RELATIONS[inner.0].0, inner.1);
                if self.random.chance(50) {
                    return format!("{} {not}IN ({rows})", self.column(scope));
                }
                let operator = *self.random.pick(&["=", "<>", "<", "<=", ">", ">="]);
                let quantifier = *self.random.pick(&["ANY", "ALL"]);
                format!("{} {operator} {quantifier} ({rows})", self.column(scope))
            }
        }
    }
}
