//! What a reader sees: one cut over all objects.

use crate::catalog::Catalog;
use crate::graph::{Contents, Graph};
use crate::input::Uppers;
use crate::log::{Log, Piece, SegmentFile};
use crate::{Epoch, Error, ObjectId, Offset, PartitionId, Result};
use arrow::array::{ArrayRef, RecordBatch};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Everything as of one epoch. Holding it keeps the rows it shows alive.
#[derive(Debug)]
pub struct Snapshot {
    pub epoch: Epoch,
    pub catalog: Arc<Catalog>,
    pub(crate) log: Arc<Log>,
    pub(crate) uppers: Arc<Uppers>,
    pub(crate) contents: HashMap<ObjectId, Contents>,
    pub(crate) held: Held,
    /// For what its indexes find faster, as long as it still shows what the snapshot shows.
    pub(crate) graph: Arc<Mutex<Graph>>,
}

/// How long a look-up waits for a tick in progress before it reads the whole table instead.
const LOOKUP_WAIT: Duration = Duration::from_millis(2);

/// Segments that were shown to somebody: they stay readable as long as the snapshot, even if their stream is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<HashMap<ObjectId, Vec<Arc<SegmentFile>>>>);

impl Snapshot {
    /// The rows of a table or view at this epoch, in no particular order, each as often as its weight says.
    ///
    /// # Errors
    /// `ViewStopped` and `ViewFailing` when the view holds no answer.
    pub fn relation(&self, id: ObjectId) -> Result<Vec<RecordBatch>> {
        match self.contents.get(&id) {
            Some(Contents::Ready(snapshot)) => snapshot.batches(),
            Some(Contents::Failing(_, failure)) => Err(failure.error(&self.name(id))),
            Some(Contents::Stopped { epoch, reason }) => {
                Err(Error::ViewStopped { view: self.name(id), epoch: *epoch, reason: reason.clone() })
            }
            None => Err(Error::NotFound(format!("object {id} has no rows of its own"))),
        }
    }

    /// The rows of a table that have one of the `rows` keys, each once, found by its index. `keys`: the key columns, in key
    /// order. `None` when the index has moved on or is busy: then the rows are in [`Snapshot::relation`].
    pub fn rows_with_keys(&self, table: ObjectId, keys: &[ArrayRef], rows: usize) -> Result<Option<RecordBatch>> {
        let Some(Contents::Ready(shown)) = self.contents.get(&table) else { return Ok(None) };
        let Some(graph) = self.graph.try_lock_for(LOOKUP_WAIT) else { return Ok(None) };
        match graph.table(table).filter(|relation| relation.is_at(shown)) {
            Some(relation) => relation.rows_with_keys(keys, rows).map(Some),
            None => Ok(None),
        }
    }

    /// Number of rows of a table or view, without reading them; `None` when it has none to count.
    pub fn row_count(&self, id: ObjectId) -> Option<u64> {
        match self.contents.get(&id)? {
            Contents::Ready(snapshot) => Some(snapshot.row_count()),
            Contents::Failing(..) | Contents::Stopped { .. } => None,
        }
    }

    /// The durable records of a stream at this epoch, as sealed segments and in-memory tail, by partition and offset.
    /// Nothing is read yet: [`Snapshot::verify`] a segment before anything of its file is used.
    pub fn stream(&self, id: ObjectId) -> Result<Vec<Piece>> {
        let Some(uppers) = self.uppers.get(&id) else { return Ok(vec![]) };
        let mut pieces = Vec::new();
        for (partition, upper) in uppers.iter().enumerate() {
            pieces.extend(self.log.pieces(id, PartitionId(partition as u32), Offset(0)..*upper)?);
        }
        let files = pieces.iter().filter_map(|piece| match piece {
            Piece::Segment { file, .. } => Some(file.clone()),
            Piece::Tail { .. } => None,
        });
        self.held.0.lock().insert(id, files.collect());
        Ok(pieces)
    }

    /// Compares a segment with its checksum, unless this process has; reads the whole file then.
    ///
    /// # Errors
    /// `Corrupt` when the medium changed it; `Io`.
    pub fn verify(&self, segment: &SegmentFile) -> Result<()> {
        self.log.verify(segment)
    }

    fn name(&self, id: ObjectId) -> String {
        self.catalog.by_id(id).map_or_else(|| id.to_string(), |object| object.name.clone())
    }
}
