//! The functions of `pg_catalog`, as one table: name, result type, body. A body sees one row of cells.
//!
//! A function is strict (a NULL argument makes it NULL) unless [`SEES_NULL`] names it. There are no privileges yet, so
//! every `has_…_privilege` is true of the one role there is. Sizes are not known here and are NULL.

use super::facts::{Facts, PG_CATALOG, PUBLIC};
use super::names;
use super::relation::{Cell, arrow_type, field, to_array, to_cell};
use super::text_functions;
use crate::error::Error;
use crate::value::oid::oid_of_type;
use crate::value::pg_type::format_type;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use millpond_engine::catalog::ObjectKind;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// Name, result type (Postgres' name of it), what it computes of one row.
pub(super) type Definition = (&'static str, &'static str, Body);
pub(super) type Body = fn(&Facts, &[Cell]) -> Result<Cell>;

/// Casts to and from the types that are OIDs with names, which [`super::rewrite`] puts in the place of `::regclass` …
pub(super) const NAME_TO_OID: &str = "pg_name_to_oid";
pub(super) const OID_TO_NAME: &str = "pg_oid_to_name";
/// `ARRAY(SELECT …)` of no rows is an empty array, not NULL.
pub(crate) const EMPTY_IF_NULL: &str = "pg_empty_if_null";

/// By name.
static FUNCTIONS: LazyLock<HashMap<&'static str, Definition>> = LazyLock::new(|| {
    let definitions = [SESSION, OBJECTS, DEFINITIONS, TRUE_OF_ALL, NOTHING, text_functions::FUNCTIONS].concat();
    definitions.into_iter().map(|definition| (definition.0, definition)).collect()
});

/// The function of that name that a session sees beside DataFusion's own. Made when a statement calls it: there are more
/// than a hundred.
pub(crate) fn function(name: &str, facts: &Arc<Facts>) -> Option<Arc<ScalarUDF>> {
    let (name, returns, body) = *FUNCTIONS.get(name)?;
    Some(Arc::new(ScalarUDF::new_from_impl(CatalogFunction::new(name, returns, body, facts))))
}

/// All of them.
#[cfg(test)]
pub(super) fn functions(facts: &Arc<Facts>) -> Vec<Arc<ScalarUDF>> {
    FUNCTIONS.keys().filter_map(|name| function(name, facts)).collect()
}

/// What `ARRAY(SELECT …)` is made of; it asks nothing of the catalog.
pub(crate) fn empty_if_null() -> ScalarUDF {
    ScalarUDF::new_from_impl(EmptyIfNull { signature: Signature::any(1, Volatility::Immutable) })
}

const SEES_NULL: &[&str] =
    &["format_type", "format", "quote_nullable", "pg_get_expr", "obj_description", "current_schemas"];

/// About the session.
const SESSION: &[Definition] = &[
    ("version", "text", |_, _| Ok(format!("PostgreSQL 15.0 (Millpond {})", env!("CARGO_PKG_VERSION")).into())),
    ("current_user", "name", user),
    ("session_user", "name", user),
    ("current_role", "name", user),
    ("user", "name", user),
    ("current_database", "name", |facts, _| Ok(facts.session.database.clone().into())),
    ("current_catalog", "name", |facts, _| Ok(facts.session.database.clone().into())),
    ("current_schema", "name", |_, _| Ok("public".into())),
    ("current_schemas", "name[]", |_, args| {
        let implicit = args.first() == Some(&Cell::Bool(true));
        Ok(Cell::list(if implicit { vec!["pg_catalog", "public"] } else { vec!["public"] }))
    }),
    ("current_setting", "text", current_setting),
    ("pg_get_expr", "text", |_, args| Ok(args.first().cloned().unwrap_or(Cell::Null))),
    ("pg_backend_pid", "int4", |facts, _| Ok(i64::from(facts.session.backend_pid).into())),
    ("pg_is_in_recovery", "bool", |_, _| Ok(false.into())),
    ("pg_my_temp_schema", "oid", |_, _| Ok(Cell::Int(0))),
    ("pg_is_other_temp_schema", "bool", |_, _| Ok(false.into())),
    ("txid_current", "int8", |facts, _| Ok(Cell::Int(facts.session.transaction_id))),
    ("getdatabaseencoding", "name", |_, _| Ok("UTF8".into())),
    ("pg_client_encoding", "name", |_, _| Ok("UTF8".into())),
    ("pg_encoding_to_char", "name", |_, args| Ok(if int(args, 0) == Some(names::UTF8) { "UTF8" } else { "" }.into())),
    ("pg_char_to_encoding", "int4", |_, args| {
        let utf8 = matches!(text(args, 0).to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "unicode");
        Ok(Cell::Int(if utf8 { names::UTF8 } else { -1 }))
    }),
];

/// From names to OIDs and back, and what is visible.
const OBJECTS: &[Definition] = &[
    (NAME_TO_OID, "oid", |facts, args| match args.get(1) {
        Some(Cell::Text(name)) => {
            let pg_type = text(args, 0);
            match names::oid_named(facts, pg_type, name) {
                Some(oid) => Ok(oid.into()),
                None => Err(names::missing(pg_type, name).into()),
            }
        }
        oid => Ok(oid.cloned().into()),
    }),
    (OID_TO_NAME, "text", |facts, args| Ok(int(args, 1).map(|oid| names::name_of(facts, text(args, 0), oid)).into())),
    ("to_regclass", "regclass", |facts, args| Ok(names::oid_named(facts, "regclass", text(args, 0)).into())),
    ("to_regtype", "regtype", |facts, args| Ok(names::oid_named(facts, "regtype", text(args, 0)).into())),
    ("to_regnamespace", "oid", |facts, args| Ok(names::oid_named(facts, "regnamespace", text(args, 0)).into())),
    ("to_regproc", "regproc", |facts, args| Ok(names::oid_named(facts, "regproc", text(args, 0)).into())),
    ("pg_get_userbyid", "name", |facts, args| {
        let oid = int(args, 0).unwrap_or_default();
        let name = names::name_of(facts, "regrole", oid);
        Ok(if name == oid.to_string() {
            format!("unknown (OID={oid})").into()
        } else {
            facts.session.user.clone().into()
        })
    }),
    ("pg_table_is_visible", "bool", |facts, args| {
        let relation = facts.relation_names().find(|(oid, ..)| Some(i64::from(*oid)) == int(args, 0));
        Ok(relation.map(|(_, _, namespace)| matches!(namespace, PUBLIC | PG_CATALOG)).into())
    }),
    // Functions of modules are called with the module's name, yet `\df` must list them.
    ("pg_function_is_visible", "bool", |_, _| Ok(true.into())),
    ("format_type", "text", |_, args| {
        let modifier = int(args, 1).and_then(|modifier| i32::try_from(modifier).ok());
        let oid = int(args, 0).and_then(|oid| u32::try_from(oid).ok());
        Ok(oid.map(|oid| format_type(oid, modifier)).into())
    }),
    ("obj_description", "text", |facts, args| {
        let of_relation = args.get(1).is_none_or(|class| class.text() == Some("pg_class"));
        let object = int(args, 0).filter(|_| of_relation).and_then(|oid| facts.object(oid));
        Ok(object.map(|o| o.kind.noun()).into())
    }),
    ("pg_relation_is_publishable", "bool", |_, _| Ok(false.into())),
    ("pg_relation_is_updatable", "int4", |facts, args| {
        let table = int(args, 0).and_then(|oid| facts.object(oid));
        let (insert, update, delete) = (1 << 3, 1 << 2, 1 << 4);
        Ok(Cell::Int(match table.map(|o| &o.kind) {
            Some(ObjectKind::Stream { .. }) => insert,
            Some(ObjectKind::Table { .. }) => insert | update | delete,
            _ => 0,
        }))
    }),
];

/// The text that makes a thing.
const DEFINITIONS: &[Definition] = &[
    ("pg_get_viewdef", "text", |facts, args| {
        let oid = int(args, 0).or_else(|| names::oid_named(facts, "regclass", text(args, 0)));
        let view = oid.and_then(|oid| facts.object(oid)).filter(|o| matches!(o.kind, ObjectKind::View { .. }));
        Ok(view.map(|o| o.definition.clone()).into())
    }),
    ("pg_get_indexdef", "text", |facts, args| {
        let Some(key) = int(args, 0).and_then(|oid| facts.key_by_index(oid)) else { return Ok(Cell::Null) };
        let column = int(args, 1).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        Ok(match column {
            Some(number) => key.columns().get(number - 1).map(|c| names::quote_ident(c)).into(),
            None => names::index_definition(&key).into(),
        })
    }),
    ("pg_get_constraintdef", "text", |facts, args| {
        let key = facts.keys().into_iter().find(|key| Some(i64::from(key.constraint)) == int(args, 0));
        Ok(key.map(|key| names::constraint_definition(&key)).into())
    }),
    ("pg_get_function_result", "text", |facts, args| {
        let function = int(args, 0).and_then(|oid| facts.function(oid));
        Ok(function.map(|f| format_type(oid_of_type(&f.signature.returns), None)).into())
    }),
    ("pg_get_function_arguments", "text", function_arguments),
    ("pg_get_function_identity_arguments", "text", function_arguments),
    ("pg_get_functiondef", "text", |facts, args| {
        let Some(function) = int(args, 0).and_then(|oid| facts.function(oid)) else { return Ok(Cell::Null) };
        let name = names::name_of(facts, "regproc", i64::from(function.oid));
        let returns = format_type(oid_of_type(&function.signature.returns), None);
        let arguments = function_arguments(facts, args)?;
        let arguments = arguments.text().unwrap_or_default();
        Ok(format!("CREATE OR REPLACE FUNCTION {name}({arguments})\n RETURNS {returns}\n LANGUAGE wasm\n").into())
    }),
];

/// True of everything there is: one role, one search path.
const TRUE_OF_ALL: &[Definition] = &[
    ("has_any_column_privilege", "bool", yes),
    ("has_column_privilege", "bool", yes),
    ("has_database_privilege", "bool", yes),
    ("has_function_privilege", "bool", yes),
    ("has_language_privilege", "bool", yes),
    ("has_schema_privilege", "bool", yes),
    ("has_sequence_privilege", "bool", yes),
    ("has_table_privilege", "bool", yes),
    ("has_tablespace_privilege", "bool", yes),
    ("has_type_privilege", "bool", yes),
    ("pg_has_role", "bool", yes),
    ("row_security_active", "bool", |_, _| Ok(false.into())),
    ("pg_collation_is_visible", "bool", yes),
    ("pg_conversion_is_visible", "bool", yes),
    ("pg_opclass_is_visible", "bool", yes),
    ("pg_operator_is_visible", "bool", yes),
    ("pg_opfamily_is_visible", "bool", yes),
    ("pg_statistics_obj_is_visible", "bool", yes),
    ("pg_ts_config_is_visible", "bool", yes),
    ("pg_ts_dict_is_visible", "bool", yes),
    ("pg_ts_parser_is_visible", "bool", yes),
    ("pg_ts_template_is_visible", "bool", yes),
    ("pg_type_is_visible", "bool", yes),
];

/// Asked for by clients; what they ask about does not exist or is not known here.
const NOTHING: &[Definition] = &[
    ("col_description", "text", null),
    ("inet_client_addr", "text", null),
    ("inet_client_port", "int4", null),
    ("inet_server_addr", "text", null),
    ("inet_server_port", "int4", null),
    ("pg_database_size", "int8", null),
    ("pg_event_trigger_ddl_commands", "text", null),
    ("pg_get_function_arg_default", "text", null),
    ("pg_get_function_sqlbody", "text", null),
    ("pg_get_partition_constraintdef", "text", null),
    ("pg_get_partkeydef", "text", null),
    ("pg_get_ruledef", "text", null),
    ("pg_get_serial_sequence", "text", null),
    ("pg_get_statisticsobjdef", "text", null),
    ("pg_get_statisticsobjdef_columns", "text", null),
    ("pg_get_triggerdef", "text", null),
    ("pg_indexes_size", "int8", null),
    ("pg_last_xact_replay_timestamp", "timestamptz", null),
    ("pg_postmaster_start_time", "timestamptz", null),
    ("pg_conf_load_time", "timestamptz", null),
    ("pg_relation_filenode", "oid", null),
    ("pg_relation_size", "int8", null),
    ("pg_stat_get_numscans", "int8", null),
    ("pg_table_size", "int8", null),
    ("pg_tablespace_location", "text", null),
    ("pg_tablespace_size", "int8", null),
    ("pg_total_relation_size", "int8", null),
    ("shobj_description", "text", null),
];

fn user(facts: &Facts, _: &[Cell]) -> Result<Cell> {
    Ok(facts.session.user.clone().into())
}

fn yes(_: &Facts, _: &[Cell]) -> Result<Cell> {
    Ok(true.into())
}

fn null(_: &Facts, _: &[Cell]) -> Result<Cell> {
    Ok(Cell::Null)
}

/// `current_setting(name [, missing_ok])`; names are not case-sensitive.
fn current_setting(facts: &Facts, args: &[Cell]) -> Result<Cell> {
    let name = text(args, 0);
    let found = facts.session.settings.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name));
    match (found, name.to_ascii_lowercase().as_str()) {
        (Some((_, value, _)), _) => Ok(value.clone().into()),
        (None, "server_version_num") => Ok("150000".into()),
        (None, "server_version") => Ok("15.0".into()),
        (None, "max_index_keys") => Ok("32".into()),
        (None, "search_path") => Ok("public".into()),
        (None, "server_encoding") => Ok("UTF8".into()),
        _ if args.get(1) == Some(&Cell::Bool(true)) => Ok(Cell::Null),
        _ => Err(Error::new("42704", format!("unrecognized configuration parameter \"{name}\"")).into()),
    }
}

fn function_arguments(facts: &Facts, args: &[Cell]) -> Result<Cell> {
    let function = int(args, 0).and_then(|oid| facts.function(oid));
    let argument = |(name, data_type): &(String, DataType)| {
        format!("{} {}", names::quote_ident(name), format_type(oid_of_type(data_type), None))
    };
    Ok(function.map(|f| f.signature.parameters.iter().map(argument).collect::<Vec<_>>().join(", ")).into())
}

pub(super) fn int(args: &[Cell], at: usize) -> Option<i64> {
    args.get(at).and_then(Cell::int)
}

pub(super) fn text(args: &[Cell], at: usize) -> &str {
    args.get(at).and_then(Cell::text).unwrap_or_default()
}

/// One of the functions above, bound to a session's catalog.
struct CatalogFunction {
    name: &'static str,
    returns: &'static str,
    strict: bool,
    body: Body,
    facts: Arc<Facts>,
    signature: Signature,
}

impl CatalogFunction {
    fn new(name: &'static str, returns: &'static str, body: Body, facts: &Arc<Facts>) -> CatalogFunction {
        let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        let signature = Signature::one_of(any, Volatility::Stable);
        let strict = !SEES_NULL.contains(&name);
        CatalogFunction { name, returns, strict, body, facts: Arc::clone(facts), signature }
    }

    fn row(&self, args: &[ArrayRef], row: usize) -> Result<Cell> {
        let cells = args.iter().map(|array| to_cell(array, row)).collect::<Result<Vec<_>>>()?;
        if self.strict && cells.contains(&Cell::Null) { Ok(Cell::Null) } else { (self.body)(&self.facts, &cells) }
    }
}

impl fmt::Debug for CatalogFunction {
    /// The name alone: plans and their errors print it, and the catalog is large.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &CatalogFunction) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.facts, &other.facts)
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(arrow_type(self.returns))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(field(self.name, self.returns)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let cells = (0..rows).map(|row| self.row(&arrays, row)).collect::<Result<Vec<_>>>()?;
        let array = to_array(&arrow_type(self.returns), &cells.iter().collect::<Vec<_>>())?;
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// A list, with an empty one for NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct EmptyIfNull {
    signature: Signature,
}

impl ScalarUDFImpl for EmptyIfNull {
    fn name(&self) -> &str {
        EMPTY_IF_NULL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let list = args.args[0].to_array(args.number_rows)?;
        let DataType::List(item) = list.data_type() else { return Ok(ColumnarValue::Array(list)) };
        let lists = arrow::array::AsArray::as_list::<i32>(&list);
        let (offsets, values) = (lists.offsets().clone(), Arc::clone(lists.values()));
        // The slots of NULL lists are made empty: their offsets may span values.
        let lengths = (0..lists.len()).map(|row| if lists.is_null(row) { 0 } else { offsets[row + 1] - offsets[row] });
        let spans_nothing = lengths.zip(offsets.windows(2)).all(|(length, pair)| pair[1] - pair[0] == length);
        if !spans_nothing {
            return exec_err!("{EMPTY_IF_NULL}: a NULL list holds values");
        }
        let list = arrow::array::ListArray::try_new(Arc::clone(item), offsets, values, None)?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_function_is_defined_twice() {
        let definitions = [SESSION, OBJECTS, DEFINITIONS, TRUE_OF_ALL, NOTHING, text_functions::FUNCTIONS].concat();
        let names: HashSet<&str> = definitions.iter().map(|definition| definition.0).collect();
        assert_eq!(names.len(), definitions.len());
        assert!(SEES_NULL.iter().all(|name| names.contains(name)));
    }
}
