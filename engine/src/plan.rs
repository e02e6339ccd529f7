//! The plan of a view: a tree of incremental operators, as `sql` lowers it and the dataflow runs it.
//!
//! Expressions are DataFusion physical expressions over the columns of the node's input, by position. A plan holds no
//! names of objects, only ids; it is rebuilt from the view's definition at start and never stored.

use crate::ObjectId;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_physical_expr_common::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// A vectorised expression over an input batch.
pub type Expr = Arc<dyn PhysicalExpr>;

/// A node of a view's plan.
#[derive(Clone, Debug)]
pub enum Plan {
    /// The rows of a stream, table or view. `columns` index the object's columns: for a stream its user columns
    /// followed by `_partition`, `_offset`, `_append_ts`; for tables and views the user columns only.
    Input { object: ObjectId, columns: Vec<usize>, schema: SchemaRef },
    /// Keeps rows whose `predicate` is true (NULL is not). Linear.
    Filter { input: Box<Plan>, predicate: Expr },
    /// Computes one column per expression. Linear.
    Project { input: Box<Plan>, exprs: Vec<Expr>, schema: SchemaRef },
    /// All rows of all inputs; the inputs' column types are equal. Linear.
    UnionAll { inputs: Vec<Plan>, schema: SchemaRef },
    /// Join on `left[i] = right[i]`; `filter` sees left columns then right columns. Bilinear when inner.
    /// `null_equals_null`: NULL keys match each other (IS NOT DISTINCT FROM) instead of nothing.
    Join {
        kind: JoinKind,
        left: Box<Plan>,
        right: Box<Plan>,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
        null_equals_null: bool,
        schema: SchemaRef,
    },
    /// Groups by `keys`; output is the keys then the aggregates. No keys: always exactly one row.
    /// No aggregates: DISTINCT of the keys.
    Aggregate { input: Box<Plan>, keys: Vec<Expr>, aggregates: Vec<Aggregate>, schema: SchemaRef },
}

/// Which rows a join emits. A row *matches* when the other side has a row of its key that passes the filter with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs of left and right rows.
    Inner,
    /// Pairs, and left rows without a match beside NULLs.
    Left,
    /// Pairs, and right rows without a match beside NULLs.
    Right,
    /// Pairs, and rows of either side without a match beside NULLs.
    Full,
    /// Left rows with a match (EXISTS).
    Semi,
    /// Left rows without a match (NOT EXISTS).
    Anti,
    /// Left rows, and a boolean: whether they match.
    Mark,
}

/// One aggregate call.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub kind: AggregateKind,
    /// The argument; `None` only for `count(*)`.
    pub argument: Option<Expr>,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Expr>,
    /// `DISTINCT` inside the call.
    pub distinct: bool,
    /// Type of the argument after evaluation; `Null` for `count(*)`.
    pub argument_type: DataType,
    /// Type of the result, as DataFusion's planner gave it.
    pub output_type: DataType,
}

/// The aggregates that are maintained incrementally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateKind {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

impl Plan {
    /// Columns this node emits.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Plan::Filter { input, .. } => input.schema(),
            Plan::Input { schema, .. }
            | Plan::Project { schema, .. }
            | Plan::UnionAll { schema, .. }
            | Plan::Join { schema, .. }
            | Plan::Aggregate { schema, .. } => schema.clone(),
        }
    }

    /// Inputs of this node, left to right.
    pub fn children(&self) -> Vec<&Plan> {
        match self {
            Plan::Input { .. } => vec![],
            Plan::Filter { input, .. } | Plan::Project { input, .. } | Plan::Aggregate { input, .. } => vec![input],
            Plan::Join { left, right, .. } => vec![left, right],
            Plan::UnionAll { inputs, .. } => inputs.iter().collect(),
        }
    }

    /// The objects read, each once, in ascending order.
    pub fn inputs(&self) -> Vec<ObjectId> {
        let mut found = match self {
            Plan::Input { object, .. } => vec![*object],
            _ => self.children().into_iter().flat_map(Plan::inputs).collect(),
        };
        found.sort();
        found.dedup();
        found
    }

    /// Whether this node never retracts, given which objects never do.
    ///
    /// Filter, project, union all and inner join of append-only inputs are append-only (their rules are linear or
    /// bilinear in non-negative weights), and so is a semi join: what matches does so for ever. An aggregate replaces
    /// its rows, except DISTINCT (no aggregates), which only ever adds keys.
    pub fn is_append_only(&self, object_is: &dyn Fn(ObjectId) -> bool) -> bool {
        match self {
            Plan::Input { object, .. } => object_is(*object),
            Plan::Aggregate { aggregates, .. } if !aggregates.is_empty() => false,
            Plan::Join { kind, .. } if !matches!(kind, JoinKind::Inner | JoinKind::Semi) => false,
            _ => self.children().into_iter().all(|child| child.is_append_only(object_is)),
        }
    }
}
