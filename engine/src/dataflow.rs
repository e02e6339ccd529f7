//! A view's dataflow: the tree of incremental operators that a plan describes, with their state.
//!
//! Law: after any tick, the sum of all deltas returned so far equals the plan's query over the sum of all deltas given
//! so far. It holds for any cut of the input into ticks and batches, and across any save and load. Deltas of plans
//! that can retract are consolidated at the root, so what a tick undoes itself is not published. After an error the
//! dataflow must be discarded: its state is undefined.

use crate::batch;
use crate::consolidate::consolidate;
use crate::delta::Delta;
use crate::operator::aggregate::AggregateOperator;
use crate::operator::filter::Filter;
use crate::operator::input::Input;
use crate::operator::join::{Join, JoinSpec, pair_schema};
use crate::operator::project::Project;
use crate::operator::union::UnionAll;
use crate::operator::{Operator, check_predicate};
use crate::plan::{Expr, JoinKind, Plan};
use crate::row_error::RowErrors;
use crate::row_hash::RowHasher;
use crate::state::{Namespace, StateReader, StateWriter};
use crate::{Error, ObjectId, Result};
use arrow::datatypes::{DataType, Schema};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use twox_hash::XxHash3_64;

/// Version of the saved state: raise it when a codec of ours changes, or when arrow-row's bytes do (arrow 59 today).
const STATE_VERSION: &str = "state 1, arrow-row 59";

/// A view's operator tree with its state.
#[derive(Debug)]
pub struct Dataflow {
    root: Node,
    /// `None` when the root's deltas need no consolidation.
    consolidates: Option<RowHasher>,
    /// Columns that are read of each object.
    reads: BTreeMap<ObjectId, BTreeSet<usize>>,
}

/// An operator, its children and its place in the key space.
#[derive(Debug)]
struct Node {
    operator: Box<dyn Operator>,
    source: Source,
    space: Namespace,
}

#[derive(Debug)]
enum Source {
    Object(ObjectId),
    Children(Vec<Node>),
}

impl Dataflow {
    /// Builds the operators of `plan` with empty state. `object_is_append_only` says which inputs never retract.
    ///
    /// # Errors
    /// `Unsupported` for a type, key or aggregate that is not maintained incrementally.
    pub fn new(plan: &Plan, object_is_append_only: &dyn Fn(ObjectId) -> bool, seed: u64) -> Result<Dataflow> {
        let mut builder = Builder { append_only: object_is_append_only, seed, position: 0 };
        let root = builder.build(plan)?;
        let settled = plan.is_append_only(object_is_append_only) || emits_consolidated(plan);
        let mut reads = BTreeMap::new();
        columns_read(plan, &mut reads);
        Ok(Dataflow { root, consolidates: (!settled).then(|| RowHasher::new(seed)), reads })
    }

    /// Columns that are read of `object`, as positions among all it has.
    pub fn reads(&self, object: ObjectId) -> BTreeSet<usize> {
        self.reads.get(&object).cloned().unwrap_or_default()
    }

    /// One step: the deltas of each input object, with the object's columns. A missing object did not change. The
    /// first step also emits the row of an aggregate without keys, even with no input. Rows that cannot be computed go
    /// to `errors`.
    pub fn step(&mut self, inputs: &HashMap<ObjectId, Vec<Delta>>, errors: &mut RowErrors) -> Result<Vec<Delta>> {
        let mut deltas = self.root.step(inputs, errors)?;
        deltas.retain(|delta| delta.rows() > 0);
        match &self.consolidates {
            Some(hasher) => consolidate(hasher, deltas),
            None => Ok(deltas),
        }
    }

    /// Changes when saved state would no longer fit the plan: other shape, expressions or types, or another codec.
    /// It depends on nothing else, so it is the same in every run.
    pub fn fingerprint(plan: &Plan) -> u64 {
        let mut text = String::from(STATE_VERSION);
        describe(plan, &mut text);
        XxHash3_64::oneshot(text.as_bytes())
    }

    /// [`Dataflow::fingerprint`] of rows that are kept as they are: changes with their types or the codec.
    pub fn fingerprint_of_rows(schema: &Schema) -> u64 {
        let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
        XxHash3_64::oneshot(format!("{STATE_VERSION} rows {types:?}").as_bytes())
    }

    /// Writes what changed since the last save or load.
    pub fn save(&mut self, out: &mut dyn StateWriter) -> Result<()> {
        self.root.save(out)
    }

    /// Reads all state back; the dataflow must be new, from a plan of the same fingerprint, with the same seed.
    pub fn load(&mut self, state: &dyn StateReader) -> Result<()> {
        self.root.load(state)
    }
}

impl Node {
    fn step(&mut self, inputs: &HashMap<ObjectId, Vec<Delta>>, errors: &mut RowErrors) -> Result<Vec<Delta>> {
        let given = match &mut self.source {
            Source::Object(object) => vec![inputs.get(object).cloned().unwrap_or_default()],
            Source::Children(children) => {
                children.iter_mut().map(|child| child.step(inputs, errors)).collect::<Result<Vec<_>>>()?
            }
        };
        self.operator.step(given, errors)
    }

    fn save(&mut self, out: &mut dyn StateWriter) -> Result<()> {
        self.operator.save(&self.space, out)?;
        self.children_mut().iter_mut().try_for_each(|child| child.save(out))
    }

    fn load(&mut self, state: &dyn StateReader) -> Result<()> {
        self.operator.load(&self.space, state)?;
        self.children_mut().iter_mut().try_for_each(|child| child.load(state))
    }

    fn children_mut(&mut self) -> &mut [Node] {
        match &mut self.source {
            Source::Object(_) => &mut [],
            Source::Children(children) => children,
        }
    }
}

struct Builder<'a> {
    append_only: &'a dyn Fn(ObjectId) -> bool,
    seed: u64,
    /// Position of the next node, in pre-order.
    position: u16,
}

impl Builder<'_> {
    fn build(&mut self, plan: &Plan) -> Result<Node> {
        let space = Namespace::operator(self.position);
        self.position = self.position.checked_add(1).ok_or_else(|| Error::Limit("plan is too large".into()))?;
        let source = match plan {
            Plan::Input { object, .. } => Source::Object(*object),
            _ => Source::Children(plan.children().into_iter().map(|child| self.build(child)).collect::<Result<_>>()?),
        };
        Ok(Node { operator: self.operator(plan)?, source, space })
    }

    fn operator(&self, plan: &Plan) -> Result<Box<dyn Operator>> {
        let append_only = |plan: &Plan| plan.is_append_only(self.append_only);
        Ok(match plan {
            Plan::Input { columns, schema, .. } => Box::new(Input::new(columns, schema)?),
            Plan::Filter { input, predicate } => Box::new(Filter::new(predicate, &input.schema())?),
            Plan::Project { exprs, schema, .. } => Box::new(Project::new(exprs, schema)?),
            Plan::UnionAll { schema, .. } => Box::new(UnionAll::new(schema)?),
            Plan::Join { kind, left, right, on, filter, null_equals_null, schema } => {
                let spec = JoinSpec {
                    kind: *kind,
                    on,
                    filter: filter.as_ref(),
                    null_equals_null: *null_equals_null,
                    schema,
                    seed: self.seed,
                };
                let (left, right) = ((left.schema(), append_only(left)), (right.schema(), append_only(right)));
                Box::new(Join::new(left, right, &spec)?)
            }
            Plan::Aggregate { input, keys, aggregates, schema } => {
                batch::check_schema(schema)?;
                let filters = aggregates.iter().filter_map(|aggregate| aggregate.filter.as_ref());
                filters.into_iter().try_for_each(|filter| check_predicate(filter, &input.schema()))?;
                let input = (input.schema(), append_only(input));
                Box::new(AggregateOperator::new(input, keys, aggregates, schema, self.seed)?)
            }
        })
    }
}

fn columns_read(plan: &Plan, reads: &mut BTreeMap<ObjectId, BTreeSet<usize>>) {
    if let Plan::Input { object, columns, .. } = plan {
        reads.entry(*object).or_default().extend(columns);
    }
    plan.children().into_iter().for_each(|child| columns_read(child, reads));
}

/// Whether the deltas of one tick hold each row at most once: an aggregate emits once per group.
fn emits_consolidated(plan: &Plan) -> bool {
    match plan {
        Plan::Aggregate { .. } => true,
        Plan::Filter { input, .. } => emits_consolidated(input),
        _ => false,
    }
}

/// Writes all that saved state depends on. Expressions are written as SQL-like text (their `Debug` may hold hash sets),
/// with their types.
fn describe(plan: &Plan, out: &mut String) {
    let inputs: Vec<Schema> = plan.children().iter().map(|child| child.schema().as_ref().clone()).collect();
    let one = |expr: &Expr, input: usize| format!("{expr}::{:?}", inputs.get(input).map(|s| expr.data_type(s).ok()));
    let option =
        |expr: &Option<Expr>, schema: &Schema| expr.as_ref().map(|e| format!("{e}::{:?}", e.data_type(schema).ok()));
    let text = match plan {
        Plan::Input { object, columns, .. } => format!("input {object} {columns:?}"),
        Plan::Filter { predicate, .. } => format!("filter {}", one(predicate, 0)),
        Plan::Project { exprs, .. } => format!("project {:?}", exprs.iter().map(|e| one(e, 0)).collect::<Vec<_>>()),
        Plan::UnionAll { .. } => "union".to_string(),
        Plan::Join { kind, on, filter, null_equals_null, .. } => {
            let on: Vec<_> = on.iter().map(|(left, right)| (one(left, 0), one(right, 1))).collect();
            let kind = if *kind == JoinKind::Inner { String::new() } else { format!("{kind:?} ") };
            format!("{kind}join {on:?} {:?} {null_equals_null}", option(filter, &pair_schema(&inputs[0], &inputs[1])))
        }
        Plan::Aggregate { keys, aggregates, .. } => {
            let keys: Vec<_> = keys.iter().map(|key| one(key, 0)).collect();
            let calls: Vec<_> = aggregates
                .iter()
                .map(|a| {
                    let (argument, filter) = (option(&a.argument, &inputs[0]), option(&a.filter, &inputs[0]));
                    format!(
                        "{:?} {argument:?} {filter:?} {} {:?} {:?}",
                        a.kind, a.distinct, a.argument_type, a.output_type
                    )
                })
                .collect();
            format!("aggregate {keys:?} {calls:?}")
        }
    };
    let schema = plan.schema();
    let types: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    // Writing to a String cannot fail.
    let _ = write!(out, "({text} -> {types:?}");
    plan.children().into_iter().for_each(|child| describe(child, out));
    out.push(')');
}

/// A dataflow is run by whichever thread ticks.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Dataflow>();
    is_send::<crate::relation::Relation>();
};
