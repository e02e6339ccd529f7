//! Changes of the catalog, ordered with the data: each is a record of the log before anybody sees it.
//!
//! Order of a CREATE: directory of the new log (if it has one) → record in the log → RocksDB → graph and catalog. Of a
//! DROP: record → RocksDB → graph and catalog → directory. A crash between any two leaves either the old catalog and
//! an orphan directory, which the next start removes, or the new catalog.
//!
//! Once the record is in the log the change has happened. So everything that can refuse it is asked before, about the
//! graph's own catalog (the published one is older when a tick failed); and if RocksDB does not take it, the process ends
//! as after a failed sync, and the next start folds it in.

use crate::backfill::backfill;
use crate::catalog::{Catalog, Column, Object, ObjectKind};
use crate::database::{BackfillProgress, Create, CreateView, Database};
use crate::function::Module;
use crate::graph::{Contents, Graph, Step, Tap, ViewState, inputs_of};
use crate::input::{Reader, STEP_ROWS, Uppers, log_columns};
use crate::log::{PARTITIONS_MAX, Record};
use crate::relation::Relation;
use crate::store::{CatalogChange, to_json};
use crate::{Error, ObjectId, Result};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Columns of one object, at most.
pub const COLUMNS_MAX: usize = 1_600;

/// What DDL in progress holds, besides the catalog itself.
#[derive(Debug, Default)]
pub(crate) struct DdlState {
    /// Names and inputs of views that are being backfilled.
    names: HashSet<String>,
    inputs: Vec<ObjectId>,
    next_id: ObjectId,
}

impl DdlState {
    /// `next_id`: the first id not in use.
    pub(crate) fn new(next_id: ObjectId) -> DdlState {
        DdlState { next_id, ..Default::default() }
    }

    /// A fresh id. One that is taken for nothing durable is given again after a restart.
    fn take_id(&mut self) -> ObjectId {
        let id = self.next_id;
        self.next_id = ObjectId(id.0 + 1);
        id
    }
}

impl Database {
    /// Creates a stream, table or module; returns when it is durable.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, `Limit`.
    pub fn create(&self, what: Create) -> Result<ObjectId> {
        let mut ddl = self.ddl.lock();
        check_name(&ddl, &*self.current_catalog()?, what.name())?;
        let id = ddl.take_id();
        let (object, module) = self.object_of(id, what)?;
        check_columns(&object.columns)?;
        let partitions = match object.kind {
            ObjectKind::Stream { partitions, .. } => Some(check_partitions(partitions)?),
            ObjectKind::Table { .. } => Some(1),
            ObjectKind::View { .. } | ObjectKind::Module { .. } => None,
        };
        if let Some(partitions) = partitions {
            self.log.create_stream(id, &log_columns(&object), partitions)?;
        }
        let object = Arc::new(object);
        self.commit_change(&CatalogChange::Create((*object).clone()))?;
        let mut graph = self.graph.lock();
        insert_into_catalog(&mut graph, object.clone(), module)?;
        match &object.kind {
            ObjectKind::Stream { .. } => graph.add_source(object, None),
            ObjectKind::Table { key } => {
                let relation = Relation::new(object.schema(), false, Some(key.clone()), self.store.seed());
                graph.add_source(object, Some(relation));
            }
            ObjectKind::View { .. } | ObjectKind::Module { .. } => {}
        }
        self.publish(&mut graph);
        Ok(id)
    }

    fn object_of(&self, id: ObjectId, what: Create) -> Result<(Object, Option<Arc<dyn Module>>)> {
        let object = |name, kind, columns, definition| Object { id, name, kind, columns, definition, modules: vec![] };
        Ok(match what {
            Create::Stream { name, columns, partitions, key, definition } => {
                (object(name, ObjectKind::Stream { partitions, key }, columns, definition), None)
            }
            Create::Table { name, columns, key, definition } => {
                (object(name, ObjectKind::Table { key }, columns, definition), None)
            }
            Create::Module { name, bytes, module, definition } => {
                let hash = module.hash();
                self.store.put_module(&hash, &bytes)?;
                (object(name, ObjectKind::Module { hash }, vec![], definition), Some(module))
            }
        })
    }

    /// Creates a view and backfills it; returns when it is live. `cancel` set = give up cleanly (`Stopped`).
    ///
    /// The view catches up on the caller's thread beside the running graph: first everything at one cut, then what
    /// came meanwhile, until little enough is left to finish it between two ticks.
    pub fn create_view(
        &self,
        view: CreateView,
        cancel: &AtomicBool,
        progress: &dyn Fn(BackfillProgress),
    ) -> Result<ObjectId> {
        let (object, mut state) = self.reserve_view(&view)?;
        let inputs = view.plan.inputs();
        let created = self.catch_up(&object, &mut state, cancel, progress).and_then(|(tap, at)| {
            let created = self.go_live(&object, state, &tap, at, cancel);
            self.graph.lock().untap(&tap);
            created
        });
        let mut ddl = self.ddl.lock();
        ddl.names.remove(&object.name);
        for id in inputs.iter().chain(&view.modules) {
            if let Some(position) = ddl.inputs.iter().position(|other| other == id) {
                ddl.inputs.swap_remove(position);
            }
        }
        created.map(|()| object.id)
    }

    fn reserve_view(&self, view: &CreateView) -> Result<(Arc<Object>, ViewState)> {
        let mut ddl = self.ddl.lock();
        let catalog = self.current_catalog()?;
        check_name(&ddl, &catalog, &view.name)?;
        check_columns(&view.columns)?;
        let inputs = view.plan.inputs();
        if let Some(id) = inputs.iter().chain(&view.modules).find(|id| catalog.by_id(**id).is_none()) {
            return Err(Error::NotFound(format!("object {id} was dropped meanwhile")));
        }
        let appends_only = |id| is_append_only(&catalog, id);
        let kind = ObjectKind::View { append_only: view.plan.is_append_only(&appends_only), inputs: inputs.clone() };
        let object = Object {
            id: ddl.take_id(),
            name: view.name.clone(),
            kind,
            columns: view.columns.clone(),
            definition: view.definition.clone(),
            modules: view.modules.clone(),
        };
        let state = ViewState::new(&object, &view.plan, &appends_only, self.store.seed())?;
        ddl.names.insert(object.name.clone());
        ddl.inputs.extend(inputs.iter().chain(&view.modules));
        Ok((Arc::new(object), state))
    }

    /// Brings `state` to a cut close to the present; returns the tap that holds what came after it.
    fn catch_up(
        &self,
        object: &Arc<Object>,
        state: &mut ViewState,
        cancel: &AtomicBool,
        progress: &dyn Fn(BackfillProgress),
    ) -> Result<(Arc<Tap>, Uppers)> {
        let (tap, contents, catalog, at) = {
            let mut graph = self.graph.lock();
            graph.check_whole()?;
            let tap = graph.tap(inputs_of(object));
            (tap, graph.contents(), graph.catalog.clone(), graph.uppers.clone())
        };
        let mut done = BackfillProgress { rows_done: 0, rows_total: rows_of(object, &contents, &at) };
        let mut report = |rows: u64| {
            done.rows_done += rows;
            progress(done);
            check_cancelled(cancel)
        };
        let filled = backfill(state, &self.log, object, &catalog, &contents, &at, &mut report);
        filled.inspect_err(|_| self.graph.lock().untap(&tap))?;
        Ok((tap, at))
    }

    /// Takes what came since `at`, then joins the graph between two ticks.
    fn go_live(
        &self,
        object: &Arc<Object>,
        mut state: ViewState,
        tap: &Arc<Tap>,
        mut at: Uppers,
        cancel: &AtomicBool,
    ) -> Result<()> {
        loop {
            check_cancelled(cancel)?;
            let (steps, to) = {
                let graph = self.graph.lock();
                (tap.drain()?, graph.uppers.clone())
            };
            let rows = self.follow(object, &mut state, steps, &at, &to)?;
            at = to;
            if rows < STEP_ROWS {
                break;
            }
        }
        let ddl = self.ddl.lock();
        let mut graph = self.graph.lock();
        graph.check_whole()?;
        let to = graph.uppers.clone();
        self.follow(object, &mut state, tap.drain()?, &at, &to)?;
        graph.untap(tap);
        if let Some(reason) = inputs_of(object).iter().find_map(|id| graph.stopped(*id)) {
            return Err(Error::Invalid(format!("an input has stopped: {reason}")));
        }
        if let Some(failure) = state.failure(&object.name) {
            return Err(failure.error(&object.name));
        }
        check_free(&graph.catalog, &object.name)?;
        self.commit_change(&CatalogChange::Create((**object).clone()))?;
        insert_into_catalog(&mut graph, object.clone(), None)?;
        graph.add_view(object.clone(), state);
        self.publish(&mut graph);
        drop(graph);
        drop(ddl);
        Ok(())
    }

    /// Applies the tapped steps and the streams' rows in `[at, to)`; returns the number of rows.
    fn follow(
        &self,
        object: &Object,
        state: &mut ViewState,
        steps: Vec<Step>,
        at: &Uppers,
        to: &Uppers,
    ) -> Result<u64> {
        let mut rows = 0;
        for step in steps {
            rows += step.values().flatten().map(|delta| delta.rows() as u64).sum::<u64>();
            state.step(&step)?;
        }
        let catalog = self.catalog();
        let streams: Vec<_> = inputs_of(object)
            .iter()
            .filter_map(|id| catalog.by_id(*id).filter(|o| matches!(o.kind, ObjectKind::Stream { .. })))
            .map(|stream| state.wants(stream))
            .collect();
        let mut reader = Reader::new(&self.log, streams, at, to);
        rows += reader.rows_left();
        while reader.rows_left() > 0 {
            state.step(&reader.next_step()?)?;
        }
        Ok(rows)
    }

    /// Drops objects together.
    ///
    /// # Errors
    /// `InUse` when an object outside `ids` depends on one of them.
    pub fn drop_objects(&self, ids: &[ObjectId]) -> Result<()> {
        let ddl = self.ddl.lock();
        let catalog = self.current_catalog()?;
        for id in ids {
            let object = catalog.by_id(*id).ok_or_else(|| Error::NotFound(format!("object {id} does not exist")))?;
            let dependent = catalog.dependents(*id).into_iter().find(|d| !ids.contains(&d.id));
            if let Some(other) = dependent {
                let (noun, other_noun) = (object.kind.noun(), other.kind.noun());
                return Err(Error::InUse(format!(
                    "cannot drop {noun} \"{}\" because {other_noun} \"{}\" depends on it",
                    object.name, other.name
                )));
            }
            if ddl.inputs.contains(id) {
                return Err(Error::InUse(format!("\"{}\" is being read by a view under construction", object.name)));
            }
        }
        // No checkpoint may save the state of a dropped object after the store forgot it.
        let checkpointing = self.checkpointing.lock();
        self.commit_change(&CatalogChange::Drop(ids.to_vec()))?;
        let mut graph = self.graph.lock();
        graph.remove(ids);
        let mut changed = (*graph.catalog).clone();
        ids.iter().for_each(|id| changed.remove(*id));
        graph.catalog = Arc::new(changed);
        self.publish(&mut graph);
        drop(graph);
        drop(checkpointing);
        for id in ids.iter().filter(|id| has_log(&catalog, **id)) {
            self.log.drop_stream(*id)?;
        }
        Ok(())
    }

    /// Makes a change durable: in the log, then folded into the store.
    fn commit_change(&self, change: &CatalogChange) -> Result<()> {
        let epoch = self.log.commit(vec![Record::Catalog(to_json(change)?)])?;
        if let Err(error) = self.store.apply(change, epoch) {
            return Err(self.log.fail(&format!("a change of the catalog is in the log but not in store/: {error}")));
        }
        self.log.release_catalog(epoch);
        Ok(())
    }

    /// What the next change starts from.
    fn current_catalog(&self) -> Result<Arc<Catalog>> {
        let graph = self.graph.lock();
        graph.check_whole()?;
        Ok(graph.catalog.clone())
    }
}

fn check_name(ddl: &DdlState, catalog: &Catalog, name: &str) -> Result<()> {
    check_free(catalog, name)?;
    if ddl.names.contains(name) {
        return Err(Error::AlreadyExists(format!("materialized view \"{name}\" is being created")));
    }
    Ok(())
}

fn check_free(catalog: &Catalog, name: &str) -> Result<()> {
    match catalog.get(name) {
        Some(other) => Err(Error::AlreadyExists(format!("{} \"{name}\" already exists", other.kind.noun()))),
        None => Ok(()),
    }
}

fn insert_into_catalog(graph: &mut Graph, object: Arc<Object>, module: Option<Arc<dyn Module>>) -> Result<()> {
    let mut changed = (*graph.catalog).clone();
    changed.insert(object, module)?;
    graph.catalog = Arc::new(changed);
    Ok(())
}

/// Whether deltas of `id` never retract.
pub(crate) fn is_append_only(catalog: &Catalog, id: ObjectId) -> bool {
    match catalog.by_id(id).map(|object| &object.kind) {
        Some(ObjectKind::Stream { .. }) => true,
        Some(ObjectKind::View { append_only, .. }) => *append_only,
        _ => false,
    }
}

fn has_log(catalog: &Catalog, id: ObjectId) -> bool {
    let kind = catalog.by_id(id).map(|object| &object.kind);
    matches!(kind, Some(ObjectKind::Stream { .. } | ObjectKind::Table { .. }))
}

fn rows_of(object: &Object, contents: &HashMap<ObjectId, Contents>, at: &Uppers) -> u64 {
    let rows = |id: &ObjectId| match contents.get(id) {
        Some(Contents::Ready(snapshot) | Contents::Failing(snapshot, _)) => snapshot.row_count(),
        Some(Contents::Stopped { .. }) => 0,
        None => at.get(id).map_or(0, |uppers| uppers.iter().map(|upper| upper.0).sum()),
    };
    inputs_of(object).iter().map(rows).sum()
}

fn check_columns(columns: &[Column]) -> Result<()> {
    if columns.len() > COLUMNS_MAX {
        return Err(Error::Limit(format!("an object has at most {COLUMNS_MAX} columns")));
    }
    let mut seen = HashSet::new();
    match columns.iter().find(|column| !seen.insert(&column.name)) {
        Some(column) => Err(Error::Invalid(format!("column \"{}\" specified more than once", column.name))),
        None => Ok(()),
    }
}

fn check_partitions(partitions: u32) -> Result<u32> {
    if (1..=PARTITIONS_MAX).contains(&partitions) {
        return Ok(partitions);
    }
    Err(Error::Invalid(format!("partitions must be between 1 and {PARTITIONS_MAX}, not {partitions}")))
}

fn check_cancelled(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) {
        return Err(Error::Stopped("canceling statement due to user request".into()));
    }
    Ok(())
}
