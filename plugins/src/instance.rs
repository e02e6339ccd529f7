//! One sandbox: an instance of a module with its limits, called batch by batch.
//!
//! Invariants: an instance whose call failed by anything but the guest's own `err` is never called again; what a guest may
//! allocate is counted over all its memories together, and over all instances of its kind (see `memory`).

use crate::Limits;
use crate::adapter;
use crate::column::{Arguments, Outcome, Results};
use crate::deadline::CallTime;
use crate::memory::{Share, SharedMemory};
use millpond_engine::Error;
use std::ops::Range;
use std::sync::Arc;
use wasmtime::component::{ComponentExportIndex, Func, InstancePre, WasmList};
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline, WasmBacktrace};

/// Most core instances and tables of one module, the adapter's included.
const CORE_INSTANCES_MAX: usize = 128;
/// Most memories of one module, the adapter's included: each has a whole 32-bit address space.
const MEMORIES_MAX: usize = 4;
/// What an instance takes beside its memories and tables: its own structures, page tables, the least of a stack.
const INSTANCE_BYTES: usize = 256 << 10;
/// Bytes of a table's element.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();
/// Bytes of a backtrace kept in an error's detail.
const DETAIL_BYTES_MAX: usize = 4 << 10;

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Deadline,
    /// The statement gave up.
    Cancelled,
    Memory {
        asked_bytes: usize,
    },
    /// All sandboxes of the kind together have what they may have.
    SharedMemory {
        of: &'static str,
        bytes_max: usize,
    },
    Table {
        asked_elements: usize,
    },
    ValueTooLarge,
    Trap {
        reason: String,
        backtrace: String,
    },
}

impl Failure {
    /// Whether the same rows alone fail the same way, so that a search finds the one to blame.
    pub(crate) fn is_of_one_row(&self) -> bool {
        matches!(self, Failure::Trap { .. } | Failure::ValueTooLarge)
    }

    /// The SQL error; `place` says which row, when known.
    pub(crate) fn error(self, function: &str, limits: &Limits, time: &CallTime, place: &str) -> Error {
        let (sqlstate, what, detail) = match self {
            Failure::Cancelled => return Error::Stopped("canceling statement due to user request".into()),
            Failure::Deadline => ("57014", format!("ran longer than {} ms", time.whole_ms()), String::new()),
            Failure::Memory { asked_bytes } => (
                "53200",
                format!("needs more than its {} bytes of memory", limits.memory_bytes_max),
                format!("it asked for {asked_bytes} bytes in all"),
            ),
            Failure::SharedMemory { of, bytes_max } => (
                "53200",
                format!("finds no memory left for functions of {of}"),
                format!("all that run together may have {bytes_max} bytes"),
            ),
            Failure::Table { asked_elements } => (
                "53200",
                format!("needs a table of more than {} elements", limits.table_elements_max),
                format!("it asked for {asked_elements}"),
            ),
            Failure::ValueTooLarge => {
                ("54000", format!("returned a value of more than {} bytes", adapter::VALUE_BYTES_MAX), String::new())
            }
            Failure::Trap { reason, backtrace } => ("38000", format!("failed: {reason}"), backtrace),
        };
        let detail = [place, detail.as_str()].iter().filter(|s| !s.is_empty()).copied().collect::<Vec<_>>().join("\n");
        Error::Function { sqlstate, function: function.to_string(), message: what, detail }
    }
}

/// An instance and its function.
pub(crate) struct Instance {
    store: Store<Meter>,
    function: Func,
    /// Buffers that are not a column's own bytes; kept for its allocation.
    made: Vec<u8>,
}

impl Instance {
    pub(crate) fn new(
        module: &InstancePre<Meter>,
        export: &ComponentExportIndex,
        limits: &Limits,
        memory: &Arc<SharedMemory>,
        time: &CallTime,
    ) -> Result<Instance, Failure> {
        time.check()?;
        let mut store = Store::new(module.engine(), Meter::new(limits, memory, time)?);
        store.limiter(|meter| meter);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().look()));
        store.set_epoch_deadline(1);
        let instance = match module.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(e) => return Err(failure(&e, store.data_mut())),
        };
        let function = instance.get_func(&mut store, export).ok_or_else(|| Failure::Trap {
            reason: "the adapter has no such export".into(),
            backtrace: String::new(),
        })?;
        Ok(Instance { store, function, made: Vec::new() })
    }

    /// Computes rows `batch` (or the first of them: see [`Outcome::done`]) into `results`.
    /// After a [`Failure`] the instance must be dropped.
    pub(crate) fn call(
        &mut self,
        arguments: &Arguments<'_>,
        batch: &Range<usize>,
        results: &mut Results,
        time: &CallTime,
    ) -> Result<Outcome, Failure> {
        time.check()?;
        self.store.set_epoch_deadline(1);
        self.store.data_mut().begin(time);
        let buffers = arguments.buffers(batch, &mut self.made);
        let rows = batch.len() as u32;
        let answer = self
            .function
            .typed::<(u32, &[&[u8]]), (WasmList<u8>,)>(&self.store)
            .and_then(|typed| typed.call(&mut self.store, (rows, buffers.as_slice())));
        match answer {
            Ok((answer,)) => results
                .append(answer.as_le_slice(&self.store), arguments, batch)
                .ok_or_else(|| Failure::Trap { reason: "the answer is malformed".into(), backtrace: String::new() }),
            Err(e) => Err(failure(&e, self.store.data_mut())),
        }
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("memory_bytes", &self.store.data().memory_bytes).finish_non_exhaustive()
    }
}

fn failure(error: &wasmtime::Error, meter: &mut Meter) -> Failure {
    if let Some(refused) = meter.refused.take() {
        return refused;
    }
    let trap = error.downcast_ref::<Trap>();
    let frames = error.downcast_ref::<WasmBacktrace>();
    if frames.and_then(|b| b.frames().first()).and_then(|f| f.func_name()) == Some(adapter::VALUE_TOO_LARGE) {
        return Failure::ValueTooLarge;
    }
    let reason = trap.map_or_else(|| error.root_cause().to_string(), ToString::to_string);
    let mut backtrace = frames.map_or_else(|| format!("{error:#}"), ToString::to_string);
    if backtrace.len() > DETAIL_BYTES_MAX {
        let end = (0..=DETAIL_BYTES_MAX).rev().find(|i| backtrace.is_char_boundary(*i)).unwrap_or(0);
        backtrace.truncate(end);
    }
    Failure::Trap { reason: reason.trim_start_matches("wasm trap: ").to_string(), backtrace }
}

/// Counts what an instance allocates and how long it runs.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The guest's.
    memory_bytes: usize,
    memory_bytes_max: usize,
    /// The adapter's: it holds the batch, not the guest's data.
    adapter_bytes: usize,
    share: Share,
    table_elements_max: usize,
    time: CallTime,
    /// Why the running call was stopped or refused something.
    refused: Option<Failure>,
}

impl Meter {
    fn new(limits: &Limits, memory: &Arc<SharedMemory>, time: &CallTime) -> Result<Meter, Failure> {
        let mut meter = Meter {
            memory_bytes: 0,
            memory_bytes_max: limits.memory_bytes_max,
            adapter_bytes: 0,
            share: Share::of(memory),
            table_elements_max: limits.table_elements_max,
            time: time.clone(),
            refused: None,
        };
        match meter.take(INSTANCE_BYTES) {
            true => Ok(meter),
            false => Err(meter.shared_memory()),
        }
    }

    /// From what all sandboxes of the kind share.
    fn take(&mut self, bytes: usize) -> bool {
        let taken = self.share.take(bytes);
        if !taken {
            self.refused = Some(self.shared_memory());
        }
        taken
    }

    fn shared_memory(&self) -> Failure {
        let memory = self.share.memory();
        Failure::SharedMemory { of: memory.of(), bytes_max: memory.bytes_max() }
    }

    fn begin(&mut self, time: &CallTime) {
        self.time = time.clone();
        self.refused = None;
    }

    /// At every epoch of a running call: whether it goes on.
    fn look(&mut self) -> UpdateDeadline {
        match self.time.check() {
            Ok(()) => UpdateDeadline::Continue(1),
            Err(failure) => {
                self.refused = Some(failure);
                UpdateDeadline::Interrupt
            }
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current);
        // Known by its size. A guest's memory of the same size may use up the adapter's share, but no more than that.
        if maximum == Some(adapter::MEMORY_BYTES) && self.adapter_bytes + more <= adapter::MEMORY_BYTES {
            let taken = self.take(more);
            self.adapter_bytes += if taken { more } else { 0 };
            return Ok(taken);
        }
        let asked_bytes = self.memory_bytes.saturating_add(more);
        if asked_bytes > self.memory_bytes_max {
            self.refused = Some(Failure::Memory { asked_bytes });
            return Ok(false);
        }
        let taken = self.take(more);
        self.memory_bytes = if taken { asked_bytes } else { self.memory_bytes };
        Ok(taken)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.table_elements_max {
            self.refused = Some(Failure::Table { asked_elements: desired });
            return Ok(false);
        }
        Ok(self.take(desired.saturating_sub(current) * TABLE_ELEMENT_BYTES))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
