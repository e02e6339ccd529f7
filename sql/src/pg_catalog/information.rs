//! The rows of `information_schema`: what the SQL standard lets a client ask. Columns not named here are NULL.

use super::facts::{ColumnFacts, Facts, RelationFacts, relation_kind};
use super::names;
use super::relation::{Cell, Rows};
use crate::value::oid::oid_of_type;
use crate::value::pg_type::format_type;
use millpond_engine::catalog::ObjectKind;

const NUMERIC: u32 = 1700;

/// Relations of `information_schema` that hold rows.
pub(super) const FILLED: &[(&str, fn(&Facts, &mut Rows))] = &[
    ("columns", columns),
    ("constraint_column_usage", constraint_columns),
    ("enabled_roles", roles),
    ("information_schema_catalog_name", catalog_name),
    ("key_column_usage", key_columns),
    ("parameters", parameters),
    ("routines", routines),
    ("schemata", schemata),
    ("table_constraints", constraints),
    ("tables", tables),
    ("view_table_usage", view_tables),
    ("views", views),
];

fn catalog_name(facts: &Facts, rows: &mut Rows) {
    rows.push(&[("catalog_name", database(facts))]);
}

fn roles(facts: &Facts, rows: &mut Rows) {
    rows.push(&[("role_name", facts.session.user.clone().into())]);
}

fn schemata(facts: &Facts, rows: &mut Rows) {
    for (_, name) in facts.namespaces() {
        rows.push(&[
            ("catalog_name", database(facts)),
            ("schema_name", name.into()),
            ("schema_owner", facts.session.user.clone().into()),
        ]);
    }
}

/// Streams, tables and system relations. In Postgres materialized views are not here, because the standard does not
/// know them; a view of ours is what clients look for in this list, so it is a VIEW.
fn tables(facts: &Facts, rows: &mut Rows) {
    for relation in facts.relations().into_iter().filter(|r| r.kind != "i") {
        let kind = if matches!(relation.kind, "m" | "v") { "VIEW" } else { "BASE TABLE" };
        rows.push(&[
            ("table_catalog", database(facts)),
            ("table_schema", schema(facts, &relation)),
            ("table_name", relation.name.into()),
            ("table_type", kind.into()),
            ("is_insertable_into", if relation.kind == "r" { "YES" } else { "NO" }.into()),
            ("is_typed", "NO".into()),
        ]);
    }
}

fn columns(facts: &Facts, rows: &mut Rows) {
    for relation in facts.relations().into_iter().filter(|r| r.kind != "i") {
        for column in &relation.columns {
            push_column(facts, &relation, column, rows);
        }
    }
}

fn push_column(facts: &Facts, relation: &RelationFacts, column: &ColumnFacts, rows: &mut Rows) {
    let Some(pg_type) = column.pg_type else { return };
    let data_type = if pg_type.category == "A" { "ARRAY" } else { pg_type.display };
    let [precision, radix, scale] = numeric_precision(pg_type.oid, column.modifier);
    let datetime = (pg_type.category == "D" || pg_type.name == "interval").then_some(6_i64);
    rows.push(&[
        ("table_catalog", database(facts)),
        ("table_schema", schema(facts, relation)),
        ("table_name", relation.name.clone().into()),
        ("column_name", column.name.clone().into()),
        ("ordinal_position", column.number.into()),
        ("column_default", column.default.clone().into()),
        ("is_nullable", if column.not_null { "NO" } else { "YES" }.into()),
        ("data_type", data_type.into()),
        ("numeric_precision", precision),
        ("numeric_precision_radix", radix),
        ("numeric_scale", scale),
        ("datetime_precision", datetime.filter(|_| pg_type.name != "date").into()),
        ("udt_catalog", database(facts)),
        ("udt_schema", "pg_catalog".into()),
        ("udt_name", pg_type.name.into()),
        ("dtd_identifier", column.number.to_string().into()),
        ("is_self_referencing", "NO".into()),
        ("is_identity", "NO".into()),
        ("is_generated", "NEVER".into()),
        ("is_updatable", if relation.kind == "r" { "YES" } else { "NO" }.into()),
    ]);
}

/// Precision, radix and scale, as the standard counts them.
fn numeric_precision(oid: u32, modifier: i32) -> [Cell; 3] {
    let exact = |bits: i64| [Cell::Int(bits), Cell::Int(2), Cell::Int(0)];
    match oid {
        21 => exact(16),
        23 => exact(32),
        20 => exact(64),
        700 => [Cell::Int(24), Cell::Int(2), Cell::Null],
        701 => [Cell::Int(53), Cell::Int(2), Cell::Null],
        NUMERIC if modifier >= 4 => {
            let value = i64::from(modifier - 4);
            [Cell::Int(value >> 16), Cell::Int(10), Cell::Int(value & 0x7ff)]
        }
        _ => [Cell::Null, Cell::Null, Cell::Null],
    }
}

fn constraints(facts: &Facts, rows: &mut Rows) {
    for key in facts.keys() {
        rows.push(&[
            ("constraint_catalog", database(facts)),
            ("constraint_schema", "public".into()),
            ("constraint_name", key.name.clone().into()),
            ("table_catalog", database(facts)),
            ("table_schema", "public".into()),
            ("table_name", key.table.name.clone().into()),
            ("constraint_type", "PRIMARY KEY".into()),
            ("is_deferrable", "NO".into()),
            ("initially_deferred", "NO".into()),
            ("enforced", "YES".into()),
        ]);
    }
}

fn key_columns(facts: &Facts, rows: &mut Rows) {
    for key in facts.keys() {
        for (position, column) in (1_i64..).zip(key.columns()) {
            rows.push(&[
                ("constraint_catalog", database(facts)),
                ("constraint_schema", "public".into()),
                ("constraint_name", key.name.clone().into()),
                ("table_catalog", database(facts)),
                ("table_schema", "public".into()),
                ("table_name", key.table.name.clone().into()),
                ("column_name", column.into()),
                ("ordinal_position", position.into()),
            ]);
        }
    }
}

fn constraint_columns(facts: &Facts, rows: &mut Rows) {
    for key in facts.keys() {
        for column in key.columns() {
            rows.push(&[
                ("table_catalog", database(facts)),
                ("table_schema", "public".into()),
                ("table_name", key.table.name.clone().into()),
                ("column_name", column.into()),
                ("constraint_catalog", database(facts)),
                ("constraint_schema", "public".into()),
                ("constraint_name", key.name.clone().into()),
            ]);
        }
    }
}

fn views(facts: &Facts, rows: &mut Rows) {
    for view in facts.objects().filter(|o| relation_kind(o) == "m") {
        rows.push(&[
            ("table_catalog", database(facts)),
            ("table_schema", "public".into()),
            ("table_name", view.name.clone().into()),
            ("view_definition", view.definition.clone().into()),
            ("check_option", "NONE".into()),
            ("is_updatable", "NO".into()),
            ("is_insertable_into", "NO".into()),
        ]);
    }
}

fn view_tables(facts: &Facts, rows: &mut Rows) {
    for view in facts.objects().filter(|o| relation_kind(o) == "m") {
        let ObjectKind::View { inputs, .. } = &view.kind else { continue };
        for input in inputs.iter().filter_map(|id| facts.catalog.by_id(*id)) {
            rows.push(&[
                ("view_catalog", database(facts)),
                ("view_schema", "public".into()),
                ("view_name", view.name.clone().into()),
                ("table_catalog", database(facts)),
                ("table_schema", "public".into()),
                ("table_name", input.name.clone().into()),
            ]);
        }
    }
}

fn routines(facts: &Facts, rows: &mut Rows) {
    for function in facts.functions() {
        let module: Cell = function.module.name.clone().into();
        let name = &function.signature.name;
        rows.push(&[
            ("specific_catalog", database(facts)),
            ("specific_schema", module.clone()),
            ("specific_name", specific_name(name, function.oid)),
            ("routine_catalog", database(facts)),
            ("routine_schema", module),
            ("routine_name", name.clone().into()),
            ("routine_type", "FUNCTION".into()),
            ("data_type", format_type(oid_of_type(&function.signature.returns), None).into()),
            ("routine_body", "EXTERNAL".into()),
            ("external_name", name.clone().into()),
            ("external_language", "WASM".into()),
            ("is_deterministic", "YES".into()),
            ("security_type", "INVOKER".into()),
        ]);
    }
}

fn parameters(facts: &Facts, rows: &mut Rows) {
    for function in facts.functions() {
        for (position, (name, data_type)) in (1_i64..).zip(&function.signature.parameters) {
            rows.push(&[
                ("specific_catalog", database(facts)),
                ("specific_schema", function.module.name.clone().into()),
                ("specific_name", specific_name(&function.signature.name, function.oid)),
                ("ordinal_position", position.into()),
                ("parameter_mode", "IN".into()),
                ("parameter_name", name.clone().into()),
                ("data_type", format_type(oid_of_type(data_type), None).into()),
            ]);
        }
    }
}

fn specific_name(name: &str, oid: u32) -> Cell {
    format!("{name}_{oid}").into()
}

fn database(facts: &Facts) -> Cell {
    facts.session.database.clone().into()
}

fn schema(facts: &Facts, relation: &RelationFacts) -> Cell {
    names::schema_name(facts, relation.namespace).into()
}

#[cfg(test)]
mod tests {
    use super::super::facts::object_columns;
    use super::*;

    #[test]
    fn a_numeric_column_tells_precision_and_scale() {
        let facts = crate::pg_catalog::tests::facts();
        let price = object_columns(facts.catalog.get("bids").unwrap()).remove(2);
        let oid = price.pg_type.unwrap().oid;
        assert_eq!(numeric_precision(oid, price.modifier), [Cell::Int(12), Cell::Int(10), Cell::Int(2)]);
    }
}
