//! The database: opens a data directory and ties log, catalog, dataflow and snapshots together.
//!
//! Layout of a data directory: `log/` (see `log`), `store/` (RocksDB, see `store`).
//!
//! Lock order: `ddl` → `checkpointing` → `graph` → `published`. The log has locks of its own, taken last.

use crate::catalog::{Catalog, Column, Object, ObjectKind};
use crate::dataflow::Dataflow;
use crate::ddl::{DdlState, is_append_only};
use crate::env::{Env, RealEnv};
use crate::error::caught;
use crate::function::{Module, ModuleHost};
use crate::graph::{Contents, Graph, ViewState, inputs_of};
use crate::input::{Reader, Uppers, Wanted};
use crate::log::{Log, LogOptions};
use crate::plan::Plan;
use crate::reconcile;
use crate::relation::Relation;
use crate::snapshot::Snapshot;
use crate::store::{Checkpoint, Store};
use crate::subscription::{SubscribeOptions, Subscription};
use crate::ticker::Ticker;
use crate::transaction::{Budget, OPEN_TRANSACTIONS_BYTES_MAX, TableLocks, Transaction};
use crate::{Epoch, Error, ObjectId, Result};
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Knobs; the defaults are what `millpond serve` uses.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    pub log: LogOptions,
    /// Time between two checkpoints of changed state.
    pub checkpoint_interval: Duration,
    /// Bytes of rows that all open transactions may hold together.
    pub transactions_bytes_max: usize,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        DatabaseOptions {
            log: LogOptions::default(),
            checkpoint_interval: Duration::from_secs(10),
            transactions_bytes_max: OPEN_TRANSACTIONS_BYTES_MAX,
        }
    }
}

/// How fresh a snapshot must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Everything acknowledged before the call.
    Strict,
    /// Whatever the last tick published.
    Latest,
}

/// How far a backfill is.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackfillProgress {
    pub rows_done: u64,
    pub rows_total: u64,
}

/// What to create.
#[derive(Debug)]
pub enum Create {
    Stream {
        name: String,
        columns: Vec<Column>,
        partitions: u32,
        key: Vec<usize>,
        definition: String,
    },
    Table {
        name: String,
        columns: Vec<Column>,
        key: Vec<usize>,
        definition: String,
    },
    /// `module`: what [`ModuleHost::load`] made of `bytes`.
    Module {
        name: String,
        bytes: Vec<u8>,
        module: Arc<dyn Module>,
        definition: String,
    },
}

impl Create {
    /// Name of what is to be created.
    pub fn name(&self) -> &str {
        match self {
            Create::Stream { name, .. } | Create::Table { name, .. } | Create::Module { name, .. } => name,
        }
    }
}

/// A view to create: `plan` computes `columns`.
#[derive(Debug)]
pub struct CreateView {
    pub name: String,
    pub columns: Vec<Column>,
    pub plan: Plan,
    pub definition: String,
    pub modules: Vec<ObjectId>,
}

/// An open data directory.
#[derive(Debug)]
pub struct Database {
    pub(crate) log: Arc<Log>,
    pub(crate) store: Store,
    pub(crate) host: Arc<dyn ModuleHost>,
    pub(crate) options: DatabaseOptions,
    pub(crate) ddl: Mutex<DdlState>,
    /// Held while a checkpoint is made; `true` once one failed, after which no further one would be complete.
    pub(crate) checkpointing: Mutex<bool>,
    pub(crate) graph: Arc<Mutex<Graph>>,
    pub(crate) table_locks: TableLocks,
    pub(crate) transaction_budget: Budget,
    /// Spreads batches without a key over partitions.
    partition_turn: AtomicU32,
    published: Mutex<Published>,
    published_changed: Condvar,
    plans: Mutex<BTreeMap<ObjectId, Result<Plan>>>,
    ticker: Mutex<Option<Ticker>>,
}

/// The snapshot readers get, or why there will be no newer one.
#[derive(Debug)]
struct Published {
    snapshot: Arc<Snapshot>,
    stopped: Option<String>,
}

impl Database {
    /// Opens or creates `dir`, recovers the log and the catalog. Views are not running yet:
    /// call [`Database::attach_view`] for each of [`Database::detached_views`], then [`Database::start`].
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Unsupported` (a newer format).
    pub fn open(dir: &Path, options: DatabaseOptions, host: Arc<dyn ModuleHost>) -> Result<Arc<Database>> {
        Database::open_with(Arc::new(RealEnv::default()), dir, options, host)
    }

    /// As [`Database::open`], with the log in `env`. The store is always on the operating system's disk, in `dir`.
    pub fn open_with(
        env: Arc<dyn Env>,
        dir: &Path,
        options: DatabaseOptions,
        host: Arc<dyn ModuleHost>,
    ) -> Result<Arc<Database>> {
        let context = |e| Error::io(format!("creating {}", dir.display()), e);
        let path = std::path::absolute(dir).map_err(context)?;
        env.create_dir_durably(&path).map_err(context)?;
        std::fs::create_dir_all(&path).map_err(context)?;
        // Absolute and without `..`: the paths of segments outlive a change of the working directory, and URLs of files need it.
        let dir = &std::fs::canonicalize(dir).map_err(|e| Error::io("resolving the data directory", e))?;
        let (log, store) = reconcile::open(env, dir, &options.log)?;
        let catalog = Arc::new(reconcile::load_catalog(&store, &*host)?);
        reconcile::finish(&log, &store, &catalog)?;
        let graph = Arc::new(Mutex::new(Graph::new(catalog.clone())));
        let log = Arc::new(log);
        let snapshot = Snapshot {
            epoch: Epoch::default(),
            catalog,
            log: log.clone(),
            uppers: Arc::new(Uppers::new()),
            contents: HashMap::new(),
            held: Default::default(),
            graph: graph.clone(),
        };
        Ok(Arc::new(Database {
            ddl: Mutex::new(DdlState::new(store.next_id()?)),
            log,
            store,
            host,
            transaction_budget: Budget::new(options.transactions_bytes_max),
            options,
            checkpointing: Mutex::new(false),
            graph,
            table_locks: TableLocks::default(),
            partition_turn: AtomicU32::new(0),
            published: Mutex::new(Published { snapshot: Arc::new(snapshot), stopped: None }),
            published_changed: Condvar::new(),
            plans: Mutex::default(),
            ticker: Mutex::default(),
        }))
    }

    /// Views that wait for their plan, in creation order.
    pub fn detached_views(&self) -> Vec<Arc<Object>> {
        let plans = self.plans.lock();
        let detached = |o: &&Arc<Object>| matches!(o.kind, ObjectKind::View { .. }) && !plans.contains_key(&o.id);
        self.catalog().objects().filter(detached).cloned().collect()
    }

    /// Gives a view its plan again after a restart. `Err` reasons make the view stopped, not the server.
    pub fn attach_view(&self, id: ObjectId, plan: Result<Plan>) {
        self.plans.lock().insert(id, plan);
    }

    /// Restores checkpoints, rebuilds what has none, replays what came after them and starts ticking.
    pub fn start(self: &Arc<Self>) -> Result<()> {
        let began = Instant::now();
        let mut plans = std::mem::take(&mut *self.plans.lock());
        let checkpoint = self.store.checkpoint()?;
        let mut graph = self.graph.lock();
        graph.epoch = checkpoint.epoch;
        graph.uppers = checkpoint.uppers.clone();
        let catalog = graph.catalog.clone();
        graph.uppers.retain(|id, _| catalog.by_id(*id).is_some());
        for object in catalog.objects() {
            let plan = plans.remove(&object.id);
            self.restore(&mut graph, object, plan, &checkpoint)?;
        }
        let restored = began.elapsed();
        let cut = self.log.cut();
        graph.tick(&self.log, &cut)?;
        self.publish(&mut graph);
        drop(graph);
        tracing::info!(epoch = %cut.epoch, from = %checkpoint.epoch, ?restored, total = ?began.elapsed(), "database is ready");
        *self.ticker.lock() = Some(Ticker::start(self)?);
        Ok(())
    }

    fn restore(
        &self,
        graph: &mut Graph,
        object: &Arc<Object>,
        plan: Option<Result<Plan>>,
        checkpoint: &Checkpoint,
    ) -> Result<()> {
        let saved = checkpoint.fingerprints.get(&object.id);
        match &object.kind {
            ObjectKind::Module { .. } => {}
            ObjectKind::Stream { .. } => graph.add_source(object.clone(), None),
            ObjectKind::Table { key } => {
                let relation = match saved {
                    Some(saved) => self.restore_table(graph, object, key, *saved)?,
                    // Not in the checkpoint: the first tick reads its changelog from the beginning.
                    None => {
                        graph.uppers.remove(&object.id);
                        self.empty_table(object, key)
                    }
                };
                graph.add_source(object.clone(), Some(relation));
            }
            ObjectKind::View { .. } => {
                if let Some(why) = inputs_of(object).iter().find_map(|id| graph.stopped(*id)).map(str::to_owned) {
                    graph.add_stopped(object.clone(), format!("its input stopped: {why}"));
                    return Ok(());
                }
                let plan = plan.unwrap_or_else(|| Err(Error::Internal("it was given no plan at start".into())));
                match plan.and_then(|plan| self.restore_view(graph, object, &plan, saved)) {
                    Ok(()) => {}
                    Err(error) => graph.add_stopped(object.clone(), error.to_string()),
                }
            }
        }
        Ok(())
    }

    fn empty_table(&self, object: &Object, key: &[usize]) -> Relation {
        Relation::new(object.schema(), false, Some(key.to_vec()), self.store.seed())
    }

    /// From the checkpoint if that can be read, else from the changelog up to the same cut.
    fn restore_table(&self, graph: &Graph, object: &Arc<Object>, key: &[usize], saved: u64) -> Result<Relation> {
        if saved == Dataflow::fingerprint_of_rows(&object.schema()) {
            let mut table = self.empty_table(object, key);
            match caught("a table", || table.load(&self.store.state(object.id))) {
                Ok(()) => return Ok(table),
                Err(error) => tracing::error!(table = object.name, %error, "its checkpoint cannot be read"),
            }
        }
        tracing::info!(table = object.name, "no usable checkpoint, rebuilding from the log");
        let mut table = self.empty_table(object, key);
        let wanted = vec![Wanted::all(object.clone())];
        let mut reader = Reader::new(&self.log, wanted, &Uppers::new(), &graph.uppers);
        while reader.rows_left() > 0 {
            reader.next_step()?.values().try_for_each(|deltas| table.apply(deltas))?;
        }
        Ok(table)
    }

    /// From the checkpoint if it holds the state of just this plan, else from the log.
    fn restore_view(&self, graph: &mut Graph, object: &Arc<Object>, plan: &Plan, saved: Option<&u64>) -> Result<()> {
        let catalog = graph.catalog.clone();
        let appends_only = |id| is_append_only(&catalog, id);
        let mut view = ViewState::new(object, plan, &appends_only, self.store.seed())?;
        if saved == Some(&view.fingerprint) {
            match view.load(&self.store.state(object.id)) {
                Ok(()) => {
                    graph.add_view(object.clone(), view);
                    return Ok(());
                }
                Err(error) => tracing::error!(view = object.name, %error, "its checkpoint cannot be read"),
            }
        }
        tracing::info!(view = object.name, "no usable checkpoint, rebuilding from the log");
        let fresh = ViewState::new(object, plan, &appends_only, self.store.seed())?;
        graph.rebuild(&self.log, object.clone(), fresh);
        Ok(())
    }

    /// The catalog as of now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.published.lock().snapshot.catalog.clone()
    }

    /// The module host given at open (to inspect an upload before it is created).
    pub fn module_host(&self) -> Arc<dyn ModuleHost> {
        self.host.clone()
    }

    /// Compiled form of a module, for its signatures.
    pub fn module(&self, id: ObjectId) -> Option<Arc<dyn Module>> {
        self.catalog().module(id).cloned()
    }

    /// Begins a transaction.
    pub fn transaction(self: &Arc<Self>) -> Transaction {
        Transaction::new(self.clone())
    }

    /// A cut to read from. `Strict` blocks until everything acknowledged before the call is visible.
    ///
    /// # Errors
    /// `Limit` after `timeout`, `Stopped`.
    pub fn snapshot(&self, mode: ReadMode, timeout: Duration) -> Result<Arc<Snapshot>> {
        let target = match mode {
            ReadMode::Strict => self.log.cut().epoch,
            ReadMode::Latest => return Ok(self.published.lock().snapshot.clone()),
        };
        let deadline = Instant::now() + timeout;
        let mut published = self.published.lock();
        while published.snapshot.epoch < target {
            if let Some(reason) = &published.stopped {
                return Err(Error::Stopped(reason.clone()));
            }
            if self.published_changed.wait_until(&mut published, deadline).timed_out() {
                let at = published.snapshot.epoch;
                return Err(Error::Limit(format!("views are at epoch {at} and did not reach {target} in time")));
            }
        }
        Ok(published.snapshot.clone())
    }

    /// Follows a table or view.
    ///
    /// # Errors
    /// `NotFound`, `Unsupported` for a stream, `ViewStopped`, `ViewFailing`.
    pub fn subscribe(&self, id: ObjectId, options: SubscribeOptions) -> Result<Subscription> {
        let mut graph = self.graph.lock();
        graph.check_whole()?;
        let object = graph.catalog.by_id(id).cloned();
        let object = object.ok_or_else(|| Error::NotFound(format!("object {id} does not exist")))?;
        let snapshot = match graph.contents().remove(&id) {
            Some(Contents::Ready(snapshot)) => snapshot,
            Some(Contents::Failing(_, failure)) => return Err(failure.error(&object.name)),
            Some(Contents::Stopped { epoch, reason }) => {
                return Err(Error::ViewStopped { view: object.name.clone(), epoch, reason });
            }
            None => {
                let noun = object.kind.noun();
                return Err(Error::Unsupported(format!("cannot subscribe to {noun} \"{}\" yet", object.name)));
            }
        };
        let snapshot = options.snapshot.then_some(snapshot);
        let (subscription, subscriber) = Subscription::start(object.schema(), graph.epoch, snapshot);
        graph.subscribe(id, subscriber);
        Ok(subscription)
    }

    /// Stops ticking, checkpoints, seals and closes. The database answers `Stopped` from then on.
    pub fn shutdown(&self) -> Result<()> {
        let Some(ticker) = self.ticker.lock().take() else { return Ok(()) };
        ticker.stop();
        let caught_up = self.tick().and_then(|()| self.checkpoint());
        self.stop_publishing("the server is shutting down".into());
        let sealed = self.log.shutdown();
        caught_up.and(sealed)
    }

    /// Takes turns over partitions.
    pub(crate) fn next_partition(&self) -> u32 {
        self.partition_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Moves the graph to the log's durable cut, if it is behind, and publishes.
    pub(crate) fn tick(&self) -> Result<()> {
        let mut graph = self.graph.lock();
        let cut = self.log.cut();
        if cut.epoch > graph.epoch {
            graph.tick(&self.log, &cut)?;
            self.publish(&mut graph);
        }
        Ok(())
    }

    /// Saves what changed since the last checkpoint, atomically with the inputs' offsets.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let mut failed = self.checkpointing.lock();
        if *failed {
            return Err(Error::Internal("an earlier checkpoint failed; restart the server to resume them".into()));
        }
        let began = Instant::now();
        let mut writer = self.store.checkpoint_writer();
        // What is collected counts as saved: if collecting stops halfway, no later checkpoint would be complete.
        *failed = true;
        let record = self.graph.lock().save(&mut writer)?;
        *failed = false;
        let bytes = writer.bytes();
        writer.commit(&record)?;
        tracing::debug!(epoch = %record.epoch, bytes, took = ?began.elapsed(), "checkpoint");
        Ok(())
    }

    /// Lets readers see the graph as it is.
    pub(crate) fn publish(&self, graph: &mut Graph) {
        if graph.check_whole().is_err() {
            return;
        }
        let snapshot = Arc::new(Snapshot {
            epoch: graph.epoch,
            catalog: graph.catalog.clone(),
            log: self.log.clone(),
            uppers: Arc::new(graph.uppers.clone()),
            contents: graph.contents(),
            held: Default::default(),
            graph: self.graph.clone(),
        });
        self.published.lock().snapshot = snapshot;
        self.published_changed.notify_all();
    }

    /// Tells waiting readers that nothing newer will come.
    pub(crate) fn stop_publishing(&self, reason: String) {
        self.graph.lock().end_subscribers(&reason);
        self.published.lock().stopped = Some(reason);
        self.published_changed.notify_all();
    }
}
