//! A session's transaction block and who writes into it.
//!
//! A block is explicit (BEGIN … COMMIT) or implicit: the statements of one query string, or of one pipeline up to Sync.
//!
//! A [`Writer`] holds the engine's transaction while a statement writes: its own, committed at the end (autocommit), or
//! the block's, handed back at the end. A writer of a block that is dropped instead of finished fails the block.

use crate::error::{Error, Result};
use crate::rows::Limits;
use crate::session::TransactionStatus;
use arrow::array::RecordBatch;
use millpond_engine::ObjectId;
use millpond_engine::catalog::{Object, ObjectKind};
use millpond_engine::database::Database;
use millpond_engine::transaction::{OwnChanges, Savepoint, Transaction};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// Savepoints a block may have at a time.
const SAVEPOINTS_MAX: usize = 65_536;
/// How often a statement that waits for a lock looks whether it was cancelled.
const LOCK_SLICE: Duration = Duration::from_millis(50);

/// What the session's statements are part of.
pub(crate) struct Block {
    pub(crate) state: BlockState,
    /// Made at the block's first write.
    pub(crate) transaction: Option<Transaction>,
    /// A statement has read in it, so it can no longer become READ WRITE.
    pub(crate) has_run: bool,
    /// Its number, once somebody asked.
    pub(crate) id: Option<i64>,
    savepoints: Vec<NamedSavepoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockState {
    /// Each statement is a transaction of its own.
    Idle,
    /// Ends with the query string or the pipeline.
    Implicit,
    /// Ends with COMMIT or ROLLBACK.
    Explicit,
    /// An explicit block after an error.
    Failed,
}

/// Names may repeat; the newest counts.
struct NamedSavepoint {
    name: String,
    at: Savepoint,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Block {
    pub(crate) fn new() -> Arc<Mutex<Block>> {
        Arc::new(Mutex::new(Block {
            state: BlockState::Idle,
            transaction: None,
            has_run: false,
            id: None,
            savepoints: vec![],
        }))
    }

    pub(crate) fn status(&self) -> TransactionStatus {
        match self.state {
            BlockState::Idle | BlockState::Implicit => TransactionStatus::Idle,
            BlockState::Explicit => TransactionStatus::InTransaction,
            BlockState::Failed => TransactionStatus::Failed,
        }
    }

    /// An open block can no longer commit, unless it goes back to a savepoint.
    pub(crate) fn fail(&mut self) {
        match self.state {
            BlockState::Implicit => drop(self.end()),
            BlockState::Explicit => {
                self.state = BlockState::Failed;
                if self.savepoints.is_empty() {
                    self.transaction = None;
                }
            }
            BlockState::Idle | BlockState::Failed => {}
        }
    }

    /// Leaves the block; gives what it was and what it wrote.
    pub(crate) fn end(&mut self) -> (BlockState, Option<Transaction>) {
        self.savepoints.clear();
        (self.has_run, self.id) = (false, None);
        (std::mem::replace(&mut self.state, BlockState::Idle), self.transaction.take())
    }

    /// What the block has written and no snapshot shows.
    pub(crate) fn own_changes(&self) -> OwnChanges {
        self.transaction.as_ref().map(Transaction::own_changes).unwrap_or_default()
    }

    pub(crate) fn set_savepoint(&mut self, name: &str) -> Result<()> {
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(Error::new("54000", format!("a transaction can have at most {SAVEPOINTS_MAX} savepoints"))
                .with_hint("Release savepoints that are no longer needed."));
        }
        let at = self.transaction.as_ref().map(Transaction::savepoint).unwrap_or_default();
        self.savepoints.push(NamedSavepoint { name: name.to_owned(), at });
        Ok(())
    }

    /// Forgets a savepoint and those set after it; what was written stays.
    pub(crate) fn release(&mut self, name: &str) -> Result<()> {
        let found = self.find_savepoint(name)?;
        self.savepoints.truncate(found);
        Ok(())
    }

    /// Takes back what was written since a savepoint, which stays; a failed block goes on.
    pub(crate) fn rollback_to(&mut self, name: &str) -> Result<()> {
        let found = self.find_savepoint(name)?;
        if let Some(transaction) = &mut self.transaction {
            transaction.rollback_to(self.savepoints[found].at)?;
        }
        self.savepoints.truncate(found + 1);
        self.state = BlockState::Explicit;
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Result<usize> {
        let found = self.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        found.ok_or_else(|| Error::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    /// A writer ends without having finished. Without the transaction there is nothing to go back to.
    fn abandon(&mut self, transaction: Option<Transaction>) {
        if transaction.is_none() {
            self.savepoints.clear();
        }
        self.transaction = transaction;
        self.fail();
        // The block may have failed, or ended, before the writer knew.
        if self.savepoints.is_empty() {
            self.transaction = None;
        }
    }
}

/// A statement that writes.
pub(crate) struct Writer {
    transaction: Option<Transaction>,
    /// The block to hand the transaction back to.
    block: Option<Arc<Mutex<Block>>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("in_block", &self.block.is_some()).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(database: &Arc<Database>, block: &Arc<Mutex<Block>>) -> Writer {
        let mut open = block.lock();
        if open.state == BlockState::Idle {
            return Writer { transaction: Some(database.transaction()), block: None };
        }
        let transaction = open.transaction.take().unwrap_or_else(|| database.transaction());
        Writer { transaction: Some(transaction), block: Some(block.clone()) }
    }

    /// What the transaction has written so far.
    pub(crate) fn own_changes(&self) -> OwnChanges {
        self.transaction.as_ref().map(Transaction::own_changes).unwrap_or_default()
    }

    /// The point reached.
    pub(crate) fn savepoint(&self) -> Savepoint {
        self.transaction.as_ref().map(Transaction::savepoint).unwrap_or_default()
    }

    /// Runs an engine call, which may block, off the executor.
    pub(crate) async fn run<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Transaction) -> millpond_engine::Result<T> + Send + 'static,
    ) -> Result<T> {
        let Some(mut transaction) = self.transaction.take() else {
            return Err(Error::internal("the transaction is gone"));
        };
        let (transaction, answer) = spawn_blocking(move || {
            let answer = call(&mut transaction);
            (transaction, answer)
        })
        .await?;
        self.transaction = Some(transaction);
        Ok(answer?)
    }

    /// Locks a table, waiting at most `wait`; the statement's own end is looked for on the way.
    pub(crate) async fn lock(&mut self, table: ObjectId, wait: Duration, limits: &Limits) -> Result<()> {
        let until = Instant::now() + wait;
        loop {
            let slice = LOCK_SLICE.min(until.saturating_duration_since(Instant::now()));
            let locked = self.run(move |t| t.lock_table(table, slice)).await;
            match locked {
                Err(error) if error.sqlstate == "55P03" && Instant::now() < until => limits.check()?,
                locked => return locked,
            }
        }
    }

    /// Adds rows to a stream or table.
    pub(crate) async fn insert(&mut self, object: &Object, batch: RecordBatch) -> Result<()> {
        let id = object.id;
        match object.kind {
            ObjectKind::Stream { .. } => self.run(move |t| t.append(id, batch)).await,
            _ => self.run(move |t| t.insert(id, batch)).await,
        }
    }

    /// Commits, or hands the transaction back to its block.
    pub(crate) async fn finish(mut self) -> Result<()> {
        let Some(transaction) = self.transaction.take() else {
            return Err(Error::internal("the transaction is gone"));
        };
        match self.block.take() {
            Some(block) => {
                block.lock().transaction = Some(transaction);
                Ok(())
            }
            None => {
                spawn_blocking(move || transaction.commit()).await??;
                Ok(())
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(block) = &self.block {
            block.lock().abandon(self.transaction.take());
        }
    }
}
