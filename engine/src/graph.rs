//! The graph of all objects: every table's contents and every view's dataflow, moved forward one tick at a time.
//!
//! Invariants:
//! - all nodes that are not stopped are at the same cut (`Graph::uppers`), between any two calls;
//! - nodes run in order of their ids, which is a topological order because a view can only read what was there
//!   before it;
//! - what a node fails at stops that node and its readers, never the graph.

use crate::backfill::backfill;
use crate::catalog::{Catalog, Object, ObjectKind};
use crate::dataflow::Dataflow;
use crate::delta::Delta;
use crate::error::caught;
use crate::input::{Reader, Uppers, Wanted};
use crate::log::{Cut, Log};
use crate::plan::Plan;
use crate::relation::{Relation, RelationSnapshot};
use crate::row_error::{RowError, RowErrors};
use crate::state::StateReader;
use crate::store::{Checkpoint, CheckpointWriter};
use crate::subscription::{Ending, Subscriber, TICK_BYTES_MAX};
use crate::{Epoch, Error, ObjectId, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// What a view's work is called when it panics: a bug, but one view's must not take the others down.
const OPERATOR: &str = "an operator";

/// Deltas of one step, by the object they change.
pub type Step = HashMap<ObjectId, Vec<Delta>>;

/// All objects with state, at one cut.
#[derive(Debug, Default)]
pub struct Graph {
    pub epoch: Epoch,
    pub uppers: Uppers,
    pub catalog: Arc<Catalog>,
    nodes: BTreeMap<ObjectId, Node>,
    taps: Vec<Arc<Tap>>,
    /// A tick ended halfway: some nodes are ahead of the cut, so nothing may be read or saved any more.
    broken: bool,
}

/// One object of the graph.
#[derive(Debug)]
struct Node {
    object: Arc<Object>,
    body: Body,
    subscribers: Vec<Subscriber>,
    /// Changes of the tick in progress, kept only while somebody subscribes, and their bytes.
    changes: Vec<Delta>,
    changes_bytes: usize,
}

#[derive(Debug)]
enum Body {
    Stream,
    Table(Box<Relation>),
    View(Box<ViewState>),
    Stopped { epoch: Epoch, reason: String },
}

/// A view that runs.
#[derive(Debug)]
pub struct ViewState {
    pub fingerprint: u64,
    dataflow: Dataflow,
    relation: Relation,
    /// Rows that cannot be computed.
    errors: RowErrors,
}

/// What a reader finds for a table or view.
#[derive(Clone, Debug)]
pub enum Contents {
    Ready(Arc<RelationSnapshot>),
    /// Some rows, of the view or of what it reads, cannot be computed. `0`: the others.
    Failing(Arc<RelationSnapshot>, Failure),
    Stopped {
        epoch: Epoch,
        reason: String,
    },
}

/// Why a view holds no answer at the moment.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The view whose rows cannot be computed.
    pub origin: String,
    pub rows: i64,
    pub error: RowError,
}

impl Failure {
    /// The error of who reads `view`.
    pub fn error(&self, view: &str) -> Error {
        let Failure { origin, rows, error } = self.clone();
        Error::ViewFailing { view: view.to_owned(), origin, rows, error }
    }
}

/// Collects the changes of some tables and views while a new view is backfilled beside the graph.
#[derive(Debug)]
pub struct Tap {
    objects: Vec<ObjectId>,
    collected: parking_lot::Mutex<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    steps: Vec<Step>,
    bytes: usize,
    overflowed: bool,
}

/// Bytes of changes that may wait for a view under construction.
const TAP_BYTES_MAX: usize = 512 << 20;

impl Tap {
    /// Takes what has been collected, in order.
    ///
    /// # Errors
    /// `Limit` when more than [`TAP_BYTES_MAX`] was waiting.
    pub fn drain(&self) -> Result<Vec<Step>> {
        let mut collected = self.collected.lock();
        if collected.overflowed {
            return Err(Error::Limit(
                "the view could not keep up with changes of its inputs while it was built".into(),
            ));
        }
        collected.bytes = 0;
        Ok(std::mem::take(&mut collected.steps))
    }
}

impl ViewState {
    /// A view with no rows yet. `appends_only`: which inputs never retract.
    pub fn new(object: &Object, plan: &Plan, appends_only: &dyn Fn(ObjectId) -> bool, seed: u64) -> Result<ViewState> {
        let ObjectKind::View { append_only, .. } = object.kind else {
            return Err(Error::Internal(format!("\"{}\" is no view", object.name)));
        };
        Ok(ViewState {
            fingerprint: Dataflow::fingerprint(plan),
            dataflow: Dataflow::new(plan, appends_only, seed)?,
            relation: Relation::new(object.schema(), append_only, None, seed),
            errors: RowErrors::default(),
        })
    }

    /// Takes the state of a checkpoint over. After an error the view must be discarded.
    pub fn load(&mut self, state: &dyn StateReader) -> Result<()> {
        caught(OPERATOR, || {
            self.dataflow.load(state)?;
            self.relation.load(state)?;
            self.errors = RowErrors::load(state)?;
            Ok(())
        })
    }

    fn save(&mut self, id: ObjectId, writer: &mut CheckpointWriter<'_>) -> Result<()> {
        if !self.relation.is_saved() {
            writer.clear(id)?;
        }
        self.dataflow.save(&mut writer.object(id)?)?;
        self.errors.save(&mut writer.object(id)?);
        self.relation.save(&mut writer.object(id)?)
    }

    /// Why the view, called `name`, holds no answer: rows of its own cannot be computed.
    pub fn failure(&self, name: &str) -> Option<Failure> {
        let rows = self.errors.total();
        let unknown = || RowError { of_guest: false, message: "rows of the view cannot be computed".into() };
        let error = self.errors.example().cloned().unwrap_or_else(unknown);
        (rows != 0).then(|| Failure { origin: name.to_owned(), rows, error })
    }

    /// What the view needs of one of the streams it reads.
    pub fn wants(&self, stream: &Arc<Object>) -> Wanted {
        Wanted { object: stream.clone(), columns: self.dataflow.reads(stream.id) }
    }

    /// Takes one step; returns what changed in the view. After an error the view must be discarded.
    pub fn step(&mut self, inputs: &Step) -> Result<Vec<Delta>> {
        caught(OPERATOR, || {
            let mut errors = RowErrors::default();
            let deltas = self.dataflow.step(inputs, &mut errors)?;
            self.relation.apply(&deltas)?;
            self.errors.apply(errors);
            Ok(deltas)
        })
    }
}

impl Graph {
    /// A graph of nothing, at epoch 0.
    pub fn new(catalog: Arc<Catalog>) -> Graph {
        Graph { catalog, ..Graph::default() }
    }

    /// Adds a stream (state lives in the log) or a table with its contents.
    pub fn add_source(&mut self, object: Arc<Object>, contents: Option<Relation>) {
        let body = contents.map_or(Body::Stream, |relation| Body::Table(Box::new(relation)));
        self.add(object, body);
    }

    /// Adds a view that has seen exactly the graph's cut.
    pub fn add_view(&mut self, object: Arc<Object>, state: ViewState) {
        self.add(object, Body::View(Box::new(state)));
    }

    /// Adds a view that cannot run.
    pub fn add_stopped(&mut self, object: Arc<Object>, reason: String) {
        self.add(object, Body::Stopped { epoch: self.epoch, reason });
    }

    fn add(&mut self, object: Arc<Object>, body: Body) {
        self.nodes.insert(object.id, Node { object, body, subscribers: vec![], changes: vec![], changes_bytes: 0 });
    }

    /// Removes objects; their subscribers are told.
    pub fn remove(&mut self, ids: &[ObjectId]) {
        for id in ids {
            self.uppers.remove(id);
            if let Some(node) = self.nodes.remove(id) {
                node.end_subscribers(&Ending::Dropped(node.object.name.clone()));
            }
        }
    }

    /// Moves everything forward to `cut`, publishing to subscribers at its end.
    pub fn tick(&mut self, log: &Log, cut: &Cut) -> Result<()> {
        self.check_whole()?;
        self.broken = true;
        let mut reader = Reader::new(log, self.sources(), &self.uppers, &cut.uppers);
        while reader.rows_left() > 0 {
            let step = reader.next_step()?;
            self.step(step, cut.epoch);
        }
        for (id, uppers) in cut.uppers.iter().filter(|(id, _)| self.nodes.contains_key(id)) {
            self.uppers.insert(*id, uppers.clone());
        }
        self.epoch = cut.epoch;
        let failing = self.failing();
        for (id, node) in &mut self.nodes {
            match failing.get(id) {
                Some(failure) => node.fail_subscribers(failure),
                None => node.publish(cut.epoch),
            }
        }
        self.broken = false;
        Ok(())
    }

    /// Whether every node is at the graph's cut.
    pub fn check_whole(&self) -> Result<()> {
        if self.broken {
            return Err(Error::Internal("a tick ended halfway; restart the server".into()));
        }
        Ok(())
    }

    /// Tells all subscribers that nothing more will come.
    pub fn end_subscribers(&self, reason: &str) {
        for node in self.nodes.values() {
            node.end_subscribers(&Ending::Stopped(reason.to_owned()));
        }
    }

    /// What somebody needs: of tables all, for their contents, of streams the columns that views read.
    fn sources(&self) -> Vec<Wanted> {
        let mut read: BTreeMap<ObjectId, BTreeSet<usize>> = BTreeMap::new();
        for node in self.nodes.values() {
            let Body::View(view) = &node.body else { continue };
            for input in inputs_of(&node.object) {
                read.entry(*input).or_default().extend(view.dataflow.reads(*input));
            }
        }
        let wanted = |node: &Node| match node.body {
            Body::Stream => Some(Wanted { object: node.object.clone(), columns: read.get(&node.object.id)?.clone() }),
            Body::Table(_) => Some(Wanted::all(node.object.clone())),
            Body::View(_) | Body::Stopped { .. } => None,
        };
        self.nodes.values().filter_map(wanted).collect()
    }

    fn step(&mut self, mut step: Step, epoch: Epoch) {
        let ids: Vec<ObjectId> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            match node.step(&step) {
                Ok(Some(deltas)) => {
                    step.insert(id, deltas);
                }
                Ok(None) => {}
                Err(reason) => self.stop(id, epoch, reason),
            }
        }
        for tap in &self.taps {
            tap.collect(&step);
        }
    }

    /// Stops a node and everything that reads it.
    fn stop(&mut self, id: ObjectId, epoch: Epoch, reason: String) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        tracing::error!(object = node.object.name, %epoch, reason, "stopped");
        node.end_subscribers(&Ending::Stopped(reason.clone()));
        node.body = Body::Stopped { epoch, reason };
        let name = node.object.name.clone();
        let readers: Vec<ObjectId> = self
            .nodes
            .values()
            .filter(|n| inputs_of(&n.object).contains(&id) && !matches!(n.body, Body::Stopped { .. }))
            .map(|n| n.object.id)
            .collect();
        for reader in readers {
            self.stop(reader, epoch, format!("its input \"{name}\" stopped"));
        }
    }

    /// Views that hold no answer because rows of theirs, or of what they read, cannot be computed.
    fn failing(&self) -> BTreeMap<ObjectId, Failure> {
        let mut failing: BTreeMap<ObjectId, Failure> = BTreeMap::new();
        for (id, node) in &self.nodes {
            let Body::View(view) = &node.body else { continue };
            let inherited = || inputs_of(&node.object).iter().find_map(|input| failing.get(input)).cloned();
            if let Some(failure) = view.failure(&node.object.name).or_else(inherited) {
                failing.insert(*id, failure);
            }
        }
        failing
    }

    /// What readers find for every table and view now.
    pub fn contents(&mut self) -> HashMap<ObjectId, Contents> {
        let mut failing = self.failing();
        let contents = |(id, node): (&ObjectId, &mut Node)| {
            let contents = match &mut node.body {
                Body::Stream => return None,
                Body::Table(relation) => Contents::Ready(relation.snapshot()),
                Body::View(view) => match failing.remove(id) {
                    Some(failure) => Contents::Failing(view.relation.snapshot(), failure),
                    None => Contents::Ready(view.relation.snapshot()),
                },
                Body::Stopped { epoch, reason } => Contents::Stopped { epoch: *epoch, reason: reason.clone() },
            };
            Some((*id, contents))
        };
        self.nodes.iter_mut().filter_map(contents).collect()
    }

    /// The contents of a table.
    pub fn table(&self, id: ObjectId) -> Option<&Relation> {
        match &self.nodes.get(&id)?.body {
            Body::Table(relation) => Some(relation),
            _ => None,
        }
    }

    /// Why `id` stopped, if it did.
    pub fn stopped(&self, id: ObjectId) -> Option<&str> {
        match &self.nodes.get(&id)?.body {
            Body::Stopped { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Adds a subscriber to a table or view.
    pub fn subscribe(&mut self, id: ObjectId, subscriber: Subscriber) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.subscribers.push(subscriber);
        }
    }

    /// Starts collecting what happens to the tables and views among `objects`.
    pub fn tap(&mut self, objects: &[ObjectId]) -> Arc<Tap> {
        let has_contents = |id: &&ObjectId| self.nodes.get(id).is_some_and(|n| !matches!(n.body, Body::Stream));
        let objects = objects.iter().filter(has_contents).copied().collect();
        let tap = Arc::new(Tap { objects, collected: parking_lot::Mutex::default() });
        self.taps.push(tap.clone());
        tap
    }

    /// Stops collecting.
    pub fn untap(&mut self, tap: &Arc<Tap>) {
        self.taps.retain(|other| !Arc::ptr_eq(other, tap));
    }

    /// Collects what changed since the last call into `writer`; the record says what a restart will find.
    pub fn save(&mut self, writer: &mut CheckpointWriter<'_>) -> Result<Checkpoint> {
        self.check_whole()?;
        let mut record = Checkpoint { epoch: self.epoch, uppers: self.uppers.clone(), ..Default::default() };
        for (id, node) in &mut self.nodes {
            match &mut node.body {
                Body::Stream => continue,
                Body::Table(relation) => {
                    if !relation.is_saved() {
                        writer.clear(*id)?;
                    }
                    relation.save(&mut writer.object(*id)?)?;
                    record.fingerprints.insert(*id, Dataflow::fingerprint_of_rows(&node.object.schema()));
                }
                Body::View(view) => {
                    view.save(*id, writer)?;
                    record.fingerprints.insert(*id, view.fingerprint);
                }
                Body::Stopped { .. } => writer.clear(*id)?,
            }
        }
        Ok(record)
    }

    /// Brings a view without a usable checkpoint to the graph's cut, from the log and its inputs' contents.
    pub fn rebuild(&mut self, log: &Log, object: Arc<Object>, mut state: ViewState) {
        let contents = self.contents();
        match backfill(&mut state, log, &object, &self.catalog, &contents, &self.uppers, &mut |_| Ok(())) {
            Ok(()) => self.add_view(object, state),
            Err(error) => self.add_stopped(object, error.to_string()),
        }
    }
}

impl Node {
    /// Runs the node over a step; `Err` is the reason it has to stop.
    fn step(&mut self, step: &Step) -> Result<Option<Vec<Delta>>, String> {
        let run = || match &mut self.body {
            Body::Stream | Body::Stopped { .. } => Ok(None),
            Body::Table(relation) => match step.get(&self.object.id) {
                Some(deltas) => relation.apply(deltas).map(|()| Some(deltas.clone())),
                None => Ok(None),
            },
            Body::View(view) if inputs_of(&self.object).iter().any(|id| step.contains_key(id)) => {
                view.step(step).map(Some)
            }
            Body::View(_) => Ok(None),
        };
        let deltas = caught(OPERATOR, run).map_err(|error| error.to_string())?;
        self.keep(deltas.iter().flatten());
        Ok(deltas.filter(|deltas| !deltas.is_empty()))
    }

    /// Keeps changes for the subscribers until the tick is whole; ends these when it is too much.
    fn keep<'a>(&mut self, deltas: impl Iterator<Item = &'a Delta>) {
        self.subscribers.retain(Subscriber::is_live);
        if self.subscribers.is_empty() {
            return;
        }
        for delta in deltas {
            self.changes_bytes += delta.bytes();
            self.changes.push(delta.clone());
        }
        if self.changes_bytes > TICK_BYTES_MAX {
            self.end_subscribers(&Ending::TickTooLarge);
            self.subscribers.clear();
            self.changes.clear();
        }
    }

    /// Hands the subscribers the changes of the whole tick, each row once.
    fn publish(&mut self, epoch: Epoch) {
        let changes = std::mem::take(&mut self.changes);
        self.changes_bytes = 0;
        let consolidated = match &self.body {
            Body::Table(relation) if changes.len() > 1 => relation.consolidated(changes),
            Body::View(view) if changes.len() > 1 => view.relation.consolidated(changes),
            _ => Ok(changes),
        };
        match consolidated {
            Ok(changes) => self.subscribers.iter().for_each(|subscriber| subscriber.push(epoch, &changes)),
            Err(error) => self.end_subscribers(&Ending::Stopped(error.to_string())),
        }
    }

    /// Ends the subscribers of a view that holds no answer any more.
    fn fail_subscribers(&mut self, failure: &Failure) {
        self.end_subscribers(&Ending::Failing(self.object.name.clone(), failure.clone()));
        self.subscribers.clear();
        self.changes.clear();
        self.changes_bytes = 0;
    }

    fn end_subscribers(&self, ending: &Ending) {
        for subscriber in &self.subscribers {
            subscriber.end(ending.clone());
        }
    }
}

impl Tap {
    fn collect(&self, step: &Step) {
        let part: Step =
            step.iter().filter(|(id, _)| self.objects.contains(id)).map(|(id, deltas)| (*id, deltas.clone())).collect();
        if part.is_empty() {
            return;
        }
        let mut collected = self.collected.lock();
        collected.bytes += part.values().flatten().map(Delta::bytes).sum::<usize>();
        if collected.bytes > TAP_BYTES_MAX {
            collected.overflowed = true;
            collected.steps.clear();
        } else if !collected.overflowed {
            collected.steps.push(part);
        }
    }
}

/// The objects a view reads.
pub fn inputs_of(object: &Object) -> &[ObjectId] {
    match &object.kind {
        ObjectKind::View { inputs, .. } => inputs,
        _ => &[],
    }
}
