//! Backfill: what brings a new view from nothing to a cut.

use crate::catalog::{Catalog, Object};
use crate::delta::Delta;
use crate::graph::{Contents, Step, ViewState, inputs_of};
use crate::input::{Reader, Uppers};
use crate::log::Log;
use crate::{Error, ObjectId, Result};
use std::collections::HashMap;

/// Feeds a new view everything its inputs hold at one cut: the rows of tables and views from `contents`, those of
/// streams from the log up to `uppers`. `progress` gets the rows of each step and may end the work with an error.
pub fn backfill(
    state: &mut ViewState,
    log: &Log,
    object: &Object,
    catalog: &Catalog,
    contents: &HashMap<ObjectId, Contents>,
    uppers: &Uppers,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    state.step(&Step::new())?;
    let mut streams = Vec::new();
    for id in inputs_of(object) {
        match contents.get(id) {
            None => streams.extend(catalog.by_id(*id).map(|stream| state.wants(stream))),
            Some(Contents::Stopped { reason, .. }) => {
                return Err(Error::Invalid(format!("its input has stopped: {reason}")));
            }
            Some(Contents::Ready(snapshot) | Contents::Failing(snapshot, _)) => {
                for batch in snapshot.batches()? {
                    let rows = batch.num_rows() as u64;
                    state.step(&Step::from([(*id, vec![Delta::inserts(batch)])]))?;
                    progress(rows)?;
                }
            }
        }
    }
    let mut reader = Reader::new(log, streams, &Uppers::new(), uppers);
    while reader.rows_left() > 0 {
        let before = reader.rows_left();
        state.step(&reader.next_step()?)?;
        progress(before - reader.rows_left())?;
    }
    Ok(())
}
