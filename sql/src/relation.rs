//! Catalog objects as DataFusion tables, all read from one snapshot so that a statement sees one cut.
//!
//! The system columns of a stream are resolvable by name but hidden from `*`: an object is shown under its own name
//! without them and under its name + [`WITH_SYSTEM_COLUMNS`] with them; `rewrite` chooses per table reference.
//!
//! A stream is the union of its sealed segments (Parquet, pruned and projected by DataFusion's reader) and its tail
//! in memory. A cut may end inside a file: such a file is read with an exact filter on `_offset`. Planning opens no file.
//!
//! A statement in a transaction block sees what the block has written laid over the snapshot.

use crate::error::Error;
use crate::key_lookup;
use crate::planner::Source;
use crate::segment::{self, SegmentReaders};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Constraint, Constraints, DFSchema, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown, utils::conjunction};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::union::UnionExec;
use millpond_engine::catalog::{Object, ObjectKind, SYSTEM_COLUMNS};
use millpond_engine::log::{AppendTimes, Piece, SegmentFile};
use millpond_engine::snapshot::Snapshot;
use millpond_engine::transaction::OwnChanges;
use millpond_engine::{Offset, PartitionId};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Ending of the name under which a stream shows its system columns.
pub(crate) const WITH_SYSTEM_COLUMNS: &str = " with system columns";

/// A stream, table or view as a DataFusion table.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) object: Arc<Object>,
    schema: SchemaRef,
    /// `None`: planned only, never scanned.
    snapshot: Option<Arc<Snapshot>>,
    /// What the reading transaction has written and the snapshot does not show.
    own: OwnChanges,
    /// Filters stay in the plan (views are lowered from it) instead of going into the scan.
    keeps_filters: bool,
    defaults: HashMap<String, Expr>,
    /// The primary key, so that `GROUP BY` it groups by all columns.
    constraints: Constraints,
}

impl Relation {
    pub(crate) fn new(object: Arc<Object>, source: &Source, system_columns: bool, keeps_filters: bool) -> Relation {
        let schema = if system_columns { object.full_schema() } else { object.schema() };
        let defaults = match object.kind {
            ObjectKind::Stream { .. } | ObjectKind::Table { .. } => crate::ddl::defaults(&object),
            _ => HashMap::new(),
        };
        let keys = match &object.kind {
            ObjectKind::Table { key } => vec![Constraint::PrimaryKey(key.clone())],
            _ => vec![],
        };
        let constraints = Constraints::new_unverified(keys);
        let (snapshot, own) = (source.snapshot.clone(), source.own.clone());
        Relation { object, schema, snapshot, own, keeps_filters, defaults, constraints }
    }

    fn user_columns(&self) -> usize {
        self.object.columns.len()
    }

    async fn scan_rows(
        &self,
        snapshot: Arc<Snapshot>,
        target: usize,
        projection: Vec<usize>,
        filters: &[Expr],
    ) -> Result<Plan> {
        let (id, schema, own) = (self.object.id, self.schema.clone(), self.own.clone());
        let keys = key_lookup::keys(&self.object, filters);
        let read = move || {
            let found = keys.map(|keys| snapshot.rows_with_keys(id, &keys.columns, keys.rows)).transpose()?.flatten();
            let committed = found.map_or_else(|| snapshot.relation(id), |rows| Ok(vec![rows]))?;
            own.overlay(id, committed)
        };
        let batches = tokio::task::spawn_blocking(read).await.map_err(external)?;
        let batches = batches.map_err(external)?;
        let batches = batches.into_iter().map(|b| conform(b, &schema)).collect::<Result<Vec<_>>>()?;
        memory(batches, &self.schema, &projection, target)
    }

    fn scan_stream(
        &self,
        session: &dyn Session,
        snapshot: Arc<Snapshot>,
        projection: Vec<usize>,
        filters: &[Expr],
    ) -> Result<Plan> {
        let id = self.object.id;
        let pieces = snapshot.stream(id).map_err(external)?;
        let target = session.config().target_partitions();
        let segments = Segments::new(self, session, snapshot, filters, projection.clone())?;
        let (mut whole, mut tail, mut plans) = (Vec::new(), Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Segment { offsets, .. } if offsets.is_empty() => {}
                Piece::Segment { partition, offsets, file } => match segments.file(partition, &file)? {
                    Some(scanned) if offsets == file.offsets => whole.push((scanned, rows_of(&offsets))),
                    Some(scanned) => plans.push(segments.clipped(scanned, rows_of(&file.offsets), &offsets)?),
                    None => {}
                },
                Piece::Tail { partition, base, times, batch } => {
                    tail.push(self.tail(partition, base, &times, &batch)?);
                }
            }
        }
        for batch in self.own.appended(id) {
            if self.schema.fields().len() > self.user_columns() {
                return Err(no_offsets_yet(&self.object.name).into());
            }
            tail.push(batch.clone());
        }
        if !whole.is_empty() {
            plans.push(segments.whole(whole, target)?);
        }
        if !tail.is_empty() {
            plans.push(memory(tail, &self.schema, &projection, target)?);
        }
        match plans.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&projection)?)))),
            _ => UnionExec::try_new(plans),
        }
    }

    /// Rows in memory, with their system columns when these are shown.
    fn tail(
        &self,
        partition: PartitionId,
        base: Offset,
        times: &AppendTimes,
        batch: &RecordBatch,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut columns: Vec<ArrayRef> = batch.columns().iter().take(self.user_columns()).cloned().collect();
        if self.schema.fields().len() > self.user_columns() {
            let first = i64::try_from(base.0).map_err(external)?;
            let id = i32::try_from(partition.0).map_err(external)?;
            columns.push(Arc::new(Int32Array::from(vec![id; rows])));
            columns.push(Arc::new(Int64Array::from_iter_values(first..first + rows as i64)));
            columns.push(times.array(base..Offset(base.0 + rows as u64)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

type Plan = Arc<dyn ExecutionPlan>;

#[async_trait]
impl TableProvider for Relation {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        match self.object.kind {
            ObjectKind::View { .. } => TableType::View,
            _ => TableType::Base,
        }
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.get(column)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let uses_filters = matches!(self.object.kind, ObjectKind::Stream { .. } | ObjectKind::Table { .. });
        let answer = if uses_filters && !self.keeps_filters {
            TableProviderFilterPushDown::Inexact
        } else {
            TableProviderFilterPushDown::Unsupported
        };
        Ok(vec![answer; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Plan> {
        let Some(snapshot) = self.snapshot.clone() else {
            return Err(DataFusionError::Internal("a relation without a snapshot was scanned".into()));
        };
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        match self.object.kind {
            ObjectKind::Stream { .. } => self.scan_stream(session, snapshot, projection, filters),
            _ => self.scan_rows(snapshot, session.config().target_partitions(), projection, filters).await,
        }
    }
}

/// Reads sealed segments. The files' own columns are the user columns, `_offset`, `_append_ts`; `_partition` is a
/// constant of the file and comes last.
struct Segments {
    table: TableSchema,
    /// Wanted columns as positions in `table`.
    projection: Vec<usize>,
    user_columns: usize,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    pruning: Option<PruningPredicate>,
    readers: Arc<SegmentReaders>,
}

impl Segments {
    fn new(
        relation: &Relation,
        session: &dyn Session,
        snapshot: Arc<Snapshot>,
        filters: &[Expr],
        wanted: Vec<usize>,
    ) -> Result<Segments> {
        let users = relation.user_columns();
        let full = relation.object.full_schema();
        let field = |index: usize| -> Field { full.field(index).clone() };
        let mut fields: Vec<Field> = (0..users).map(field).collect();
        fields.extend([field(users + 1), field(users + 2)]);
        let table = TableSchema::builder(Arc::new(Schema::new(fields)))
            .with_table_partition_cols(vec![Arc::new(field(users))])
            .build();
        let projection = wanted
            .into_iter()
            .map(|index| match index.checked_sub(users) {
                None => index,
                Some(0) => users + 2,
                Some(n) => users + n - 1,
            })
            .collect();
        let predicate = match conjunction(filters.to_vec()) {
            Some(filter) => {
                let schema = DFSchema::try_from(table.table_schema().as_ref().clone())?;
                Some(session.create_physical_expr(filter, &schema)?)
            }
            None => None,
        };
        let store = session.runtime_env().object_store(ObjectStoreUrl::local_filesystem())?;
        let readers = Arc::new(SegmentReaders::new(snapshot, store));
        let prunes = |predicate: &Arc<dyn PhysicalExpr>| {
            PruningPredicateBuilder::new()
                .with_file_schema(table.table_schema().clone())
                .try_build(predicate.clone())
                .ok()
        };
        let pruning = predicate.as_ref().and_then(prunes);
        Ok(Segments { table, projection, user_columns: users, predicate, pruning, readers })
    }

    /// Files that belong to the cut as they are.
    fn whole(&self, files: Vec<(PartitionedFile, usize)>, target: usize) -> Result<Plan> {
        let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); target.clamp(1, files.len())];
        let mut rows = 0;
        for (n, (file, rows_of_file)) in files.into_iter().enumerate() {
            rows += rows_of_file;
            let slot = n % groups.len();
            groups[slot].push(file);
        }
        self.read(groups, self.projection.clone(), rows)
    }

    /// One file, of `rows`, of which only `offsets` belong to the cut.
    fn clipped(&self, file: PartitionedFile, rows: usize, offsets: &Range<Offset>) -> Result<Plan> {
        let mut projection = self.projection.clone();
        projection.push(self.user_columns);
        let input = self.read(vec![vec![file]], projection.clone(), rows)?;
        let position = projection.len() - 1;
        let offset: Arc<dyn PhysicalExpr> = Arc::new(Column::new(input.schema().field(position).name(), position));
        let compare = |op, bound: Offset| -> Arc<dyn PhysicalExpr> {
            Arc::new(BinaryExpr::new(offset.clone(), op, lit(bound.0 as i64)))
        };
        let (lower, upper) = (compare(Operator::GtEq, offsets.start), compare(Operator::Lt, offsets.end));
        let inside = Arc::new(BinaryExpr::new(lower, Operator::And, upper));
        let kept: Plan = Arc::new(FilterExec::try_new(inside, input.clone())?);
        let schema = input.schema();
        let exprs = (0..position).map(|index| {
            let name = schema.field(index).name();
            ProjectionExpr { expr: Arc::new(Column::new(name, index)), alias: name.clone() }
        });
        Ok(Arc::new(ProjectionExec::try_new(exprs.collect::<Vec<_>>(), kept)?))
    }

    /// `None` when the conditions leave all of it out.
    fn file(&self, partition: PartitionId, file: &Arc<SegmentFile>) -> Result<Option<PartitionedFile>> {
        let id = i32::try_from(partition.0).map_err(external)?;
        let mut scanned = PartitionedFile::new("", file.bytes);
        // Not from text: that would escape characters of the path a second time.
        scanned.object_meta.location =
            datafusion::object_store::path::Path::from_absolute_path(&file.path).map_err(external)?;
        let statistics = segment::statistics(file, self.table.file_schema(), self.user_columns)?;
        let scanned = scanned.with_partition_values(vec![ScalarValue::Int32(Some(id))]);
        let scanned = scanned.with_statistics(Arc::new(statistics)).with_extension(file.clone());
        let fits = |pruning| segment::may_fit(pruning, &scanned, self.table.table_schema());
        Ok(self.pruning.as_ref().is_none_or(fits).then_some(scanned))
    }

    fn read(&self, groups: Vec<Vec<PartitionedFile>>, projection: Vec<usize>, rows: usize) -> Result<Plan> {
        let source = ParquetSource::new(self.table.clone());
        let mut source = source.with_parquet_file_reader_factory(self.readers.clone());
        if let Some(predicate) = &self.predicate {
            source = source.with_predicate(predicate.clone());
        }
        let statistics = Statistics::new_unknown(self.table.table_schema()).with_num_rows(Precision::Exact(rows));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_statistics(statistics)
            .with_projection_indices(Some(projection))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

fn rows_of(offsets: &Range<Offset>) -> usize {
    (offsets.end.0 - offsets.start.0) as usize
}

/// Batches in memory, spread over at most `target` partitions.
fn memory(batches: Vec<RecordBatch>, schema: &SchemaRef, projection: &[usize], target: usize) -> Result<Plan> {
    let mut partitions: Vec<Vec<RecordBatch>> = vec![Vec::new(); target.clamp(1, batches.len().max(1))];
    for (n, batch) in batches.into_iter().enumerate() {
        let slot = n % partitions.len();
        partitions[slot].push(batch);
    }
    Ok(MemorySourceConfig::try_new_exec(&partitions, schema.clone(), Some(projection.to_vec()))?)
}

/// The same rows under the catalog's schema.
fn conform(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
}

/// The system columns of rows that are not committed.
pub(crate) fn no_offsets_yet(stream: &str) -> Error {
    Error::unsupported(
        format!("rows of \"{stream}\" that this transaction wrote have no system columns yet"),
        "Commit first: the commit gives the rows their offsets.",
    )
}

/// Whether `name` is a system column of streams.
pub(crate) fn is_system_column(name: &str) -> bool {
    SYSTEM_COLUMNS.contains(&name)
}

fn external(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DataFusionError {
    DataFusionError::External(error.into())
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}
