//! Statements that write rows: INSERT, UPDATE, DELETE, COPY FROM.

use super::{pending, scanned};
use crate::copy::{CopyIn, CopyOptions};
use crate::dml::{self, Change};
use crate::error::{Error, Result};
use crate::planner::Source;
use crate::rows::Limits;
use crate::session::{Outcome, Session, complete};
use crate::transaction::Writer;
use arrow::compute::concat_batches;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::common::collect;
use futures::StreamExt;
use millpond_engine::database::ReadMode;
use sqlparser::ast;

impl Session {
    pub(super) async fn insert(
        &mut self,
        insert: &ast::Insert,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<Outcome> {
        let name = dml::insert_name(insert)?;
        let Some(rows) = &insert.source else {
            return Err(Error::unsupported("INSERT ... DEFAULT VALUES is not supported", "Give at least one value."));
        };
        let source = self.source(&ast::Statement::Query(rows.clone()), limits).await?;
        let object = dml::insert_target(&source.catalog, &name)?;
        let insert = dml::with_columns(insert, &object)?;
        let mut planner = self.planner(source, limits)?;
        let (plan, _) = planner.plan_with(ast::Statement::Insert(insert.clone()), parameters).await?;
        let LogicalPlan::Dml(statement) = plan else {
            return Err(Error::internal("INSERT did not plan as one"));
        };
        let mut writer = Writer::new(&self.instance.database, &self.block);
        refuse_pending(&statement.input, &writer)?;
        let planned = limits.bound(planner.execute(&statement.input)).await?;
        let mut stream = planned.map_err(|error| dml::null_in_values(error, &insert, &object))?;
        let mut count = 0;
        while let Some(batch) = limits.bound(stream.next()).await? {
            let batch = dml::checked(&object, &batch?)?;
            count += batch.num_rows();
            if batch.num_rows() > 0 {
                writer.insert(&object, batch).await?;
            }
        }
        limits.check()?;
        writer.finish().await?;
        Ok(complete(format!("INSERT 0 {count}")))
    }

    /// UPDATE or DELETE: lock, read what is there now, write what replaces it.
    pub(super) async fn change(
        &mut self,
        change: Change,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<Outcome> {
        let id = change.table.id;
        let mut writer = Writer::new(&self.instance.database, &self.block);
        if writer.touches(id) {
            return Err(pending(&change.table.name));
        }
        writer.run(move |t| t.lock_table(id)).await?;
        let snapshot = self.snapshot(ReadMode::Strict, limits).await?;
        let mut planner = self.planner(Source::snapshot(snapshot), limits)?;
        let (plan, _) = planner.plan_with(change.query.clone(), parameters).await?;
        refuse_pending(&plan, &writer)?;
        let stream = limits.bound(planner.execute(&plan)).await??;
        let schema = stream.schema();
        let batches = limits.bound(collect(stream)).await??;
        let rows = concat_batches(&schema, &batches)?;
        let (before, after) = change.rows(&rows)?;
        limits.check()?;
        let deletes = change.assigned.is_empty();
        if before.num_rows() > 0 {
            let write = move |t: &mut millpond_engine::transaction::Transaction| {
                if deletes { t.delete(id, before) } else { t.update(id, before, after) }
            };
            writer.run(write).await?;
        }
        writer.finish().await?;
        let verb = if deletes { "DELETE" } else { "UPDATE" };
        Ok(complete(format!("{verb} {}", rows.num_rows())))
    }

    pub(super) fn copy_in(&mut self, relation: &str, columns: &[String], options: CopyOptions) -> Result<Outcome> {
        let object = dml::insert_target(&self.instance.database.catalog(), relation)?;
        let writer = Writer::new(&self.instance.database, &self.block);
        Ok(Outcome::CopyIn(Box::new(CopyIn::new(object, columns, options, writer)?)))
    }
}

/// As for queries, while the writer holds the transaction.
fn refuse_pending(plan: &LogicalPlan, writer: &Writer) -> Result<()> {
    match scanned(plan)?.into_iter().find(|(id, _)| writer.touches(*id)) {
        None => Ok(()),
        Some((_, name)) => Err(pending(&name)),
    }
}
