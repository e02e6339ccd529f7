//! The Postgres protocol, message by message: what drivers hide, and what a client may do wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::raw::{Raw, bind, describe, execute, flush, kinds, message, parse, said};
use support::{Server, scratch};

/// Longest time for what happens at once; covers a busy machine.
const PROMPT: Duration = Duration::from_secs(3);
/// Rows until somebody stops them.
const ENDLESS: &str = "SELECT a.v FROM generate_series(1, 100000) a(v), generate_series(1, 100000) b(v)";

fn tables(server: &Server) {
    server.psql("CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t VALUES (1, 10), (2, 20), (3, 30), (4, 40)");
}

#[test]
fn portals_give_as_many_rows_as_asked_for() {
    let dir = scratch();
    let server = Server::start(dir.path());
    tables(&server);
    let mut raw = Raw::connect(&server);
    let select = [parse("", "SELECT id FROM t ORDER BY id"), bind("p", "")].concat();
    let executed = |raw: &mut Raw, counts: &[i32]| {
        let executes: Vec<Vec<u8>> = counts.iter().map(|count| execute("p", *count)).collect();
        said(&raw.pipeline(&[&[select.clone()], &executes[..]].concat()))
    };
    assert_eq!(executed(&mut raw, &[3, 3]), ["1", "2", "D", "D", "D", "s", "D", "SELECT 1", "Z"]);
    // Exactly all rows: whether there are more is found out when they are asked for.
    assert_eq!(executed(&mut raw, &[4, 4]), ["1", "2", "D", "D", "D", "D", "s", "SELECT 0", "Z"]);
    assert_eq!(executed(&mut raw, &[0, 0]), ["1", "2", "D", "D", "D", "D", "SELECT 4", "SELECT 0", "Z"]);
    let insert = [parse("", "INSERT INTO t VALUES (5, 50)"), bind("p", ""), execute("p", 0), execute("p", 0)];
    assert_eq!(said(&raw.pipeline(&insert)), ["1", "2", "INSERT 0 1", "55000", "Z"]);
    assert_eq!(server.psql("SELECT count(*) FROM t"), "4", "an error undoes the pipeline");
}

#[test]
fn a_suspended_portal_is_cancelled_and_timed_anew() {
    let dir = scratch();
    let server = Server::start(dir.path());
    let mut raw = Raw::connect(&server);
    raw.query("BEGIN");
    let started = raw.pipeline(&[parse("", ENDLESS), bind("p", ""), execute("p", 2)]);
    assert_eq!(said(&started), ["1", "2", "D", "D", "s", "Z"]);
    raw.cancel(); // nothing runs: it must not hit what comes next
    assert_eq!(said(&raw.pipeline(&[execute("p", 1)])), ["D", "s", "Z"]);
    raw.send(&[execute("p", 0), message('S', b"")].concat());
    raw.read_until('D'); // it runs
    let sent = Instant::now();
    raw.cancel();
    let ended = said(&raw.read_until('Z'));
    assert_eq!(ended[ended.len() - 2..], ["57014", "Z"]);
    assert!(sent.elapsed() < PROMPT, "{:?}", sent.elapsed());
    raw.query("ROLLBACK");

    // The time between two Executes is the client's own.
    raw.query("SET statement_timeout = '700ms'; BEGIN");
    let started = raw.pipeline(&[parse("", ENDLESS), bind("p", ""), execute("p", 2)]);
    assert_eq!(said(&started), ["1", "2", "D", "D", "s", "Z"]);
    std::thread::sleep(Duration::from_millis(900));
    let on = raw.pipeline(&[execute("p", 2_000)]);
    assert_eq!(said(&on).iter().filter(|what| *what == "D").count(), 2_000);
    let began = Instant::now();
    let ended = said(&raw.pipeline(&[execute("p", 0)]));
    assert_eq!(ended[ended.len() - 2..], ["57014", "Z"]);
    assert!(began.elapsed() > Duration::from_millis(600), "{:?}", began.elapsed());
}

#[test]
fn after_an_error_all_is_skipped_up_to_sync() {
    let dir = scratch();
    let server = Server::start(dir.path());
    tables(&server);
    let mut raw = Raw::connect(&server);
    let skipped = [bind("", ""), execute("", 0), parse("later", "SELECT 1"), describe('S', "later"), flush()].concat();
    let pipeline = raw.pipeline(&[parse("", "SELECT nosuch FROM t"), skipped]);
    assert_eq!(said(&pipeline), ["42703", "Z"]);
    assert_eq!(said(&raw.pipeline(&[describe('S', "later")])), ["26000", "Z"]);
    assert_eq!(said(&raw.pipeline(&[execute("nosuch", 0)])), ["34000", "Z"]);
    assert_eq!(said(&raw.query("SELECT 1")), ["T", "D", "SELECT 1", "Z"]);
}

#[test]
fn flush_sends_what_there_is_and_describe_says_what_will_be() {
    let dir = scratch();
    let server = Server::start(dir.path());
    tables(&server);
    let mut raw = Raw::connect(&server);
    raw.send(&[parse("s", "SELECT id, x FROM t WHERE id = $1"), describe('S', "s"), flush()].concat());
    assert_eq!(kinds(&raw.read_until('T')), "1tT");
    let portal = [parse("n", "INSERT INTO t VALUES (9, 9)"), describe('S', "n"), bind("", "n"), describe('P', "")];
    assert_eq!(kinds(&raw.pipeline(&portal)), "1tn2nZ");
    let empty = [parse("", ""), describe('S', ""), bind("", ""), describe('P', ""), execute("", 0)];
    assert_eq!(kinds(&raw.pipeline(&empty)), "1tn2nIZ");
    assert_eq!(kinds(&raw.query("")), "IZ");
    assert_eq!(kinds(&raw.query(" ; ")), "IZ");
}

#[test]
fn broken_text_is_an_error_of_its_message() {
    let dir = scratch();
    let server = Server::start(dir.path());
    let mut raw = Raw::connect(&server);
    raw.send(&message('Q', b"SELECT '\xff'\0"));
    assert_eq!(said(&raw.read_until('Z')), ["22021", "Z"]);
    let parse_bytes = message('P', b"\0SELECT '\xc3'\0\0\0");
    assert_eq!(said(&raw.pipeline(&[parse_bytes, bind("", ""), execute("", 0)])), ["22021", "Z"]);
    raw.query("BEGIN");
    raw.send(&message('Q', b"SELECT '\xff'\0"));
    assert_eq!(raw.read_until('Z').last().unwrap().1, b"E", "the block has failed");
    assert_eq!(said(&raw.query("ROLLBACK")), ["ROLLBACK", "Z"]);
    assert_eq!(said(&raw.query("SELECT 1")), ["T", "D", "SELECT 1", "Z"]);
}

#[test]
fn bounds_are_errors_and_the_session_goes_on() {
    let dir = scratch();
    let server = Server::start(dir.path());
    let mut raw = Raw::connect(&server);
    let columns = |count: usize| format!("SELECT {}1", "1, ".repeat(count - 1));
    assert_eq!(said(&raw.query(&columns(1664))), ["T", "D", "SELECT 1", "Z"]);
    assert_eq!(said(&raw.query(&columns(1665))), ["54011", "Z"]);
    assert_eq!(said(&raw.pipeline(&[parse("", &columns(1665))])), ["54011", "Z"]);
    assert_eq!(said(&raw.query(&format!("COPY ({}) TO STDOUT", columns(1665)))), ["54011", "Z"]);
    let before = server.resident_kib();
    let long = format!("SELECT 1{}", ",1".repeat(20 << 20));
    assert_eq!(said(&raw.query(&long)), ["54000", "Z"]);
    assert_eq!(said(&raw.pipeline(&[parse("", &long)])), ["54000", "Z"]);
    assert_eq!(said(&raw.query(&"SELECT 1;".repeat(20_000))), ["54000", "Z"]);
    let grown_kib = server.resident_kib().saturating_sub(before);
    assert!(grown_kib < 1 << 20, "{grown_kib} KiB for refusing 40 MiB of text");
    raw.query("BEGIN");
    raw.pipeline(&[parse("s", "SELECT 1")]);
    raw.query("SELECT nosuch");
    assert_eq!(said(&raw.query("DEALLOCATE s")), ["25P02", "Z"], "a failed block hears nothing but its end");
    raw.query("ROLLBACK");
    assert_eq!(said(&raw.query("DEALLOCATE s")), ["DEALLOCATE", "Z"]);
}

#[test]
fn copy_ends_with_its_statement() {
    let dir = scratch();
    let server = Server::start(dir.path());
    tables(&server);
    let mut holder = Raw::connect(&server);
    holder.query("BEGIN; INSERT INTO t VALUES (7, 7)");
    let copy = |raw: &mut Raw| {
        raw.send(&message('Q', b"COPY t FROM STDIN\0"));
        raw.read_until('G');
    };
    let mut raw = Raw::connect(&server);
    copy(&mut raw);
    raw.send(&[message('d', b"8\t8\n"), message('c', b"")].concat());
    let sent = Instant::now();
    raw.cancel_until_answered();
    assert_eq!(said(&raw.read_until('Z')), ["57014", "Z"], "cancelled while it waits for the lock");
    assert!(sent.elapsed() < PROMPT, "{:?}", sent.elapsed());

    raw.query("SET statement_timeout = '500ms'");
    let began = Instant::now();
    copy(&mut raw);
    raw.send(&[message('d', b"8\t8\n"), message('c', b"")].concat());
    assert_eq!(said(&raw.read_until('Z')), ["57014", "Z"], "out of time while it waits for the lock");
    holder.query("ROLLBACK");
    copy(&mut raw);
    raw.send(&message('d', b"8\t8\n"));
    assert_eq!(said(&raw.read_until('Z')), ["57014", "Z"], "out of time while it waits for the client");
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    raw.send(&message('c', b"")); // comes too late and is ignored
    raw.query("SET statement_timeout = 0");
    copy(&mut raw);
    raw.send(&[message('d', b"8\t8\n"), message('c', b"")].concat());
    assert_eq!(said(&raw.read_until('Z')), ["COPY 1", "Z"]);
    assert_eq!(server.psql("SELECT count(*) FROM t"), "5");
}

/// A client that does not read what it asked for, and one that is idle, do not hold up the server's end.
#[test]
fn the_server_stops_at_once() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    let mut stalled = Raw::connect(&server);
    let mut idle = Raw::connect(&server);
    stalled.send(&message('Q', &[ENDLESS.as_bytes(), b"\0"].concat()));
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    assert_eq!(said(&[idle.read().expect("a last word")]), ["57P01"]);
    assert!(idle.read().is_none());
}

/// A client that is gone takes its statement with it, wherever that is.
#[test]
fn a_lost_client_ends_its_statement() {
    let dir = scratch();
    let server = Server::start(dir.path());
    let mut psql = server.psql_command();
    // Something that is not known from the plan alone.
    let counting = "SELECT max(v % 7919) FROM generate_series(1, 1000000000000) a(v)";
    let mut child = psql.args(["-c", counting]).stdin(Stdio::null()).spawn().expect("psql starts");
    server.wait_until_busy(true, "the statement runs");
    child.kill().unwrap();
    child.wait().unwrap();
    server.wait_until_busy(false, "nobody waits for the answer");
    let status = Command::new("kill").args(["-0", &server.pid().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Only who has a transaction open and says nothing is told to go; what it wrote and locked is let go.
#[test]
fn an_idle_transaction_ends_in_time() {
    let dir = scratch();
    let server = Server::start(dir.path());
    tables(&server);
    let set = "SET idle_in_transaction_session_timeout = '250ms'";
    let [mut idle, mut other] = [(); 2].map(|()| Raw::connect(&server));
    idle.query(set);
    idle.query("BEGIN; COMMIT");
    let begins = [
        ("BEGIN; UPDATE t SET x = 0", vec!["BEGIN", "UPDATE 4", "Z"]),
        ("BEGIN; UPDATE t SET x = 0; SELECT nosuch", vec!["BEGIN", "UPDATE 4", "42703", "Z"]),
    ];
    for (begin, answers) in begins {
        let mut raw = Raw::connect(&server);
        raw.query(set);
        let began = Instant::now();
        assert_eq!(said(&raw.query(begin)), answers);
        let told = raw.read().expect("a last word");
        assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
        assert_eq!(said(&[told.clone()]), ["25P03"]);
        let text = String::from_utf8_lossy(&told.1).into_owned();
        assert!(text.contains("FATAL") && text.contains("due to idle-in-transaction timeout"), "{text}");
        assert!(raw.read().is_none(), "and nothing after it");
        assert_eq!(said(&other.query("UPDATE t SET x = x + 1")), ["UPDATE 4", "Z"], "the lock is free");
    }
    assert_eq!(server.psql("SELECT sum(x) FROM t"), "108", "what it wrote is undone");
    assert_eq!(said(&idle.query("SELECT 1")), ["T", "D", "SELECT 1", "Z"], "idle for longer, but not in a transaction");
    // A statement is no pause, however long it takes: this one waits for a lock for longer.
    let mut holder = Raw::connect(&server);
    holder.query("BEGIN; UPDATE t SET x = 0");
    other.query(set);
    other.query("SET lock_timeout = '600ms'");
    assert_eq!(
        said(&other.query("BEGIN; SELECT 1; UPDATE t SET x = 1")),
        ["BEGIN", "T", "D", "SELECT 1", "55P03", "Z"]
    );
    assert_eq!(said(&other.query("ROLLBACK")), ["ROLLBACK", "Z"]);
}
