//! Transactions as drivers use them: pipelines up to Sync, query strings, COPY in blocks, locks between sessions.
//!
//! What can be said in one psql session is in `scripts/`; here are several sessions and bytes no psql sends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use futures::SinkExt;
use std::io::{Read, Write};
use std::net::TcpStream;
use support::client::{cancel_until_ended, connect, rows};
use support::{Server, scratch};
use tokio_postgres::Client;

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE STREAM s (id int);";

/// A client that decides itself when to send Sync.
struct Raw(TcpStream);

impl Raw {
    fn connect(server: &Server) -> Raw {
        let mut raw = Raw(TcpStream::connect(("127.0.0.1", server.port)).unwrap());
        let body = b"\x00\x03\x00\x00user\0millpond\0database\0millpond\0\0";
        raw.0.write_all(&(body.len() as u32 + 4).to_be_bytes()).unwrap();
        raw.0.write_all(body).unwrap();
        raw.until_ready();
        raw
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        self.0.write_all(&[kind]).unwrap();
        self.0.write_all(&(body.len() as u32 + 4).to_be_bytes()).unwrap();
        self.0.write_all(body).unwrap();
    }

    /// Parse, Bind and Execute, without Sync.
    fn statement(&mut self, sql: &str) {
        self.send(b'P', format!("\0{sql}\0\0\0").as_bytes());
        self.send(b'B', b"\0\0\0\0\0\0\0\0");
        self.send(b'E', b"\0\0\0\0\0");
    }

    fn sync(&mut self) -> Vec<String> {
        self.send(b'S', b"");
        self.until_ready()
    }

    fn query(&mut self, sql: &str) -> Vec<String> {
        self.send(b'Q', format!("{sql}\0").as_bytes());
        self.until_ready()
    }

    /// Command tags, rows (of one column), `ERROR state`, and `ready T`.
    fn until_ready(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).expect("the server answers");
            let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
            self.0.read_exact(&mut body).unwrap();
            let text = String::from_utf8_lossy(&body).into_owned();
            match head[0] {
                b'C' => heard.push(text.trim_end_matches('\0').to_owned()),
                b'D' => heard.push(String::from_utf8_lossy(&body[6..]).into_owned()),
                b'E' => {
                    let state = text.split('\0').find_map(|field| field.strip_prefix('C')).unwrap().to_owned();
                    heard.push(format!("ERROR {state}"));
                }
                b'Z' => {
                    heard.push(format!("ready {text}"));
                    return heard;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_pipeline_up_to_sync_is_one_transaction() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let mut raw = Raw::connect(&server);
    raw.statement("INSERT INTO t VALUES (1, 'a')");
    raw.statement("INSERT INTO s VALUES (1)");
    raw.statement("INSERT INTO t VALUES (1, 'duplicate')");
    raw.statement("INSERT INTO t VALUES (2, 'skipped')");
    assert_eq!(raw.sync(), ["INSERT 0 1", "INSERT 0 1", "ERROR 23505", "ready I"]);
    assert_eq!(server.psql("SELECT count(*) FROM t; SELECT count(*) FROM s"), "0\n0");
    raw.statement("INSERT INTO t VALUES (1, 'a')");
    raw.statement("SELECT v FROM t");
    raw.statement("UPDATE t SET v = 'b' RETURNING v");
    assert_eq!(raw.sync()[..4], ["INSERT 0 1", "a", "SELECT 1", "b"]);
    assert_eq!(server.psql("SELECT * FROM t"), "1|b");
    // Each Sync ends its own.
    raw.statement("INSERT INTO t VALUES (2, 'kept')");
    assert_eq!(raw.sync(), ["INSERT 0 1", "ready I"]);
    raw.statement("SELECT 1 / 0");
    assert_eq!(raw.sync(), ["ERROR 22012", "ready I"]);
    assert_eq!(server.psql("SELECT count(*) FROM t"), "2");
}

#[test]
fn a_pipeline_may_hold_explicit_blocks() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let mut raw = Raw::connect(&server);
    raw.statement("INSERT INTO t VALUES (1, 'joins the block')");
    raw.statement("BEGIN");
    raw.statement("INSERT INTO t VALUES (2, 'a')");
    assert_eq!(raw.sync(), ["INSERT 0 1", "BEGIN", "INSERT 0 1", "ready T"]);
    assert_eq!(server.psql("SELECT count(*) FROM t"), "0");
    raw.statement("COMMIT");
    raw.statement("INSERT INTO t VALUES (3, 'lost')");
    raw.statement("SELECT 1 / 0");
    assert_eq!(raw.sync(), ["COMMIT", "INSERT 0 1", "ERROR 22012", "ready I"]);
    assert_eq!(server.psql("SELECT id FROM t ORDER BY id"), "1\n2");
    // A client that leaves before Sync has written nothing.
    raw.statement("INSERT INTO t VALUES (4, 'lost')");
    raw.send(b'H', b"");
    drop(raw);
    let mut raw = Raw::connect(&server);
    assert_eq!(raw.query("INSERT INTO t VALUES (4, 'a'); SELECT 1 / 0"), ["INSERT 0 1", "ERROR 22012", "ready I"]);
    assert_eq!(raw.query("BEGIN; INSERT INTO t VALUES (4, 'a')"), ["BEGIN", "INSERT 0 1", "ready T"]);
    assert_eq!(raw.query("SELECT 1 / 0; SELECT 1"), ["ERROR 22012", "ready E"]);
    assert_eq!(raw.query("ROLLBACK"), ["ROLLBACK", "ready I"]);
    assert_eq!(server.psql("SELECT count(*) FROM t"), "2");
}

async fn copy_in(client: &Client, sql: &str, data: &'static str) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, bytes::Bytes>(sql).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(bytes::Bytes::from_static(data.as_bytes())).await?;
    sink.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_is_part_of_its_block() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let client = connect(&server).await;
    let ids = "SELECT id FROM t ORDER BY id";
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1, 'a')").await.unwrap();
    assert_eq!(copy_in(&client, "COPY t FROM STDIN", "2\tb\n3\tc\n").await.unwrap(), 2);
    assert_eq!(rows(&client, ids).await.unwrap(), [["1"], ["2"], ["3"]]);
    client.batch_execute("SAVEPOINT a").await.unwrap();
    let error = copy_in(&client, "COPY t FROM STDIN", "4\td\n2\tduplicate\n").await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("23505"));
    client.batch_execute("ROLLBACK TO a; INSERT INTO t VALUES (4, 'again'); COMMIT").await.unwrap();
    assert_eq!(rows(&client, ids).await.unwrap(), [["1"], ["2"], ["3"], ["4"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_transaction_with_nested_savepoints() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let mut client = connect(&server).await;
    let mut outer = client.transaction().await.unwrap();
    let added = outer.execute("INSERT INTO t VALUES ($1, $2)", &[&1i32, &"outer"]).await.unwrap();
    assert_eq!(added, 1);
    let inner = outer.transaction().await.unwrap();
    let row = inner.query_one("INSERT INTO t VALUES ($1, $2) RETURNING id, v", &[&2i32, &"inner"]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (2, "inner"));
    inner.rollback().await.unwrap();
    let inner = outer.transaction().await.unwrap();
    let upsert = "INSERT INTO t VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET v = t.v || $3 RETURNING v";
    let row = inner.query_one(upsert, &[&1i32, &"", &"!"]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "outer!");
    inner.commit().await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!(server.psql("SELECT * FROM t"), "1|outer!");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_update_keeps_others_out() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    server.psql("INSERT INTO t VALUES (1, '10')");
    let (one, two) = (connect(&server).await, connect(&server).await);
    one.batch_execute("BEGIN; SELECT * FROM t WHERE id = 1 FOR UPDATE").await.unwrap();
    let error = two.batch_execute("SELECT * FROM t FOR UPDATE NOWAIT").await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("55P03"));
    let waits = tokio::spawn(async move { two.batch_execute("UPDATE t SET v = v || '0'").await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(rows(&one, "SELECT v FROM t").await.unwrap(), [["10"]]);
    one.batch_execute("UPDATE t SET v = '20'; COMMIT").await.unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!(server.psql("SELECT v FROM t"), "200");
}

/// Who waits for a lock can be cancelled and timed out, whatever waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_lock_ends_when_the_statement_does() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    let (one, two) = (connect(&server).await, connect(&server).await);
    one.batch_execute("BEGIN; INSERT INTO t VALUES (1, 'held')").await.unwrap();
    for (setting, state) in [("statement_timeout", "57014"), ("lock_timeout", "55P03")] {
        two.batch_execute(&format!("SET {setting} = '200ms'")).await.unwrap();
        for statement in
            ["UPDATE t SET v = ''", "DELETE FROM t", "INSERT INTO t VALUES (2, '')", "SELECT * FROM t FOR UPDATE"]
        {
            let error = two.batch_execute(statement).await.unwrap_err();
            assert_eq!(error.code().map(|code| code.code()), Some(state), "{setting}: {statement}");
        }
        two.batch_execute(&format!("RESET {setting}")).await.unwrap();
    }
    let cancel = two.cancel_token();
    let waits = tokio::spawn(async move { two.batch_execute("UPDATE t SET v = ''").await });
    cancel_until_ended(&cancel, &waits).await;
    let error = waits.await.unwrap().unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(server.psql("SELECT v FROM t"), "held");
}

/// A row inserted by two blocks at a time: the second waits for the first, and loses or wins by how that one ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_two_blocks_is_decided_at_the_statement() {
    let dir = scratch();
    let server = Server::start(dir.path());
    server.psql(SCHEMA);
    for (end, expected) in [("COMMIT", Some("23505")), ("ROLLBACK", None)] {
        let (one, two) = (connect(&server).await, connect(&server).await);
        one.batch_execute("BEGIN; DELETE FROM t; INSERT INTO t VALUES (1, 'one')").await.unwrap();
        let waits =
            tokio::spawn(async move { two.batch_execute("BEGIN; INSERT INTO t VALUES (1, 'two'); COMMIT").await });
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        one.batch_execute(end).await.unwrap();
        let state = waits.await.unwrap().err().and_then(|error| error.code().map(|code| code.code().to_owned()));
        assert_eq!(state.as_deref(), expected, "{end}");
        server.psql("DELETE FROM t");
    }
}
