//! Uploads of the guests in `plugins/tests/guests/`, one behaviour each, with their source beside them.

use super::Server;
use std::path::{Path, PathBuf};

pub fn prepare(server: &Server) {
    server.psql(
        "CREATE TABLE t (id int PRIMARY KEY, x bigint);
         CREATE STREAM sink (y bigint);
         CREATE MATERIALIZED VIEW beside AS SELECT count(*) AS n, sum(x) AS s FROM t;
         INSERT INTO t VALUES (1, 10), (2, 20), (3, 30);",
    );
}

/// The server answers, an untouched view is current, and a write goes through.
pub fn assert_well(server: &Server) {
    assert_eq!(server.psql("SELECT 1"), "1");
    server.psql("UPDATE t SET x = x + 1 WHERE id = 1; UPDATE t SET x = x - 1 WHERE id = 1;");
    assert_eq!(server.psql("SELECT n, s FROM beside"), "3|60");
}

pub fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/tests/guests/{name}.wasm"))
}

pub fn upload(server: &Server, module: &str) {
    server.psql(&create_module(module));
}

pub fn create_module(module: &str) -> String {
    let bytes = std::fs::read(guest(module)).unwrap_or_else(|e| panic!("{}: {e}", guest(module).display()));
    format!("CREATE MODULE {module} FROM BASE64 '{}'", base64(&bytes))
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |chunk: &[u8]| {
        let group = (0..3).fold(0u32, |group, i| group << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        let digit =
            |i: usize| if i <= chunk.len() { DIGITS[(group >> (18 - 6 * i)) as usize & 63] as char } else { '=' };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(encode).collect()
}
