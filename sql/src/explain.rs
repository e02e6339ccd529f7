//! EXPLAIN: what a query reads, and how; of CREATE MATERIALIZED VIEW the incremental plan as indented text.

use crate::key_lookup::keys;
use crate::relation::WITH_SYSTEM_COLUMNS;
use crate::rewrite::text_shown;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use millpond_engine::catalog::{Catalog, ObjectKind};
use millpond_engine::plan::{Aggregate, Expr, Plan};

/// One line per operator, inputs indented below it; then what the view's rows are like.
pub(crate) fn plan_lines(plan: &Plan, catalog: &Catalog) -> Vec<String> {
    let mut lines = Vec::new();
    node(plan, catalog, 0, &mut lines);
    let append_only = plan.is_append_only(&|id| match catalog.by_id(id).map(|o| &o.kind) {
        Some(ObjectKind::Stream { .. }) => true,
        Some(ObjectKind::View { append_only, .. }) => *append_only,
        _ => false,
    });
    lines.push(if append_only { "append-only: rows are never taken back" } else { "rows may be replaced" }.to_owned());
    lines
}

fn name_of(scanned: &str) -> &str {
    scanned.strip_suffix(WITH_SYSTEM_COLUMNS).unwrap_or(scanned)
}

/// One line for each relation that an optimised query reads: the operators of its physical plan do not name them.
pub(crate) fn read_lines(plan: &LogicalPlan, catalog: &Catalog) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(object) = catalog.get(name_of(scan.table_name.table()))
        {
            let how = match keys(object, &scan.filters) {
                Some(keys) => format!(" by primary key: {} of its keys", keys.rows),
                None => String::new(),
            };
            lines.push(format!("reads {} {}{how}", object.kind.noun(), object.name));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(lines)
}

fn node(plan: &Plan, catalog: &Catalog, depth: usize, lines: &mut Vec<String>) {
    let text = match plan {
        Plan::Input { object, schema, .. } => {
            let name = catalog.by_id(*object).map_or_else(|| object.to_string(), |o| o.name.clone());
            let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            format!("input {name} ({})", columns.join(", "))
        }
        Plan::Filter { predicate, .. } => format!("filter {predicate}"),
        Plan::Project { exprs, .. } => format!("project {}", list(exprs)),
        Plan::UnionAll { .. } => "union all".to_owned(),
        Plan::Join { kind, on, filter, null_equals_null, .. } => {
            let operator = if *null_equals_null { "is not distinct from" } else { "=" };
            let keys: Vec<String> = on.iter().map(|(l, r)| format!("{l} {operator} {r}")).collect();
            let filter = filter.as_ref().map(|f| format!(" filter {f}")).unwrap_or_default();
            let keys = if keys.is_empty() { "of all rows".to_owned() } else { format!("on {}", keys.join(", ")) };
            format!("{} join {keys}{filter}", format!("{kind:?}").to_lowercase())
        }
        Plan::Aggregate { keys, aggregates, .. } if aggregates.is_empty() => format!("distinct {}", list(keys)),
        Plan::Aggregate { keys, aggregates, .. } => {
            let calls: Vec<String> = aggregates.iter().map(call).collect();
            match keys.is_empty() {
                true => format!("aggregate {}", calls.join(", ")),
                false => format!("aggregate {} by {}", calls.join(", "), list(keys)),
            }
        }
    };
    lines.push(format!("{}{}", "  ".repeat(depth), text_shown(&text)));
    for child in plan.children() {
        node(child, catalog, depth + 1, lines);
    }
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn call(aggregate: &Aggregate) -> String {
    let name = format!("{:?}", aggregate.kind).to_lowercase();
    let argument = aggregate.argument.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string);
    let distinct = if aggregate.distinct { "distinct " } else { "" };
    let filter = aggregate.filter.as_ref().map(|f| format!(" filter ({f})")).unwrap_or_default();
    format!("{name}({distinct}{argument}){filter}")
}
