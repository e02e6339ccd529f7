//! What guests may not do to others: take all memory or all threads, outlive their client, or hold up start and stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::client::{cancel_until_ended, connect, connect_to};
use support::guest::{assert_well, base64, create_module, guest, prepare, upload};
use support::raw::{Raw, said};
use support::{Server, scratch, text};

/// Longest time for what happens at once; covers a busy machine, but no deadline of a call.
const PROMPT: Duration = Duration::from_secs(3);
/// More than the server has threads to wait on.
const BRANCHES: usize = 600;

/// One statement of more endless calls than there may be threads: others connect, ask and cancel.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_many_endless_calls_makes_nobody_wait() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "spin");
    let endless = vec!["SELECT spin.spin(-x) FROM t"; 300].join(" UNION ALL ");
    let endless = format!("SELECT * FROM ({endless}) a UNION ALL SELECT * FROM ({endless}) b");
    assert_eq!(endless.matches("spin.spin").count(), BRANCHES);
    let client = connect(&server).await;
    client.batch_execute("SET statement_timeout = '10min'").await.unwrap();
    let token = client.cancel_token();
    let running = tokio::spawn(async move { client.batch_execute(&endless).await });
    tokio::time::sleep(Duration::from_secs(4)).await; // planning takes its time
    assert!(!running.is_finished());
    let began = Instant::now();
    let other = connect(&server).await;
    assert_eq!(other.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    assert_eq!(other.query_one("SELECT n FROM beside", &[]).await.unwrap().get::<_, i64>(0), 3);
    let took = began.elapsed();
    assert!(took < PROMPT, "another session waited {took:?}");
    let sent = Instant::now();
    token.cancel_query(tokio_postgres::NoTls).await.expect("cancel is sent");
    let error = running.await.unwrap().expect_err("it was cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error}");
    assert!(sent.elapsed() < PROMPT, "{:?} after the cancel", sent.elapsed());
    assert_well(&server);
    server.stop();
}

/// Functions of one statement, each within its own bound, do not together take the machine's memory: what one leaves idle
/// goes when another needs it.
#[test]
fn functions_together_have_a_bounded_memory() {
    const MODULES: usize = 40;
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    let create = create_module("hoard");
    for module in 0..MODULES {
        server.psql(&create.replacen("hoard", &format!("hoard{module}"), 1));
    }
    let sum = |modules: usize| {
        let calls: Vec<String> =
            (0..modules).map(|module| format!("hoard{module}.hoard((x - x + 1000)::int)")).collect();
        format!("SELECT {} FROM t WHERE id = 1", calls.join(" + "))
    };
    assert_eq!(server.psql(&sum(MODULES)), "40040", "2.5 GiB, one after the other");
    assert_eq!(server.psql(&sum(10)), "10010", "what they had was given back");
    assert_well(&server);
}

#[test]
fn the_server_stops_although_a_guest_loops() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "spin");
    for statement in
        ["SELECT spin.spin(-1)", "SELECT spin.spin(-x) FROM t", "INSERT INTO sink SELECT spin.spin(-x) FROM t"]
    {
        let mut psql = server.psql_command();
        psql.args(["-c", "SET statement_timeout = '10min'", "-c", statement]);
        let child =
            psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("psql starts");
        server.wait_until_busy(true, statement);
        let began = Instant::now();
        server.stop();
        assert!(began.elapsed() < PROMPT, "{statement}: {:?}", began.elapsed());
        let told = text(&child.wait_with_output().unwrap().stderr);
        assert!(told.contains("terminating connection due to administrator command"), "{statement}: {told}");
        server.restart();
    }
}

#[test]
fn a_lost_client_ends_its_guests() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "spin");
    for statement in ["SELECT spin.spin(-1)", "SELECT spin.spin(-x) FROM t"] {
        let mut psql = server.psql_command();
        psql.args(["-c", "SET statement_timeout = '10min'", "-c", statement]);
        let mut child = psql.stdin(Stdio::null()).spawn().expect("psql starts");
        server.wait_until_busy(true, statement);
        child.kill().unwrap();
        child.wait().unwrap();
        server.wait_until_busy(false, "nobody waits for the answer");
    }
}

/// A constant call in a view is not made while the view is planned, where nobody could stop it, nor at each start.
#[test]
fn planning_a_view_calls_nothing() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "spin");
    let began = Instant::now();
    server.psql("CREATE MATERIALIZED VIEW v AS SELECT y, spin.spin(-1) AS z FROM sink WHERE spin.spin(-2) > y");
    server.psql("CREATE MATERIALIZED VIEW w AS SELECT id, spin.spin(41) AS answer FROM t");
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    assert_eq!(server.psql("SELECT * FROM v; SELECT DISTINCT answer FROM w"), "42");
    server.kill();
    let began = Instant::now();
    server.restart();
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    assert_eq!(server.psql("SELECT * FROM v; SELECT DISTINCT answer FROM w"), "42");
}

/// Planned on a session's stack, planned again on that of a start, computed on that of a tick.
#[test]
fn a_deep_view_survives_ticks_and_starts() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    prepare(&server);
    let links: Vec<String> = (0..450).map(|n| format!("(x % {} = id) AND (x > {n} - id)", n + 2)).collect();
    let chain = links.join(" OR ");
    server.psql(&format!("CREATE MATERIALIZED VIEW deep AS SELECT id, x FROM t WHERE {chain}"));
    server.psql("INSERT INTO t VALUES (100, 431), (101, 9973), (102, 0)");
    let rows = server.psql("SELECT count(*) FROM deep");
    assert_eq!(rows, server.psql(&format!("SELECT count(*) FROM t WHERE {chain}")));
    server.kill();
    server.restart();
    assert_eq!(server.psql("SELECT count(*) FROM deep"), rows);
    server.psql("DELETE FROM t WHERE id >= 100");
    server.stop();
    server.restart();
    assert_eq!(server.psql("SELECT n FROM beside"), "3");
}

/// A module that takes seconds to compile: nothing else waits for it, it can be given up, and so can a start.
#[tokio::test(flavor = "multi_thread")]
async fn compiling_holds_up_nobody() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    prepare(&server);
    let client = connect(&server).await;
    let token = client.cancel_token();
    let create =
        |name: &str, factor: u8| format!("CREATE MODULE {name} FROM BASE64 '{}'", base64(&slow_module(factor)));
    let (slow, given_up) = (create("slow", 3), create("given_up", 5));
    let running = tokio::spawn(async move { (client.batch_execute(&slow).await, client) });
    let (mut longest, mut meanwhile) = (Duration::ZERO, 0);
    while !running.is_finished() {
        let began = Instant::now();
        server.psql("CREATE TABLE meanwhile (id int PRIMARY KEY); DROP TABLE meanwhile");
        (longest, meanwhile) = (longest.max(began.elapsed()), meanwhile + 1);
    }
    let (compiled, client) = running.await.unwrap();
    compiled.expect("it compiles in time");
    assert!(meanwhile >= 3 && longest < PROMPT, "{meanwhile} tables meanwhile, in {longest:?} each");
    assert_eq!(server.psql("SELECT slow.divide(7, 2)"), "3");

    let running = tokio::spawn(async move { client.batch_execute(&given_up).await });
    // The text is read and parsed first, when there is nothing to cancel yet.
    cancel_until_ended(&token, &running).await;
    let error = running.await.unwrap().expect_err("cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    server.stop();

    std::fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let mut starting = Starting::on(dir.path());
    let mut raw = Raw::open(starting.port);
    raw.startup();
    assert_eq!(said(&[raw.read().expect("an answer")]), ["57P03"], "it says that it starts");
    assert!(connect_to(&format!("host=127.0.0.1 port={} user=millpond", starting.port)).await.is_err());
    let began = Instant::now();
    assert!(starting.stop().success());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    server.restart();
    assert_eq!(server.psql("SELECT slow.divide(7, 2)"), "3");
}

/// A server that has not said yet that it is ready.
struct Starting {
    child: std::process::Child,
    port: u16,
}

impl Starting {
    fn on(dir: &std::path::Path) -> Starting {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(["serve", "--pg-listen", &format!("127.0.0.1:{port}"), "--data-dir"]).arg(dir);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the millpond binary starts");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Starting { child, port }
    }

    fn stop(&mut self) -> std::process::ExitStatus {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The guest `trap` with a core module beside it that nobody instantiates and that takes seconds to compile.
fn slow_module(factor: u8) -> Vec<u8> {
    const FUNCTIONS: usize = 400;
    const STEPS: usize = 2500;
    let section = |id: u8, body: Vec<u8>| [vec![id], unsigned(body.len()), body].concat();
    // x = x * factor + (x >> 1), over and over: local.get 0, i64.const, i64.mul, local.get 0, i64.const 1, i64.shr_s, …
    let step = [0x20, 0, 0x42, factor, 0x7e, 0x20, 0, 0x42, 1, 0x87, 0x7c, 0x21, 0];
    let body = [vec![0], step.repeat(STEPS), vec![0x20, 0, 0x0b]].concat();
    let code = [unsigned(body.len()), body].concat();
    let core = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![1, 0x60, 1, 0x7e, 1, 0x7e]),
        section(3, [unsigned(FUNCTIONS), vec![0; FUNCTIONS]].concat()),
        section(10, [unsigned(FUNCTIONS), code.repeat(FUNCTIONS)].concat()),
    ]
    .concat();
    let trap = std::fs::read(guest("trap")).unwrap();
    [trap, section(1, core)].concat()
}

/// LEB128.
fn unsigned(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(low | if number > 0 { 0x80 } else { 0 });
        if number == 0 {
            return bytes;
        }
    }
}
