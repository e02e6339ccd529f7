//! DataFusion's optimised logical plan → the engine's incremental plan.
//!
//! Every node is lowered to an operator whose delta rule is exact under inserts, updates and deletes; a node without
//! one is refused by name. `view` refuses most of them earlier, in the user's words; what is refused here is what the
//! optimiser made of something unforeseen.

use crate::dialect::{ONLY_VALUE, guarded};
use crate::error::{Error, Result};
use crate::relation::Relation;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{self as logical, Distinct, Expr, ExprSchemable, LogicalPlan};
use datafusion::physical_expr::expressions::{Column, Literal, lit};
use datafusion::physical_expr::{PhysicalExpr, PhysicalExprRef, create_physical_expr};
use millpond_engine::plan::{Aggregate, AggregateKind, JoinKind, Plan};
use std::sync::Arc;

/// Operators below the subquery of a NOT IN, which are made three times.
const NOT_IN_OPERATORS_MAX: usize = 30;

/// Lowers `plan`.
///
/// # Errors
/// 0A000 naming what has no incremental operator.
pub(crate) fn lower(plan: &LogicalPlan, state: &SessionState) -> Result<Plan> {
    Lowering { state }.node(&guarded(plan.clone())?)
}

struct Lowering<'a> {
    state: &'a SessionState,
}

impl Lowering<'_> {
    fn node(&self, plan: &LogicalPlan) -> Result<Plan> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input),
            LogicalPlan::Filter(filter) => {
                let predicate = self.expr(&filter.predicate, filter.input.schema())?;
                Ok(Plan::Filter { input: Box::new(self.node(&filter.input)?), predicate })
            }
            LogicalPlan::Projection(projection) => {
                let exprs = self.exprs(&projection.expr, projection.input.schema())?;
                let input = Box::new(self.node(&projection.input)?);
                Ok(Plan::Project { input, exprs, schema: arrow_schema(&projection.schema) })
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let schema = arrow_schema(input.schema());
                let keys = columns(&schema);
                Ok(Plan::Aggregate { input: Box::new(self.node(input)?), keys, aggregates: vec![], schema })
            }
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|input| self.node(input)).collect::<Result<Vec<_>>>()?;
                let schema = arrow_schema(&union.schema);
                for input in &inputs {
                    same_types(&input.schema(), &schema)?;
                }
                Ok(Plan::UnionAll { inputs, schema })
            }
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Err(Error::unsupported(
                "a materialized view must read from a stream, table or materialized view",
                "The query, or a part of it, is constant: write the rows into a table.",
            )),
            other => Err(refused(other)),
        }
    }

    fn scan(&self, scan: &logical::TableScan) -> Result<Plan> {
        let provider = source_as_provider(&scan.source)?;
        let Some(relation) = provider.downcast_ref::<Relation>() else {
            return Err(Error::unsupported(
                format!("a materialized view cannot read {}", scan.table_name.table()),
                "It can read streams, tables and materialized views.",
            ));
        };
        if scan.fetch.is_some() || !scan.filters.is_empty() {
            return Err(Error::internal("a view's scan must keep neither filters nor a limit"));
        }
        let all = provider.schema().fields().len();
        let columns = scan.projection.clone().unwrap_or_else(|| (0..all).collect());
        let schema = arrow_schema(&scan.projected_schema);
        Ok(Plan::Input { object: relation.object.id, columns, schema })
    }

    fn join(&self, join: &logical::Join) -> Result<Plan> {
        if join.null_aware {
            return self.not_in(join);
        }
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::Right => JoinKind::Right,
            JoinType::Full => JoinKind::Full,
            JoinType::LeftSemi => JoinKind::Semi,
            JoinType::LeftAnti => JoinKind::Anti,
            JoinType::LeftMark => JoinKind::Mark,
            other => {
                return Err(Error::unsupported(
                    format!("{other} joins are not supported in materialized views yet"),
                    "Outer joins, EXISTS, NOT EXISTS and IN with a subquery are.",
                ));
            }
        };
        let on = self.keys(join)?;
        let mut right = self.node(&join.right)?;
        let only_asks = matches!(kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark);
        if only_asks && on.is_empty() && join.filter.is_none() {
            right = one_row_if_any(right);
        }
        let filter = match &join.filter {
            Some(filter) => Some(self.expr(filter, &join.left.schema().join(join.right.schema())?)?),
            None => None,
        };
        Ok(Plan::Join {
            kind,
            left: Box::new(self.node(&join.left)?),
            right: Box::new(right),
            on,
            filter,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            schema: arrow_schema(&join.schema),
        })
    }

    fn keys(&self, join: &logical::Join) -> Result<Vec<(PhysicalExprRef, PhysicalExprRef)>> {
        let mut on = Vec::with_capacity(join.on.len());
        for (left, right) in &join.on {
            let (l, r) = (left.get_type(join.left.schema())?, right.get_type(join.right.schema())?);
            if l != r {
                return Err(Error::new("42804", format!("join keys have different types: {l} and {r}")));
            }
            on.push((self.expr(left, join.left.schema())?, self.expr(right, join.right.schema())?));
        }
        Ok(on)
    }

    /// `x NOT IN (SELECT y …)` is three anti joins:
    /// ```text
    /// no y is equal to x   AND  no y is NULL   AND   (x is not NULL  OR  there is no y)
    /// ```
    /// The last two join with whether there is such a y: one row or none.
    fn not_in(&self, join: &logical::Join) -> Result<Plan> {
        let (JoinType::LeftAnti, [(x, y)], None) = (join.join_type, join.on.as_slice(), &join.filter) else {
            return Err(Error::unsupported(
                "this form of NOT IN with a subquery is not supported in materialized views yet",
                "Write NOT EXISTS (SELECT ... WHERE a = b).",
            ));
        };
        let (left, right, schema) = (self.node(&join.left)?, self.node(&join.right)?, arrow_schema(&join.schema));
        if operators(&right) > NOT_IN_OPERATORS_MAX {
            return Err(Error::new("54001", "the subquery of NOT IN is too large for a materialized view")
                .with_hint("Write NOT EXISTS (SELECT ... WHERE a = b), or make a view of the subquery first."));
        }
        let anti = |left: Plan, right: Plan, on, filter| Plan::Join {
            kind: JoinKind::Anti,
            left: Box::new(left),
            right: Box::new(right),
            on,
            filter,
            null_equals_null: false,
            schema: schema.clone(),
        };
        let null = self.expr(&y.clone().is_null(), join.right.schema())?;
        let nulls = Plan::Filter { input: Box::new(right.clone()), predicate: null };
        let (any, any_null) = (one_row_if_any(right.clone()), one_row_if_any(nulls));
        let x_is_null = self.expr(&x.clone().is_null(), join.left.schema())?;
        let unequal = anti(left, right, self.keys(join)?, None);
        Ok(anti(anti(unequal, any_null, vec![], None), any, vec![], Some(x_is_null)))
    }

    fn aggregate(&self, aggregate: &logical::Aggregate) -> Result<Plan> {
        let input_schema = aggregate.input.schema();
        if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return Err(Error::unsupported(
                "grouping sets are not supported in materialized views",
                "Create one view per grouping.",
            ));
        }
        let keys = self.exprs(&aggregate.group_expr, input_schema)?;
        let schema = arrow_schema(&aggregate.schema);
        let outputs = schema.fields().iter().skip(keys.len());
        let aggregates = aggregate
            .aggr_expr
            .iter()
            .zip(outputs)
            .map(|(expr, field)| self.call(expr, input_schema, field.data_type()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Plan::Aggregate { input: Box::new(self.node(&aggregate.input)?), keys, aggregates, schema })
    }

    fn call(&self, expr: &Expr, input: &DFSchema, output: &DataType) -> Result<Aggregate> {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(expr) else {
            return Err(Error::internal(format!("{expr} is not an aggregate")));
        };
        let kind = match func.name() {
            "count" => AggregateKind::Count,
            "sum" => AggregateKind::Sum,
            "avg" => AggregateKind::Avg,
            // false is less than true.
            "min" | "bool_and" => AggregateKind::Min,
            "max" | "bool_or" => AggregateKind::Max,
            ONLY_VALUE => {
                return Err(Error::unsupported(
                    "a scalar subquery that is not an aggregate is not supported in materialized views yet",
                    "Select max(x), or write it as a join.",
                ));
            }
            other => {
                return Err(Error::unsupported(
                    format!("aggregate {other} is not supported in materialized views yet"),
                    "There are count, sum, avg, min, max, bool_and and bool_or, with FILTER and DISTINCT.",
                ));
            }
        };
        if params.args.len() > 1 || !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Err(Error::unsupported(
                format!("this form of {} is not supported in materialized views", func.name()),
                "Use it with one argument and without ORDER BY.",
            ));
        }
        let filter = match &params.filter {
            Some(filter) => Some(self.expr(filter, input)?),
            None => None,
        };
        let counts_rows = kind == AggregateKind::Count && !params.distinct;
        let argument = params.args.first().filter(|a| !(counts_rows && is_constant(a)));
        // Smaller integers are summed as bigint.
        let wide = match argument {
            Some(argument) if kind == AggregateKind::Sum && output == &DataType::Int64 => {
                Some(argument.clone().cast_to(output, input)?)
            }
            _ => None,
        };
        let argument = wide.as_ref().or(argument);
        let argument_type = match argument {
            Some(argument) => argument.get_type(input)?,
            None => DataType::Null,
        };
        let argument = match argument {
            Some(argument) => Some(self.expr(argument, input)?),
            None => None,
        };
        // DISTINCT changes neither the least nor the greatest value.
        let distinct = params.distinct && !matches!(kind, AggregateKind::Min | AggregateKind::Max);
        Ok(Aggregate { kind, argument, filter, distinct, argument_type, output_type: output.clone() })
    }

    fn exprs(&self, exprs: &[Expr], input: &DFSchema) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        exprs.iter().map(|e| self.expr(e, input)).collect()
    }

    fn expr(&self, expr: &Expr, input: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        if expr.exists(|e| Ok(is_subquery(e)))? {
            return Err(Error::unsupported(
                "this form of subquery is not supported in materialized views yet",
                "EXISTS, IN and aggregates are supported in WHERE; else write it as a join.",
            ));
        }
        let context = PhysicalPlanningContext::default();
        Ok(create_physical_expr(unaliased(expr), input, self.state.execution_props(), &context)?)
    }
}

fn operators(plan: &Plan) -> usize {
    1 + plan.children().into_iter().map(operators).sum::<usize>()
}

/// Grouped by a constant.
fn one_row_if_any(input: Plan) -> Plan {
    let schema = Arc::new(Schema::new(vec![Field::new("any", DataType::Boolean, false)]));
    Plan::Aggregate { input: Box::new(input), keys: vec![lit(true)], aggregates: vec![], schema }
}

/// Whether a join in it has neither an equality nor a side of at most one row.
pub(crate) fn meets_all_rows(plan: &Plan) -> bool {
    let here = match plan {
        Plan::Join { left, right, on, .. } => on.is_empty() && !is_one_row(left) && !is_one_row(right),
        _ => false,
    };
    here || plan.children().into_iter().any(meets_all_rows)
}

fn is_one_row(plan: &Plan) -> bool {
    match plan {
        Plan::Join { left, right, .. } => is_one_row(left) && is_one_row(right),
        Plan::Aggregate { keys, .. } => keys.iter().all(|key| key.downcast_ref::<Literal>().is_some()),
        Plan::Project { input, .. } | Plan::Filter { input, .. } => is_one_row(input),
        _ => false,
    }
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_))
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// A constant that is not NULL: `count(1)` counts rows.
fn is_constant(expr: &Expr) -> bool {
    matches!(unaliased(expr), Expr::Literal(value, _) if !value.is_null())
}

fn arrow_schema(schema: &DFSchema) -> SchemaRef {
    schema.inner().clone()
}

fn columns(schema: &SchemaRef) -> Vec<Arc<dyn PhysicalExpr>> {
    let column = |(index, name): (usize, &String)| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(name, index)) };
    schema.fields().iter().map(|f| f.name()).enumerate().map(column).collect()
}

fn same_types(found: &SchemaRef, wanted: &SchemaRef) -> Result<()> {
    let types = |schema: &SchemaRef| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
    if types(found) == types(wanted) {
        return Ok(());
    }
    Err(Error::new("42804", "UNION types do not match").with_hint("Cast the columns of each branch to one type."))
}

fn refused(plan: &LogicalPlan) -> Error {
    let what = match plan {
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Window(_) => "a window function",
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        LogicalPlan::Unnest(_) => "unnest",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        LogicalPlan::Subquery(_) => "a subquery in an expression",
        _ => "this construct",
    };
    Error::unsupported(
        format!("{what} is not supported in materialized views yet"),
        "Apply it in the SELECT that reads the view.",
    )
}
