//! Generates the component that loops over rows inside WebAssembly, so that one host call serves a whole batch.
//!
//! A call from the host into a component costs 150–300 ns, one from a component into its sibling 2–4 ns. So every module is
//! wrapped, at upload, into an outer component of two siblings (a parent that calls its own child would trap):
//!
//! ```text
//! outer ─┬─ guest:   the uploaded component, as it came
//!        └─ adapter: imports f0: func(a: f64, …) -> …            (each usable export of the guest)
//!                    exports call0: func(rows: u32, arguments: list<list<u8>>) -> list<u8>
//! ```
//!
//! The adapter is two core modules: `store` (memory that grows as batches need it, bump allocator, freed as a whole after each
//! call) and `rows` (one loop
//! per function). Strings a guest returns are written by the canonical ABI straight behind the answer's fixed part.
//!
//! Arguments are buffers, little-endian and as Arrow has them, so that the host copies each once:
//! ```text
//! skip      rows bytes (1: do not call, the row is NULL), or empty: call for all
//! values    for each parameter of fixed width: rows values of `width` bytes
//! starts, data   for strings and bytes: i32 starts[rows + 1], and the bytes from starts[0] to starts[rows]
//! valid     after those of an option<…>: rows bytes, 1 = not NULL
//! ```
//! Answer, offsets counted from its first byte:
//! ```text
//! u32 done, u32 failed, u32 message, u32 message_bytes    `done` rows were computed; if failed == 1, row `done` said `err`
//! values: rows × width, or rows × (u32 start, u32 bytes)  then, for option<…>, rows bytes: 1 = not NULL;  then data
//! ```
//! Invariants: the loop stops early (done < rows) once the answer exceeds [`ANSWER_BYTES_SOFT`], so a batch never fails for
//! its size; one value beyond [`VALUE_BYTES_MAX`] traps in a function named [`VALUE_TOO_LARGE`], whatever the batch.

use crate::signature::{GuestFunction, Scalar, Shape};
use wasm_encoder::{
    BlockType, CanonicalOption, CodeSection, ComponentBuilder, ComponentExportKind, ComponentTypeRef, ComponentValType,
    ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, InstructionSink, MemArg, MemorySection, MemoryType, Module, ModuleArg,
    NameMap, NameSection, PrimitiveValType, RefType, TableSection, TableType, TypeSection, ValType,
};

/// Most rows of one call.
pub(crate) const ROWS_MAX: usize = 8192;
/// Most bytes of the packed arguments of one call.
pub(crate) const ARGUMENT_BYTES_MAX: usize = 8 << 20;
/// The loop stops after the row with which the answer exceeds this many bytes.
pub(crate) const ANSWER_BYTES_SOFT: usize = 8 << 20;
/// Largest string or byte string a function may return.
pub(crate) const VALUE_BYTES_MAX: usize = 16 << 20;
/// Bytes of an answer before its values.
pub(crate) const ANSWER_HEADER_BYTES: usize = 16;
/// Debug name of the adapter's function that traps for a value beyond [`VALUE_BYTES_MAX`].
pub(crate) const VALUE_TOO_LARGE: &str = "millpond_value_too_large";
/// Most bytes of the adapter's memory, and its maximum, by which the meter knows it.
pub(crate) const MEMORY_BYTES: usize = MEMORY_PAGES * 65536;

/// Pages the adapter's memory begins with; most batches need no more.
const MEMORY_PAGES_MIN: usize = 16;
/// Pages by which it grows beyond what is asked for.
const MEMORY_PAGES_SPARE: i32 = 16;

/// Blocks from this size on are aligned to [`LARGE_ALIGN`].
const LARGE_BYTES: i32 = 1024;
const LARGE_ALIGN: i32 = 64;

const MEMORY_PAGES: usize =
    (HEAP + ARGUMENT_BYTES_MAX + ROWS_MAX * 16 + ANSWER_BYTES_SOFT + VALUE_BYTES_MAX) / 65536 + 2;
/// Bytes of a buffer's (address, length) in the canonical ABI.
const BUFFER_BYTES: u64 = 8;
/// Where the guest's result is put when it does not fit one core value.
const RESULT_AT: i32 = 16;
/// Where the (start, bytes) of the answer is put.
const ANSWER_AT: i32 = 64;
/// First byte the bump allocator gives out.
const HEAP: usize = 1024;

/// Name of the export that loops over the `index`-th function.
pub(crate) fn batch_export(index: usize) -> String {
    format!("call{index}")
}

/// Bytes of one value in arguments and answers (for strings: in answers). The width of the SQL type, so that columns are
/// copied as they are; u64 travels as its 8 bytes.
pub(crate) fn width(scalar: Scalar) -> usize {
    match scalar {
        Scalar::Bool => 1,
        Scalar::S8 | Scalar::U8 | Scalar::S16 => 2,
        Scalar::U16 | Scalar::S32 | Scalar::F32 => 4,
        Scalar::U32 | Scalar::S64 | Scalar::U64 | Scalar::F64 | Scalar::String | Scalar::Bytes => 8,
    }
}

/// The outer component around `guest`, whose usable exports are `functions`. `guest` is valid and imports nothing.
pub(crate) fn wrap(guest: &[u8], functions: &[GuestFunction]) -> Vec<u8> {
    let mut outer = ComponentBuilder::default();
    let guest = outer.component_raw(Some("guest"), guest);
    let nothing: [(&str, ComponentExportKind, u32); 0] = [];
    let guest = outer.instantiate(Some("guest"), guest, nothing);
    let mut arguments = Vec::with_capacity(functions.len());
    for (index, function) in functions.iter().enumerate() {
        let holder = match &function.interface {
            Some(interface) => outer.alias_export(guest, interface, ComponentExportKind::Instance),
            None => guest,
        };
        let exported = outer.alias_export(holder, &function.export, ComponentExportKind::Func);
        arguments.push((format!("f{index}"), ComponentExportKind::Func, exported));
    }
    let adapter = outer.component(Some("adapter"), adapter(functions));
    let adapter = outer.instantiate(Some("adapter"), adapter, arguments);
    for index in 0..functions.len() {
        let name = batch_export(index);
        let call = outer.alias_export(adapter, &name, ComponentExportKind::Func);
        outer.export(&name, ComponentExportKind::Func, call, None);
    }
    outer.finish()
}

/// The component that imports `f0…` and exports `call0…`.
fn adapter(functions: &[GuestFunction]) -> ComponentBuilder {
    let mut c = ComponentBuilder::default();
    let imported: Vec<u32> = functions
        .iter()
        .enumerate()
        .map(|(index, function)| {
            let ty = function_type(&mut c, function);
            c.import(format!("f{index}"), ComponentTypeRef::Func(ty))
        })
        .collect();
    let store = c.core_module(Some("store"), &store_module());
    let store = c.core_instantiate(Some("store"), store, []);
    let memory = c.core_alias_export(None, store, "memory", ExportKind::Memory);
    let realloc = c.core_alias_export(None, store, "realloc", ExportKind::Func);
    let reset = c.core_alias_export(None, store, "reset", ExportKind::Func);
    let canonical = [CanonicalOption::UTF8, CanonicalOption::Memory(memory), CanonicalOption::Realloc(realloc)];
    let mut lowered = Vec::with_capacity(functions.len());
    for (index, function) in imported.iter().enumerate() {
        lowered.push((format!("f{index}"), c.lower_func(None, *function, canonical)));
    }
    let guest = c.core_instantiate_exports(None, lowered.iter().map(|(n, f)| (n.as_str(), ExportKind::Func, *f)));
    let rows = c.core_module(Some("rows"), &rows_module(functions));
    let rows = c.core_instantiate(
        Some("rows"),
        rows,
        [("store", ModuleArg::Instance(store)), ("guest", ModuleArg::Instance(guest))],
    );
    let (bytes, ty) = c.type_defined(None);
    ty.list(PrimitiveValType::U8);
    let bytes = ComponentValType::Type(bytes);
    let (buffers, ty) = c.type_defined(None);
    ty.list(bytes);
    let buffers = ComponentValType::Type(buffers);
    let (batch, mut ty) = c.type_function(None);
    ty.params([("rows", PrimitiveValType::U32.into()), ("arguments", buffers)]).result(Some(bytes));
    for index in 0..functions.len() {
        let name = batch_export(index);
        let call = c.core_alias_export(None, rows, &name, ExportKind::Func);
        let [_, memory, realloc] = canonical;
        let call = c.lift_func(None, call, batch, [memory, realloc, CanonicalOption::PostReturn(reset)]);
        c.export(&name, ComponentExportKind::Func, call, None);
    }
    c
}

/// The guest function's component type, as the adapter imports it.
fn function_type(c: &mut ComponentBuilder, function: &GuestFunction) -> u32 {
    let mut parameters = Vec::with_capacity(function.parameters.len());
    for (name, shape) in &function.parameters {
        parameters.push((name.as_str(), value_type(c, *shape)));
    }
    let mut result = value_type(c, function.result);
    if function.fallible {
        let (index, ty) = c.type_defined(None);
        ty.result(Some(result), Some(PrimitiveValType::String.into()));
        result = ComponentValType::Type(index);
    }
    let (index, mut ty) = c.type_function(None);
    ty.params(parameters).result(Some(result));
    index
}

fn value_type(c: &mut ComponentBuilder, shape: Shape) -> ComponentValType {
    let primitive = match shape.scalar {
        Scalar::Bool => PrimitiveValType::Bool,
        Scalar::S8 => PrimitiveValType::S8,
        Scalar::U8 | Scalar::Bytes => PrimitiveValType::U8,
        Scalar::S16 => PrimitiveValType::S16,
        Scalar::U16 => PrimitiveValType::U16,
        Scalar::S32 => PrimitiveValType::S32,
        Scalar::U32 => PrimitiveValType::U32,
        Scalar::S64 => PrimitiveValType::S64,
        Scalar::U64 => PrimitiveValType::U64,
        Scalar::F32 => PrimitiveValType::F32,
        Scalar::F64 => PrimitiveValType::F64,
        Scalar::String => PrimitiveValType::String,
    };
    let mut value = ComponentValType::Primitive(primitive);
    if shape.scalar == Scalar::Bytes {
        let (index, ty) = c.type_defined(None);
        ty.list(value);
        value = ComponentValType::Type(index);
    }
    if shape.optional {
        let (index, ty) = c.type_defined(None);
        ty.option(value);
        value = ComponentValType::Type(index);
    }
    value
}

/// The adapter's memory, as it is exported and imported.
fn memory_type() -> MemoryType {
    let (minimum, maximum) = (MEMORY_PAGES_MIN as u64, Some(MEMORY_PAGES as u64));
    MemoryType { minimum, maximum, memory64: false, shared: false, page_size_log2: None }
}

/// Memory, the bump allocator `realloc`, its globals `top` (next free byte), `limit` and `there` (bytes of memory), `reset`,
/// and `reserve`, which makes memory up to an address be there.
fn store_module() -> Module {
    let (mut types, mut functions, mut memories) = (TypeSection::new(), FunctionSection::new(), MemorySection::new());
    let (mut globals, mut exports, mut code) = (GlobalSection::new(), ExportSection::new(), CodeSection::new());
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([ValType::I32], []);
    types.ty().function([], []);
    functions.function(0).function(1).function(2).function(1);
    memories.memory(memory_type());
    let mutable = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(mutable, &ConstExpr::i32_const(HEAP as i32));
    globals.global(mutable, &ConstExpr::i32_const(MEMORY_BYTES as i32));
    globals.global(mutable, &ConstExpr::i32_const((MEMORY_PAGES_MIN * 65536) as i32));
    exports.export("memory", ExportKind::Memory, 0).export("realloc", ExportKind::Func, 0);
    exports.export("reset", ExportKind::Func, 1);
    exports.export("top", ExportKind::Global, 0).export("limit", ExportKind::Global, 1);
    exports.export("reserve", ExportKind::Func, RESERVE);
    code.function(&realloc_function());
    let mut reset = Function::new([]);
    let mut i = reset.instructions();
    i.i32_const(HEAP as i32).global_set(0).i32_const(MEMORY_BYTES as i32).global_set(1).end();
    code.function(&reset);
    let mut too_large = Function::new([]);
    too_large.instructions().unreachable().end();
    code.function(&too_large);
    code.function(&reserve_function());
    // Called through a table: so it is never inlined, and its name is on top of the backtrace.
    let (mut tables, mut elements) = (TableSection::new(), ElementSection::new());
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: Some(1),
        shared: false,
    });
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(vec![2].into()));
    let (mut names, mut function_names) = (NameSection::new(), NameMap::new());
    function_names.append(0, "millpond_realloc");
    function_names.append(1, "millpond_reset");
    function_names.append(2, VALUE_TOO_LARGE);
    function_names.append(RESERVE, "millpond_reserve");
    names.functions(&function_names);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories).section(&globals);
    module.section(&exports).section(&elements).section(&code).section(&names);
    module
}

/// Index of `reserve` in the store's module, and of its global `there`.
const RESERVE: u32 = 3;
const THERE: u32 = 2;

/// `reserve(end)`: grows the memory until address `end` is in it, or traps.
fn reserve_function() -> Function {
    const END: u32 = 0;
    const PAGES: u32 = 1;
    let mut function = Function::new([(1, ValType::I32)]);
    let mut i = function.instructions();
    i.local_get(END).global_get(THERE).i32_gt_u().if_(BlockType::Empty);
    // pages = min((end - there + 65535 >> 16) + spare, MEMORY_PAGES - (there >> 16))
    i.local_get(END).global_get(THERE).i32_sub().i32_const(65535).i32_add().i32_const(16).i32_shr_u();
    i.i32_const(MEMORY_PAGES_SPARE).i32_add().local_tee(PAGES);
    i.i32_const(MEMORY_PAGES as i32).global_get(THERE).i32_const(16).i32_shr_u().i32_sub();
    i.local_get(PAGES).i32_const(MEMORY_PAGES as i32).global_get(THERE).i32_const(16).i32_shr_u().i32_sub();
    i.i32_lt_u().select().local_tee(PAGES);
    i.memory_grow(0).i32_const(-1).i32_eq().if_(BlockType::Empty).unreachable().end();
    i.global_get(THERE).local_get(PAGES).i32_const(16).i32_shl().i32_add().global_set(THERE);
    i.end().end();
    function
}

/// `realloc(old, old_bytes, align, new_bytes)`: extends the last block in place, else copies to a new one. Columns come as
/// lists of bytes, which may lie anywhere; large ones are aligned so that their values do not straddle cache lines. (A value
/// that the guest returns is not: it may fill its limit to the last byte.)
fn realloc_function() -> Function {
    const OLD: u32 = 0;
    const OLD_BYTES: u32 = 1;
    const ALIGN: u32 = 2;
    const NEW_BYTES: u32 = 3;
    const AT: u32 = 4;
    let mut function = Function::new([(1, ValType::I32)]);
    let mut i = function.instructions();
    // at = (old_bytes != 0 && old + old_bytes == top) ? old : (top + align - 1) & -align
    i.local_get(OLD_BYTES).i32_const(0).i32_ne();
    i.local_get(OLD).local_get(OLD_BYTES).i32_add().global_get(0).i32_eq().i32_and();
    i.if_(BlockType::Result(ValType::I32)).local_get(OLD).else_();
    i.local_get(ALIGN).i32_const(LARGE_ALIGN);
    i.local_get(NEW_BYTES).i32_const(LARGE_BYTES).i32_lt_u();
    i.global_get(1).i32_const(MEMORY_BYTES as i32).i32_ne().i32_or().select();
    i.local_tee(ALIGN).global_get(0).i32_add().i32_const(1).i32_sub();
    i.i32_const(0).local_get(ALIGN).i32_sub().i32_and().end().local_set(AT);
    // at > limit || new_bytes > limit - at: too large
    i.local_get(AT).global_get(1).i32_gt_u();
    i.local_get(NEW_BYTES).global_get(1).local_get(AT).i32_sub().i32_gt_u().i32_or();
    i.if_(BlockType::Empty).i32_const(0).call_indirect(0, 2).end();
    i.local_get(AT).local_get(NEW_BYTES).i32_add().global_get(THERE).i32_gt_u();
    i.if_(BlockType::Empty).local_get(AT).local_get(NEW_BYTES).i32_add().call(RESERVE).end();
    i.local_get(AT).local_get(OLD).i32_ne().local_get(OLD_BYTES).i32_const(0).i32_ne().i32_and();
    i.if_(BlockType::Empty);
    i.local_get(AT).local_get(OLD).local_get(OLD_BYTES).local_get(NEW_BYTES);
    i.local_get(OLD_BYTES).local_get(NEW_BYTES).i32_lt_u().select().memory_copy(0, 0);
    i.end();
    i.local_get(AT).local_get(NEW_BYTES).i32_add().global_set(0).local_get(AT).end();
    function
}

/// One loop per function.
fn rows_module(guest_functions: &[GuestFunction]) -> Module {
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    let (mut functions, mut exports, mut code) = (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    types.ty().function([ValType::I32; 3], [ValType::I32]);
    types.ty().function([ValType::I32], []);
    let mutable = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    imports.import("store", "memory", EntityType::Memory(memory_type()));
    imports.import("store", "top", EntityType::Global(mutable));
    imports.import("store", "limit", EntityType::Global(mutable));
    imports.import("store", "reserve", EntityType::Function(1));
    for (index, function) in guest_functions.iter().enumerate() {
        let (parameters, results) = core_type(function);
        types.ty().function(parameters, results);
        imports.import("guest", &format!("f{index}"), EntityType::Function(index as u32 + 2));
    }
    for (index, function) in guest_functions.iter().enumerate() {
        functions.function(0);
        let export = GUESTS + (guest_functions.len() + index) as u32;
        exports.export(&batch_export(index), ExportKind::Func, export);
        code.function(&RowLoop::new(function, GUESTS + index as u32).encode());
    }
    // A small guest function becomes part of its loop, so in backtraces the loop stands for it.
    let (mut names, mut function_names) = (NameSection::new(), NameMap::new());
    names.module("rows");
    for (index, function) in (GUESTS + guest_functions.len() as u32..).zip(guest_functions) {
        function_names.append(index, &function.export);
    }
    names.functions(&function_names);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&code).section(&names);
    module
}

/// The lowered core type of a guest function, as the canonical ABI has it.
fn core_type(function: &GuestFunction) -> (Vec<ValType>, Vec<ValType>) {
    let mut parameters = Vec::new();
    for (_, shape) in &function.parameters {
        if shape.optional {
            parameters.push(ValType::I32);
        }
        parameters.push(core_value(shape.scalar));
        if shape.scalar.is_variable() {
            parameters.push(ValType::I32);
        }
    }
    if through_memory(function) {
        parameters.push(ValType::I32);
        return (parameters, Vec::new());
    }
    (parameters, vec![core_value(function.result.scalar)])
}

fn core_value(scalar: Scalar) -> ValType {
    match scalar {
        Scalar::S64 | Scalar::U64 => ValType::I64,
        Scalar::F32 => ValType::F32,
        Scalar::F64 => ValType::F64,
        _ => ValType::I32,
    }
}

/// Whether the result flattens to more than one core value and so is written to [`RESULT_AT`].
fn through_memory(function: &GuestFunction) -> bool {
    function.fallible || function.result.optional || function.result.scalar.is_variable()
}

/// log2 of a value's alignment in the canonical ABI's memory layout (equals its size, but for strings).
fn align_log2(scalar: Scalar) -> u32 {
    match scalar {
        Scalar::Bool | Scalar::S8 | Scalar::U8 => 0,
        Scalar::S16 | Scalar::U16 => 1,
        Scalar::S32 | Scalar::U32 | Scalar::F32 | Scalar::String | Scalar::Bytes => 2,
        Scalar::S64 | Scalar::U64 | Scalar::F64 => 3,
    }
}

/// Encodes `call(rows, buffers, buffer_count) -> answer_at`.
struct RowLoop<'a> {
    guest: &'a GuestFunction,
    /// Core function index of the lowered guest function.
    index: u32,
}

// Parameters, locals and globals of the loop.
const ROWS: u32 = 0;
const BUFFERS: u32 = 1;
const ROW: u32 = 3;
const ANSWER: u32 = 4;
const VALUES: u32 = 5;
const VALID: u32 = 6;
const SKIP: u32 = 7;
const COLUMNS: u32 = 8;
/// Locals of each parameter, from [`COLUMNS`] on: addresses of its values or starts, of row 0's data less `starts[0]`, and
/// of its `valid`.
const LOCALS_OF_COLUMN: u32 = 3;
const DATA: u32 = 1;
const IS_VALID: u32 = 2;
const TOP: u32 = 0;
const LIMIT: u32 = 1;
/// Index of the store's `reserve` in the loops' module; the guest's functions follow.
const RESERVE_IMPORTED: u32 = 0;
const GUESTS: u32 = 1;

impl<'a> RowLoop<'a> {
    fn new(guest: &'a GuestFunction, index: u32) -> RowLoop<'a> {
        RowLoop { guest, index }
    }

    fn encode(&self) -> Function {
        let locals = COLUMNS - 3 + LOCALS_OF_COLUMN * self.guest.parameters.len() as u32;
        let mut function = Function::new([(locals, ValType::I32)]);
        let mut i = function.instructions();
        self.prologue(&mut i);
        i.block(BlockType::Empty).loop_(BlockType::Empty);
        i.local_get(ROW).local_get(ROWS).i32_ge_u().br_if(1);
        let grows = self.guest.result.scalar.is_variable();
        if grows {
            i.global_get(TOP).i32_const(VALUE_BYTES_MAX as i32).i32_add().global_set(LIMIT);
        }
        i.block(BlockType::Empty);
        i.local_get(SKIP).if_(BlockType::Empty);
        i.local_get(SKIP).local_get(ROW).i32_add().i32_load8_u(at(0, 0)).br_if(1);
        i.end();
        self.one_row(&mut i);
        i.end();
        i.local_get(ROW).i32_const(1).i32_add().local_set(ROW);
        if grows {
            // Any answer beyond the soft bound ends the call; the host asks again for the rows left.
            i.global_get(TOP).local_get(ANSWER).i32_sub().i32_const(ANSWER_BYTES_SOFT as i32).i32_gt_u().br_if(1);
        }
        i.br(0).end().end();
        i.local_get(ANSWER).local_get(ROW).i32_store(at(0, 2));
        i.i32_const(ANSWER_AT).local_get(ANSWER).i32_store(at(0, 2));
        i.i32_const(ANSWER_AT).global_get(TOP).local_get(ANSWER).i32_sub().i32_store(at(4, 2));
        i.i32_const(ANSWER_AT).end();
        function
    }

    /// Lays out the answer and finds the columns.
    fn prologue(&self, i: &mut InstructionSink<'_>) {
        let result = self.guest.result;
        i.global_get(TOP).i32_const(15).i32_add().i32_const(-16).i32_and().local_tee(ANSWER);
        i.i32_const(ANSWER_HEADER_BYTES as i32).i32_add().local_tee(VALUES);
        i.local_get(ROWS).i32_const(width(result.scalar) as i32).i32_mul().i32_add().local_tee(VALID);
        if result.optional {
            i.local_get(ROWS).i32_add();
        }
        i.global_set(TOP).global_get(TOP).call(RESERVE_IMPORTED);
        i.local_get(ANSWER).i64_const(0).i64_store(at(4, 0));
        i.local_get(ANSWER).i32_const(0).i32_store(at(12, 2));
        // An empty `skip` has no address.
        i.local_get(BUFFERS).i32_load(at(0, 2)).i32_const(0);
        i.local_get(BUFFERS).i32_load(at(4, 2)).select().local_set(SKIP);
        let mut next = 1;
        let mut address = |i: &mut InstructionSink<'_>| {
            i.local_get(BUFFERS).i32_load(at(BUFFER_BYTES * next, 2));
            next += 1;
        };
        for (column, (_, shape)) in (0..).zip(&self.guest.parameters) {
            let column = COLUMNS + LOCALS_OF_COLUMN * column;
            address(i);
            i.local_set(column);
            if shape.scalar.is_variable() {
                address(i);
                i.local_get(column).i32_load(at(0, 0)).i32_sub().local_set(column + DATA);
            }
            if shape.optional {
                address(i);
                i.local_set(column + IS_VALID);
            }
        }
    }

    /// Calls the guest for row `ROW`. Label 0 ends the row, label 2 the call.
    fn one_row(&self, i: &mut InstructionSink<'_>) {
        let memory = through_memory(self.guest);
        if !memory {
            value_address(i, self.guest.result.scalar);
        }
        for (column, (_, shape)) in self.guest.parameters.iter().enumerate() {
            push_parameter(i, *shape, COLUMNS + LOCALS_OF_COLUMN * column as u32);
        }
        if !memory {
            i.call(self.index);
            store_value(i, self.guest.result.scalar);
            return;
        }
        i.i32_const(RESULT_AT).call(self.index);
        self.result_from_memory(i);
    }

    fn result_from_memory(&self, i: &mut InstructionSink<'_>) {
        let Shape { scalar, optional } = self.guest.result;
        let mut offset = 0u64;
        if self.guest.fallible {
            let payload = 1u64 << align_log2(scalar).max(2);
            i.i32_const(RESULT_AT).i32_load8_u(at(0, 0)).if_(BlockType::Empty);
            i.local_get(ANSWER).i32_const(1).i32_store(at(4, 2));
            i.local_get(ANSWER).i32_const(RESULT_AT).i32_load(at(payload, 2));
            i.local_get(ANSWER).i32_sub().i32_store(at(8, 2));
            i.local_get(ANSWER).i32_const(RESULT_AT).i32_load(at(payload + 4, 2)).i32_store(at(12, 2));
            i.br(3).end();
            offset += payload;
        }
        if optional {
            i.local_get(VALID).local_get(ROW).i32_add();
            i.i32_const(RESULT_AT).i32_load8_u(at(offset, 0)).i32_store8(at(0, 0));
            i.i32_const(RESULT_AT).i32_load8_u(at(offset, 0)).i32_eqz().br_if(0);
            offset += 1 << align_log2(scalar);
        }
        value_address(i, scalar);
        if scalar.is_variable() {
            i.i32_const(RESULT_AT).i32_load(at(offset, 2)).local_get(ANSWER).i32_sub().i32_store(at(0, 2));
            value_address(i, scalar);
            i.i32_const(RESULT_AT).i32_load(at(offset + 4, 2)).i32_store(at(4, 2));
            return;
        }
        i.i32_const(RESULT_AT);
        load_canonical(i, scalar, offset);
        store_value(i, scalar);
    }
}

fn at(offset: u64, align: u32) -> MemArg {
    MemArg { offset, align, memory_index: 0 }
}

/// Pushes the address of the answer's value of row `ROW`.
fn value_address(i: &mut InstructionSink<'_>, scalar: Scalar) {
    i.local_get(VALUES);
    row_offset(i, scalar);
    i.i32_add();
}

fn row_offset(i: &mut InstructionSink<'_>, scalar: Scalar) {
    i.local_get(ROW);
    match width(scalar) {
        1 => i,
        wide => i.i32_const(wide.ilog2() as i32).i32_shl(),
    };
}

/// Pushes the flattened value of row `ROW` of the column whose addresses are in the locals from `column` on.
fn push_parameter(i: &mut InstructionSink<'_>, shape: Shape, column: u32) {
    if shape.optional {
        i.local_get(column + IS_VALID).local_get(ROW).i32_add().i32_load8_u(at(0, 0));
    }
    if shape.scalar.is_variable() {
        let start = |i: &mut InstructionSink<'_>, next: u64| {
            i.local_get(column).local_get(ROW).i32_const(2).i32_shl().i32_add().i32_load(at(4 * next, 0));
        };
        start(i, 0);
        i.local_get(column + DATA).i32_add();
        start(i, 1);
        start(i, 0);
        i.i32_sub();
        return;
    }
    i.local_get(column);
    row_offset(i, shape.scalar);
    i.i32_add();
    match shape.scalar {
        Scalar::Bool => i.i32_load8_u(at(0, 0)),
        Scalar::S8 | Scalar::U8 | Scalar::S16 => i.i32_load16_s(at(0, 0)),
        Scalar::U16 | Scalar::S32 | Scalar::U32 => i.i32_load(at(0, 0)),
        Scalar::F32 => i.f32_load(at(0, 0)),
        Scalar::F64 => i.f64_load(at(0, 0)),
        _ => i.i64_load(at(0, 0)),
    };
}

/// Loads a value the canonical ABI wrote to memory.
fn load_canonical(i: &mut InstructionSink<'_>, scalar: Scalar, offset: u64) {
    let from = at(offset, align_log2(scalar));
    match scalar {
        Scalar::Bool | Scalar::U8 => i.i32_load8_u(from),
        Scalar::S8 => i.i32_load8_s(from),
        Scalar::S16 => i.i32_load16_s(from),
        Scalar::U16 => i.i32_load16_u(from),
        Scalar::F32 => i.f32_load(from),
        Scalar::F64 => i.f64_load(from),
        Scalar::S64 | Scalar::U64 => i.i64_load(from),
        _ => i.i32_load(from),
    };
}

/// Stores the value on the stack at the address below it, in the answer's width.
fn store_value(i: &mut InstructionSink<'_>, scalar: Scalar) {
    match scalar {
        Scalar::Bool => i.i32_store8(at(0, 0)),
        Scalar::S8 | Scalar::U8 | Scalar::S16 => i.i32_store16(at(0, 0)),
        Scalar::U32 => i.i64_extend_i32_u().i64_store(at(0, 0)),
        Scalar::F32 => i.f32_store(at(0, 0)),
        Scalar::F64 => i.f64_store(at(0, 0)),
        Scalar::S64 | Scalar::U64 => i.i64_store(at(0, 0)),
        _ => i.i32_store(at(0, 0)),
    };
}
