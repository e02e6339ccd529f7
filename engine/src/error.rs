//! What can go wrong in the engine, by what the caller can do about it.

use crate::Epoch;
use crate::row_error::RowError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// SQLSTATE of a guest that trapped or returned an error.
pub const GUEST_FAILED: &str = "38000";

/// SQLSTATEs of a guest that ran out of time or memory: they depend on more than the row.
const NOT_OF_A_ROW: [&str; 2] = ["57014", "53200"];

/// Result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An engine error. The doors map each variant to one SQLSTATE.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request does not fit the object (unknown column, wrong type, NULL key …): the caller must change it.
    #[error("{0}")]
    Invalid(String),
    /// The request names something that is not there.
    #[error("{0}")]
    NotFound(String),
    /// The request names something that is there already.
    #[error("{0}")]
    AlreadyExists(String),
    /// The object is needed by others; `0` says by which.
    #[error("{0}")]
    InUse(String),
    /// A row with this key is there already.
    #[error("duplicate key value violates unique constraint \"{table}_pkey\"")]
    DuplicateKey { table: String, detail: String },
    /// A NULL where the column forbids it.
    #[error("null value in column \"{column}\" of relation \"{relation}\" violates not-null constraint")]
    NullValue { column: String, relation: String },
    /// A row could not be computed (division by zero, cast, overflow): data or query must change.
    #[error("{0}")]
    Compute(String),
    /// A guest function failed; `sqlstate` tells trap (38000), memory (53200) and deadline (57014) apart. `message` says what
    /// it did, without its name.
    #[error("function {function}: {message}")]
    Function { sqlstate: &'static str, function: String, message: String, detail: String },
    /// The view stopped at this epoch and holds no current answer; others are not affected.
    #[error("materialized view \"{view}\" stopped at epoch {epoch}: {reason}")]
    ViewStopped { view: String, epoch: Epoch, reason: String },
    /// Rows of the view cannot be computed; it answers again when they are gone. `origin`: the view whose rows they are.
    #[error("{}", error.message)]
    ViewFailing { view: String, origin: String, rows: i64, error: RowError },
    /// Another transaction holds the table's lock.
    #[error("could not obtain lock on table \"{table}\"")]
    Locked { table: String },
    /// The memory for this kind of work is used up.
    #[error("{message}")]
    Memory { message: String, hint: &'static str },
    /// A limit set by configuration was reached.
    #[error("{0}")]
    Limit(String),
    /// Not supported yet, named.
    #[error("{0}")]
    Unsupported(String),
    /// Committed bytes are damaged. Never repaired silently.
    #[error("corrupt {file:?} at byte {byte}: {reason}")]
    Corrupt { file: PathBuf, byte: u64, reason: String },
    /// The server is stopping or the statement was cancelled.
    #[error("{0}")]
    Stopped(String),
    /// The disk refused.
    #[error("{context}: {source}")]
    Io { context: String, source: std::io::Error },
    /// Arrow, Parquet or RocksDB refused something we built: a bug or a broken disk.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Whether it lies in the row that was computed and will come again whenever that row is.
    pub fn is_of_a_row(&self) -> bool {
        match self {
            Error::Compute(_) => true,
            Error::Function { sqlstate, .. } => !NOT_OF_A_ROW.contains(sqlstate),
            _ => false,
        }
    }

    /// Wraps an I/O error with what was being done.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Error {
        Error::Io { context: context.into(), source }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Error {
        use arrow::error::ArrowError::*;
        match error {
            DivideByZero => Error::Compute("division by zero".into()),
            CastError(m) | ComputeError(m) | ParseError(m) | ArithmeticOverflow(m) | InvalidArgumentError(m) => {
                Error::Compute(m)
            }
            other => Error::Internal(other.to_string()),
        }
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Error {
        Error::Internal(format!("parquet: {error}"))
    }
}

impl From<rocksdb::Error> for Error {
    fn from(error: rocksdb::Error) -> Error {
        Error::Internal(format!("rocksdb: {error}"))
    }
}

impl From<datafusion_common::DataFusionError> for Error {
    /// Keeps an engine error that travelled through an expression (a failed guest call) as it was.
    fn from(error: datafusion_common::DataFusionError) -> Error {
        use datafusion_common::DataFusionError;
        match error {
            DataFusionError::ArrowError(e, _) => (*e).into(),
            DataFusionError::External(e) => match e.downcast::<Error>() {
                Ok(e) => *e,
                Err(e) => Error::Compute(e.to_string()),
            },
            DataFusionError::Context(_, e) => (*e).into(),
            other => Error::Compute(other.strip_backtrace()),
        }
    }
}

/// Runs `work`; a panic in it is a bug, and an error that says what panicked. What `work` was changing must not be used any
/// more, unless it is whole at every moment.
pub(crate) fn caught<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Error::Internal(format!("{what} panicked, see the server's log: {}", text.unwrap_or("?"))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let error = caught("an operator", || -> Result<()> { panic!("here") }).unwrap_err().to_string();
        assert!(error.contains("an operator panicked") && error.contains("here"), "{error}");
    }
}
