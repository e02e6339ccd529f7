//! A module's functions as DataFusion scalar functions named `module.function`.
//!
//! Invariants: a [`ModuleFunction`] lives for one statement or one view, and makes its guest instance at the first
//! call, so planning costs nothing; the guest never sees a NULL in a parameter that does not ask for NULLs, because
//! those rows are cut out before the call and come back as NULL; what the guest returns is checked for length and
//! type before anything else sees it; a call ends with its statement: by deadline or when the client cancels.

use crate::error::{Error, Result};
use crate::types::name_of;
use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{filter, take};
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
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

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
        ModuleFunction { name, module, function, limits, signature, instance: Mutex::new(None) }
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

    /// Calls the guest for the rows without a NULL it must not see.
    fn call(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef, millpond_engine::Error> {
        let strict = arguments.iter().zip(&self.function.sees_null).filter(|(_, sees)| !**sees);
        let valid =
            strict.fold(None, |valid, (array, _)| NullBuffer::union(valid.as_ref(), array.logical_nulls().as_ref()));
        let Some(valid) = valid.filter(|v| v.null_count() > 0) else {
            return self.call_guest(arguments, rows);
        };
        let kept = rows - valid.null_count();
        if kept == 0 {
            return Ok(new_null_array(&self.function.returns, rows));
        }
        let keep = BooleanArray::new(valid.inner().clone(), None);
        let arguments = arguments.iter().map(|a| filter(a, &keep)).collect::<Result<Vec<_>, _>>()?;
        let answers = self.call_guest(&arguments, kept)?;
        let mut next = 0u32;
        let positions: UInt32Array = valid
            .iter()
            .map(|valid| {
                valid.then(|| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        Ok(take(&answers, &positions, None)?)
    }

    fn call_guest(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef, millpond_engine::Error> {
        let instance = self.instance()?;
        let answers = beside_the_executor(|| instance.call(arguments, rows))?;
        if answers.len() != rows || answers.data_type() != &self.function.returns {
            return Err(millpond_engine::Error::Function {
                sqlstate: "38000",
                function: self.name.clone(),
                message: "the function returned the wrong number of rows or the wrong type".into(),
                detail: format!("{} rows of {}", answers.len(), answers.data_type()),
            });
        }
        Ok(answers)
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
        let types: Vec<String> = given.iter().map(name_of).collect();
        let error = Error::new("42883", format!("function {}({}) does not exist", self.name, types.join(", ")))
            .with_hint(format!("There is {}; cast the arguments.", self.describe()));
        Err(DataFusionError::External(Box::new(error)))
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

/// Runs a guest's call, which may take as long as the statement may, without keeping the tasks of this executor thread
/// waiting: other sessions, and the request that cancels this one, are served meanwhile.
fn beside_the_executor<T>(call: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(call),
        // Views call from the engine's own threads.
        _ => call(),
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

    /// A module with one strict function `add(a bigint, b bigint)` that fails when it sees a NULL.
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
            assert!(arguments.iter().all(|a| a.null_count() == 0 && a.len() == rows));
            let (a, b) = (arguments[0].as_primitive::<Int64Type>(), arguments[1].as_primitive::<Int64Type>());
            Ok(Arc::new(a.iter().zip(b.iter()).map(|(a, b)| Some(a? + b?)).collect::<Int64Array>()))
        }
    }

    fn adder() -> ModuleFunction {
        ModuleFunction::new("m.add".into(), Arc::new(Adder), Adder.functions().remove(0), CALL_DEADLINE_DEFAULT.into())
    }

    fn call(a: Vec<Option<i64>>, b: Vec<Option<i64>>) -> Vec<Option<i64>> {
        let rows = a.len();
        let arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(a)), Arc::new(Int64Array::from(b))];
        adder().call(&arrays, rows).unwrap().as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn strict_functions_never_see_null() {
        assert_eq!(call(vec![Some(1), Some(2)], vec![Some(3), Some(4)]), [Some(4), Some(6)]);
        assert_eq!(
            call(vec![None, Some(2), Some(5), None], vec![Some(3), Some(4), None, None]),
            [None, Some(6), None, None]
        );
        assert_eq!(call(vec![None], vec![None]), [None]);
        assert_eq!(call(vec![], vec![]), []);
    }

    #[test]
    fn arguments_are_coerced_or_refused() {
        let wanted = adder().coerce_types(&[DataType::Int32, DataType::Null]).unwrap();
        assert_eq!(wanted, [DataType::Int64, DataType::Int64]);
        for given in [vec![DataType::Utf8, DataType::Int64], vec![DataType::Int64]] {
            let error = Error::from(adder().coerce_types(&given).unwrap_err());
            assert_eq!(error.sqlstate, "42883");
            assert!(error.hint.unwrap().contains("m.add(bigint, bigint)"));
        }
    }
}
