//! A client's session: settings, transaction state, and the way from a statement's text to its outcome.
//!
//! The doors know only what is in this file and what it returns. `execute` (the Rust module) does the work.

use crate::copy::{CopyIn, CopyOptions};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::pg_catalog::SessionInfo;
use crate::planner::Base;
use crate::position::located;
use crate::rows::{Limits, Rows};
use crate::settings::Settings;
use crate::statement::{Kind, Statement};
use crate::transaction::Block;
use crate::view;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use millpond_engine::database::Database;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::task::spawn_blocking;

/// What all sessions share: the database and the planner's static parts. One per process.
#[derive(Debug)]
pub struct Instance {
    pub database: Arc<Database>,
    pub(crate) base: Base,
}

impl Instance {
    /// Opens the SQL side of a database: plans every detached view again (a view that cannot be planned is stopped
    /// with the reason, the server goes on) and starts the database.
    pub async fn start(database: Arc<Database>) -> Result<Arc<Instance>> {
        let base = Base::new()?;
        for object in database.detached_views() {
            let plan = view::plan_again(&base, database.catalog(), &object).await;
            if let Err(error) = &plan {
                tracing::error!(view = object.name, %error, "a materialized view cannot be planned again; it is stopped");
            }
            let plan = plan.map_err(|error| millpond_engine::Error::Invalid(error.message));
            let engine = database.clone();
            spawn_blocking(move || engine.attach_view(object.id, plan)).await?;
        }
        let engine = database.clone();
        spawn_blocking(move || engine.start()).await??;
        Ok(Arc::new(Instance { database, base }))
    }
}

/// One connection's state. Not shared between connections.
#[derive(Debug)]
pub struct Session {
    pub(crate) instance: Arc<Instance>,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) settings: Settings,
    pub(crate) block: Arc<Mutex<Block>>,
    notices: Vec<(String, String, String)>,
}

/// Transaction status as ReadyForQuery reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

/// A statement with its parameter and result types. Plans are made again at execution, so a prepared statement
/// survives DDL (unless its result type changed: 0A000 "cached plan must not change result type").
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Type of `$1`, `$2`, …
    pub parameters: Vec<DataType>,
    /// Columns of the result; `None` = the statement returns no rows (NoData).
    pub columns: Option<SchemaRef>,
}

/// What executing a statement gives.
pub enum Outcome {
    /// Nothing to run (empty query string).
    Empty,
    /// Done; the command tag, e.g. `INSERT 0 3`, `CREATE STREAM`.
    Complete { tag: String },
    /// Rows to send; the tag is `SELECT n` (or `tag` + n) once they are sent.
    Rows(Rows),
    /// `COPY … FROM STDIN`: the door decodes bytes and feeds batches.
    CopyIn(Box<CopyIn>),
    /// `COPY (query | relation) TO STDOUT`.
    CopyOut { rows: Rows, options: CopyOptions },
    /// `COPY (SUBSCRIBE …) TO STDOUT`.
    Subscribe { feed: Feed, options: CopyOptions },
}

impl Session {
    /// A fresh session for `user`.
    pub fn new(instance: Arc<Instance>, user: &str, database: &str) -> Session {
        Session {
            instance,
            user: user.to_owned(),
            database: database.to_owned(),
            settings: Settings::new(user),
            block: Block::new(),
            notices: Vec::new(),
        }
    }

    /// Splits and parses a query string. An empty string gives no statements.
    ///
    /// # Errors
    /// 42601 with a position.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        crate::parser::parse(sql)
    }

    /// Plans a statement far enough to know its parameter and result types. `hints[i]`: the client's type of `$i+1`.
    pub async fn prepare(&mut self, statement: &Statement, hints: &[Option<DataType>]) -> Result<Prepared> {
        let prepared = self.describe(statement, hints).await.map_err(|error| located(error, statement));
        if prepared.is_err() {
            self.fail();
        }
        prepared
    }

    /// Runs a statement. `parameters` are in order, already of the prepared types.
    /// An error inside a transaction block makes it `Failed`.
    /// `cancel` is set by the door on CancelRequest or disconnect; long work gives up with 57014.
    pub async fn execute(
        &mut self,
        statement: &Statement,
        parameters: Vec<ScalarValue>,
        cancel: Arc<AtomicBool>,
    ) -> Result<Outcome> {
        let ends = matches!(statement.kind.as_ref(), Kind::Commit | Kind::Rollback);
        if self.status() == TransactionStatus::Failed && !ends {
            return Err(Error::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        let limits = Limits::new(cancel, self.settings.statement_timeout());
        let outcome = self.run(statement, &parameters, limits).await.map_err(|error| located(error, statement));
        if outcome.is_err() {
            self.fail();
        }
        outcome
    }

    /// The door reports an error it met itself (decoding, encoding), so that a transaction block fails.
    pub fn fail(&mut self) {
        self.block.lock().fail();
    }

    /// The state of the transaction block.
    pub fn status(&self) -> TransactionStatus {
        self.block.lock().status
    }

    /// A setting's value, e.g. `statement_timeout` (milliseconds as text), `DateStyle`.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).map(str::to_owned)
    }

    /// NOTICEs raised since the last call: (severity, sqlstate, message).
    pub fn take_notices(&mut self) -> Vec<(String, String, String)> {
        std::mem::take(&mut self.notices)
    }

    /// Settings that ParameterStatus must report and that changed since the last call.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        self.settings.take_changes()
    }

    pub(crate) fn notice(&mut self, severity: &str, sqlstate: &str, message: impl Into<String>) {
        self.notices.push((severity.to_owned(), sqlstate.to_owned(), message.into()));
    }

    /// What the system catalogs say about this session.
    pub(crate) fn info(&self) -> SessionInfo {
        SessionInfo {
            user: self.user.clone(),
            database: self.database.clone(),
            settings: self.settings.all(),
            ..SessionInfo::default()
        }
    }
}

/// BEGIN, COMMIT, ROLLBACK, SET and their like.
impl Session {
    pub(crate) fn begin(&mut self) -> Outcome {
        if self.status() == TransactionStatus::InTransaction {
            self.notice("WARNING", "25001", "there is already a transaction in progress");
        }
        self.block.lock().status = TransactionStatus::InTransaction;
        complete("BEGIN")
    }

    pub(crate) async fn commit(&mut self) -> Result<Outcome> {
        let (status, transaction) = self.end_block();
        match status {
            TransactionStatus::Failed => return Ok(complete("ROLLBACK")),
            TransactionStatus::Idle => self.notice("WARNING", "25P01", "there is no transaction in progress"),
            TransactionStatus::InTransaction => {}
        }
        if let Some(transaction) = transaction {
            spawn_blocking(move || transaction.commit()).await??;
        }
        Ok(complete("COMMIT"))
    }

    pub(crate) fn rollback(&mut self) -> Outcome {
        if self.end_block().0 == TransactionStatus::Idle {
            self.notice("WARNING", "25P01", "there is no transaction in progress");
        }
        complete("ROLLBACK")
    }

    fn end_block(&mut self) -> (TransactionStatus, Option<millpond_engine::transaction::Transaction>) {
        self.settings.end_transaction();
        let mut block = self.block.lock();
        let status = std::mem::replace(&mut block.status, TransactionStatus::Idle);
        (status, block.transaction.take())
    }

    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<Outcome> {
        if local && self.status() == TransactionStatus::Idle {
            self.notice("WARNING", "25P01", "SET LOCAL can only be used in transaction blocks");
            return Ok(complete("SET"));
        }
        if let Some(warning) = self.settings.set(name, value, local)? {
            self.notice("WARNING", "01000", warning);
        }
        Ok(complete(if value.is_some() { "SET" } else { "RESET" }))
    }

    pub(crate) fn discard_all(&mut self) -> Result<Outcome> {
        if self.status() != TransactionStatus::Idle {
            return Err(Error::new("25001", "DISCARD ALL cannot run inside a transaction block"));
        }
        self.settings.reset_all();
        Ok(complete("DISCARD ALL"))
    }
}

/// A finished statement.
pub(crate) fn complete(tag: impl Into<String>) -> Outcome {
    Outcome::Complete { tag: tag.into() }
}
