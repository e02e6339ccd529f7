//! A compiled module, and the callers of its functions.
//!
//! A caller keeps a few idle instances: a thread takes one or makes one (10–50 µs), calls, and gives it back. So instances
//! are reused within one statement or operator and never shared between two. They are the first to go when memory is short.

use crate::adapter::{batch_export, wrap};
use crate::column::{Arguments, Results};
use crate::deadline::{CallTime, Ticker};
use crate::instance::{Failure, Instance, Meter};
use crate::memory::{IdleInstances, SharedMemory};
use crate::signature::{GuestFunction, exports};
use crate::{Limits, Memories, WasmHost, upload};
use arrow::array::{ArrayRef, new_empty_array};
use millpond_engine::function::{CallLimits, FunctionInstance, FunctionSignature, Module, SkippedExport};
use millpond_engine::{Error, Result};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::Arc;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

/// An uploaded artefact, compiled.
pub(crate) struct WasmModule {
    hash: [u8; 32],
    code: InstancePre<Meter>,
    functions: Vec<(Arc<GuestFunction>, ComponentExportIndex)>,
    skipped: Vec<SkippedExport>,
    limits: Limits,
    memories: Memories,
    ticker: Arc<Ticker>,
}

impl WasmModule {
    /// Checks and compiles `bytes`.
    pub(crate) fn load(bytes: &[u8], host: &WasmHost) -> Result<WasmModule> {
        let guest = upload::component(bytes)?;
        let found = exports(&guest)?;
        let invalid = |e: wasmtime::Error| Error::Invalid(format!("module cannot be compiled: {e:#}"));
        let wrapped = wrap(&guest, &found.functions);
        let component = match &host.cache {
            Some(cache) => cache.component(&host.engine, &wrapped),
            None => Component::new(&host.engine, &wrapped),
        };
        let component = component.map_err(invalid)?;
        let code = Linker::new(&host.engine).instantiate_pre(&component).map_err(invalid)?;
        let mut functions = Vec::with_capacity(found.functions.len());
        for (index, function) in found.functions.into_iter().enumerate() {
            let export = component
                .get_export_index(None, batch_export(index))
                .ok_or_else(|| Error::Internal(format!("adapter lacks {}", function.export)))?;
            functions.push((Arc::new(function), export));
        }
        Ok(WasmModule {
            hash: Sha256::digest(bytes).into(),
            code,
            functions,
            skipped: found.skipped,
            limits: host.limits,
            memories: host.memories.clone(),
            ticker: host.ticker.clone(),
        })
    }
}

impl Module for WasmModule {
    fn hash(&self) -> [u8; 32] {
        self.hash
    }

    fn functions(&self) -> Vec<FunctionSignature> {
        self.functions.iter().map(|(function, _)| function.signature()).collect()
    }

    fn skipped(&self) -> Vec<SkippedExport> {
        self.skipped.clone()
    }

    fn instantiate(&self, function: &str, calls: CallLimits) -> Result<Arc<dyn FunctionInstance>> {
        let (found, export) = self
            .functions
            .iter()
            .find(|(f, _)| f.signature().name == function)
            .ok_or_else(|| Error::NotFound(format!("module has no function {function}")))?;
        let memory = self.memories.of(calls.of);
        Ok(Arc::new(Caller {
            name: function.to_string(),
            function: found.clone(),
            export: *export,
            code: self.code.clone(),
            limits: self.limits,
            idle: IdleInstances::new(memory, self.limits.idle_instances_max),
            memory: memory.clone(),
            calls,
            _ticker: self.ticker.clone(),
        }))
    }
}

impl std::fmt::Debug for WasmModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.functions.iter().map(|(function, _)| function.export.as_str()).collect();
        f.debug_struct("WasmModule").field("functions", &names).finish_non_exhaustive()
    }
}

/// Calls one function with instances of its own.
struct Caller {
    name: String,
    function: Arc<GuestFunction>,
    export: ComponentExportIndex,
    code: InstancePre<Meter>,
    limits: Limits,
    memory: Arc<SharedMemory>,
    calls: CallLimits,
    idle: Arc<IdleInstances>,
    _ticker: Arc<Ticker>,
}

impl FunctionInstance for Caller {
    fn call(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let arguments = Arguments::new(&self.function, arguments, rows)?;
        if rows == 0 {
            return Ok(new_empty_array(&self.function.result.scalar.sql()));
        }
        let mut results = Results::new(&self.function, rows);
        let mut instance = self.instance()?;
        let mut row = 0;
        while row < rows {
            let batch = arguments.batch(row, rows)?;
            let time = CallTime::start(&self.calls);
            let outcome = match instance.call(&arguments, &batch, &mut results, &time) {
                Ok(outcome) => outcome,
                Err(failure) => return Err(self.blame(failure, &arguments, batch, &time)),
            };
            row += outcome.done;
            if let Some(message) = outcome.failed {
                self.idle.give_back(instance);
                return Err(self.refused_row(message, row));
            }
            self.check_output(&results)?;
        }
        self.idle.give_back(instance);
        if results.has_nul() {
            return Err(self.error("22021", "returned text with a NUL character".into()));
        }
        results.finish().ok_or_else(|| Error::Internal(format!("function {} returned damaged text", self.name)))
    }
}

impl Caller {
    fn instance(&self) -> Result<Instance> {
        if let Some(idle) = self.idle.take() {
            return Ok(idle);
        }
        let time = CallTime::start(&self.calls);
        self.new_instance(&time).map_err(|failure| failure.error(&self.name, &self.limits, &time, ""))
    }

    fn new_instance(&self, time: &CallTime) -> Result<Instance, Failure> {
        Instance::new(&self.code, &self.export, &self.limits, &self.memory, time)
    }

    /// The guest said `err(message)` for `row`.
    fn refused_row(&self, message: String, row: usize) -> Error {
        let detail = format!("function {}, {}", self.name, place(row));
        Error::Function { sqlstate: "38000", function: self.name.clone(), message, detail }
    }

    fn check_output(&self, results: &Results) -> Result<()> {
        if results.bytes() <= self.limits.output_bytes_max {
            return Ok(());
        }
        let most = self.limits.output_bytes_max;
        Err(self.error("54000", format!("returned more than {most} bytes for one batch")))
    }

    fn error(&self, sqlstate: &'static str, message: String) -> Error {
        Error::Function { sqlstate, function: self.name.clone(), message, detail: String::new() }
    }

    /// The error of a failed batch, with the row to blame when one is found.
    fn blame(&self, failure: Failure, arguments: &Arguments<'_>, batch: Range<usize>, time: &CallTime) -> Error {
        let row = if failure.is_of_one_row() { self.failing_row(arguments, batch, time) } else { None };
        failure.error(&self.name, &self.limits, time, &row.map(place).unwrap_or_default())
    }

    /// Bisects a batch that trapped. Each probe has a fresh instance, so for a function without hidden state, as all must
    /// be, it fails again just where it failed; for others, or when time runs out, `None`.
    fn failing_row(&self, arguments: &Arguments<'_>, batch: Range<usize>, time: &CallTime) -> Option<usize> {
        let (mut from, mut to) = (batch.start, batch.end);
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            if self.fails(arguments, from..middle, time)? { to = middle } else { from = middle }
        }
        self.fails(arguments, from..to, time)?.then_some(from)
    }

    /// Whether some row of `rows` traps; `None` when that cannot be told.
    fn fails(&self, arguments: &Arguments<'_>, rows: Range<usize>, time: &CallTime) -> Option<bool> {
        let mut instance = self.new_instance(time).ok()?;
        let mut row = rows.start;
        while row < rows.end {
            let mut discarded = Results::new(&self.function, rows.len());
            match instance.call(arguments, &(row..rows.end), &mut discarded, time) {
                Ok(outcome) if outcome.failed.is_some() => return None,
                Ok(outcome) => row += outcome.done,
                Err(failure) if failure.is_of_one_row() => return Some(true),
                Err(_) => return None,
            }
        }
        Some(false)
    }
}

/// Where in the caller's batch a row failed.
fn place(row: usize) -> String {
    format!("row {row} of the batch")
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("function", &self.name).finish_non_exhaustive()
    }
}
