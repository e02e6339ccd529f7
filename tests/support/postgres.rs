//! A private PostgreSQL in a temporary directory: the oracle for what both systems mean by the same SQL.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running PostgreSQL with an empty database `postgres`, C collation, UTC.
pub struct Postgres {
    pub port: u16,
    programs: PathBuf,
    dir: tempfile::TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it. It does not run as root, so as root it runs as the user `postgres`.
    pub fn start() -> Postgres {
        let programs = programs();
        let dir = super::scratch();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()));
        }
        let data = dir.path().join("data");
        let port = free_port();
        let initdb = ["-A", "trust", "-U", "millpond", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"];
        run(as_postgres(&programs.join("initdb")).args(initdb).arg(&data));
        let options = format!("-p {port} -k {} -c fsync=off -c listen_addresses=127.0.0.1", dir.path().display());
        let log = dir.path().join("log");
        run(as_postgres(&programs.join("pg_ctl"))
            .args(["-w", "-o", &options, "-D"])
            .arg(&data)
            .arg("-l")
            .arg(&log)
            .arg("start"));
        Postgres { port, programs, dir }
    }

    /// Where tokio-postgres connects to.
    pub fn target(&self) -> String {
        format!("host=127.0.0.1 port={} user=millpond dbname=postgres", self.port)
    }

    /// psql, ready to connect to `database`.
    pub fn psql_command(&self, database: &str) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-U", "millpond", "-d", database, "-p"]);
        command.arg(self.port.to_string()).env("PGTZ", "UTC");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.dir.path().join("data");
        let _ =
            as_postgres(&self.programs.join("pg_ctl")).args(["-m", "immediate", "-D"]).arg(data).arg("stop").output();
    }
}

/// The newest installed PostgreSQL's programs; Debian keeps them off the path.
fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.retain(|bin| bin.join("initdb").exists());
    versions.sort();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut on_path = std::env::split_paths(&on_path).filter(|bin| bin.join("initdb").exists());
    versions.pop().or_else(|| on_path.next()).expect("PostgreSQL is installed (scripts/setup.sh test)")
}

fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout.starts_with(b"0\n")
}

fn run(command: &mut Command) {
    // Files, not pipes: the server that pg_ctl leaves behind would keep a pipe open.
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let handle = |file: &tempfile::NamedTempFile| file.reopen().expect("the file opens again");
    let status = command.stdin(std::process::Stdio::null()).stdout(handle(&log)).stderr(handle(&log)).status();
    let said = std::fs::read_to_string(log.path()).unwrap_or_default();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed:\n{said}");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address").port()
}
