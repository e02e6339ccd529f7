//! Names of result columns as Postgres chooses them: `count(*)` is called `count`, `a + b` is `?column?`.

use crate::rewrite::shown;
use crate::statement::folded;
use crate::types::length_max;
use datafusion::common::DFSchema;
use sqlparser::ast::{DataType, Expr, Query, SelectItem, SetExpr, TrimWhereField};

/// One name per column of `schema`, the schema DataFusion gave to `query`.
pub(crate) fn of_query(query: &Query, schema: &DFSchema) -> Vec<String> {
    let mut names: Vec<String> = schema.fields().iter().map(|f| shown(f.name()).to_owned()).collect();
    let Some(items) = projection(&query.body) else { return names };
    let is_wildcard = |i: &SelectItem| matches!(i, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let wildcards = items.iter().filter(|i| is_wildcard(i)).count();
    // The columns of one `*` are what the other items leave over; of several, nobody knows.
    if wildcards > 1 || (wildcards == 0 && items.len() != names.len()) || items.len() > names.len() + wildcards {
        return names;
    }
    let spread = names.len() + wildcards - items.len();
    let mut at = 0;
    for item in items {
        if is_wildcard(item) {
            at += spread;
            continue;
        }
        if let Some(name) = of_item(item) {
            names[at] = name;
        }
        at += 1;
    }
    names
}

fn projection(body: &SetExpr) -> Option<&[SelectItem]> {
    match body {
        SetExpr::Select(select) => Some(&select.projection),
        SetExpr::Query(query) => projection(&query.body),
        SetExpr::SetOperation { left, .. } => projection(left),
        _ => None,
    }
}

/// The name of an item of a SELECT list; of a wildcard there is none.
pub(crate) fn of_item(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(expr) => Some(of_expr(expr).unwrap_or_else(|| "?column?".to_owned())),
        _ => None,
    }
}

fn of_expr(expr: &Expr) -> Option<String> {
    named(expr).map(|(name, _)| name)
}

/// A name and whether it is better than that of a cast around it (Postgres' `FigureColname`).
fn named(expr: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_owned(), true));
    match expr {
        Expr::Identifier(ident) => strong(&folded(ident)),
        Expr::CompoundIdentifier(parts) => strong(&folded(parts.last()?)),
        Expr::Nested(inner) => named(inner),
        Expr::Function(call) => strong(&folded(call.name.0.last()?.as_ident()?)),
        Expr::Cast { expr, data_type, .. } => named(expr).filter(|(_, strong)| *strong).or_else(|| {
            if length_max(data_type).is_some() && !matches!(data_type, DataType::Char(_) | DataType::Character(_)) {
                return Some(("varchar".to_owned(), false));
            }
            let unscaled = match data_type {
                DataType::Timestamp(_, zone) => &DataType::Timestamp(None, *zone),
                other => other,
            };
            let Ok(known) = crate::types::arrow_type(unscaled) else {
                return other_type_name(data_type).map(|name| (name, false));
            };
            let name = crate::types::name_of(&known);
            Some((short_type_name(name.split('(').next().unwrap_or_default()).to_owned(), false))
        }),
        Expr::TypedString(typed) => {
            let name = crate::types::name_of(&crate::types::arrow_type(&typed.data_type).ok()?);
            Some((short_type_name(&name).to_owned(), false))
        }
        Expr::Interval(_) => Some(("interval".to_owned(), false)),
        Expr::Case { else_result, .. } => {
            let inner = else_result.as_deref().and_then(named).filter(|(_, strong)| *strong);
            inner.or_else(|| Some(("case".to_owned(), false)))
        }
        Expr::CompoundFieldAccess { root, .. } => named(root),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring { shorthand: true, .. } => strong("substr"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Trim { trim_where: Some(TrimWhereField::Leading), .. } => strong("ltrim"),
        Expr::Trim { trim_where: Some(TrimWhereField::Trailing), .. } => strong("rtrim"),
        Expr::Trim { .. } => strong("btrim"),
        Expr::Position { .. } => strong("position"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Exists { .. } => strong("exists"),
        Expr::Subquery(query) => match projection(&query.body)? {
            [item] => of_item(item).filter(|name| name != "?column?").map(|name| (name, true)),
            _ => None,
        },
        Expr::Array(_) => strong("array"),
        _ => None,
    }
}

/// Of a type that has no Arrow twin.
fn other_type_name(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Regclass => Some("regclass".to_owned()),
        DataType::Custom(name, _) => name.0.last()?.as_ident().map(folded),
        _ => None,
    }
}

fn short_type_name(name: &str) -> &str {
    match name {
        "boolean" => "bool",
        "smallint" => "int2",
        "integer" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "double precision" => "float8",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    fn names(select: &str, columns: usize) -> Vec<String> {
        use arrow::datatypes::{DataType, Field, Schema};
        let query = Parser::new(&PostgreSqlDialect {}).try_with_sql(select).unwrap().parse_query().unwrap();
        let fields: Vec<Field> = (0..columns).map(|n| Field::new(format!("c{n}"), DataType::Int64, true)).collect();
        of_query(&query, &DFSchema::try_from(Schema::new(fields)).unwrap())
    }

    #[test]
    fn names_follow_postgres() {
        assert_eq!(names("SELECT count(*), A, t.b, a + 1, a AS \"X\"", 5), ["count", "a", "b", "?column?", "X"]);
        assert_eq!(names("SELECT a::bigint, 1::bigint, CASE WHEN a THEN 1 END", 3), ["a", "int8", "case"]);
        assert_eq!(names("SELECT sum(a), *, m.f(a)", 4), ["sum", "c1", "c2", "f"]);
        assert_eq!(names("SELECT *, *", 4), ["c0", "c1", "c2", "c3"]);
        assert_eq!(names("SELECT max(a) UNION SELECT 1", 1), ["max"]);
        assert_eq!(names("SELECT (SELECT max(a) FROM t), 't'::regclass", 2), ["max", "regclass"]);
    }
}
