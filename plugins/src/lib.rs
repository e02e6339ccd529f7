//! User-defined functions as sandboxed WebAssembly components: the only user of wasmtime.
//!
//! A module is uploaded once, checked, wrapped into a component that loops over rows inside WebAssembly, and compiled. Its
//! functions then take and return Arrow columns in one host call a batch (see `docs/plugins.md`).
//!
//! Invariants: a guest gets no imports, so it has no authority and its answer depends on its arguments only; its memory,
//! tables, stack, time and output are bounded; a trap ends the call and its instance, never the process.
//! Absent on purpose: WASI, threads, relaxed SIMD, garbage collection, async.
//!
//! | file | concept |
//! |---|---|
//! | `upload` | bytes → component |
//! | `signature` | component types → SQL signatures |
//! | `adapter` | the generated loop, and the layout of batches |
//! | `column` | Arrow columns ⇄ batches |
//! | `instance` | one sandbox: limits, calls, what its failures mean |
//! | `module` | a compiled module and the callers of its functions |
//! | `memory` | what all sandboxes share |
//! | `deadline` | what stops a call |
//! | `code_cache` | compiled code kept for the next start |

mod adapter;
mod code_cache;
mod column;
mod deadline;
mod instance;
mod memory;
mod module;
mod signature;
mod upload;

use crate::code_cache::CodeCache;
use crate::deadline::Ticker;
use crate::memory::SharedMemory;
use crate::module::WasmModule;
use millpond_engine::function::{CallsOf, Module, ModuleHost};
use millpond_engine::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// What modules may use. Rows and argument bytes of a batch are bounds of the code, not of configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest upload.
    pub upload_bytes_max: usize,
    /// Linear memory of one instance, all its memories together.
    pub memory_bytes_max: usize,
    /// Memory and tables of all instances that work for statements together.
    pub statements_memory_bytes_max: usize,
    /// The same of those that work for views.
    pub views_memory_bytes_max: usize,
    /// Elements of one table.
    pub table_elements_max: usize,
    /// Stack of one call.
    pub stack_bytes_max: usize,
    /// Values one call of `FunctionInstance::call` may return, in bytes.
    pub output_bytes_max: usize,
    /// Instances one caller keeps for its next call.
    pub idle_instances_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            upload_bytes_max: 32 << 20,
            memory_bytes_max: 64 << 20,
            statements_memory_bytes_max: 2 << 30,
            views_memory_bytes_max: 1 << 30,
            table_elements_max: 20_000,
            stack_bytes_max: 512 << 10,
            output_bytes_max: 256 << 20,
            idle_instances_max: 2,
        }
    }
}

/// Reads and compiles modules. One per process; dropping it leaves its modules usable.
#[derive(Debug)]
pub struct WasmHost {
    engine: wasmtime::Engine,
    ticker: Arc<Ticker>,
    limits: Limits,
    memories: Memories,
    cache: Option<CodeCache>,
}

/// What the instances of a host share.
#[derive(Clone, Debug)]
pub(crate) struct Memories {
    statements: Arc<SharedMemory>,
    views: Arc<SharedMemory>,
}

impl Memories {
    fn new(limits: &Limits) -> Memories {
        Memories {
            statements: SharedMemory::new("statements", limits.statements_memory_bytes_max),
            views: SharedMemory::new("views", limits.views_memory_bytes_max),
        }
    }

    pub(crate) fn of(&self, calls: CallsOf) -> &Arc<SharedMemory> {
        match calls {
            CallsOf::Statements => &self.statements,
            CallsOf::Views => &self.views,
        }
    }
}

impl WasmHost {
    /// # Errors
    /// `Internal` when this machine cannot run WebAssembly, `Io` when no thread can be started.
    pub fn new(limits: Limits) -> Result<WasmHost> {
        let engine = wasmtime::Engine::new(&configuration(&limits))
            .map_err(|e| Error::Internal(format!("WebAssembly runtime: {e:#}")))?;
        let ticker = Arc::new(Ticker::start(&engine)?);
        Ok(WasmHost { engine, ticker, limits, memories: Memories::new(&limits), cache: None })
    }

    /// A host that keeps compiled code in `directory` for its next start. Without a usable directory it compiles again
    /// and says so in the log.
    ///
    /// # Errors
    /// As [`WasmHost::new`].
    pub fn with_cache(limits: Limits, directory: &Path) -> Result<WasmHost> {
        let cache = CodeCache::open(directory)
            .inspect_err(|error| tracing::warn!(%error, "compiled modules are not kept"))
            .ok();
        Ok(WasmHost { cache, ..WasmHost::new(limits)? })
    }
}

impl ModuleHost for WasmHost {
    fn load(&self, bytes: &[u8]) -> Result<Arc<dyn Module>> {
        if bytes.len() > self.limits.upload_bytes_max {
            return Err(Error::Invalid(format!(
                "module has {} bytes, at most {} are accepted",
                bytes.len(),
                self.limits.upload_bytes_max
            )));
        }
        Ok(Arc::new(WasmModule::load(bytes, self)?))
    }
}

/// Address space of one linear memory: all that a 32-bit guest can name.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;

fn configuration(limits: &Limits) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .epoch_interruption(true)
        // Canonical where a result leaves the guest (see `column`): after every operation it makes arithmetic three times slower.
        .cranelift_nan_canonicalization(false)
        .max_wasm_stack(limits.stack_bytes_max)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        // A whole 32-bit address space is reserved for each memory, with guard pages behind: no access is checked against a
        // length, and a memory never moves, so its address is loaded once and not at every access.
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_may_move(false)
        // No guest waits for another, so calls between components need no tasks.
        .concurrency_support(false)
        // The loop over rows, the crossing and a small function become one piece of code (see `adapter`).
        .compiler_inlining(wasmtime::Inlining::InterModule);
    config
}
