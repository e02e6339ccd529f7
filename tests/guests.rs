//! Hostile guests: whatever a module does, the call fails cleanly and the server goes on.
//!
//! The modules are in `plugins/tests/guests/`, one behaviour each, with their source beside them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;
use support::{Server, scratch};

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

/// A view over a hostile function stops, or is refused at CREATE; views beside it stay exact.
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
    for (module, ..) in HOSTILE {
        let code = server.psql_error(&format!("SELECT * FROM bad_{module}"));
        assert_eq!(code, "55000", "a stopped view says so instead of answering");
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
    let code = server.psql_error("SELECT length(output.zeros((x * 10000000)::int)) FROM t");
    assert!(["53200", "54000", "38000"].contains(&code.as_str()), "huge output ended with {code}");
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

fn prepare(server: &Server) {
    server.psql(
        "CREATE TABLE t (id int PRIMARY KEY, x bigint);
         CREATE STREAM sink (y bigint);
         CREATE MATERIALIZED VIEW beside AS SELECT count(*) AS n, sum(x) AS s FROM t;
         INSERT INTO t VALUES (1, 10), (2, 20), (3, 30);",
    );
}

/// The server answers, an untouched view is current, and a write goes through.
fn assert_well(server: &Server) {
    assert_eq!(server.psql("SELECT 1"), "1");
    server.psql("UPDATE t SET x = x + 1 WHERE id = 1; UPDATE t SET x = x - 1 WHERE id = 1;");
    assert_eq!(server.psql("SELECT n, s FROM beside"), "3|60");
}

fn guest(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/tests/guests/{name}.wasm"))
}

fn upload(server: &Server, module: &str) {
    server.psql(&create_module(module));
}

fn create_module(module: &str) -> String {
    let bytes = std::fs::read(guest(module)).unwrap_or_else(|e| panic!("{}: {e}", guest(module).display()));
    format!("CREATE MODULE {module} FROM BASE64 '{}'", base64(&bytes))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |chunk: &[u8]| {
        let group = (0..3).fold(0u32, |group, i| group << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        let digit =
            |i: usize| if i <= chunk.len() { DIGITS[(group >> (18 - 6 * i)) as usize & 63] as char } else { '=' };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(encode).collect()
}
