//! The server's life: lock the data directory, open the database, listen, and stop cleanly.
//!
//! One process per data directory, by an advisory lock on its `LOCK` file, which names the holder. Without TLS and
//! passwords the server listens on loopback only. The first SIGTERM or SIGINT ends the sessions, seals and
//! checkpoints; the second one exits at once (what was acknowledged is durable either way). One that comes during
//! recovery exits: recovery only repeats what the log says. Clients are refused with 57P03 until it is over.

use crate::ServeOptions;
use crate::pgwire;
use millpond_engine::STACK_BYTES;
use millpond_engine::database::{Database, DatabaseOptions};
use millpond_plugins::WasmHost;
use millpond_sql::Instance;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Least number of threads that serve sockets; statements have threads of their own (`pgwire/lane.rs`).
const WORKER_THREADS_MIN: usize = 4;
/// Compiled modules, in the data directory; may be deleted while the server is down.
const CODE_CACHE: &str = "cache/modules";
/// How long blocking work may linger after the database is closed.
const LINGER: Duration = Duration::from_secs(1);

/// Why the server could not start or go on.
#[derive(Debug)]
pub struct ServeError(String);

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

type Result<T> = std::result::Result<T, ServeError>;

/// Runs the server until a signal stops it.
pub fn run(options: &ServeOptions) -> Result<()> {
    let began = Instant::now();
    refuse_public_address(options.pg_listen)?;
    let _lock = lock_directory(&options.data_dir)?;
    let threads = std::thread::available_parallelism().map_or(WORKER_THREADS_MIN, |n| n.get().max(WORKER_THREADS_MIN));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| ServeError(format!("cannot start the runtime: {error}")))?;
    // Not on this thread: views are planned in there, and its stack is small.
    let serving = runtime.spawn(serve(options.clone(), began));
    let outcome = runtime.block_on(serving).map_err(|error| ServeError(format!("internal error: {error}")));
    let lingering = Instant::now();
    runtime.shutdown_timeout(LINGER);
    tracing::debug!(took = ?lingering.elapsed(), "threads ended");
    outcome?
}

async fn serve(options: ServeOptions, began: Instant) -> Result<()> {
    // Watched from the start: a signal during recovery stops it.
    let mut signals = Signals::new()?;
    let listener = TcpListener::bind(options.pg_listen)
        .await
        .map_err(|error| ServeError(format!("cannot listen on {}: {error}", options.pg_listen)))?;
    let address = listener.local_addr().map_err(|error| ServeError(format!("cannot listen: {error}")))?;
    let (stop, stopping) = watch::channel(false);
    let ready = Arc::new(OnceLock::new());
    let door = tokio::spawn(pgwire::serve(listener, ready.clone(), stopping));
    let database = tokio::select! {
        opened = open(&options, &ready) => opened?,
        () = signals.next() => {
            tracing::info!("stopped while starting; the next start begins anew");
            return Ok(());
        }
    };
    print_banner(address, &options.data_dir, began.elapsed());
    signals.next().await;
    tracing::info!("stopping: sessions end, then the log is sealed; a second signal exits at once");
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(1);
    });
    let stopped = Instant::now();
    let _ = stop.send(true);
    let _ = door.await;
    tracing::debug!(took = ?stopped.elapsed(), "sessions ended");
    let closing = Instant::now();
    blocking(move || database.shutdown())
        .await?
        .map_err(|error| ServeError(format!("the database did not close cleanly: {error}")))?;
    tracing::debug!(took = ?closing.elapsed(), "database closed");
    tracing::info!("stopped");
    Ok(())
}

/// Recovers the database and lets sessions in.
async fn open(options: &ServeOptions, ready: &OnceLock<Arc<Instance>>) -> Result<Arc<Database>> {
    let directory = options.data_dir.clone();
    let knobs = DatabaseOptions { checkpoint_interval: options.checkpoint_interval, ..DatabaseOptions::default() };
    let database = blocking(move || {
        let host = Arc::new(WasmHost::with_cache(Default::default(), &directory.join(CODE_CACHE))?);
        Database::open(&directory, knobs, host)
    })
    .await?
    .map_err(|error| ServeError(format!("cannot open {}: {error}", options.data_dir.display())))?;
    let instance = Instance::start(database.clone())
        .await
        .map_err(|error| ServeError(format!("cannot start the database: {error}")))?;
    let _ = ready.set(instance);
    Ok(database)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ServeError(format!("internal error: {error}")))
}

fn refuse_public_address(address: SocketAddr) -> Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(ServeError(format!(
        "refusing to listen on {address}: there is no TLS and no password check yet, so anyone who reaches this address \
         could read and change everything; listen on 127.0.0.1 and use an SSH tunnel"
    )))
}

fn print_banner(address: SocketAddr, directory: &Path, took: Duration) {
    let (host, port) = (address.ip(), address.port());
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(
        stdout,
        "Millpond {} is ready ({} ms, data in {}). Connect with:\n\n    psql -h {host} -p {port} -U millpond millpond\n",
        env!("CARGO_PKG_VERSION"),
        took.as_millis(),
        directory.display()
    );
    let _ = stdout.flush();
}

/// Creates the data directory and takes its lock; the lock is held as long as the file is open.
fn lock_directory(directory: &Path) -> Result<File> {
    let fail =
        |what: &str, error: &dyn std::fmt::Display| ServeError(format!("{what} {}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(|error| fail("cannot create", &error))?;
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(directory.join("LOCK"))
        .map_err(|error| fail("cannot open the lock file of", &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut holder);
            let holder =
                if holder.trim().is_empty() { "another process".into() } else { format!("process {}", holder.trim()) };
            return Err(ServeError(format!("the data directory {} is in use by {holder}", directory.display())));
        }
        Err(TryLockError::Error(error)) => return Err(fail("cannot lock", &error)),
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| fail("cannot write the lock file of", &error))?;
    Ok(file)
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let watch = |kind| signal(kind).map_err(|error| ServeError(format!("cannot watch signals: {error}")));
        Ok(Signals { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_per_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let lock = lock_directory(directory.path()).expect("the lock");
        let error = lock_directory(directory.path()).expect_err("it is taken");
        assert!(error.0.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(lock);
        assert!(lock_directory(directory.path()).is_ok());
    }

    #[test]
    fn only_loopback() {
        assert!(refuse_public_address("127.0.0.1:1".parse().expect("an address")).is_ok());
        assert!(refuse_public_address("[::1]:1".parse().expect("an address")).is_ok());
        assert!(refuse_public_address("0.0.0.0:1".parse().expect("an address")).is_err());
    }
}
