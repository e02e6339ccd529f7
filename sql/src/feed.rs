//! `SUBSCRIBE`: a view's or table's changes as rows, in epoch order.

use crate::error::{Error, Result};
use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millpond_engine::Epoch;
use millpond_engine::delta::Delta;
use millpond_engine::subscription::{Event, Subscription};
use std::sync::Arc;
use std::time::Duration;

/// A live feed: the rows carry `_epoch` int8, `_weight` int8 (and `_progressed` boolean with PROGRESS), then the
/// view's columns. A row with `_progressed` says: no more changes at epochs up to and including `_epoch`.
#[derive(Debug)]
pub struct Feed {
    pub schema: SchemaRef,
    pub progress: bool,
    subscription: Subscription,
}

impl Feed {
    pub(crate) fn new(subscription: Subscription, progress: bool) -> Feed {
        let schema = shape(&subscription.schema(), progress);
        Feed { schema, progress, subscription }
    }

    /// Blocks (call it on a blocking thread) up to `timeout` for the next rows, shaped as `schema`; `None`: none yet.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<RecordBatch>> {
        match self.subscription.next(timeout)? {
            None => Ok(None),
            Some(Event::Changes { epoch, delta }) => changes(&self.schema, self.progress, epoch, &delta).map(Some),
            Some(Event::Progress { epoch }) if self.progress => progressed(&self.schema, epoch).map(Some),
            Some(Event::Progress { .. }) => Ok(None),
        }
    }
}

/// Columns of a feed over rows of `columns`.
fn shape(columns: &Schema, progress: bool) -> SchemaRef {
    let mut fields =
        vec![Field::new("_epoch", DataType::Int64, false), Field::new("_weight", DataType::Int64, progress)];
    if progress {
        fields.push(Field::new("_progressed", DataType::Boolean, false));
    }
    // A progress row has none of the view's columns.
    fields.extend(columns.fields().iter().map(|f| f.as_ref().clone().with_nullable(progress || f.is_nullable())));
    Arc::new(Schema::new(fields))
}

fn changes(schema: &SchemaRef, progress: bool, epoch: Epoch, delta: &Delta) -> Result<RecordBatch> {
    let rows = delta.rows();
    let weights = Int64Array::from_iter_values((0..rows).map(|row| delta.weight(row)));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![signed(epoch)?; rows])), Arc::new(weights)];
    if progress {
        columns.push(Arc::new(BooleanArray::from(vec![false; rows])));
    }
    columns.extend(delta.batch.columns().iter().cloned());
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn progressed(schema: &SchemaRef, epoch: Epoch) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![signed(epoch)?])),
        new_null_array(&DataType::Int64, 1),
        Arc::new(BooleanArray::from(vec![true])),
    ];
    columns.extend(schema.fields().iter().skip(3).map(|f| new_null_array(f.data_type(), 1)));
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn signed(epoch: Epoch) -> Result<i64> {
    i64::try_from(epoch.0).map_err(|_| Error::internal("the epoch is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_progress_have_one_shape() {
        let rows = Schema::new(vec![Field::new("a", DataType::Int64, false)]);
        let batch = RecordBatch::try_new(Arc::new(rows.clone()), vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
        let delta = Delta::weighted(batch, vec![1, -1]);
        let plain = changes(&shape(&rows, false), false, Epoch(7), &delta).unwrap();
        assert_eq!((plain.num_rows(), plain.num_columns()), (2, 3));
        let schema = shape(&rows, true);
        assert_eq!(changes(&schema, true, Epoch(7), &delta).unwrap().num_columns(), 4);
        let mark = progressed(&schema, Epoch(8)).unwrap();
        assert_eq!((mark.num_rows(), mark.column(1).null_count(), mark.column(3).null_count()), (1, 1, 1));
    }
}
