//! Result sets: streams of batches that end in time, are cancelled at once and keep their snapshot alive.

use crate::error::{Error, Result};
use crate::session::Session;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use millpond_engine::function::StatementTimeout;
use millpond_engine::snapshot::Snapshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a waiting query looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// A result set.
pub struct Rows {
    pub schema: SchemaRef,
    pub stream: SendableRecordBatchStream,
    /// First word(s) of the command tag: `SELECT`, `SHOW`, `EXPLAIN`; with `count` the number of rows is appended.
    pub tag: &'static str,
    pub count: bool,
    /// When the statement is over; a portal sets it anew with [`Session::renew`].
    pub timeout: StatementTimeout,
}

impl Session {
    /// Gives a statement whose rows are still to come the whole of `statement_timeout` again.
    pub fn renew(&self, timeout: &StatementTimeout) {
        timeout.restart(self.settings.statement_timeout());
    }
}

impl Rows {
    /// A result that is there already, its columns called `names`.
    pub(crate) fn ready(schema: &SchemaRef, names: &[String], batches: &[RecordBatch]) -> Rows {
        let schema = renamed(schema, names);
        let batches: Vec<_> = batches.iter().map(|batch| relabelled(batch, &schema)).collect();
        let stream = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), futures::stream::iter(batches)));
        Rows { schema, stream, tag: "SELECT", count: true, timeout: StatementTimeout::default() }
    }

    /// The same rows with another command tag.
    pub(crate) fn tagged(self, tag: &'static str) -> Rows {
        Rows { tag, ..self }
    }
}

/// What ends a statement early.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) timeout: StatementTimeout,
}

impl Limits {
    pub(crate) fn new(cancel: Arc<AtomicBool>, timeout: Option<Duration>) -> Limits {
        Limits { cancel, timeout: StatementTimeout::after(timeout) }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::cancelled());
        }
        match self.timeout.ends_at() {
            Some(end) if Instant::now() >= end => Err(Error::timed_out()),
            _ => Ok(()),
        }
    }

    /// Waits for `future`, unless the statement ends first.
    pub(crate) async fn bound<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(future);
        loop {
            self.check()?;
            tokio::select! {
                biased;
                done = &mut future => return Ok(done),
                () = tokio::time::sleep(CANCEL_POLL) => {}
            }
        }
    }
}

/// Wraps a query's stream: columns renamed to `names`, bounded by `limits`, holding `snapshot`.
pub(crate) fn bounded(
    inner: SendableRecordBatchStream,
    names: Option<Vec<String>>,
    limits: Limits,
    snapshot: Option<Arc<Snapshot>>,
) -> (SchemaRef, SendableRecordBatchStream) {
    let schema = match names {
        Some(names) => renamed(&inner.schema(), &names),
        None => inner.schema(),
    };
    let state = (inner, limits, schema.clone(), snapshot, false);
    let stream = futures::stream::unfold(state, |(mut inner, limits, schema, snapshot, ended)| async move {
        if ended {
            return None;
        }
        let next = match limits.bound(inner.next()).await {
            Ok(None) => return None,
            Ok(Some(batch)) => batch.and_then(|b| relabelled(&b, &schema)),
            Err(error) => Err(error.into()),
        };
        let ended = next.is_err();
        Some((next, (inner, limits, schema, snapshot, ended)))
    });
    (schema.clone(), Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
}

/// `schema` with other column names.
pub(crate) fn renamed(schema: &SchemaRef, names: &[String]) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().map(|(n, field)| match names.get(n) {
        Some(name) => field.as_ref().clone().with_name(name),
        None => field.as_ref().clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn relabelled(batch: &RecordBatch, schema: &SchemaRef) -> datafusion::common::Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
}

/// A small result of text columns.
pub(crate) fn text_rows(tag: &'static str, columns: &[&str], rows: Vec<Vec<Option<String>>>) -> Result<Rows> {
    let schema = text_schema(columns);
    let arrays: Vec<ArrayRef> = (0..columns.len())
        .map(|n| -> ArrayRef { Arc::new(rows.iter().map(|row| row[n].as_deref()).collect::<StringArray>()) })
        .collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    let stream = futures::stream::once(async move { Ok::<_, DataFusionError>(batch) });
    let stream = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), stream));
    Ok(Rows { schema, stream, tag, count: false, timeout: StatementTimeout::default() })
}

pub(crate) fn text_schema(columns: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()))
}
