//! `RETURNING`: expressions over the rows a statement wrote.
//!
//! Planned as a SELECT from the statement's target, with the written rows shown in its place. So it takes what a SELECT
//! list takes, but for what would see more than the row at hand.

use crate::dml::select_from;
use crate::error::{Error, Result};
use crate::planner::Source;
use arrow::array::RecordBatch;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use millpond_engine::catalog::{Catalog, Object};
use sqlparser::ast::{Ident, Query, SelectItem, Statement};
use std::sync::Arc;

/// A RETURNING list.
#[derive(Debug)]
pub(crate) struct Returning {
    target: Arc<Object>,
    pub(crate) query: Box<Query>,
}

impl Returning {
    /// `items` over the rows of `target`, which the statement calls `alias`.
    pub(crate) fn new(items: &[SelectItem], target: &Arc<Object>, alias: Option<Ident>) -> Result<Returning> {
        let query = select_from(target, alias, "", items.to_vec(), None)?;
        Ok(Returning { target: target.clone(), query })
    }

    /// What the list is planned over: `rows`, all of them columns of the target.
    pub(crate) fn source(&self, catalog: Arc<Catalog>, rows: Vec<RecordBatch>) -> Result<Source> {
        Source::catalog(catalog).showing(&self.target.name, self.target.schema(), rows)
    }

    pub(crate) fn statement(&self) -> Statement {
        Statement::Query(self.query.clone())
    }
}

/// One row in, one row out, and nothing else read.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    let mut row_by_row = true;
    plan.apply(|node| {
        row_by_row &=
            matches!(node, LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::TableScan(_));
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !row_by_row {
        return Err(Error::new("42803", "aggregate and window functions are not allowed in RETURNING")
            .with_hint("Aggregate with a SELECT afterwards, in the same transaction."));
    }
    let mut scans = 0;
    plan.apply_with_subqueries(|node| {
        scans += usize::from(matches!(node, LogicalPlan::TableScan(_)));
        Ok(TreeNodeRecursion::Continue)
    })?;
    if scans > 1 {
        return Err(Error::unsupported(
            "a subquery in RETURNING is not supported",
            "Read with a SELECT afterwards, in the same transaction.",
        ));
    }
    Ok(())
}
