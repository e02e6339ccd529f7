//! Types that must agree, decided as Postgres decides: the analyzer rule before type coercion.
//!
//! - An untyped literal takes the type of what it stands beside: `d < '2020-01-01'` compares dates, and a literal that is
//!   no date is a fault of the statement (DataFusion may compare both as text).
//! - Operands of different kinds are not compared (42883), results of CASE, COALESCE and UNION of different kinds have no
//!   common type (42804): `text = 5` would compare texts, or fail at the first row that is no number.
//! - Conditions are boolean (42804).
//!
//! Within a kind (all numbers; dates and timestamps) type coercion finds the common type.

use super::cast::to_type;
use super::same::nullable_subquery;
use crate::error::Error;
use crate::function::ModuleFunction;
use crate::types::name_of;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::{Between, InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator, Projection, Union};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Agreement;

impl AnalyzerRule for Agreement {
    fn name(&self) -> &str {
        "types_agree"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(node)?.data)
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Union(union) = plan {
        return Ok(Transformed::yes(LogicalPlan::Union(union_of_one_type(union)?)));
    }
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(expr.transform_up(|e| expression(e, &schema))?.update_data(|e| name.restore(e)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

fn expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => compared(binary, schema),
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => connected(binary, schema),
        Expr::Not(operand) => Ok(Transformed::yes(Expr::Not(Box::new(condition(*operand, "NOT", schema)?)))),
        Expr::InList(list) => in_list(list, schema),
        Expr::Between(between) => bounded(between, schema),
        Expr::InSubquery(subquery) => in_subquery(subquery, schema),
        Expr::ScalarSubquery(subquery) => Ok(Transformed::yes(nullable_subquery(subquery)?)),
        Expr::Case(case) => chosen(case, schema),
        Expr::ScalarFunction(call) if matches!(call.func.name(), "coalesce" | "greatest" | "least") => {
            first_of(call, schema)
        }
        Expr::ScalarFunction(call) if call.func.inner().is::<ModuleFunction>() => called(call, schema),
        Expr::AggregateFunction(call) if call.func.name() == "count" && call.params.args.len() > 1 => {
            let types = call.params.args.iter().filter_map(|argument| argument.get_type(schema).ok());
            let types: Vec<String> = types.map(|data_type| name_of(&data_type)).collect();
            Err(Error::new("42883", format!("function count({}) does not exist", types.join(", ")))
                .with_hint("count takes one value: count(DISTINCT (a || b)) counts pairs.")
                .into())
        }
        Expr::AggregateFunction(mut call) if call.params.filter.is_some() => {
            call.params.filter = match call.params.filter {
                Some(filter) => Some(Box::new(condition(*filter, "FILTER", schema)?)),
                None => None,
            };
            Ok(Transformed::yes(Expr::AggregateFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_comparison(operator: Operator) -> bool {
    use Operator as O;
    matches!(operator, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::IsDistinctFrom | O::IsNotDistinctFrom)
}

/// Types that have a common one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Boolean,
    /// Dates and timestamps.
    Day,
    Time,
    Interval,
    Bytes,
    List,
}

/// `None`: of no kind (NULL), or of one that is left to type coercion.
fn kind(data_type: &DataType) -> Option<Kind> {
    use DataType as T;
    match data_type {
        T::Utf8 | T::LargeUtf8 | T::Utf8View => Some(Kind::Text),
        T::Boolean => Some(Kind::Boolean),
        T::Date32 | T::Timestamp(..) => Some(Kind::Day),
        T::Time64(_) => Some(Kind::Time),
        T::Interval(_) | T::Duration(_) => Some(Kind::Interval),
        T::Binary | T::LargeBinary | T::BinaryView => Some(Kind::Bytes),
        T::List(_) | T::LargeList(_) | T::FixedSizeList(..) => Some(Kind::List),
        other if other.is_numeric() => Some(Kind::Number),
        _ => None,
    }
}

/// `None` for types that cannot be told yet (a parameter without one).
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    expr.get_type(schema).ok().filter(|data_type| kind(data_type).is_some())
}

/// The text of a literal without a type.
pub(super) fn untyped(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) => Some(text),
        _ => None,
    }
}

/// An untyped literal as `to`, if it is one and `to` is not text.
fn typed(expr: Expr, to: &DataType) -> Result<Expr> {
    let Some(text) = untyped(&expr).filter(|_| kind(to) != Some(Kind::Text)) else { return Ok(expr) };
    let to = match to {
        // `numeric` without digits of its own: it takes those of the literal.
        DataType::Decimal128(..) => &DataType::Decimal128(38, digits_after_point(text)),
        other => other,
    };
    let value = to_type(&ScalarValue::from(text).to_array_of_size(1)?, to)?;
    Ok(Expr::Literal(ScalarValue::try_from_array(&value, 0)?, None))
}

/// Of a number as it is written, also with an exponent; at most what 38 digits leave.
fn digits_after_point(text: &str) -> i8 {
    let text = text.trim();
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exponent = exponent.parse::<i64>().unwrap_or(0);
    let whole = (whole.trim_start_matches(['-', '+', '0']).len() as i64 + exponent).clamp(0, 38);
    (fraction.len() as i64 - exponent).clamp(0, 38 - whole) as i8
}

/// Both operands, an untyped one in the type of the other.
///
/// # Errors
/// 42883 for operands of different kinds.
fn comparable(left: Expr, operator: &str, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    let (Some(left_type), Some(right_type)) = (type_of(&left, schema), type_of(&right, schema)) else {
        return Ok((left, right));
    };
    if kind(&left_type) == kind(&right_type) {
        return Ok((left, right));
    }
    if untyped(&left).is_some() || untyped(&right).is_some() {
        return Ok((typed(left, &right_type)?, typed(right, &left_type)?));
    }
    let message = format!("operator does not exist: {} {operator} {}", name_of(&left_type), name_of(&right_type));
    Err(Error::new("42883", message)
        .with_hint("No operator matches the given argument types. You might need to add explicit type casts.")
        .into())
}

fn compared(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let operator = match binary.op {
        Operator::NotEq => "<>".to_owned(),
        Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => "=".to_owned(),
        other => other.to_string(),
    };
    let (left, right) = comparable(*binary.left, &operator, *binary.right, schema)?;
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), binary.op, Box::new(right)))))
}

fn connected(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let place = if binary.op == Operator::And { "AND" } else { "OR" };
    let (left, right) = (condition(*binary.left, place, schema)?, condition(*binary.right, place, schema)?);
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), binary.op, Box::new(right)))))
}

/// A chain of AND and OR is asked at each of its links: a link is boolean without asking what is below it.
fn condition(expr: Expr, place: &str, schema: &DFSchema) -> Result<Expr> {
    if matches!(&expr, Expr::BinaryExpr(b) if is_comparison(b.op) || matches!(b.op, Operator::And | Operator::Or)) {
        return Ok(expr);
    }
    match type_of(&expr, schema) {
        Some(DataType::Boolean) | None => Ok(expr),
        Some(_) if untyped(&expr).is_some() => typed(expr, &DataType::Boolean),
        Some(other) => Err(not_boolean(place, &name_of(&other)).into()),
    }
}

/// What stands at `place` is of the type `found`.
pub(crate) fn not_boolean(place: &str, found: &str) -> Error {
    Error::new("42804", format!("argument of {place} must be type boolean, not type {found}"))
}

fn in_list(list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut value = *list.expr;
    let mut items = Vec::with_capacity(list.list.len());
    for item in list.list {
        let (left, right) = comparable(value, "=", item, schema)?;
        value = left;
        items.push(right);
    }
    Ok(Transformed::yes(Expr::InList(InList::new(Box::new(value), items, list.negated))))
}

fn bounded(between: Between, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (value, low) = comparable(*between.expr, ">=", *between.low, schema)?;
    let (value, high) = comparable(value, "<=", *between.high, schema)?;
    let between = Between::new(Box::new(value), between.negated, Box::new(low), Box::new(high));
    Ok(Transformed::yes(Expr::Between(between)))
}

fn in_subquery(mut subquery: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let found = subquery.subquery.subquery.schema().fields().first().map(|field| field.data_type().clone());
    if let Some(found) = found.filter(|data_type| kind(data_type).is_some()) {
        let row = Expr::Literal(ScalarValue::try_new_null(&found)?, None);
        (*subquery.expr, _) = comparable(std::mem::take(&mut subquery.expr), "=", row, schema)?;
    }
    Ok(Transformed::yes(Expr::InSubquery(subquery)))
}

fn chosen(mut case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    for (when, _) in &mut case.when_then_expr {
        let asked = std::mem::take(when.as_mut());
        match &mut case.expr {
            Some(value) => {
                let (left, right) = comparable(std::mem::take(value.as_mut()), "=", asked, schema)?;
                (**value, **when) = (left, right);
            }
            None => **when = condition(asked, "CASE/WHEN", schema)?,
        }
    }
    let mut results: Vec<&mut Expr> = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut()).collect();
    results.extend(case.else_expr.as_deref_mut());
    of_one_type(results, "CASE", schema)?;
    Ok(Transformed::yes(Expr::Case(case)))
}

fn first_of(mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let name = call.func.name().to_uppercase();
    of_one_type(call.args.iter_mut().collect(), &name, schema)?;
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}

/// A module's function takes untyped literals as what its parameters are, but no other text.
fn called(mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let function = call.func.clone();
    let Some(function) = function.inner().downcast_ref::<ModuleFunction>() else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    for (argument, wanted) in call.args.iter_mut().zip(function.parameters()) {
        *argument = typed(std::mem::take(argument), wanted)?;
    }
    let given = call.args.iter().map(|argument| argument.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let is_text = |data_type: &DataType| kind(data_type) == Some(Kind::Text);
    if given.iter().zip(function.parameters()).any(|(given, wanted)| is_text(given) && !is_text(wanted)) {
        return Err(function.mismatch(&given).into());
    }
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}

/// Gives the untyped literals among `values` the type of the others.
///
/// # Errors
/// 42804 if those are of different kinds.
fn of_one_type(values: Vec<&mut Expr>, place: &str, schema: &DFSchema) -> Result<()> {
    let known = values.iter().filter(|value| untyped(value).is_none()).filter_map(|value| type_of(value, schema));
    let Some(wanted) = common_type(known, place)? else { return Ok(()) };
    for value in values {
        *value = typed(std::mem::take(value), &wanted)?;
    }
    Ok(())
}

/// `None` without a type.
fn common_type(types: impl Iterator<Item = DataType>, place: &str) -> crate::Result<Option<DataType>> {
    let mut wanted: Option<DataType> = None;
    for data_type in types {
        wanted = match wanted {
            None => Some(data_type),
            Some(wanted) if kind(&wanted) != kind(&data_type) => {
                let (one, other) = (name_of(&wanted), name_of(&data_type));
                return Err(Error::new("42804", format!("{place} types {one} and {other} cannot be matched")));
            }
            Some(wanted) => Some(type_union_coercion(&wanted, &data_type).unwrap_or(wanted)),
        };
    }
    Ok(wanted)
}

fn union_of_one_type(union: Union) -> Result<Union> {
    let width = union.schema.fields().len();
    let mut inputs = union.inputs;
    for column in 0..width {
        let known = inputs.iter().filter(|input| !is_untyped(input, column)).filter_map(|input| {
            let data_type = input.schema().fields().get(column)?.data_type();
            kind(data_type).map(|_| data_type.clone())
        });
        let Some(wanted) = common_type(known, "UNION")? else { continue };
        for input in inputs.iter_mut().filter(|input| is_untyped(input, column)) {
            *input = Arc::new(typed_column(Arc::unwrap_or_clone(input.clone()), column, &wanted)?);
        }
    }
    Union::try_new_with_loose_types(inputs)
}

/// Whether a column is an untyped literal, in all the rows of a UNION.
fn is_untyped(plan: &LogicalPlan, column: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.get(column).is_some_and(|expr| untyped(unaliased(expr)).is_some())
        }
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_untyped(input, column)),
        _ => false,
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn typed_column(plan: LogicalPlan, column: usize, to: &DataType) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Projection(mut projection) => {
            if let Some(expr) = projection.expr.get_mut(column) {
                *expr = std::mem::take(expr).transform_up(|e| Ok(Transformed::yes(typed(e, to)?)))?.data;
            }
            Ok(LogicalPlan::Projection(Projection::try_new(projection.expr, projection.input)?))
        }
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.into_iter();
            let typed = inputs.map(|input| Ok(Arc::new(typed_column(Arc::unwrap_or_clone(input), column, to)?)));
            Ok(LogicalPlan::Union(Union::try_new_with_loose_types(typed.collect::<Result<_>>()?)?))
        }
        other => Ok(other),
    }
}
