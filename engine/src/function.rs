//! What the engine asks of user-defined functions. `plugins` implements it, `sql` shows it as catalog functions.
//!
//! Functions are deterministic: same arguments, same result; so a view replays to the same rows.

use crate::Result;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use parking_lot::Mutex;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Reads modules. One per process.
pub trait ModuleHost: Send + Sync + Debug {
    /// Compiles and checks an uploaded artefact. Slow (milliseconds to seconds): call it off the executor.
    ///
    /// # Errors
    /// `Invalid` with the reason when the bytes are no module, import what is not granted or export no function.
    fn load(&self, bytes: &[u8]) -> Result<Arc<dyn Module>>;
}

/// A compiled module.
pub trait Module: Send + Sync + Debug {
    /// SHA-256 of the uploaded bytes.
    fn hash(&self) -> [u8; 32];
    /// Every exported function, by name.
    fn functions(&self) -> Vec<FunctionSignature>;
    /// Exported functions that SQL cannot call.
    fn skipped(&self) -> Vec<SkippedExport>;
    /// A caller of `function` with instances of its own. One per statement or operator, never shared between them.
    fn instantiate(&self, function: &str, limits: CallLimits) -> Result<Arc<dyn FunctionInstance>>;
}

/// An exported function that SQL cannot call, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedExport {
    /// Its name in the module, with that of the interface that holds it.
    pub export: String,
    pub reason: String,
}

/// When a statement is over, if ever: shared by all that works for it, because a portal's is set anew at each Execute.
#[derive(Clone, Debug, Default)]
pub struct StatementTimeout(Arc<Mutex<Option<Instant>>>);

impl StatementTimeout {
    /// From now on.
    pub fn after(timeout: Option<Duration>) -> StatementTimeout {
        let begun = StatementTimeout::default();
        begun.restart(timeout);
        begun
    }

    /// Counts `timeout` from now on.
    pub fn restart(&self, timeout: Option<Duration>) {
        *self.0.lock() = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    }

    pub fn ends_at(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

/// Whose calls they are. The two kinds share no memory, so that no statement makes a view fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallsOf {
    Statements,
    Views,
}

/// What bounds the calls of one statement or operator.
#[derive(Clone, Debug)]
pub struct CallLimits {
    pub of: CallsOf,
    /// Longest time of each call of [`FunctionInstance::call`].
    pub call: Duration,
    /// When the statement itself is over: no call goes beyond it.
    pub until: StatementTimeout,
    /// Set when the statement is to give up; a running call ends within milliseconds.
    pub cancel: Arc<AtomicBool>,
}

impl CallLimits {
    /// Of a view's operator: nothing cancels it.
    pub fn of_view(call: Duration) -> CallLimits {
        CallLimits { of: CallsOf::Views, ..CallLimits::from(call) }
    }

    /// Time a call that starts now may take.
    pub fn left(&self) -> Duration {
        let whole = self.until.ends_at().map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        whole.min(self.call)
    }

    /// Whether the statement is to give up.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

impl From<Duration> for CallLimits {
    /// Bounds each call of a statement that nothing cancels.
    fn from(call: Duration) -> CallLimits {
        CallLimits { of: CallsOf::Statements, call, until: StatementTimeout::default(), cancel: Arc::default() }
    }
}

/// Name and types of a function; names are SQL's (snake_case).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionSignature {
    pub name: String,
    /// Parameter names and types, in order.
    pub parameters: Vec<(String, DataType)>,
    pub returns: DataType,
    /// Per parameter: whether the function wants to see NULL. If one that does not is NULL, the function is not called for
    /// the row and the result is NULL.
    pub sees_null: Vec<bool>,
}

/// Calls one function. Safe to call from several threads at once.
pub trait FunctionInstance: Send + Sync + Debug {
    /// `arguments`: one array of `rows` values per parameter, of the parameter's type. Returns `rows` values; NULL where
    /// an argument is NULL that the function does not see.
    ///
    /// # Errors
    /// `Error::Function` when the guest fails, traps, runs past its deadline or asks for too much memory; `Stopped` when
    /// the statement was cancelled.
    fn call(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef>;
}
