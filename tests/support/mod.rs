//! A real server in a child process, psql, and a PostgreSQL beside it to compare with.
//!
//! Nothing here knows Millpond from inside: tests enter through the binary, its port and its signals. A server listens
//! on a free port, is killed when its handle is dropped, and shows its stderr when the test fails.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod client;
pub mod guest;
pub mod postgres;
pub mod random;
pub mod raw;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for the banner; covers recovery on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A running `millpond serve`.
pub struct Server {
    child: Child,
    pub port: u16,
    pub dir: PathBuf,
    options: Vec<String>,
    stderr: Arc<Mutex<String>>,
}

impl Server {
    /// Starts the server on `dir` and waits until it says how to connect.
    pub fn start(dir: &Path) -> Server {
        Server::start_from(Path::new("."), dir, &[])
    }

    /// As `start`, with more options, which a restart keeps.
    pub fn start_with(dir: &Path, options: &[&str]) -> Server {
        Server::start_from(Path::new("."), dir, options)
    }

    /// As `start_with`, with another working directory.
    pub fn start_from(working_dir: &Path, dir: &Path, options: &[&str]) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_millpond"))
            .args(["serve", "--pg-listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .args(options)
            .current_dir(working_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the millpond binary starts");
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        let ports = read_port(child.stdout.take().expect("stdout is piped"));
        let Ok(port) = ports.recv_timeout(START_TIMEOUT) else {
            let _ = child.kill();
            panic!("the server printed no `psql -h … -p PORT` line; stderr:\n{}", stderr.lock().unwrap());
        };
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Server { child, port, dir: dir.to_owned(), options, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Power cut as the process sees it: SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("a killed server can be waited for");
    }

    /// Clean shutdown: SIGTERM, and it must exit with success.
    pub fn stop(&mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "SIGTERM could not be sent: the server was gone");
        let status = self.child.wait().expect("a stopped server can be waited for");
        assert!(status.success(), "clean shutdown ended with {status}; stderr:\n{}", self.stderr.lock().unwrap());
    }

    /// Starts again on the same directory, after `kill` or `stop`.
    pub fn restart(&mut self) {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let next = Server::start_with(&self.dir, &options);
        *self = next;
    }

    /// Runs `sql` in one psql session; rows come back unaligned, one a line. The test fails on any error.
    pub fn psql(&self, sql: &str) -> String {
        let output = self.psql_with(&["-q", "-v", "ON_ERROR_STOP=1"], sql);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "psql failed on:\n{sql}\nstdout:\n{out}\nstderr:\n{err}");
        out.trim_end().to_owned()
    }

    /// Runs `sql` and gives the five characters of the first error's SQLSTATE; fails if there is no error.
    pub fn psql_error(&self, sql: &str) -> String {
        let output = self.psql_with(&["-q", "-v", "VERBOSITY=sqlstate"], sql);
        let err = text(&output.stderr);
        let code = err.lines().find_map(|line| line.split_once("ERROR:  ")).map(|(_, code)| code.trim().to_owned());
        code.unwrap_or_else(|| panic!("no error from:\n{sql}\nstdout:\n{}\nstderr:\n{err}", text(&output.stdout)))
    }

    /// Runs psql with more arguments and a script on its stdin.
    pub fn psql_with(&self, arguments: &[&str], script: &str) -> Output {
        psql(self.psql_command().args(arguments), script)
    }

    /// psql, ready to connect: unaligned, tuples only, UTC.
    pub fn psql_command(&self) -> Command {
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-U", "millpond", "-d", "millpond", "-p"]);
        command.arg(self.port.to_string()).env("PGTZ", "UTC").env("PGCONNECT_TIMEOUT", "30");
        command
    }

    /// What the server logged so far.
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The first line of the log with this text, once it is there: a thread of the test's reads the pipe.
    pub fn wait_for_log(&self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let log = self.log();
            let mut whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(line) = whole.find(|line| line.contains(text)) {
                return line.trim_end().to_owned();
            }
            assert!(began.elapsed() < START_TIMEOUT, "the log does not say {text:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is there");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number of kB")
    }

    /// Waits until the server computes, or no longer does; fails after some seconds.
    pub fn wait_until_busy(&self, busy: bool, what: &str) {
        const TRIES: usize = 12;
        let reached = |share: f64| if busy { share > 0.1 } else { share < 0.05 };
        assert!((0..TRIES).any(|_| reached(self.busy())), "{what}");
    }

    /// Processors the server keeps busy, measured over half a second.
    pub fn busy(&self) -> f64 {
        const TICKS_PER_S: f64 = 100.0;
        let ticks = || -> f64 {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the server is running");
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
            fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number of ticks")).sum()
        };
        let (before, over) = (ticks(), Duration::from_millis(500));
        std::thread::sleep(over);
        (ticks() - before) / TICKS_PER_S / over.as_secs_f64()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- server stderr (port {})\n{}---", self.port, self.stderr.lock().unwrap());
        }
    }
}

/// Runs `command` with `script` on stdin and collects what it prints.
pub fn psql(command: &mut Command, script: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql is installed (scripts/setup.sh test)");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let script = script.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().expect("psql ends");
    let _ = writer.join(); // psql may stop reading at an error
    output
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An empty directory that goes away with the handle.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("millpond-test-").tempdir().expect("a temporary directory")
}

fn collect(mut from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let collected = Arc::new(Mutex::new(String::new()));
    let into = collected.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
    collected
}

/// Watches stdout for the line that says how to connect, and keeps the pipe drained.
fn read_port(stdout: impl Read + Send + 'static) -> Receiver<u16> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let port = line.split_once("psql -h 127.0.0.1 -p ").and_then(|(_, rest)| rest.split(' ').next());
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                let _ = sender.send(port);
            }
        }
    });
    receiver
}
