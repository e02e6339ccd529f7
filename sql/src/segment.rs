//! How a query opens a sealed segment: it uses nothing of the file, neither rows nor the footer's statistics, before this
//! process has once compared it with its checksum.
//!
//! So what a query leaves closed is not read at all, and one that is given up ends with the segments it has open. Which
//! ones those are, the manifest's own statistics say ([`may_fit`]).

use arrow::datatypes::{Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::DefaultParquetFileReaderFactory;
use datafusion::object_store::ObjectStore;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use millpond_engine::log::SegmentFile;
use millpond_engine::snapshot::Snapshot;
use std::ops::Range;
use std::sync::Arc;

/// Opens the segments of a snapshot. A [`PartitionedFile`] carries its `Arc<SegmentFile>` as an extension.
#[derive(Debug)]
pub(crate) struct SegmentReaders {
    snapshot: Arc<Snapshot>,
    files: DefaultParquetFileReaderFactory,
}

impl SegmentReaders {
    pub(crate) fn new(snapshot: Arc<Snapshot>, store: Arc<dyn ObjectStore>) -> SegmentReaders {
        SegmentReaders { snapshot, files: DefaultParquetFileReaderFactory::new(store) }
    }
}

impl ParquetFileReaderFactory for SegmentReaders {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        footer_bytes: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let segment = file.extension::<Arc<SegmentFile>>().filter(|segment| !segment.is_verified()).cloned();
        let unverified = segment.map(|segment| (self.snapshot.clone(), segment));
        let reader = self.files.create_reader(partition, file, footer_bytes, metrics)?;
        Ok(Box::new(SegmentReader { unverified, reader }))
    }
}

struct SegmentReader {
    /// `None` once it is known that the file is what was sealed.
    unverified: Option<(Arc<Snapshot>, Arc<SegmentFile>)>,
    reader: Box<dyn AsyncFileReader + Send>,
}

impl SegmentReader {
    /// Runs where the file's reads do. A reader that is dropped meanwhile leaves at most this one file to be read.
    async fn verify(&mut self) -> ParquetResult<()> {
        let Some((snapshot, segment)) = self.unverified.clone() else { return Ok(()) };
        let verified = SpawnedTask::spawn_blocking(move || snapshot.verify(&segment)).join().await;
        verified.map_err(external)?.map_err(external)?;
        self.unverified = None;
        Ok(())
    }
}

impl AsyncFileReader for SegmentReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            self.verify().await?;
            self.reader.get_bytes(range).await
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            self.verify().await?;
            self.reader.get_byte_ranges(ranges).await
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            self.verify().await?;
            self.reader.get_metadata(options).await
        }
        .boxed()
    }
}

/// Whether a file may hold rows that fit, by what is known without opening it.
pub(crate) fn may_fit(pruning: &PruningPredicate, file: &PartitionedFile, schema: &SchemaRef) -> bool {
    let Some(statistics) = file.statistics.clone() else { return true };
    let known = PrunableStatistics::new(vec![statistics], schema.clone());
    pruning.prune(&known).map_or(true, |fits| fits.contains(&true))
}

/// What the manifest says of a file whose columns are the `user_columns`, `_offset` and `_append_ts`.
pub(crate) fn statistics(file: &SegmentFile, schema: &Schema, user_columns: usize) -> Result<Statistics> {
    let mut statistics = Statistics::new_unknown(schema);
    let (offsets, times) = (&file.offsets, &file.append_ts);
    let (first, last) = (offsets.start.0 as i64, offsets.end.0 as i64 - 1);
    statistics.num_rows = Precision::Exact((offsets.end.0 - offsets.start.0) as usize);
    let data_type = |column: usize| schema.field(column).data_type();
    let offset = |value| ScalarValue::new_primitive::<Int64Type>(Some(value), data_type(user_columns));
    let time = |value| ScalarValue::new_primitive::<TimestampMicrosecondType>(Some(value), data_type(user_columns + 1));
    statistics.column_statistics[user_columns] = between(offset(first)?, offset(last)?);
    statistics.column_statistics[user_columns + 1] = between(time(times.start)?, time(times.end - 1)?);
    Ok(statistics)
}

/// Without the number of NULLs, which is 0: a column that is known to be constant would be put into conditions as its value,
/// and one without columns leaves no file out.
fn between(min: ScalarValue, max: ScalarValue) -> ColumnStatistics {
    ColumnStatistics {
        min_value: Precision::Exact(min),
        max_value: Precision::Exact(max),
        ..ColumnStatistics::new_unknown()
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::External(Box::new(error))
}
