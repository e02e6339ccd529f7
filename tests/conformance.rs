//! Expressions mean what they mean in PostgreSQL: every line of `tests/conformance/*.sql` is run on both.
//!
//! Compared are the columns' names and types and the rows; of an error the SQLSTATE and the position. A line after
//! `-- differs: answer` must have that answer here and another there: when it no longer does, the mark goes. The comment
//! before it says why. Other comments and empty lines are skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;
use support::client::{connect, connect_to};
use support::postgres::Postgres;
use support::{Server, scratch};
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

const DIFFERS: &str = "-- differs:";

#[tokio::test]
async fn expressions_mean_the_same_as_in_postgres() {
    let postgres = Postgres::start();
    let dir = scratch();
    let server = Server::start(dir.path());
    let theirs = connect_to(&postgres.target()).await.expect("PostgreSQL answers");
    let ours = connect(&server).await;
    let mut failures = Vec::new();
    let mut lines = 0;
    for (place, sql, differs) in queries() {
        let (found, wanted) = (answer(&ours, &sql).await, answer(&theirs, &sql).await);
        let report = |what: &str| format!("{place}: {sql}\n  {what}\n  Millpond   {found}\n  PostgreSQL {wanted}");
        match differs {
            None if found != wanted => failures.push(report("is not the same")),
            Some(_) if found == wanted => failures.push(report("is the same now: remove the mark")),
            Some(known) if found != known => failures.push(report(&format!("is marked as {known}"))),
            _ => lines += 1,
        }
    }
    assert!(failures.is_empty(), "{lines} lines hold, {} do not:\n{}", failures.len(), failures.join("\n"));
}

/// (file:line, statement, the answer here if it is marked as different)
fn queries() -> Vec<(String, String, Option<String>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut queries = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut differs = None;
        for (number, line) in text.lines().enumerate() {
            match line.trim() {
                line if line.starts_with(DIFFERS) => differs = Some(line[DIFFERS.len()..].trim().to_owned()),
                line if line.is_empty() || line.starts_with("--") => {}
                line => queries.push((format!("{name}:{}", number + 1), line.to_owned(), differs.take())),
            }
        }
    }
    queries
}

/// What a client sees, on one line.
async fn answer(client: &Client, sql: &str) -> String {
    match rows(client, sql).await {
        Ok(text) => text,
        Err(error) => {
            let error = error.as_db_error().expect("the server answers with an error");
            let position = match error.position() {
                Some(ErrorPosition::Original(position)) => format!(" at {position}"),
                _ => String::new(),
            };
            format!("{}{position}", error.code().code())
        }
    }
}

async fn rows(client: &Client, sql: &str) -> Result<String, Error> {
    let statement = client.prepare(sql).await?;
    let columns: Vec<String> =
        statement.columns().iter().map(|column| format!("{} {}", column.name(), column.type_().name())).collect();
    let mut text = format!("({})", columns.join(", "));
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
            text.push_str(&format!(" | {}", cells.join(", ")));
        }
    }
    Ok(text)
}
