//! A module's functions as DataFusion scalar functions named `module.function`.
//!
//! Invariants: a [`ModuleFunction`] lives for one statement or one view, and makes its guest instance at the first
//! call, so planning costs nothing; what the guest returns is checked for length and type before anything else sees it;
//! a call ends with its statement: by deadline or when the client cancels; after a call that ran past its deadline there
//! is no other. A call keeps its thread, so the doors run statements on threads that nothing else waits for.

use crate::error::{Error, Result};
use crate::types::name_of;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use millpond_engine::ObjectId;
use millpond_engine::catalog::{Catalog, ObjectKind};
use millpond_engine::function::{CallLimits, FunctionInstance, FunctionSignature, Module};
use parking_lot::Mutex;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Time a call of a guest may take when the session sets no `statement_timeout`.
pub(crate) const CALL_DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// One function of one module, for one statement.
#[derive(Debug)]
pub(crate) struct ModuleFunction {
    /// `module.function`.
    name: String,
    module: Arc<dyn Module>,
    function: FunctionSignature,
    limits: CallLimits,
    signature: Signature,
    instance: Mutex<Option<Arc<dyn FunctionInstance>>>,
    deferred: AtomicBool,
    /// What the first call that ran past its deadline said. Every thread has a call, and a constant call that failed is
    /// tried again: the statement would take many times as long as a call may.
    overran: OnceLock<String>,
}

/// Looks up `module.function`.
///
/// # Errors
/// 42883 when there is no such module or function, with what there is as the hint.
pub(crate) fn resolve(
    catalog: &Catalog,
    module_name: &str,
    function_name: &str,
    limits: CallLimits,
) -> Result<(ObjectId, ScalarUDF)> {
    let object = catalog.get(module_name).filter(|o| matches!(o.kind, ObjectKind::Module { .. }));
    let found = object.and_then(|object| Some((object.id, catalog.module(object.id)?)));
    let Some((id, module)) = found else {
        return Err(Error::new("42883", format!("function {module_name}.{function_name} does not exist"))
            .with_hint(format!("There is no module \"{module_name}\"; SHOW MODULES lists them.")));
    };
    let functions = module.functions();
    let names: Vec<&str> = functions.iter().map(|f| f.name.as_str()).collect();
    let Some(function) = functions.iter().find(|f| f.name == function_name) else {
        return Err(Error::new("42883", format!("function {module_name}.{function_name} does not exist"))
            .with_hint(format!("Module \"{module_name}\" has: {}.", names.join(", "))));
    };
    let name = format!("{module_name}.{function_name}");
    Ok((id, ScalarUDF::from(ModuleFunction::new(name, module.clone(), function.clone(), limits))))
}

impl ModuleFunction {
    pub(crate) fn new(
        name: String,
        module: Arc<dyn Module>,
        function: FunctionSignature,
        limits: CallLimits,
    ) -> ModuleFunction {
        let arity = match function.parameters.len() {
            0 => TypeSignature::Nullary,
            _ => TypeSignature::UserDefined,
        };
        let signature = Signature::new(arity, Volatility::Immutable);
        let (deferred, overran) = (AtomicBool::new(false), OnceLock::new());
        ModuleFunction { name, module, function, limits, signature, instance: Mutex::new(None), deferred, overran }
    }

    fn instance(&self) -> Result<Arc<dyn FunctionInstance>, millpond_engine::Error> {
        let mut instance = self.instance.lock();
        if let Some(instance) = instance.as_ref() {
            return Ok(instance.clone());
        }
        let made = self.module.instantiate(&self.function.name, self.limits.clone())?;
        *instance = Some(made.clone());
        Ok(made)
    }

    fn call(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef, millpond_engine::Error> {
        if self.deferred.load(Ordering::Relaxed) {
            return Err(millpond_engine::Error::Internal("a function was called while its view was planned".into()));
        }
        if let Some(message) = self.overran.get() {
            return Err(self.failure("57014", message.clone(), String::new()));
        }
        let answers = self.instance()?.call(arguments, rows).inspect_err(|error| {
            if let millpond_engine::Error::Function { sqlstate: "57014", message, .. } = error {
                let _ = self.overran.set(message.clone());
            }
        })?;
        if answers.len() != rows || answers.data_type() != &self.function.returns {
            let message = "the function returned the wrong number of rows or the wrong type".into();
            return Err(self.failure("38000", message, format!("{} rows of {}", answers.len(), answers.data_type())));
        }
        Ok(answers)
    }

    fn failure(&self, sqlstate: &'static str, message: String, detail: String) -> millpond_engine::Error {
        millpond_engine::Error::Function { sqlstate, function: self.name.clone(), message, detail }
    }

    /// `m.f(bigint, text)`.
    fn describe(&self) -> String {
        let types: Vec<String> = self.function.parameters.iter().map(|(_, t)| name_of(t)).collect();
        format!("{}({})", self.name, types.join(", "))
    }
}

impl ScalarUDFImpl for ModuleFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(self.function.returns.clone())
    }

    fn coerce_types(&self, given: &[DataType]) -> datafusion::common::Result<Vec<DataType>> {
        let wanted: Vec<DataType> = self.function.parameters.iter().map(|(_, t)| t.clone()).collect();
        if given.len() == wanted.len() && given.iter().zip(&wanted).all(|(g, w)| coerces(g, w)) {
            return Ok(wanted);
        }
        Err(DataFusionError::External(Box::new(self.mismatch(given))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        let constant = !args.args.is_empty() && args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>, _>>()?;
        let answers = self.call(&arrays, rows).map_err(|e| DataFusionError::External(Box::new(e)))?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answers, 0)?));
        }
        Ok(ColumnarValue::Array(answers))
    }
}

impl ModuleFunction {
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &DataType> {
        self.function.parameters.iter().map(|(_, data_type)| data_type)
    }

    /// 42883.
    pub(crate) fn mismatch(&self, given: &[DataType]) -> Error {
        let types: Vec<String> = given.iter().map(name_of).collect();
        Error::new("42883", format!("function {}({}) does not exist", self.name, types.join(", ")))
            .with_hint(format!("There is {}; cast the arguments.", self.describe()))
    }
}

/// While a view is planned its functions are not called: a constant call would be folded there, with nobody to cancel
/// it, and again at each start. It is left to the view's operators.
pub(crate) fn defer<'a>(functions: impl IntoIterator<Item = &'a ScalarUDF>, deferred: bool) {
    for function in functions {
        if let Some(function) = function.inner().downcast_ref::<ModuleFunction>() {
            function.deferred.store(deferred, Ordering::Relaxed);
        }
    }
}

/// Whether an argument may be cast without the user's asking: Postgres' implicit casts, and integers of any width,
/// because DataFusion's integer literals are all bigint.
fn coerces(given: &DataType, wanted: &DataType) -> bool {
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let bytes = |t: &DataType| matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let decimal = |t: &DataType| matches!(t, DataType::Decimal128(..) | DataType::Decimal256(..));
    given == wanted
        || *given == DataType::Null
        // An untyped literal; `dialect` has it read, and refuses other text.
        || text(given)
        || (text(given) && text(wanted))
        || (bytes(given) && bytes(wanted))
        || (given.is_integer() && wanted.is_numeric())
        || (given.is_numeric() && wanted.is_floating())
        || (given.is_floating() && decimal(wanted))
        || (decimal(given) && decimal(wanted))
        || matches!((given, wanted), (DataType::Timestamp(_, a), DataType::Timestamp(_, b)) if a.is_some() == b.is_some())
        || matches!((given, wanted), (DataType::Interval(_), DataType::Interval(_)))
}

impl PartialEq for ModuleFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.function == other.function && self.module.hash() == other.module.hash()
    }
}

impl Eq for ModuleFunction {}

impl Hash for ModuleFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.module.hash().hash(state);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use arrow::array::{Int64Array, cast::AsArray};
    use arrow::datatypes::Int64Type;
    use millpond_engine::function::SkippedExport;

    /// A module with one strict function `add(a bigint, b bigint)`.
    #[derive(Debug)]
    pub(crate) struct Adder;

    impl Module for Adder {
        fn hash(&self) -> [u8; 32] {
            [7; 32]
        }

        fn functions(&self) -> Vec<FunctionSignature> {
            vec![FunctionSignature {
                name: "add".into(),
                parameters: vec![("a".into(), DataType::Int64), ("b".into(), DataType::Int64)],
                returns: DataType::Int64,
                sees_null: vec![false, false],
            }]
        }

        fn skipped(&self) -> Vec<SkippedExport> {
            vec![]
        }

        fn instantiate(&self, _: &str, _: CallLimits) -> millpond_engine::Result<Arc<dyn FunctionInstance>> {
            Ok(Arc::new(Adder))
        }
    }

    impl FunctionInstance for Adder {
        fn call(&self, arguments: &[ArrayRef], rows: usize) -> millpond_engine::Result<ArrayRef> {
            assert!(arguments.iter().all(|a| a.len() == rows));
            let (a, b) = (arguments[0].as_primitive::<Int64Type>(), arguments[1].as_primitive::<Int64Type>());
            Ok(Arc::new(a.iter().zip(b.iter()).map(|(a, b)| Some(a? + b?)).collect::<Int64Array>()))
        }
    }

    fn adder() -> ModuleFunction {
        ModuleFunction::new("m.add".into(), Arc::new(Adder), Adder.functions().remove(0), CALL_DEADLINE_DEFAULT.into())
    }

    fn call(function: &ModuleFunction) -> millpond_engine::Result<ArrayRef> {
        function.call(&[Arc::new(Int64Array::from(vec![1])), Arc::new(Int64Array::from(vec![Some(2)]))], 1)
    }

    #[test]
    fn nothing_is_called_while_a_view_is_planned() {
        let function = ScalarUDF::from(adder());
        let inner = function.inner().downcast_ref::<ModuleFunction>().unwrap();
        defer([&function], true);
        assert!(call(inner).is_err());
        defer([&function], false);
        assert_eq!(call(inner).unwrap().as_primitive::<Int64Type>().values(), &[3]);
    }

    /// Runs past its deadline at the first call, then would answer.
    #[derive(Debug, Default)]
    struct Slow(AtomicBool);

    impl FunctionInstance for Slow {
        fn call(&self, arguments: &[ArrayRef], rows: usize) -> millpond_engine::Result<ArrayRef> {
            if self.0.swap(true, Ordering::Relaxed) {
                return Adder.call(arguments, rows);
            }
            let (function, message, detail) = (String::new(), "ran long".into(), String::new());
            Err(millpond_engine::Error::Function { sqlstate: "57014", function, message, detail })
        }
    }

    #[test]
    fn one_overrun_is_enough() {
        let function = adder();
        *function.instance.lock() = Some(Arc::new(Slow::default()));
        for _ in 0..2 {
            let error = call(&function).unwrap_err();
            assert!(matches!(&error, millpond_engine::Error::Function { sqlstate: "57014", .. }), "{error}");
        }
    }

    #[test]
    fn arguments_are_coerced_or_refused() {
        let wanted = adder().coerce_types(&[DataType::Int32, DataType::Null]).unwrap();
        assert_eq!(wanted, [DataType::Int64, DataType::Int64]);
        // Text may be an untyped literal: `dialect` knows.
        assert_eq!(adder().coerce_types(&[DataType::Utf8, DataType::Int64]).unwrap(), wanted);
        for given in [vec![DataType::Boolean, DataType::Int64], vec![DataType::Int64]] {
            let error = Error::from(adder().coerce_types(&given).unwrap_err());
            assert_eq!(error.sqlstate, "42883");
            assert!(error.hint.unwrap().contains("m.add(bigint, bigint)"));
        }
    }
}
