//! INSERT, with ON CONFLICT and RETURNING.

use crate::conflict::{self, Conflict, EXCLUDED};
use crate::dml::{self, Change};
use crate::error::{Error, Result};
use crate::planner::Source;
use crate::relation::Relation;
use crate::returning::Returning;
use crate::rows::Limits;
use crate::session::{Outcome, Session, complete};
use crate::transaction::Writer;
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::Int64Type;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use futures::stream::Fuse;
use millpond_engine::catalog::{Object, ObjectKind};
use millpond_engine::database::ReadMode;
use millpond_engine::memory_bytes;
use millpond_engine::snapshot::Snapshot;
use millpond_engine::transaction::{KeyState, Savepoint};
use sqlparser::ast;
use std::sync::Arc;

/// Rows of ON CONFLICT DO UPDATE that look for their keys together, because each look reads the whole table.
const UPSERT_BYTES: usize = 64 << 20;

/// What all batches of one INSERT have in common.
struct Insertion<'a> {
    object: &'a Arc<Object>,
    conflict: Option<Conflict>,
    /// The table as of its lock; there when rows may be updated.
    snapshot: Option<Arc<Snapshot>>,
    /// Where the statement began.
    since: Savepoint,
    parameters: &'a [ScalarValue],
    limits: &'a Limits,
}

impl Session {
    pub(super) async fn insert(
        &mut self,
        insert: &ast::Insert,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<Outcome> {
        let object = dml::insert_target(&self.instance.database.catalog(), &dml::insert_name(insert)?)?;
        let conflict = conflict::of_insert(insert, &object)?;
        let returning = dml::returning(insert.returning.as_deref(), &object, dml::insert_alias(insert))?;
        let (stream, _files) = self.inserted_rows(insert, &object, parameters, limits).await?;
        let mut stream = stream.fuse();
        let mut writer = Writer::new(&self.instance.database, &self.block);
        let mut snapshot = None;
        if let ObjectKind::Table { .. } = object.kind {
            writer.lock(object.id, self.lock_wait(), limits).await?;
        }
        if let Some(Conflict::Update(_)) = conflict {
            snapshot = Some(self.snapshot(ReadMode::Strict, limits).await?);
        }
        let since = writer.savepoint();
        let insertion = Insertion { object: &object, conflict, snapshot, since, parameters, limits };
        let (mut count, mut written) = (0, Vec::new());
        let bytes_at_once = if insertion.snapshot.is_some() { UPSERT_BYTES } else { 0 };
        while let Some(batch) = next_rows(&mut stream, bytes_at_once, limits).await? {
            let batch = dml::checked(&object, &batch)?;
            if batch.num_rows() > 0 {
                let batch = self.insert_batch(&insertion, &mut writer, batch).await?;
                count += batch.num_rows();
                written.extend(returning.is_some().then_some(batch));
            }
        }
        limits.check()?;
        let outcome = match &returning {
            Some(returning) => self.returned(returning, written, "INSERT 0", parameters, limits).await?,
            None => complete(format!("INSERT 0 {count}")),
        };
        writer.finish().await?;
        Ok(outcome)
    }

    /// Runs the INSERT's query. What it was planned over is let go of, so that writing does not have to copy it; but a
    /// stream's files are there only as long as the snapshot is, which then comes with the rows.
    async fn inserted_rows(
        &self,
        insert: &ast::Insert,
        object: &Arc<Object>,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<(SendableRecordBatchStream, Option<Arc<Snapshot>>)> {
        let Some(rows) = &insert.source else {
            return Err(Error::unsupported("INSERT ... DEFAULT VALUES is not supported", "Give at least one value."));
        };
        let source = self.source(&ast::Statement::Query(rows.clone()), limits).await?;
        let insert = dml::with_columns(insert, object)?;
        let mut planner = self.planner(source, limits)?;
        let (plan, _) = planner.plan_with(ast::Statement::Insert(insert.clone()), parameters).await?;
        let LogicalPlan::Dml(statement) = plan else {
            return Err(Error::internal("INSERT did not plan as one"));
        };
        let files = if reads_a_stream(&statement.input)? { planner.source.snapshot.clone() } else { None };
        let planned = limits.bound(planner.execute(&statement.input)).await?;
        Ok((planned.map_err(|error| dml::null_in_values(error, &insert, object))?, files))
    }

    /// Writes a batch; gives the rows as they are now, in order.
    async fn insert_batch(
        &self,
        insertion: &Insertion<'_>,
        writer: &mut Writer,
        batch: RecordBatch,
    ) -> Result<RecordBatch> {
        let Some(conflict) = &insertion.conflict else {
            writer.insert(insertion.object, batch.clone()).await?;
            return Ok(batch);
        };
        let (id, since, keys) = (insertion.object.id, insertion.since, batch.clone());
        let states = writer.run(move |t| t.key_states(id, &keys, since)).await?;
        let rows_that_are = |wanted: KeyState| -> Vec<usize> {
            states.iter().enumerate().filter(|(_, state)| **state == wanted).map(|(row, _)| row).collect()
        };
        let free = rows_that_are(KeyState::Free);
        let inserted = take(&batch, &free)?;
        if let Conflict::Update(_) = conflict
            && states.contains(&KeyState::Repeated)
        {
            return Err(conflict::repeated());
        }
        writer.insert(insertion.object, inserted.clone()).await?;
        let taken = rows_that_are(KeyState::Taken);
        match conflict {
            Conflict::Update(change) if !taken.is_empty() => {
                let (updated, positions) = self.update_taken(insertion, change, writer, &batch, &taken).await?;
                in_order(&[(inserted, positions_of(&free)), (updated, positions)])
            }
            _ => Ok(inserted),
        }
    }

    /// Updates the rows that have the keys of `batch[taken]`; gives the new rows and whose keys they were.
    async fn update_taken(
        &self,
        insertion: &Insertion<'_>,
        change: &Change,
        writer: &mut Writer,
        batch: &RecordBatch,
        taken: &[usize],
    ) -> Result<(RecordBatch, Int64Array)> {
        let Some(snapshot) = insertion.snapshot.clone() else {
            return Err(Error::internal("no snapshot for ON CONFLICT DO UPDATE"));
        };
        let table = insertion.object;
        let excluded = conflict::excluded(table, &take(batch, taken)?, taken)?;
        let source = Source::snapshot(snapshot, writer.own_changes());
        let source = source.showing(EXCLUDED, excluded.schema(), vec![excluded])?;
        let rows = self.read_all(source, &change.query, insertion.parameters, insertion.limits).await?;
        let (before, after) = change.rows(&rows)?;
        let positions = rows.columns().last().and_then(|column| column.as_primitive_opt::<Int64Type>()).cloned();
        let positions = positions.ok_or_else(|| Error::internal("excluded rows have no position"))?;
        let (id, updated) = (table.id, after.clone());
        if before.num_rows() > 0 {
            writer.run(move |t| t.update(id, before, after)).await?;
        }
        Ok((updated, positions))
    }

    /// The rows RETURNING gives, computed to the end, because the statement may only succeed if they do.
    pub(super) async fn returned(
        &self,
        returning: &Returning,
        written: Vec<RecordBatch>,
        tag: &'static str,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<Outcome> {
        let source = returning.source(self.instance.database.catalog(), written)?;
        let rows = self.rows_of_returning(returning, source, parameters, limits).await?;
        Ok(Outcome::Rows(rows.tagged(tag)))
    }
}

fn reads_a_stream(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(relation) = source_as_provider(&scan.source)?.downcast_ref::<Relation>()
        {
            found |= matches!(relation.object.kind, ObjectKind::Stream { .. });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The next batch, or as many batches as it takes to have `bytes`.
async fn next_rows(
    stream: &mut Fuse<SendableRecordBatchStream>,
    bytes: usize,
    limits: &Limits,
) -> Result<Option<RecordBatch>> {
    let (mut batches, mut held) = (Vec::new(), 0);
    while let Some(batch) = limits.bound(stream.next()).await?.transpose()? {
        held += memory_bytes(&batch);
        batches.push(batch);
        if held >= bytes {
            break;
        }
    }
    match batches.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        [first, ..] => Ok(Some(concat_batches(&first.schema(), &batches)?)),
    }
}

fn take(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch> {
    let rows: UInt32Array = rows.iter().map(|row| *row as u32).collect();
    Ok(take_record_batch(batch, &rows)?)
}

fn positions_of(rows: &[usize]) -> Int64Array {
    rows.iter().map(|row| *row as i64).collect()
}

/// One batch of all parts, by position.
fn in_order(parts: &[(RecordBatch, Int64Array)]) -> Result<RecordBatch> {
    let rows = concat_batches(&parts[0].0.schema(), parts.iter().map(|(rows, _)| rows))?;
    let positions: Vec<&dyn Array> = parts.iter().map(|(_, positions)| positions as &dyn Array).collect();
    let order = sort_to_indices(&concat(&positions)?, None, None)?;
    Ok(take_record_batch(&rows, &order)?)
}
