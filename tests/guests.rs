//! Hostile guests: whatever a module does, the call fails cleanly and the server goes on.
//!
//! The modules are in `plugins/tests/guests/`, one behaviour each, with their source beside them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::client::{cancel_until_ended, connect};
use support::guest::{assert_well, base64, create_module, guest, prepare, upload};
use support::{Server, scratch, text};

/// Module, call, SQLSTATE of its failure: deadline, memory, trap.
const HOSTILE: &[(&str, &str, &str)] =
    &[("spin", "spin(-x)", "57014"), ("hoard", "hoard((x * 1000)::int)", "53200"), ("trap", "give_up(x)", "38000")];

#[test]
fn hostile_functions_fail_as_statements() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    prepare(&server);
    for (module, call, sqlstate) in HOSTILE {
        upload(&server, module);
        let call = format!("SET statement_timeout = '2s'; SELECT {module}.{call} FROM t");
        assert_eq!(server.psql_error(&call), *sqlstate, "{call}");
        assert_well(&server);
    }
    for (module, call, sqlstate) in HOSTILE {
        let insert = format!("SET statement_timeout = '2s'; INSERT INTO sink SELECT {module}.{call} FROM t");
        assert_eq!(server.psql_error(&insert), *sqlstate, "{insert}");
        assert_eq!(server.psql("SELECT count(*) FROM sink"), "0", "a failed INSERT … SELECT leaves nothing");
        assert_well(&server);
    }
    server.kill();
    server.restart();
    assert_well(&server);
    assert_eq!(server.psql_error("SELECT trap.give_up(x) FROM t"), "38000", "modules survive a crash");
    server.stop();
}

/// A view over a hostile function has no answer, or is refused at CREATE; views beside it stay exact.
#[test]
fn hostile_functions_stop_only_their_view() {
    let dir = scratch();
    let mut server = Server::start(dir.path());
    prepare(&server);
    server.psql("CREATE STREAM later (x bigint)");
    for (module, call, sqlstate) in HOSTILE {
        upload(&server, module);
        let over_rows = format!("CREATE MATERIALIZED VIEW bad AS SELECT {module}.{call} AS y FROM t");
        assert_eq!(server.psql_error(&over_rows), *sqlstate, "backfill meets the failure: {over_rows}");
        server.psql(&format!("CREATE MATERIALIZED VIEW bad_{module} AS SELECT {module}.{call} AS y FROM later"));
    }
    server.psql("CREATE MATERIALIZED VIEW good AS SELECT count(*) AS n FROM later; INSERT INTO later VALUES (1), (2)");
    assert_eq!(server.psql("SELECT n FROM good"), "2");
    assert_well(&server);
    for (module, _, sqlstate) in HOSTILE {
        let code = server.psql_error(&format!("SELECT * FROM bad_{module}"));
        // A trap is the fault of the row that met it; a deadline or a refused allocation stops the view.
        let expected = if *sqlstate == "38000" { "38000" } else { "55000" };
        assert_eq!(code, expected, "a view without an answer says so");
        server.psql(&format!("DROP MATERIALIZED VIEW bad_{module}"));
    }
    server.kill();
    server.restart();
    assert_eq!(server.psql("SELECT n FROM good"), "2");
    assert_well(&server);
}

#[test]
fn a_module_can_be_dropped_once_nothing_calls_it() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "trap");
    server.psql("CREATE MATERIALIZED VIEW halves AS SELECT trap.divide(x, 2) AS y FROM t");
    assert_eq!(server.psql("SELECT sum(y) FROM halves"), "30");
    assert_eq!(server.psql_error("DROP MODULE trap"), "2BP01");
    server.psql("DROP MATERIALIZED VIEW halves");
    server.psql("DROP MODULE trap");
    assert_well(&server);
}

/// Output beyond the limit is an error or a whole answer, never a cut one.
#[test]
fn huge_output_is_bounded() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "output");
    let before = server.resident_kib();
    for (call, code) in [
        ("zeros((x * 10000000)::int)", "53200"),
        ("zero_bytes((x - x + 17000000)::int)", "54000"),
        ("broken_text(x::int)", "38000"),
        ("zeros(x::int)", "22021"),
    ] {
        assert_eq!(server.psql_error(&format!("SELECT length(output.{call}) FROM t")), code, "{call}");
    }
    assert_eq!(server.psql("SELECT sum(length(output.zero_bytes((x * 100000)::int))) FROM t"), "6000000");
    assert_well(&server);
    let grown_kib = server.resident_kib().saturating_sub(before);
    assert!(grown_kib < 512 * 1024, "the server kept {grown_kib} KiB");
}

#[test]
fn wrong_types_and_garbage_are_refused_at_upload_or_call() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    for name in ["types", "imports"] {
        assert_eq!(server.psql_error(&create_module(name)), "22023", "{name}");
    }
    upload(&server, "trap");
    for call in ["trap.give_up()", "trap.give_up(x, x)", "trap.give_up('text')", "trap.nosuchfunction(x)"] {
        let code = server.psql_error(&format!("SELECT {call} FROM t"));
        assert!(["42883", "22P02"].contains(&code.as_str()), "{call} ended with {code}");
    }
    let whole = std::fs::read(guest("trap")).unwrap();
    let mut flipped = whole.clone();
    for at in (8..flipped.len()).step_by(97) {
        flipped[at] ^= 0x55;
    }
    let cut = &whole[..whole.len() / 2];
    for (name, bytes) in
        [("empty", &b""[..]), ("text", b"not wasm at all"), ("magic", b"\0asm"), ("cut", cut), ("flipped", &flipped)]
    {
        let upload = format!("CREATE MODULE {name} FROM BASE64 '{}'", base64(bytes));
        assert_eq!(server.psql_error(&upload), "22023", "{name}");
        assert_well(&server);
    }
    assert_eq!(server.psql_error("CREATE MODULE m FROM BASE64 '***'"), "22023");
    assert_well(&server);
}

/// Longest time from a cancel or a timeout to its error; covers a busy machine, but no deadline of a call.
const PROMPT: Duration = Duration::from_secs(3);
/// More than the server has threads for statements.
const ENDLESS_SESSIONS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_call_is_cancelled_at_once_wherever_it_runs() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "spin");
    let client = connect(&server).await;
    client.batch_execute("SET statement_timeout = '10min'").await.unwrap();
    for statement in [
        "SELECT spin.spin(-x) FROM t",
        "SELECT spin.spin(-1)",
        "SELECT x FROM t ORDER BY spin.spin(-x)",
        "INSERT INTO sink SELECT spin.spin(-x) FROM t",
        "UPDATE t SET x = spin.spin(-x)",
        "EXPLAIN ANALYZE SELECT spin.spin(-x) FROM t",
    ] {
        let token = client.cancel_token();
        let cancel = async {
            tokio::task::block_in_place(|| server.wait_until_busy(true, statement));
            token.cancel_query(tokio_postgres::NoTls).await.expect("cancel is sent");
            Instant::now()
        };
        let (result, sent) = tokio::join!(client.batch_execute(statement), cancel);
        let took = sent.elapsed();
        let error = result.expect_err(statement);
        assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{statement}: {error}");
        assert!(took < PROMPT, "{statement}: {took:?} after the cancel");
        client.batch_execute("SELECT 1").await.expect("the connection goes on");
    }
    assert_eq!(server.psql("SELECT count(*) FROM sink"), "0");
    assert_well(&server);
}

#[test]
fn ctrl_c_in_psql_ends_an_endless_call() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "spin");
    let mut psql = server.psql_command();
    psql.args(["-c", "SET statement_timeout = '10min'", "-c", "SELECT spin.spin(-x) FROM t"]);
    let child = psql.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql starts");
    server.wait_until_busy(true, "the call runs");
    let sent = Instant::now();
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(status.success(), "psql was gone before it was interrupted");
    let output = child.wait_with_output().expect("psql ends");
    assert!(sent.elapsed() < PROMPT, "{:?}", sent.elapsed());
    assert!(text(&output.stderr).contains("canceling statement due to user request"), "{}", text(&output.stderr));
    assert_well(&server);
}

/// The setting bounds the statement, not each of the calls it makes.
#[test]
fn statement_timeout_bounds_all_calls_together() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "work");
    // Rounds that take a call of one row some 300 ms here.
    let (mut rounds, mut took) = (10_000_000u64, Duration::ZERO);
    while took < Duration::from_millis(300) {
        rounds *= 2;
        let began = Instant::now();
        server.psql(&format!("SELECT work.work(x - x + {rounds}) FROM t WHERE id = 1"));
        took = began.elapsed();
    }
    let branches = 20 * std::thread::available_parallelism().map_or(1, usize::from);
    let calls = vec![format!("SELECT work.work(x - x + {rounds}) FROM t WHERE id = 1"); branches].join(" UNION ALL ");
    let timeout = took * 3;
    let began = Instant::now();
    let statement = format!("SET statement_timeout = {}; {calls}", timeout.as_millis());
    assert_eq!(server.psql_error(&statement), "57014", "each call is in time, all together are not");
    assert!((timeout * 9 / 10..timeout + PROMPT).contains(&began.elapsed()), "{:?} of {timeout:?}", began.elapsed());
    assert_well(&server);
}

/// Without the setting a call has a deadline of its own, and the statement no more than that.
#[test]
fn an_endless_call_has_five_seconds() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "spin");
    for statement in
        ["SELECT spin.spin(-1)", "SELECT spin.spin(-x) FROM t", "SELECT spin.spin(spin.spin(-1)) + 1 FROM t"]
    {
        let began = Instant::now();
        assert_eq!(server.psql_error(statement), "57014", "{statement}");
        let (took, five) = (began.elapsed(), Duration::from_secs(5));
        assert!((five * 9 / 10..five + PROMPT).contains(&took), "{statement}: {took:?}");
    }
}

/// Sessions with endless calls, more than there are threads, take time from others, but never their turn.
#[tokio::test(flavor = "multi_thread")]
async fn endless_calls_do_not_starve_other_sessions() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "spin");
    let mut endless = Vec::new();
    for _ in 0..ENDLESS_SESSIONS {
        let client = connect(&server).await;
        client.batch_execute("SET statement_timeout = '10min'").await.unwrap();
        let token = client.cancel_token();
        let running = tokio::spawn(async move { client.batch_execute("SELECT spin.spin(-x) FROM t").await });
        endless.push((token, running));
    }
    tokio::task::block_in_place(|| server.wait_until_busy(true, "calls run"));
    let began = Instant::now();
    let client =
        tokio::time::timeout(Duration::from_secs(60), connect(&server)).await.expect("a new session is served");
    for id in 10..15 {
        client.batch_execute(&format!("INSERT INTO t VALUES ({id}, 0)")).await.unwrap();
        let row = client.query_one("SELECT n FROM beside", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), id - 6);
    }
    println!("{ENDLESS_SESSIONS} endless calls: ten statements took {:?}", began.elapsed());
    assert!(endless.iter().all(|(_, running)| !running.is_finished()), "they were still at it");
    for (token, running) in endless {
        cancel_until_ended(&token, &running).await;
        let error = running.await.unwrap().expect_err("it was cancelled");
        assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error}");
    }
}

/// Modules are compiled once, whatever happens to the files that keep the code.
#[test]
fn a_restart_takes_compiled_code_from_the_cache() {
    const TAKEN: &str = "taken from the cache";
    const COMPILED: &str = "module compiled";
    let dir = scratch();
    let mut server = Server::start(dir.path());
    prepare(&server);
    upload(&server, "trap");
    let works = |server: &Server| assert_eq!(server.psql("SELECT sum(trap.divide(x, 10)) FROM t"), "6");
    works(&server);
    assert!(server.log().contains(COMPILED) && !server.log().contains(TAKEN));
    server.kill();
    server.restart();
    works(&server);
    assert!(server.log().contains(TAKEN) && !server.log().contains(COMPILED), "{}", server.log());
    server.stop();

    let cached = || -> PathBuf {
        let files: Vec<_> = std::fs::read_dir(dir.path().join("cache/modules")).unwrap().map(|f| f.unwrap()).collect();
        assert_eq!(files.len(), 1, "one module, one file");
        files[0].path()
    };
    let whole = std::fs::read(cached()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(cached()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let middle = whole.len() / 2;
    let flipped: Vec<u8> = whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == middle)).collect();
    let foreign = [&whole[..8], &[0; 32], &whole[40..]].concat();
    for bad in [&b""[..], b"garbage", &whole[..middle], &flipped, &foreign] {
        std::fs::write(cached(), bad).unwrap();
        server.restart();
        works(&server);
        assert!(server.log().contains("damaged") && server.log().contains(COMPILED), "{}", server.log());
        server.stop();
        assert_eq!(std::fs::read(cached()).unwrap().len(), whole.len(), "it is written again");
    }
    // One that others may write to is not trusted.
    std::fs::set_permissions(cached(), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    server.restart();
    works(&server);
    assert!(!server.log().contains(TAKEN), "{}", server.log());
    server.stop();
    std::fs::remove_dir_all(dir.path().join("cache")).unwrap();
    server.restart();
    works(&server);
    server.stop();
}

#[test]
fn create_module_names_the_exports_it_leaves_out() {
    let dir = scratch();
    let server = Server::start(dir.path());
    prepare(&server);
    let output = server.psql_with(&["-q", "-v", "ON_ERROR_STOP=1"], &create_module("mixed"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told: Vec<String> = text(&output.stderr).lines().map(str::to_owned).collect();
    assert_eq!(
        told,
        [
            "NOTICE:  export \"test:guest/more@1.0.0/pair\" of module \"mixed\" cannot be called: parameter x has type tuple",
            "NOTICE:  export \"of-char\" of module \"mixed\" cannot be called: parameter c has type char",
        ]
    );
    assert_eq!(server.psql("SELECT mixed.add_one(x) FROM t WHERE id = 1"), "11");
    let output = server.psql_with(&["-q"], &create_module("trap"));
    assert_eq!(text(&output.stderr), "", "nothing to tell");
}
