//! COPY's options and the rows it takes in.

use crate::dml::{complete, relation_columns};
use crate::error::{Error, Result};
use crate::rows::Limits;
use crate::transaction::Writer;
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use millpond_engine::catalog::{Object, ObjectKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// COPY's format options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub header: bool,
    pub delimiter: u8,
    pub null: String,
    pub quote: u8,
    pub escape: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
}

/// A COPY in progress. Dropping it without `finish` abandons it: nothing was written (an open transaction block fails).
#[derive(Debug)]
pub struct CopyIn {
    /// Columns expected, in the order they are sent.
    pub schema: SchemaRef,
    pub options: CopyOptions,
    object: Arc<Object>,
    /// For each column of the object: its position among the columns sent.
    sources: Vec<Option<usize>>,
    writer: Writer,
    lock_wait: Duration,
    limits: Limits,
    rows: u64,
}

impl CopyIn {
    pub(crate) fn new(
        object: Arc<Object>,
        columns: &[String],
        options: CopyOptions,
        writer: Writer,
        lock_wait: Duration,
        limits: Limits,
    ) -> Result<CopyIn> {
        let wanted = relation_columns(&object, columns)?;
        // NULLs are let through here, so that they are reported as what they are when they are checked.
        let fields: Vec<Field> = wanted
            .iter()
            .map(|&i| Field::new(&object.columns[i].name, object.columns[i].data_type.clone(), true))
            .collect();
        let sources = (0..object.columns.len()).map(|i| wanted.iter().position(|&w| w == i)).collect();
        Ok(CopyIn {
            schema: Arc::new(Schema::new(fields)),
            options,
            object,
            sources,
            writer,
            lock_wait,
            limits,
            rows: 0,
        })
    }

    /// When `statement_timeout` is over; no data may be waited for beyond it.
    pub fn ends_at(&self) -> Option<Instant> {
        self.limits.timeout.ends_at()
    }

    /// # Errors
    /// 57014 when the statement is over.
    pub fn check(&self) -> Result<()> {
        self.limits.check()
    }

    /// Takes decoded rows; columns as in `schema`. The first wait for the table's lock.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_columns() != self.schema.fields().len() {
            return Err(Error::new("22P04", "wrong number of columns in COPY data"));
        }
        self.check()?;
        let rows = batch.num_rows() as u64;
        let batch = complete(&self.object, &self.sources, &batch)?;
        if matches!(self.object.kind, ObjectKind::Table { .. }) {
            // Here, where the wait can be cancelled; the lock is kept, so for further batches there is none.
            self.writer.lock(self.object.id, self.lock_wait, &self.limits).await?;
        }
        self.writer.insert(&self.object, batch).await?;
        self.rows += rows;
        Ok(())
    }

    /// Commits (or joins the session's open transaction); returns the number of rows.
    pub async fn finish(self: Box<Self>) -> Result<u64> {
        self.check()?;
        let CopyIn { writer, rows, .. } = *self;
        writer.finish().await?;
        Ok(rows)
    }
}
