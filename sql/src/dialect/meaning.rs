//! The analyzer rule that gives operators, casts, comparisons and orders Postgres' values. Types stay as type coercion
//! left them.

use super::arithmetic::{Arithmetic, is_arithmetic, is_checked, negative};
use super::cast::{PostgresCast, check_cast, differs, to_type};
use super::float_extreme::FloatExtreme;
use super::rounding::Rounding;
use super::same::lists_apart;
use super::sort_key::{compares, comparison, has_key, is_interval, key, refused};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::{AggregateFunction, Cast, InList, ScalarFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Case, Distinct, Expr, ExprSchemable, LogicalPlan, ScalarUDF, ScalarUDFImpl, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct PostgresMeaning;

impl AnalyzerRule for PostgresMeaning {
    fn name(&self) -> &str {
        "postgres_meaning"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(node)?.data)
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    check_distinct(&plan)?;
    let groups = matches!(plan, LogicalPlan::Aggregate(_));
    let keyed = groups || matches!(plan, LogicalPlan::Sort(_) | LogicalPlan::Join(_));
    let is_condition = matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::TableScan(_));
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let mut given =
            lists_apart(expr, is_condition)?.transform_data(|e| e.transform_up(|e| expression(e, &schema)))?;
        if keyed {
            given = given.transform_data(|e| keyed_by(e, &schema, groups))?;
        }
        Ok(given.update_data(|e| name.restore(e)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

/// The rows of a relation with an interval among its columns cannot be told from each other.
fn check_distinct(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Distinct(Distinct::All(input))
            if input.schema().fields().iter().any(|f| is_interval(f.data_type())) =>
        {
            Err(refused("DISTINCT"))
        }
        _ => Ok(()),
    }
}

/// What is grouped, sorted or joined by, as its key.
fn keyed_by(expr: Expr, schema: &DFSchema, groups: bool) -> Result<Transformed<Expr>> {
    match expr.get_type(schema) {
        _ if groups && matches!(unaliased(&expr), Expr::AggregateFunction(_) | Expr::GroupingSet(_)) => {
            Ok(Transformed::no(expr))
        }
        Ok(data_type) if groups && is_interval(&data_type) => Err(refused("GROUP BY")),
        Ok(data_type) if has_key(&data_type) => Ok(Transformed::yes(key(expr))),
        _ => Ok(Transformed::no(expr)),
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// The type of an expression. The planner's own way makes a name for every operand on the way, which is as long as the
/// operand; for a chain of operators, whose every link is asked, that is cubic.
fn type_of(expr: &Expr, schema: &DFSchema) -> Result<DataType> {
    if let Expr::ScalarFunction(call) = expr {
        let function = call.func.inner();
        if let Some(cast) = function.downcast_ref::<PostgresCast>() {
            return Ok(cast.to().clone());
        }
        if let Some(operation) = function.downcast_ref::<Arithmetic>() {
            let types = call.args.iter().map(|operand| type_of(operand, schema)).collect::<Result<Vec<_>>>()?;
            return operation.return_type(&types);
        }
    }
    expr.get_type(schema)
}

/// What cannot be typed (a placeholder without a type) is left as it is.
fn expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(binary) => Ok(operator(binary, schema)),
        Expr::Negative(value) => match type_of(&value, schema) {
            Ok(data_type) if is_checked(&data_type) => Ok(Transformed::yes(negative(&data_type, *value)?)),
            _ => Ok(Transformed::no(Expr::Negative(value))),
        },
        Expr::Cast(cast) => postgres_cast(cast, schema),
        Expr::InList(list) => Ok(in_list(list, schema)),
        Expr::InSubquery(ref subquery) if subquery.expr.get_type(schema).is_ok_and(|t| is_interval(&t)) => {
            Err(refused("IN with a subquery"))
        }
        Expr::Case(case) => Ok(simple_case(case, schema)),
        Expr::ScalarFunction(call) => function(call, schema),
        Expr::AggregateFunction(call) => aggregate(call, schema),
        Expr::WindowFunction(call) => window(call, schema),
        other => Ok(Transformed::no(other)),
    }
}

fn operator(binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    let operator = binary.op;
    match (type_of(&binary.left, schema), type_of(&binary.right, schema)) {
        (Ok(left), Ok(right)) if left == right && is_arithmetic(operator) && is_checked(&left) => {
            Transformed::yes(Arithmetic::expr(operator, *binary.left, *binary.right))
        }
        (Ok(left), Ok(right)) if left == right && compares(operator) && has_key(&left) => {
            Transformed::yes(comparison(operator, *binary.left, *binary.right, &left))
        }
        _ => Transformed::no(Expr::BinaryExpr(binary)),
    }
}

fn postgres_cast(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Ok(from) = type_of(&cast.expr, schema) {
        check_cast(&from, cast.field.data_type())?;
    }
    match type_of(&cast.expr, schema) {
        Ok(from) if differs(&from, cast.field.data_type()) => {
            let to = cast.field.data_type().clone();
            match *cast.expr {
                // Read now, as Postgres does: a value that cannot be read is a fault of the statement.
                Expr::Literal(value, metadata) => {
                    let value = to_type(&value.to_array_of_size(1)?, &to)?;
                    Ok(Transformed::yes(Expr::Literal(ScalarValue::try_from_array(&value, 0)?, metadata)))
                }
                value => Ok(Transformed::yes(PostgresCast::expr(value, to))),
            }
        }
        _ => Ok(Transformed::no(Expr::Cast(cast))),
    }
}

fn in_list(list: InList, schema: &DFSchema) -> Transformed<Expr> {
    if !list.expr.get_type(schema).is_ok_and(|t| has_key(&t)) {
        return Transformed::no(Expr::InList(list));
    }
    let items = list.list.into_iter().map(key).collect();
    Transformed::yes(Expr::InList(InList::new(Box::new(key(*list.expr)), items, list.negated)))
}

/// `CASE x WHEN y …` compares.
fn simple_case(mut case: Case, schema: &DFSchema) -> Transformed<Expr> {
    match case.expr.take() {
        Some(value) if value.get_type(schema).is_ok_and(|t| has_key(&t)) => {
            case.expr = Some(Box::new(key(*value)));
            for (when, _) in &mut case.when_then_expr {
                let compared = std::mem::take(when.as_mut());
                **when = key(compared);
            }
            Transformed::yes(Expr::Case(case))
        }
        value => {
            case.expr = value;
            Transformed::no(Expr::Case(case))
        }
    }
}

fn function(mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let compared = matches!(call.func.name(), "nullif" | "greatest" | "least");
    if compared && call.args.iter().any(|a| a.get_type(schema).is_ok_and(|t| is_interval(&t))) {
        return Err(refused(call.func.name()));
    }
    // A constant decides about the scale of the result, what only folds to one must not.
    let open = call.args.len() == 2 && !matches!(call.args[1], Expr::Literal(..));
    match Rounding::keeping_scale(call.func.name()).filter(|_| open) {
        Some(rounding) => {
            call.func = Arc::new(ScalarUDF::from(rounding));
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        None => Ok(Transformed::no(Expr::ScalarFunction(call))),
    }
}

fn aggregate(mut call: AggregateFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let name = call.func.name().to_owned();
    let argument = call.params.args.first().map(|a| a.get_type(schema));
    match argument {
        Some(Ok(data_type)) if is_interval(&data_type) && matches!(name.as_str(), "min" | "max") => Err(refused(&name)),
        Some(Ok(data_type)) if data_type.is_floating() => match FloatExtreme::named(&name) {
            Some(extreme) => {
                call.func = Arc::new(extreme);
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            None => Ok(distinct_count(call, &data_type)),
        },
        Some(Ok(data_type)) => Ok(distinct_count(call, &data_type)),
        _ => Ok(Transformed::no(Expr::AggregateFunction(call))),
    }
}

/// `count(DISTINCT x)` counts keys.
fn distinct_count(mut call: AggregateFunction, data_type: &DataType) -> Transformed<Expr> {
    if !call.params.distinct || call.func.name() != "count" || !has_key(data_type) || call.params.args.len() != 1 {
        return Transformed::no(Expr::AggregateFunction(call));
    }
    call.params.args = call.params.args.into_iter().map(key).collect();
    Transformed::yes(Expr::AggregateFunction(call))
}

fn window(mut call: Box<WindowFunction>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let has_key = |e: &Expr| e.get_type(schema).is_ok_and(|t| has_key(&t));
    if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun
        && let Some(Ok(data_type)) = call.params.args.first().map(|a| a.get_type(schema))
        && matches!(function.name(), "min" | "max")
    {
        if is_interval(&data_type) {
            return Err(refused(function.name()));
        }
        if let Some(extreme) = FloatExtreme::named(function.name()).filter(|_| data_type.is_floating()) {
            call.fun = WindowFunctionDefinition::AggregateUDF(Arc::new(extreme));
        }
    }
    for expr in call.params.partition_by.iter_mut().filter(|e| has_key(e)) {
        *expr = key(std::mem::take(expr));
    }
    for sort in call.params.order_by.iter_mut().filter(|sort| has_key(&sort.expr)) {
        sort.expr = key(std::mem::take(&mut sort.expr));
    }
    Ok(Transformed::yes(Expr::WindowFunction(call)))
}
