//! A client's session: settings, transaction state, and the way from a statement's text to its outcome.
//!
//! The doors know only what is in this file and what it returns. `execute` (the Rust module) does the work.

use crate::copy::{CopyIn, CopyOptions};
use crate::error::{Error, Result};
use crate::execute::prepared::PreparedStatements;
use crate::feed::Feed;
use crate::parser::boolean;
use crate::pg_catalog::SessionInfo;
use crate::planner::Base;
use crate::position::located;
use crate::rows::{Limits, Rows};
use crate::settings::Settings;
use crate::statement::{Kind, SavepointVerb, Statement};
use crate::transaction::{Block, BlockState};
use crate::view;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use millpond_engine::database::Database;
use millpond_engine::transaction::{LOCK_WAIT, Transaction};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// What all sessions share: the database and the planner's static parts. One per process.
#[derive(Debug)]
pub struct Instance {
    pub database: Arc<Database>,
    pub(crate) base: Base,
    /// The next number of a transaction.
    transactions: AtomicI64,
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
        Ok(Arc::new(Instance { database, base, transactions: AtomicI64::new(1) }))
    }
}

/// One connection's state. Not shared between connections.
#[derive(Debug)]
pub struct Session {
    pub(crate) instance: Arc<Instance>,
    pub(crate) user: String,
    pub(crate) database: String,
    backend_pid: i32,
    pub(crate) settings: Settings,
    pub(crate) block: Arc<Mutex<Block>>,
    pub(crate) prepared: PreparedStatements,
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
    /// A fresh session for `user`. `backend_pid`: the number by which a client asks to cancel its statements.
    pub fn new(instance: Arc<Instance>, user: &str, database: &str, backend_pid: i32) -> Session {
        Session {
            instance,
            backend_pid,
            user: user.to_owned(),
            database: database.to_owned(),
            settings: Settings::new(user),
            block: Block::new(),
            prepared: PreparedStatements::default(),
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
        self.refuse_in_failed(statement)?;
        let limits = Limits::new(cancel, self.settings.statement_timeout());
        let outcome = self.run(statement, &parameters, limits).await.map_err(|error| located(error, statement));
        if outcome.is_err() {
            self.fail();
        }
        outcome
    }

    /// From here on statements belong together, until [`Session::close_implicit`]: the door says so before each
    /// statement of a query string that has several, or of a pipeline.
    pub fn open_implicit(&mut self) {
        let mut block = self.block.lock();
        if block.state == BlockState::Idle {
            block.state = BlockState::Implicit;
        }
    }

    /// The query string or the pipeline is over: commits what it wrote, unless it is in an explicit block.
    pub async fn close_implicit(&mut self) -> Result<()> {
        if self.block.lock().state != BlockState::Implicit {
            return Ok(());
        }
        let (_, transaction) = self.end_block();
        commit_one(transaction).await
    }

    /// The door reports an error it met itself (decoding, encoding), so that a transaction block fails.
    pub fn fail(&mut self) {
        let implicit = self.block.lock().state == BlockState::Implicit;
        self.block.lock().fail();
        if implicit {
            self.settings.end_transaction();
        }
    }

    /// The state of the transaction block.
    pub fn status(&self) -> TransactionStatus {
        self.block.lock().status()
    }

    /// A setting's value, e.g. `statement_timeout` (milliseconds as text), `DateStyle`.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).map(str::to_owned)
    }

    /// How long a transaction block may wait for its next statement; `None`: as long as it likes.
    pub fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.settings.idle_in_transaction_timeout()
    }

    /// How long a statement waits for a table that another transaction holds.
    pub(crate) fn lock_wait(&self) -> Duration {
        self.settings.lock_timeout().map_or(LOCK_WAIT, |timeout| timeout.min(LOCK_WAIT))
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
            backend_pid: self.backend_pid,
            transaction_id: self.transaction_id(),
        }
    }

    /// The same for all statements of a block, another for every one outside.
    fn transaction_id(&self) -> i64 {
        let fresh = || self.instance.transactions.fetch_add(1, Ordering::Relaxed);
        let mut block = self.block.lock();
        match block.state {
            BlockState::Idle => fresh(),
            _ => *block.id.get_or_insert_with(fresh),
        }
    }
}

/// BEGIN, COMMIT, ROLLBACK, savepoints, SET and their like.
impl Session {
    pub(crate) fn begin(&mut self, read_only: Option<bool>, tag: &str) -> Outcome {
        let inside = self.status() == TransactionStatus::InTransaction;
        if inside {
            self.notice("WARNING", "25001", "there is already a transaction in progress");
        }
        // What an implicit block has written becomes part of the explicit one, as in Postgres.
        self.block.lock().state = BlockState::Explicit;
        if !inside || read_only.is_some() {
            self.settings.set_read_only(read_only);
        }
        complete(tag)
    }

    pub(crate) fn set_transaction(&mut self, read_only: Option<bool>) -> Result<Outcome> {
        if self.status() != TransactionStatus::InTransaction {
            self.notice("WARNING", "25P01", "SET TRANSACTION can only be used in transaction blocks");
        } else if read_only.is_some() {
            self.refuse_read_write(read_only)?;
            self.settings.set_read_only(read_only);
        }
        Ok(complete("SET"))
    }

    /// A block that has read as READ ONLY stays so.
    fn refuse_read_write(&self, read_only: Option<bool>) -> Result<()> {
        if read_only == Some(false) && self.settings.read_only() && self.block.lock().has_run {
            return Err(Error::new("25001", "transaction read-write mode must be set before any query"));
        }
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<Outcome> {
        let (state, transaction) = self.end_block();
        match state {
            BlockState::Failed => return Ok(complete("ROLLBACK")),
            BlockState::Idle | BlockState::Implicit => self.notice("WARNING", "25P01", NO_TRANSACTION),
            BlockState::Explicit => {}
        }
        commit_one(transaction).await?;
        Ok(complete("COMMIT"))
    }

    pub(crate) fn rollback(&mut self) -> Outcome {
        let (state, _) = self.end_block();
        if matches!(state, BlockState::Idle | BlockState::Implicit) {
            self.notice("WARNING", "25P01", NO_TRANSACTION);
        }
        complete("ROLLBACK")
    }

    pub(crate) fn savepoint(&mut self, what: &SavepointVerb) -> Result<Outcome> {
        let (words, tag) = match what {
            SavepointVerb::Set(_) => ("SAVEPOINT", "SAVEPOINT"),
            SavepointVerb::Release(_) => ("RELEASE SAVEPOINT", "RELEASE"),
            SavepointVerb::RollbackTo(_) => ("ROLLBACK TO SAVEPOINT", "ROLLBACK"),
        };
        if self.status() == TransactionStatus::Idle {
            return Err(Error::new("25P01", format!("{words} can only be used in transaction blocks")));
        }
        let mut block = self.block.lock();
        match what {
            SavepointVerb::Set(name) => block.set_savepoint(name)?,
            SavepointVerb::Release(name) => block.release(name)?,
            SavepointVerb::RollbackTo(name) => block.rollback_to(name)?,
        }
        Ok(complete(tag))
    }

    /// CREATE and DROP cannot be rolled back: what an implicit block wrote before them is committed first, so that the
    /// statements take effect in the order they were written.
    pub(crate) async fn before_definition(&mut self) -> Result<()> {
        let (state, transaction) = {
            let mut block = self.block.lock();
            let written = block.transaction.as_ref().is_some_and(|t| !t.is_empty());
            let commits = block.state == BlockState::Implicit && written;
            (block.state, if commits { block.transaction.take() } else { None })
        };
        if state == BlockState::Explicit {
            self.notice("WARNING", "01000", "definitions take effect at once and are not rolled back");
        }
        if transaction.is_some() {
            let message = "definitions take effect at once; the statements before this one were committed";
            self.notice("WARNING", "01000", message);
        }
        commit_one(transaction).await
    }

    /// After an error in a block nothing is heard but its end.
    pub(crate) fn refuse_in_failed(&self, statement: &Statement) -> Result<()> {
        let ends = matches!(
            statement.kind.as_ref(),
            Kind::Commit | Kind::Rollback | Kind::Savepoint(SavepointVerb::RollbackTo(_))
        );
        if self.status() == TransactionStatus::Failed && !ends {
            return Err(Error::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    /// READ ONLY is kept by refusing what writes.
    pub(crate) fn refuse_in_read_only(&mut self, kind: &Kind) -> Result<()> {
        let writes = match kind {
            Kind::Insert(_) => "INSERT",
            Kind::Update(..) => "UPDATE",
            Kind::Delete(..) => "DELETE",
            Kind::CopyIn { .. } => "COPY FROM",
            Kind::CreateStream(_) => "CREATE STREAM",
            Kind::CreateTable(_) => "CREATE TABLE",
            Kind::CreateModule { .. } => "CREATE MODULE",
            Kind::CreateView(_) => "CREATE MATERIALIZED VIEW",
            Kind::Drop { noun, .. } => noun.tag(),
            Kind::Query(query) if !query.locks.is_empty() => "SELECT FOR UPDATE",
            Kind::Query(_) | Kind::CopyOut { .. } | Kind::Explain { .. } | Kind::Subscribe { .. } => {
                self.block.lock().has_run = true;
                return Ok(());
            }
            _ => return Ok(()),
        };
        if self.settings.read_only() {
            return Err(Error::new("25006", format!("cannot execute {writes} in a read-only transaction")));
        }
        Ok(())
    }

    fn end_block(&mut self) -> (BlockState, Option<Transaction>) {
        self.settings.end_transaction();
        self.block.lock().end()
    }

    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<Outcome> {
        if local && self.block.lock().state == BlockState::Idle {
            self.notice("WARNING", "25P01", "SET LOCAL can only be used in transaction blocks");
            return Ok(complete("SET"));
        }
        if name.eq_ignore_ascii_case("transaction_read_only") {
            let read_only = value.map(|value| boolean(value).unwrap_or(true));
            self.refuse_read_write(read_only)?;
        }
        if let Some(warning) = self.settings.set(name, value, local)? {
            self.notice("WARNING", "01000", warning);
        }
        let in_block = matches!(self.status(), TransactionStatus::InTransaction | TransactionStatus::Failed);
        if name.eq_ignore_ascii_case("default_transaction_read_only") && !in_block {
            self.settings.set_read_only(None);
        }
        Ok(complete(if value.is_some() { "SET" } else { "RESET" }))
    }

    pub(crate) fn discard_all(&mut self) -> Result<Outcome> {
        if self.status() != TransactionStatus::Idle {
            return Err(Error::new("25001", "DISCARD ALL cannot run inside a transaction block"));
        }
        self.settings.reset_all();
        self.prepared.clear();
        Ok(complete("DISCARD ALL"))
    }
}

const NO_TRANSACTION: &str = "there is no transaction in progress";

async fn commit_one(transaction: Option<Transaction>) -> Result<()> {
    if let Some(transaction) = transaction {
        spawn_blocking(move || transaction.commit()).await??;
    }
    Ok(())
}

/// A finished statement.
pub(crate) fn complete(tag: impl Into<String>) -> Outcome {
    Outcome::Complete { tag: tag.into() }
}
