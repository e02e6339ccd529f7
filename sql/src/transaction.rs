//! A session's transaction block and who writes into it.
//!
//! A [`Writer`] holds the engine's transaction while a statement writes: its own, committed at the end (autocommit), or
//! the block's, handed back at the end. A writer of a block that is dropped instead of finished fails the block, because
//! what it wrote is gone with it.

use crate::error::{Error, Result};
use crate::session::TransactionStatus;
use arrow::array::RecordBatch;
use millpond_engine::ObjectId;
use millpond_engine::catalog::{Object, ObjectKind};
use millpond_engine::database::Database;
use millpond_engine::transaction::Transaction;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// The state of BEGIN … COMMIT.
pub(crate) struct Block {
    pub(crate) status: TransactionStatus,
    /// Made at the block's first write.
    pub(crate) transaction: Option<Transaction>,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Block {
    pub(crate) fn new() -> Arc<Mutex<Block>> {
        Arc::new(Mutex::new(Block { status: TransactionStatus::Idle, transaction: None }))
    }

    /// An open block can no longer commit.
    pub(crate) fn fail(&mut self) {
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
            self.transaction = None;
        }
    }

    /// Whether the block has changes of `object` that no snapshot shows.
    pub(crate) fn touches(&self, object: ObjectId) -> bool {
        self.transaction.as_ref().is_some_and(|t| t.touches(object))
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
        if open.status == TransactionStatus::Idle {
            return Writer { transaction: Some(database.transaction()), block: None };
        }
        let transaction = open.transaction.take().unwrap_or_else(|| database.transaction());
        Writer { transaction: Some(transaction), block: Some(block.clone()) }
    }

    /// Whether the transaction had changes of `object` before this statement.
    pub(crate) fn touches(&self, object: ObjectId) -> bool {
        self.transaction.as_ref().is_some_and(|t| t.touches(object))
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
            block.lock().fail();
        }
    }
}
