//! What statements say that ask about the database, in words that the planner knows.
//!
//! Applied to statements that name a relation of the system catalogs or a type whose values are OIDs ([`is_asked`]), and
//! to no others, because `json` is text here and a relation may be folded away. Each rule keeps the meaning over the
//! relations of this room:
//!
//! ```text
//! pg_class, pg_get_keywords()           pg_catalog.pg_class, pg_catalog.pg_get_keywords
//! x::regclass, x::regclass::text        pg_name_to_oid('regclass', x), pg_oid_to_name('regclass', …)
//! x::name, x::pg_catalog.int4           x::text, x::integer
//! (_pg_expandarray(k)).n, (r.keys).x    unnest(pg_subscripts(k)), r.keys
//! c.tableoid                            the relation's OID
//! ```
//!
//! What reads a relation that is always empty is folded away first: see [`super::fold`]. Subqueries, arrays and the names
//! of columns are the same in all statements: see [`crate::rewrite`].

use super::fold;
use super::functions::{NAME_TO_OID, OID_TO_NAME};
use super::relation::{Relation, relation};
use super::text_functions::SUBSCRIPTS;
use crate::rewrite::build::{arguments, call, cast, number, text, unqualified};
use crate::walk::{walk, walk_mut};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, DataType, Expr, Function, Ident, ObjectName, SelectItem, SetExpr, Statement,
    TableFactor, TimezoneInfo, Value, Visitor, VisitorMut,
};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// Whether a statement names a relation or function of the system catalogs, or a type whose values are OIDs.
pub fn is_asked(statement: &Statement) -> bool {
    struct Asked(HashSet<String>);
    impl Visitor for Asked {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            match factor {
                TableFactor::Table { name, .. }
                    if in_information_schema(name) || catalog_relation(name, &self.0).is_some() =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let asked = match expr {
                Expr::Cast { data_type, .. } => has_oids(data_type),
                Expr::Function(function) => in_information_schema(&function.name),
                _ => false,
            };
            if asked { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    walk(statement, &mut Asked(fold::common_tables(statement))).is_break()
}

fn in_information_schema(name: &ObjectName) -> bool {
    name.0.len() > 1 && unqualified(name, "information_schema").is_some()
}

/// An OID type, or an array of one.
fn has_oids(data_type: &DataType) -> bool {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => has_oids(element),
        other => oid_type(other).is_some(),
    }
}

/// Makes a statement that reads the system catalogs plannable. `is_aggregate` knows functions by their names.
pub fn rewrite(statement: &mut Statement, is_aggregate: &dyn Fn(&str) -> bool) {
    fold::fold_empty(statement, is_aggregate);
    let common = fold::common_tables(statement);
    let relations = known_relations(statement, &common);
    let _ = walk_mut(statement, &mut Rewriter { common, relations });
    if let Statement::Query(query) = statement {
        show_names(&mut query.body);
    }
}

struct Rewriter {
    /// Names of WITH queries, which hide relations.
    common: HashSet<String>,
    /// OID of each catalog relation in any FROM, by its alias or name there, for `tableoid`.
    relations: HashMap<String, u32>,
}

fn known_relations(statement: &Statement, common: &HashSet<String>) -> HashMap<String, u32> {
    struct Relations<'a>(HashMap<String, u32>, &'a HashSet<String>);
    impl Visitor for Relations<'_> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, alias, .. } = factor
                && let Some(relation) = catalog_relation(name, self.1)
            {
                let known_as = alias.as_ref().map_or(relation.name, |alias| &alias.name.value);
                self.0.insert(known_as.to_string(), relation.oid);
            }
            ControlFlow::Continue(())
        }
    }
    let mut relations = Relations(HashMap::new(), common);
    let _ = walk(statement, &mut relations);
    relations.0
}

/// The relation of `pg_catalog` that a name in FROM means.
fn catalog_relation(name: &ObjectName, common: &HashSet<String>) -> Option<&'static Relation> {
    let bare = unqualified(name, "pg_catalog")?;
    relation("pg_catalog", &bare).filter(|_| name.0.len() > 1 || !common.contains(&bare))
}

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args, .. } = factor
            && let Some(relation) = catalog_relation(name, &self.common)
        {
            *name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new(relation.name)]);
            // `pg_get_keywords()` is a relation here.
            *args = None;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(new) = self.rewritten(expr) {
            *expr = new;
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter {
    fn rewritten(&self, expr: &mut Expr) -> Option<Expr> {
        match expr {
            Expr::Cast { expr: inner, data_type, .. } => rewrite_cast(inner, data_type),
            Expr::Function(function) => rewrite_function(function),
            Expr::CompoundFieldAccess { root, access_chain } => expanded_array_field(root, access_chain),
            Expr::CompoundIdentifier(parts) => self.table_oid(parts),
            _ => None,
        }
    }

    /// `c.tableoid`: the OID of the relation that `c` stands for.
    fn table_oid(&self, parts: &[Ident]) -> Option<Expr> {
        let [table, column] = parts else { return None };
        let oid = self.relations.get(&table.value).filter(|_| column.value.eq_ignore_ascii_case("tableoid"))?;
        Some(number(*oid))
    }
}

/// Casts to types that DataFusion does not know. Children have been rewritten already, so `x::regclass::text` meets
/// here as a cast of [`NAME_TO_OID`].
fn rewrite_cast(inner: &mut Expr, data_type: &mut DataType) -> Option<Expr> {
    if let Some(pg_type) = oid_type(data_type) {
        let typed = match inner {
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => cast(inner.clone(), DataType::Text),
            _ => inner.clone(),
        };
        return Some(call(NAME_TO_OID, vec![text(&pg_type), typed]));
    }
    if let Some(known) = known_type(data_type) {
        *data_type = known;
    }
    if let Some((pg_type, _)) = name_to_oid(inner).filter(|(kind, _)| is_text(data_type) && kind != "oid") {
        return Some(call(OID_TO_NAME, vec![text(&pg_type), inner.clone()]));
    }
    None
}

/// The type's name if its values are OIDs that are written as names.
fn oid_type(data_type: &DataType) -> Option<String> {
    if matches!(data_type, DataType::Regclass) {
        return Some("regclass".into());
    }
    let DataType::Custom(name, _) = data_type else { return None };
    let name = unqualified(name, "pg_catalog")?;
    let known = ["oid", "regclass", "regtype", "regproc", "regprocedure", "regnamespace", "regrole"];
    let other = ["regoper", "regoperator", "regcollation", "regconfig", "regdictionary"];
    (known.contains(&name.as_str()) || other.contains(&name.as_str())).then_some(name)
}

/// What a type of `pg_catalog` or `information_schema` is called in standard SQL.
fn known_type(data_type: &DataType) -> Option<DataType> {
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(element, size)) = data_type {
        let element = match known_type(element) {
            Some(element) => element,
            None => oid_type(element).map(|_| DataType::BigInt(None))?,
        };
        return Some(DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), *size)));
    }
    let DataType::Custom(name, _) = data_type else { return None };
    let bare = unqualified(name, "pg_catalog").or_else(|| unqualified(name, "information_schema"))?;
    Some(match bare.as_str() {
        "text" | "name" | "char" | "bpchar" | "varchar" | "cstring" | "unknown" | "sql_identifier"
        | "character_data" | "yes_or_no" | "json" | "jsonb" | "uuid" | "inet" | "aclitem" | "pg_node_tree" => {
            DataType::Text
        }
        "int2" => DataType::SmallInt(None),
        "int4" | "cardinal_number" => DataType::Integer(None),
        "int8" | "xid" => DataType::BigInt(None),
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        "bool" => DataType::Boolean,
        "bytea" => DataType::Bytea,
        "date" => DataType::Date,
        "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
        "timestamptz" => DataType::Timestamp(None, TimezoneInfo::Tz),
        _ => return None,
    })
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_))
}

/// Type and operand of a call of [`NAME_TO_OID`].
fn name_to_oid(expr: &Expr) -> Option<(String, &Expr)> {
    let Expr::Function(function) = expr else { return None };
    if function.name.to_string() != NAME_TO_OID {
        return None;
    }
    match arguments(function).as_slice() {
        [Expr::Value(kind), _] => Some((kind.value.clone().into_string()?, expr)),
        _ => None,
    }
}

fn rewrite_function(function: &mut Function) -> Option<Expr> {
    let name =
        unqualified(&function.name, "pg_catalog").or_else(|| unqualified(&function.name, "information_schema"))?;
    if function.name.0.len() > 1 {
        function.name = ObjectName::from(vec![Ident::new(&name)]);
    }
    let first = arguments(function).first().map(|arg| (*arg).clone());
    match (name.as_str(), first) {
        ("generate_subscripts", Some(array)) => Some(subscripts(array)),
        ("_pg_expandarray", Some(array)) => Some(call("unnest", vec![array])),
        _ => None,
    }
}

fn subscripts(array: Expr) -> Expr {
    call("unnest", vec![call(SUBSCRIPTS, vec![array, number(1)])])
}

/// `(_pg_expandarray(k)).n` is the place of each element of `k`; `(result.keys).x` the element.
fn expanded_array_field(root: &Expr, access: &[AccessExpr]) -> Option<Expr> {
    let [AccessExpr::Dot(Expr::Identifier(field))] = access else { return None };
    let root = if let Expr::Nested(root) = root { root } else { root };
    match (root, field.value.to_lowercase().as_str()) {
        // The call has become `unnest(k)` on the way up.
        (Expr::Function(unnest), "n") if unnest.name.to_string() == "unnest" => {
            arguments(unnest).first().map(|array| subscripts((*array).clone()))
        }
        (Expr::Function(_) | Expr::CompoundIdentifier(_) | Expr::Identifier(_), "x") => Some(root.clone()),
        _ => None,
    }
}

/// In the rows a client gets, a `regclass` reads as a name.
fn show_names(body: &mut SetExpr) {
    match body {
        SetExpr::Query(query) => show_names(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            show_names(left);
            show_names(right);
        }
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
                if let Some((kind, _)) = name_to_oid(expr).filter(|(kind, _)| kind != "oid") {
                    *expr = call(OID_TO_NAME, vec![text(&kind), expr.clone()]);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn parsed(sql: &str) -> Statement {
        Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0)
    }

    #[test]
    fn each_rule_keeps_the_meaning() {
        for (before, after) in [
            ("SELECT oid FROM pg_class", "SELECT oid FROM pg_catalog.pg_class"),
            (
                "SELECT oid FROM pg_class WHERE oid = 'bids'::regclass::oid",
                "SELECT oid FROM pg_catalog.pg_class WHERE oid = pg_name_to_oid('oid', pg_name_to_oid('regclass', 'bids'))",
            ),
            (
                "SELECT conrelid::regclass::text AS t FROM pg_constraint",
                "SELECT pg_oid_to_name('regclass', pg_name_to_oid('regclass', conrelid)) AS t \
                 FROM pg_catalog.pg_constraint",
            ),
            ("SELECT 'x'::\"char\" AS c, 'y'::pg_catalog.name AS n", "SELECT 'x'::TEXT AS c, 'y'::TEXT AS n"),
            (
                "WITH pg_class AS (SELECT 1 AS a) SELECT a FROM pg_class",
                "WITH pg_class AS (SELECT 1 AS a) SELECT a FROM pg_class",
            ),
        ] {
            let mut statement = parsed(before);
            rewrite(&mut statement, &|_| false);
            assert_eq!(statement.to_string(), after);
        }
    }

    #[test]
    fn other_statements_do_not_ask() {
        for sql in [
            "SELECT 'x'::uuid, t.* FROM t",
            "SELECT pg_backend_pid() FROM public.pg_cls",
            "WITH pg_class AS (SELECT 1 AS a) SELECT a FROM pg_class",
        ] {
            assert!(!is_asked(&parsed(sql)), "{sql}");
        }
        for sql in [
            "SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM pg_class)",
            "SELECT 't'::regclass",
            "SELECT $1::oid[]",
            "SELECT * FROM information_schema.tables",
        ] {
            assert!(is_asked(&parsed(sql)), "{sql}");
        }
    }
}
