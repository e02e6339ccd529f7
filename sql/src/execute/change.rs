//! UPDATE, DELETE and COPY FROM.

use crate::copy::{CopyIn, CopyOptions};
use crate::dml::{self, Change};
use crate::error::Result;
use crate::planner::Source;
use crate::rows::Limits;
use crate::session::{Outcome, Session, complete};
use crate::transaction::Writer;
use datafusion::common::ScalarValue;
use millpond_engine::database::ReadMode;
use millpond_engine::transaction::Transaction;

impl Session {
    /// UPDATE or DELETE: lock, read what is there now, write what replaces it.
    pub(super) async fn change(
        &mut self,
        change: Change,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<Outcome> {
        let id = change.table.id;
        let mut writer = Writer::new(&self.instance.database, &self.block);
        writer.lock(id, self.lock_wait(), limits).await?;
        let snapshot = self.snapshot(ReadMode::Strict, limits).await?;
        let source = Source::snapshot(snapshot, writer.own_changes());
        let rows = self.read_all(source, &change.query, parameters, limits).await?;
        let (before, after) = change.rows(&rows)?;
        limits.check()?;
        let deletes = change.assigned.is_empty();
        let verb = if deletes { "DELETE" } else { "UPDATE" };
        let outcome = match &change.returning {
            Some(returning) => {
                let shown = if deletes { before.clone() } else { after.clone() };
                self.returned(returning, vec![shown], verb, parameters, limits).await?
            }
            None => complete(format!("{verb} {}", rows.num_rows())),
        };
        if before.num_rows() > 0 {
            let write =
                move |t: &mut Transaction| if deletes { t.delete(id, before) } else { t.update(id, before, after) };
            writer.run(write).await?;
        }
        writer.finish().await?;
        Ok(outcome)
    }

    pub(super) fn copy_in(
        &mut self,
        relation: &str,
        columns: &[String],
        options: CopyOptions,
        limits: Limits,
    ) -> Result<Outcome> {
        let object = dml::insert_target(&self.instance.database.catalog(), relation)?;
        let writer = Writer::new(&self.instance.database, &self.block);
        Ok(Outcome::CopyIn(Box::new(CopyIn::new(object, columns, options, writer, self.lock_wait(), limits)?)))
    }
}
