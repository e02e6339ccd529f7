//! Which exports of a component are SQL functions, read from the component's own types.
//!
//! Only plain values cross: numbers, booleans, strings, bytes, each optionally in `option<…>`, the result optionally in
//! `result<…, string>`. An export of any other type is skipped and its reason kept, so that an upload without a usable
//! function can say why. Imports are refused: nothing is granted to a function, so its answer depends on its arguments only.

use arrow::datatypes::DataType;
use millpond_engine::function::{FunctionSignature, SkippedExport};
use millpond_engine::{Error, Result};
use std::collections::HashSet;
use wasmparser::component_types::{ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentValType};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{Parser, Payload, PrimitiveValType, Validator, WasmFeatures};

/// Most functions one module may export.
pub(crate) const FUNCTIONS_MAX: usize = 256;
/// Most core values the parameters of one function may flatten to (the canonical ABI passes more through memory).
const FLAT_PARAMETERS_MAX: usize = 16;

/// A WIT value type that has an SQL type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    String,
    Bytes,
}

impl Scalar {
    /// The SQL type: the smallest signed one that holds every value.
    pub(crate) fn sql(self) -> DataType {
        match self {
            Scalar::Bool => DataType::Boolean,
            Scalar::S8 | Scalar::U8 | Scalar::S16 => DataType::Int16,
            Scalar::U16 | Scalar::S32 => DataType::Int32,
            Scalar::U32 | Scalar::S64 => DataType::Int64,
            Scalar::U64 => DataType::Decimal128(20, 0),
            Scalar::F32 => DataType::Float32,
            Scalar::F64 => DataType::Float64,
            Scalar::String => DataType::Utf8,
            Scalar::Bytes => DataType::Binary,
        }
    }

    /// Whether values have no fixed width.
    pub(crate) fn is_variable(self) -> bool {
        matches!(self, Scalar::String | Scalar::Bytes)
    }

    /// The smallest and largest value of integers narrower than their SQL type.
    pub(crate) fn range(self) -> Option<(i64, i64)> {
        match self {
            Scalar::S8 => Some((i8::MIN.into(), i8::MAX.into())),
            Scalar::U8 => Some((0, u8::MAX.into())),
            Scalar::U16 => Some((0, u16::MAX.into())),
            Scalar::U32 => Some((0, u32::MAX.into())),
            _ => None,
        }
    }

    fn of_primitive(primitive: PrimitiveValType) -> Option<Scalar> {
        Some(match primitive {
            PrimitiveValType::Bool => Scalar::Bool,
            PrimitiveValType::S8 => Scalar::S8,
            PrimitiveValType::U8 => Scalar::U8,
            PrimitiveValType::S16 => Scalar::S16,
            PrimitiveValType::U16 => Scalar::U16,
            PrimitiveValType::S32 => Scalar::S32,
            PrimitiveValType::U32 => Scalar::U32,
            PrimitiveValType::S64 => Scalar::S64,
            PrimitiveValType::U64 => Scalar::U64,
            PrimitiveValType::F32 => Scalar::F32,
            PrimitiveValType::F64 => Scalar::F64,
            PrimitiveValType::String => Scalar::String,
            PrimitiveValType::Char | PrimitiveValType::ErrorContext => return None,
        })
    }
}

/// `T` or `option<T>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) scalar: Scalar,
    pub(crate) optional: bool,
}

/// An export that is callable from SQL.
#[derive(Clone, Debug)]
pub(crate) struct GuestFunction {
    /// The exported interface that holds it; `None` for exports of the world itself.
    pub(crate) interface: Option<String>,
    /// Its name in the component (kebab-case).
    pub(crate) export: String,
    /// Parameter names in the component, and their types.
    pub(crate) parameters: Vec<(String, Shape)>,
    pub(crate) result: Shape,
    /// Whether the result is wrapped in `result<…, string>`.
    pub(crate) fallible: bool,
}

impl GuestFunction {
    /// Its SQL signature.
    pub(crate) fn signature(&self) -> FunctionSignature {
        FunctionSignature {
            name: snake_case(&self.export),
            parameters: self.parameters.iter().map(|(name, shape)| (snake_case(name), shape.scalar.sql())).collect(),
            returns: self.result.scalar.sql(),
            sees_null: self.parameters.iter().map(|(_, shape)| shape.optional).collect(),
        }
    }

    fn flat_parameters(&self) -> usize {
        self.parameters.iter().map(|(_, s)| 1 + usize::from(s.optional) + usize::from(s.scalar.is_variable())).sum()
    }
}

/// The exported functions of a component: usable ones and the others.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    pub(crate) functions: Vec<GuestFunction>,
    pub(crate) skipped: Vec<SkippedExport>,
}

/// What modules may contain. Threads, relaxed SIMD, garbage collection and async are left out.
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::COMPONENT_MODEL
}

/// Validates a component and lists its exported functions.
///
/// # Errors
/// `Invalid` when the bytes are no valid component, import anything or export no usable function.
pub(crate) fn exports(component: &[u8]) -> Result<Exports> {
    let types = Validator::new_with_features(features())
        .validate_all(component)
        .map_err(|e| Error::Invalid(format!("not a valid WebAssembly component: {e}")))?;
    let names = top_level_names(component)?;
    if !names.imports.is_empty() {
        return Err(Error::Invalid(format!(
            "module imports {}, but modules are granted no imports (no WASI, network, clock or files); \
             for Rust build for wasm32-unknown-unknown",
            names.imports.join(", ")
        )));
    }
    let exports = collect(&types, &names.exports);
    if exports.functions.is_empty() {
        return Err(Error::Invalid(nothing_usable(&exports.skipped)));
    }
    Ok(exports)
}

#[derive(Default)]
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

/// Names of the outermost component's imports and exports, nested components left out.
fn top_level_names(component: &[u8]) -> Result<Names> {
    let damaged = |e: wasmparser::BinaryReaderError| Error::Invalid(format!("not a valid WebAssembly component: {e}"));
    let (mut names, mut depth) = (Names::default(), 0usize);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(damaged)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.imports.push(format!("\"{}\"", import.map_err(damaged)?.name.name));
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    names.exports.push(export.map_err(damaged)?.name.name.to_string());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn collect(types: &Types, names: &[String]) -> Exports {
    let types = types.as_ref();
    let (mut found, mut taken) = (Exports::default(), HashSet::new());
    for name in names {
        match types.component_item_for_export(name).map(|item| item.ty) {
            Some(ComponentEntityType::Func(id)) => add(&mut found, &mut taken, types, None, name, &types[id]),
            Some(ComponentEntityType::Instance(id)) => {
                for (inner, item) in &types[id].exports {
                    if let ComponentEntityType::Func(id) = item.ty {
                        add(&mut found, &mut taken, types, Some(name), inner, &types[id]);
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn add(
    found: &mut Exports,
    taken: &mut HashSet<String>,
    types: TypesRef<'_>,
    interface: Option<&String>,
    export: &str,
    ty: &ComponentFuncType,
) {
    let made = guest_function(types, interface, export, ty).and_then(|function| {
        if found.functions.len() == FUNCTIONS_MAX {
            return Err(format!("a module may export at most {FUNCTIONS_MAX} functions"));
        }
        if !taken.insert(snake_case(export)) {
            return Err("another exported function has the same name".into());
        }
        Ok(function)
    });
    match made {
        Ok(function) => found.functions.push(function),
        Err(reason) => {
            let export = interface.map_or_else(|| export.to_string(), |interface| format!("{interface}/{export}"));
            found.skipped.push(SkippedExport { export, reason });
        }
    }
}

fn guest_function(
    types: TypesRef<'_>,
    interface: Option<&String>,
    export: &str,
    ty: &ComponentFuncType,
) -> Result<GuestFunction, String> {
    if export.starts_with('[') || ty.async_ {
        return Err("methods of resources and async functions are not supported".into());
    }
    let mut parameters = Vec::with_capacity(ty.params.len());
    for (name, value) in &ty.params {
        let shape = shape(types, value).map_err(|what| format!("parameter {name} has type {what}"))?;
        parameters.push((name.to_string(), shape));
    }
    let result = ty.result.as_ref().ok_or("it returns nothing")?;
    let (fallible, value) = match defined(types, result) {
        Some(ComponentDefinedType::Result { ok, err, .. }) => {
            if !matches!(err, Some(e) if primitive(types, e) == Some(PrimitiveValType::String)) {
                return Err("the error type of its result is not string".into());
            }
            (true, ok.as_ref().ok_or("its result has no value")?)
        }
        _ => (false, result),
    };
    let result = shape(types, value).map_err(|what| format!("its result has type {what}"))?;
    let function =
        GuestFunction { interface: interface.cloned(), export: export.to_string(), parameters, result, fallible };
    match function.flat_parameters() {
        n if n > FLAT_PARAMETERS_MAX => {
            Err(format!("its parameters take {n} core values, at most {FLAT_PARAMETERS_MAX} are supported"))
        }
        _ => Ok(function),
    }
}

/// The SQL-compatible shape of a value type, or the name of the type that has none.
fn shape(types: TypesRef<'_>, value: &ComponentValType) -> Result<Shape, String> {
    match defined(types, value) {
        Some(ComponentDefinedType::Option { ty, .. }) => {
            let scalar = scalar(types, ty).map_err(|what| format!("option<{what}>"))?;
            Ok(Shape { scalar, optional: true })
        }
        _ => Ok(Shape { scalar: scalar(types, value)?, optional: false }),
    }
}

fn scalar(types: TypesRef<'_>, value: &ComponentValType) -> Result<Scalar, String> {
    if let Some(p) = primitive(types, value) {
        return Scalar::of_primitive(p).ok_or_else(|| p.to_string());
    }
    match defined(types, value) {
        Some(ComponentDefinedType::List { element, .. }) => match primitive(types, element) {
            Some(PrimitiveValType::U8) => Ok(Scalar::Bytes),
            Some(p) => Err(format!("list<{p}>")),
            None => Err("list<…>".into()),
        },
        Some(other) => Err(describe(other).into()),
        None => Err("unknown".into()),
    }
}

fn primitive(types: TypesRef<'_>, value: &ComponentValType) -> Option<PrimitiveValType> {
    match value {
        ComponentValType::Primitive(p) => Some(*p),
        ComponentValType::Type(id) => match &types[*id] {
            ComponentDefinedType::Primitive(p) => Some(*p),
            _ => None,
        },
    }
}

fn defined<'a>(types: TypesRef<'a>, value: &ComponentValType) -> Option<&'a ComponentDefinedType> {
    match value {
        ComponentValType::Primitive(_) => None,
        ComponentValType::Type(id) => types.get(*id),
    }
}

fn describe(ty: &ComponentDefinedType) -> &'static str {
    match ty {
        ComponentDefinedType::Record(_) => "record",
        ComponentDefinedType::Variant(_) => "variant",
        ComponentDefinedType::Map { .. } => "map",
        ComponentDefinedType::FixedLengthList { .. } => "list of fixed length",
        ComponentDefinedType::Tuple(_) => "tuple",
        ComponentDefinedType::Flags(_) => "flags",
        ComponentDefinedType::Enum(_) => "enum",
        ComponentDefinedType::Option { .. } => "option<…>",
        ComponentDefinedType::Result { .. } => "result<…>",
        ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => "resource handle",
        _ => "future or stream",
    }
}

fn nothing_usable(skipped: &[SkippedExport]) -> String {
    if skipped.is_empty() {
        return "module exports no function".into();
    }
    let reasons: Vec<String> = skipped.iter().take(16).map(|s| format!("{}: {}", s.export, s.reason)).collect();
    format!("module exports no function that SQL can call ({})", reasons.join("; "))
}

/// `parse-URL` → `parse_url`.
fn snake_case(kebab: &str) -> String {
    kebab.replace('-', "_").to_ascii_lowercase()
}
