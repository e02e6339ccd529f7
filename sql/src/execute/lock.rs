//! `SELECT … FOR UPDATE` and `FOR SHARE`: kept by locking the tables whole, which is more than was asked for.
//!
//! The lock is taken before the snapshot and held until the transaction ends, so the rows read stay as they are. What
//! cannot be kept like this is refused.

use crate::error::{Error, Result};
use crate::planner::Source;
use crate::relation::Relation;
use crate::rows::Limits;
use crate::session::Session;
use crate::transaction::Writer;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use millpond_engine::catalog::{Object, ObjectKind};
use sqlparser::ast::{NonBlock, Query, Statement};
use std::sync::Arc;
use std::time::Duration;

impl Session {
    /// Locks the tables in a query's FROM.
    pub(super) async fn lock_tables(
        &mut self,
        query: &Query,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<()> {
        let wait = wait_of(query, self.lock_wait())?;
        let mut planner = self.planner(Source::catalog(self.instance.database.catalog()), limits)?;
        let (plan, _) = planner.plan_with(Statement::Query(Box::new(query.clone())), parameters).await?;
        let mut tables = scanned(&plan)?;
        if let Some(other) = tables.iter().find(|object| !matches!(object.kind, ObjectKind::Table { .. })) {
            let noun = other.kind.noun();
            return Err(Error::unsupported(
                format!("FOR UPDATE over {noun} \"{}\" is not supported", other.name),
                "Only rows of tables can be locked.",
            ));
        }
        // One order for all, so that two such queries cannot wait for each other.
        tables.sort_by_key(|table| table.id);
        let mut writer = Writer::new(&self.instance.database, &self.block);
        for table in tables {
            writer.lock(table.id, wait, limits).await?;
        }
        writer.finish().await
    }
}

/// `longest`: what the session waits.
fn wait_of(query: &Query, longest: Duration) -> Result<Duration> {
    let mut wait = longest;
    for lock in &query.locks {
        if lock.of.is_some() {
            return Err(Error::unsupported(
                "FOR UPDATE OF is not supported",
                "Leave OF out: all tables in FROM are locked then.",
            ));
        }
        match lock.nonblock {
            None => {}
            Some(NonBlock::Nowait) => wait = Duration::ZERO,
            Some(NonBlock::SkipLocked) => {
                return Err(Error::unsupported(
                    "SKIP LOCKED is not supported",
                    "Tables are locked whole; use NOWAIT and try again.",
                ));
            }
        }
    }
    Ok(wait)
}

/// What a plan's FROM reads; subqueries in expressions are not locked, as in Postgres.
fn scanned(plan: &LogicalPlan) -> Result<Vec<Arc<Object>>> {
    let mut found = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(relation) = source_as_provider(&scan.source)?.downcast_ref::<Relation>()
        {
            found.push(relation.object.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
