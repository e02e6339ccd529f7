//! A query that is given up opens no further segment: on a disk that answers when the test lets it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use futures::StreamExt;
use millpond_engine::database::{Database, DatabaseOptions};
use millpond_engine::env::{Env, EnvFile, RealEnv};
use millpond_engine::function::{Module, ModuleHost};
use millpond_sql::{Error, Instance, Outcome, Session};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// More than a query opens at once.
fn segments() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get()) + 4
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_query_stops_between_segments() {
    let dir = tempfile::tempdir().unwrap();
    for segment in 0..segments() {
        let (database, mut session) = open(Arc::new(RealEnv::default()), dir.path()).await;
        if segment == 0 {
            run(&mut session, "CREATE STREAM s (n bigint)", Arc::default()).await.unwrap();
        }
        run(&mut session, &format!("INSERT INTO s VALUES ({segment})"), Arc::default()).await.unwrap();
        database.shutdown().unwrap(); // seals
    }
    let gate = Arc::new(Gate::default());
    let (database, mut session) = open(Arc::new(GatedEnv(RealEnv::default(), gate.clone())), dir.path()).await;
    let cancel = Arc::new(AtomicBool::new(false));
    let query = {
        let cancel = cancel.clone();
        tokio::spawn(async move { (run(&mut session, "SELECT sum(n) FROM s", cancel).await, session) })
    };
    wait_until(|| gate.waiting() > 0).await;
    cancel.store(true, Ordering::Relaxed);
    let (cancelled, mut session) = query.await.unwrap();
    assert_eq!(cancelled.unwrap_err().sqlstate, "57014");
    let begun = gate.begun();
    assert!(begun < segments(), "{begun} of {} segments were read at once", segments());
    gate.open();
    wait_until(|| gate.waiting() == 0).await;
    run(&mut session, "SELECT sum(n) FROM s WHERE _offset < 0", Arc::default()).await.unwrap();
    assert_eq!(gate.begun(), begun, "somebody reads on");
    run(&mut session, "SELECT sum(n) FROM s", Arc::default()).await.unwrap();
    assert_eq!(gate.begun(), segments());
    database.shutdown().unwrap();
}

async fn open(env: Arc<dyn Env>, dir: &Path) -> (Arc<Database>, Session) {
    let database = Database::open_with(env, dir, DatabaseOptions::default(), Arc::new(NoModules)).unwrap();
    let instance = Instance::start(database.clone()).await.unwrap();
    (database, Session::new(instance, "tester", "millpond", 1))
}

async fn run(session: &mut Session, sql: &str, cancel: Arc<AtomicBool>) -> Result<(), Error> {
    let statement = session.parse(sql)?.remove(0);
    if let Outcome::Rows(mut rows) = session.execute(&statement, vec![], cancel).await? {
        while let Some(batch) = rows.stream.next().await {
            batch?;
        }
    }
    Ok(())
}

async fn wait_until(reached: impl Fn() -> bool) {
    let waited = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it happens");
}

#[derive(Debug)]
struct NoModules;

impl ModuleHost for NoModules {
    fn load(&self, _: &[u8]) -> millpond_engine::Result<Arc<dyn Module>> {
        Err(millpond_engine::Error::Invalid("no modules here".into()))
    }
}

/// Holds up the reads of segments by the log; DataFusion's own go past it.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    waiting: usize,
    begun: BTreeSet<PathBuf>,
}

impl Gate {
    fn pass(&self, path: &Path) {
        let mut state = self.state.lock().unwrap();
        state.begun.insert(path.to_owned());
        state.waiting += 1;
        let mut state = self.opened.wait_while(state, |state| !state.open).unwrap();
        state.waiting -= 1;
    }

    fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.opened.notify_all();
    }

    fn waiting(&self) -> usize {
        self.state.lock().unwrap().waiting
    }

    /// Segments of which something was read.
    fn begun(&self) -> usize {
        self.state.lock().unwrap().begun.len()
    }
}

#[derive(Debug)]
struct GatedEnv(RealEnv, Arc<Gate>);

impl Env for GatedEnv {
    fn open(&self, path: &Path) -> io::Result<Box<dyn EnvFile>> {
        let file = self.0.open(path)?;
        match path.extension().is_some_and(|extension| extension == "parquet") {
            true => Ok(Box::new(GatedFile(file, path.to_owned(), self.1.clone()))),
            false => Ok(file),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn EnvFile>> {
        self.0.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_new(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn now_micros(&self) -> i64 {
        self.0.now_micros()
    }

    fn random(&self) -> u64 {
        self.0.random()
    }

    fn raise_priority(&self) {
        self.0.raise_priority();
    }

    fn fatal(&self, message: &str) {
        self.0.fatal(message);
    }
}

#[derive(Debug)]
struct GatedFile(Box<dyn EnvFile>, PathBuf, Arc<Gate>);

impl EnvFile for GatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.2.pass(&self.1);
        self.0.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_at(bytes, position)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn links(&self) -> io::Result<u64> {
        self.0.links()
    }
}
