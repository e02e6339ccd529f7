//! Postgres' constructs that DataFusion cannot plan, turned into ones that it can.
//!
//! Applied to statements that read the system catalogs, before planning. Each rule keeps the meaning over the
//! relations of this room:
//!
//! ```text
//! pg_class, pg_catalog.f(x)             pg_catalog.pg_class, f(x)
//! a OPERATOR(pg_catalog.~) b COLLATE c  a ~ b
//! x::regclass, x::regclass::text        pg_name_to_oid('regclass', x), pg_oid_to_name('regclass', …)
//! ARRAY(SELECT x FROM …)                pg_empty_if_null((SELECT array_agg(x) FROM …))
//! (SELECT x FROM …)                     (SELECT only_value(x) FROM …): DataFusion decorrelates aggregates only
//! '{a,b}'::text[], = ANY ('{a,b}')      ARRAY['a','b']
//! (_pg_expandarray(k)).n, (r.keys).x    unnest(pg_subscripts(k)), r.keys
//! SELECT f(x), NULL, NULL               SELECT f(x) AS f, NULL AS "?column?", NULL AS "?column?_1"
//! SELECT c.oid, c.*                     SELECT c.oid, c.* EXCEPT (oid)
//! ```
//!
//! What reads a relation that is always empty is folded away first: see [`super::fold`].

use super::fold;
use super::functions::{EMPTY_IF_NULL, NAME_TO_OID, OID_TO_NAME};
use super::relation::{Relation, relation};
use super::text_functions::SUBSCRIPTS;
use crate::dialect::{ONLY_VALUE, is_collation};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Array, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, ExceptSelectItem, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, LimitClause,
    ObjectName, ObjectNamePart, OrderByExpr, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, Statement, TableAlias, TableAliasColumnDef, TableFactor, TimezoneInfo, Value, Visit, VisitMut, Visitor,
    VisitorMut,
};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// Makes a statement that reads the system catalogs plannable.
pub fn rewrite(statement: &mut Statement) {
    fold::fold_empty(statement);
    let common = fold::common_tables(statement);
    let relations = known_relations(statement, &common);
    let _ = VisitMut::visit(statement, &mut Rewriter { common, relations });
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
    let _ = Visit::visit(statement, &mut relations);
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
        if let Some(unnest) = as_unnest(factor) {
            *factor = unnest;
        }
        if let TableFactor::Table { name, args, alias, .. } = factor {
            if args.is_some() {
                rewrite_table_function(name, args, alias);
            } else if let Some(relation) = catalog_relation(name, &self.common) {
                *name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new(relation.name)]);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let _ = VisitMut::visit(&mut select.projection, &mut CountInsteadOfExists { depth: 0 });
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        name_columns(select);
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
            Expr::Collate { expr, collation } if is_collation(collation) => Some((**expr).clone()),
            Expr::BinaryOp { op: op @ BinaryOperator::PGCustomBinaryOperator(_), .. } => {
                if let Some(builtin) = builtin_operator(op) {
                    *op = builtin;
                }
                None
            }
            Expr::Cast { expr: inner, data_type, .. } => rewrite_cast(inner, data_type),
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
                let inner = if let Expr::Nested(inner) = &**right { inner } else { &*right };
                if let Some(array) = array_literal(inner) {
                    **right = array;
                }
                None
            }
            Expr::Function(function) => rewrite_function(function),
            Expr::Subquery(query) => {
                let aggregate = if is_limited(query) { "first_value" } else { ONLY_VALUE };
                aggregate_scalar(query, aggregate);
                None
            }
            Expr::CompoundFieldAccess { root, access_chain } => expanded_array_field(root, access_chain),
            Expr::Identifier(ident) if ident.quote_style.is_none() => bare_function(&ident.value),
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

/// `EXISTS (…)` in a select list, which DataFusion plans in WHERE only: `(SELECT count(*) …) > 0`.
struct CountInsteadOfExists {
    /// Subqueries around the expression visited; their own lists come later.
    depth: usize,
}

impl VisitorMut for CountInsteadOfExists {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Exists { subquery, negated } = expr
            && let Some(count) = counted(subquery)
        {
            let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
            *expr = Expr::BinaryOp { left: Box::new(count), op, right: Box::new(number(0)) };
        }
        ControlFlow::Continue(())
    }
}

fn counted(query: &Query) -> Option<Expr> {
    let mut query = query.clone();
    query.order_by = None;
    let limited = query.limit_clause.take().is_some() || query.fetch.take().is_some();
    let SetExpr::Select(select) = &mut *query.body else { return None };
    if fold::is_grouped(select) || select.distinct.is_some() || select.from.is_empty() || limited {
        return None;
    }
    let mut count = function("count", Vec::new());
    if let FunctionArguments::List(list) = &mut count.args {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
    }
    select.projection = vec![SelectItem::UnnamedExpr(Expr::Function(count))];
    Some(Expr::Subquery(Box::new(query)))
}

/// The last part of a name that is bare or in `schema`, in lowercase.
fn unqualified(name: &ObjectName, schema: &str) -> Option<String> {
    let parts: Vec<&Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).collect();
    match parts.as_slice() {
        [name] => Some(name.value.to_lowercase()),
        [in_schema, name] if in_schema.value.eq_ignore_ascii_case(schema) => Some(name.value.to_lowercase()),
        _ => None,
    }
}

/// `pg_catalog.unnest(x) AS a` is parsed as a table function; `unnest(x) AS a` is not.
fn as_unnest(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } = factor else { return None };
    if unqualified(name, "pg_catalog")? != "unnest" {
        return None;
    }
    let array_exprs = args.args.iter().filter_map(|arg| argument(arg).cloned()).collect();
    Some(TableFactor::UNNEST {
        alias: alias.clone(),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: *with_ordinality,
    })
}

/// `pg_get_keywords()` is a relation here; `generate_series(1, 3) AS i` names its column `i` too.
fn rewrite_table_function<A>(name: &mut ObjectName, args: &mut Option<A>, alias: &mut Option<TableAlias>) {
    let Some(bare) = unqualified(name, "pg_catalog") else { return };
    if relation("pg_catalog", &bare).is_some() {
        *name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new(&bare)]);
        *args = None;
        return;
    }
    *name = ObjectName::from(vec![Ident::new(&bare)]);
    if let Some(alias) = alias.as_mut().filter(|alias| alias.columns.is_empty() && bare == "generate_series") {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

fn builtin_operator(op: &BinaryOperator) -> Option<BinaryOperator> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return None };
    Some(match parts.last()?.as_str() {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
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
    if matches!(data_type, DataType::Array(_))
        && let Some(array) = array_literal(inner)
    {
        *inner = array;
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
    if let FunctionArguments::Subquery(query) = &function.args
        && function.name.to_string().eq_ignore_ascii_case("array")
    {
        return Some(array_of_rows(query));
    }
    let name =
        unqualified(&function.name, "pg_catalog").or_else(|| unqualified(&function.name, "information_schema"))?;
    if function.name.0.len() > 1 {
        function.name = ObjectName::from(vec![Ident::new(&name)]);
    }
    let first = arguments(function).first().map(|arg| (*arg).clone());
    match (name.as_str(), first) {
        ("generate_subscripts", Some(array)) => Some(subscripts(array)),
        ("_pg_expandarray", Some(array)) => Some(call("unnest", vec![array])),
        _ => {
            if matches!(function.args, FunctionArguments::None) && bare_function(&name).is_some() {
                return bare_function(&name);
            }
            None
        }
    }
}

fn subscripts(array: Expr) -> Expr {
    call("unnest", vec![call(SUBSCRIPTS, vec![array, number(1)])])
}

/// `ARRAY(SELECT x FROM … ORDER BY y)` as an aggregate.
fn array_of_rows(query: &Query) -> Expr {
    let mut query = query.clone();
    aggregate_scalar(&mut query, "array_agg");
    call(EMPTY_IF_NULL, vec![Expr::Subquery(Box::new(query))])
}

/// Makes the one column of a subquery an aggregate over its rows, unless it is one: `ORDER BY` moves into the call,
/// `LIMIT 1` goes.
fn is_limited(query: &Query) -> bool {
    query.limit_clause.is_some() || query.fetch.is_some()
}

/// `LIMIT 1` and no OFFSET.
fn takes_first(query: &Query) -> bool {
    match (&query.limit_clause, &query.fetch) {
        (Some(LimitClause::LimitOffset { limit: Some(Expr::Value(limit)), offset: None, limit_by }), None) => {
            limit_by.is_empty() && limit.value.to_string() == "1"
        }
        _ => false,
    }
}

fn aggregate_scalar(query: &mut Query, aggregate: &str) {
    let order = match query.order_by.as_ref().map(|order| &order.kind) {
        None => Vec::new(),
        Some(OrderByKind::Expressions(order)) => order.clone(),
        Some(OrderByKind::All(_)) => return,
    };
    // Of a limit only `LIMIT 1` is the same as an aggregate.
    if is_limited(query) && (aggregate != "first_value" || !takes_first(query)) {
        return;
    }
    let SetExpr::Select(select) = &mut *query.body else { return };
    if select.from.is_empty() || select.distinct.is_some() || fold::is_grouped(select) || select.projection.len() != 1 {
        return;
    }
    let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = select.projection.first() else {
        return;
    };
    let expr = expr.clone();
    // `ORDER BY 1` means the column.
    let by = |mut order: OrderByExpr| {
        if matches!(&order.expr, Expr::Value(value) if value.value.to_string() == "1") {
            order.expr = expr.clone();
        }
        order
    };
    let order: Vec<OrderByExpr> = order.into_iter().map(by).collect();
    let mut function = function(aggregate, vec![expr.clone()]);
    if let FunctionArguments::List(list) = &mut function.args
        && !order.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    select.projection = vec![SelectItem::UnnamedExpr(Expr::Function(function))];
    query.order_by = None;
    query.limit_clause = None;
    query.fetch = None;
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

/// `current_schema`, `current_user`, … without parentheses.
fn bare_function(name: &str) -> Option<Expr> {
    let known = ["current_schema", "current_user", "session_user", "current_role", "current_catalog", "user"];
    let name = name.to_lowercase();
    known.contains(&name.as_str()).then(|| call(&name, Vec::new()))
}

/// `'{a,"b c",NULL}'` as `ARRAY['a', 'b c', NULL]`.
fn array_literal(expr: &Expr) -> Option<Expr> {
    let Expr::Value(value) = expr else { return None };
    let Value::SingleQuotedString(literal) = &value.value else { return None };
    let items = literal.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut elem, mut item, mut quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    let mut finish = |item: &mut String, was_quoted: &mut bool| {
        let null = !*was_quoted && item.eq_ignore_ascii_case("null");
        elem.push(if null { Expr::value(Value::Null) } else { text(item) });
        item.clear();
        *was_quoted = false;
    };
    let mut characters = items.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => item.extend(characters.next()),
            '"' => (quoted, was_quoted) = (!quoted, true),
            ',' if !quoted => finish(&mut item, &mut was_quoted),
            '{' | '}' if !quoted => return None,
            c => item.push(c),
        }
    }
    if !items.is_empty() {
        finish(&mut item, &mut was_quoted);
    }
    Some(Expr::Array(Array { elem, named: true }))
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

/// Gives every column the name it has in Postgres, made unique, as DataFusion wants it; a column that is also in a
/// wildcard is taken out of the wildcard.
fn name_columns(select: &mut Select) {
    let mut seen = HashSet::new();
    let mut listed = Vec::new();
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = column_name(expr);
                let unique = unique_name(&name, &mut seen);
                let column = match expr {
                    Expr::Identifier(ident) => Some(vec![ident.clone()]),
                    Expr::CompoundIdentifier(parts) => Some(parts.clone()),
                    _ => None,
                };
                if column.is_none() || unique != name {
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', unique) };
                }
                listed.extend(column);
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let unique = unique_name(&alias.value, &mut seen);
                if unique != alias.value {
                    *alias = Ident::with_quote('"', unique);
                }
            }
            _ => {}
        }
    }
    except_columns(&mut select.projection, &listed);
}

/// Takes the columns that are also listed by name out of the wildcards that hold them.
fn except_columns(projection: &mut [SelectItem], listed: &[Vec<Ident>]) {
    for item in projection {
        let (table, options) = match item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                (Some(name.to_string()), options)
            }
            SelectItem::Wildcard(options) => (None, options),
            _ => continue,
        };
        let in_wildcard = |parts: &&Vec<Ident>| match (&table, parts.as_slice()) {
            (Some(table), [of, _]) => of.value == *table,
            (table, _) => table.is_none(),
        };
        let mut columns = listed.iter().filter(in_wildcard).filter_map(|parts| parts.last().cloned());
        if let Some(first_element) = columns.next() {
            options.opt_except = Some(ExceptSelectItem { first_element, additional_elements: columns.collect() });
        }
    }
}

fn unique_name(name: &str, seen: &mut HashSet<String>) -> String {
    let mut unique = name.to_string();
    for suffix in 1.. {
        if seen.insert(unique.clone()) {
            break;
        }
        unique = format!("{name}_{suffix}");
    }
    unique
}

/// Postgres' name of an unnamed column: of the column, the function, the operand of a cast; else `?column?`.
fn column_name(expr: &Expr) -> String {
    let of_ident = |ident: &Ident| {
        if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
    };
    match expr {
        Expr::Identifier(ident) => of_ident(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map(of_ident).unwrap_or_default(),
        Expr::Nested(inner) => column_name(inner),
        Expr::Cast { expr, data_type, .. } => match column_name(expr) {
            name if name == "?column?" && is_text(data_type) => "text".into(),
            name => name,
        },
        Expr::Function(function) => match function.name.to_string().as_str() {
            NAME_TO_OID | OID_TO_NAME => arguments(function).last().map(|arg| column_name(arg)).unwrap_or_default(),
            EMPTY_IF_NULL => "array".into(),
            name => name.to_lowercase(),
        },
        Expr::Subquery(query) => match &*query.body {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::ExprWithAlias { alias, .. }) => alias.value.clone(),
                Some(SelectItem::UnnamedExpr(expr)) => column_name(expr),
                _ => "?column?".into(),
            },
            _ => "?column?".into(),
        },
        Expr::Case { .. } => "case".into(),
        Expr::Exists { .. } => "exists".into(),
        Expr::Array(_) => "array".into(),
        Expr::Trim { .. } => "btrim".into(),
        _ => "?column?".into(),
    }
}

fn arguments(function: &Function) -> Vec<&Expr> {
    match &function.args {
        FunctionArguments::List(list) => list.args.iter().filter_map(argument).collect(),
        _ => Vec::new(),
    }
}

fn argument(arg: &FunctionArg) -> Option<&Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(function(name, args))
}

fn function(name: &str, args: Vec<Expr>) -> Function {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

pub(super) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.into()))
}

fn number(value: u32) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn rewritten(sql: &str) -> String {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        rewrite(&mut statements[0]);
        statements[0].to_string()
    }

    #[test]
    fn each_rule_keeps_the_meaning() {
        for (before, after) in [
            ("SELECT oid FROM pg_class", "SELECT oid FROM pg_catalog.pg_class"),
            ("SELECT a OPERATOR(pg_catalog.~) 'x' COLLATE pg_catalog.default AS m", "SELECT a ~ 'x' AS m"),
            (
                "SELECT oid FROM pg_class WHERE oid = 'bids'::regclass::oid",
                "SELECT oid FROM pg_catalog.pg_class WHERE oid = pg_name_to_oid('oid', pg_name_to_oid('regclass', 'bids'))",
            ),
            (
                "SELECT conrelid::regclass::text AS t FROM pg_constraint",
                "SELECT pg_oid_to_name('regclass', pg_name_to_oid('regclass', conrelid)) AS t \
                 FROM pg_catalog.pg_constraint",
            ),
            (
                "SELECT ARRAY(SELECT rolname FROM pg_roles ORDER BY 1) AS a",
                "SELECT pg_empty_if_null((SELECT array_agg(rolname ORDER BY rolname) \
                 FROM pg_catalog.pg_roles)) AS a",
            ),
            ("SELECT x = ANY ('{a,\"b,c\"}') AS y", "SELECT x = ANY(ARRAY['a', 'b,c']) AS y"),
            ("SELECT n.oid, n.* FROM pg_namespace n", "SELECT n.oid, n.* EXCEPT (oid) FROM pg_catalog.pg_namespace n"),
            ("SELECT NULL, NULL", "SELECT NULL AS \"?column?\", NULL AS \"?column?_1\""),
            ("SELECT 'x'::\"char\" AS c, 'y'::pg_catalog.name AS n", "SELECT 'x'::TEXT AS c, 'y'::TEXT AS n"),
            (
                "WITH pg_class AS (SELECT 1 AS a) SELECT a FROM pg_class",
                "WITH pg_class AS (SELECT 1 AS a) SELECT a FROM pg_class",
            ),
        ] {
            assert_eq!(rewritten(before), after);
        }
    }
}
