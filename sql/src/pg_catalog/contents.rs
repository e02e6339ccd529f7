//! The rows of `pg_catalog`, one function per relation that has any. A relation that is not named in [`rows`] is empty.

use super::facts::{
    BTREE, DATABASE, DEFAULT_COLLATION, Facts, HEAP, OWNER, PG_CATALOG, PG_CLASS, PG_REWRITE, PUBLIC, RelationFacts,
    TABLESPACE, WASM_LANGUAGE, default_oid, relation_kind, rule_oid,
};
use super::relation::{Cell, RELATIONS, Relation, Rows};
use super::{information, names};
use crate::value::oid::oid_of_type;
use crate::value::pg_type::TYPES;
use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::sql::sqlparser::keywords::{ALL_KEYWORDS, RESERVED_FOR_COLUMN_ALIAS};
use millpond_engine::catalog::ObjectKind;
use std::sync::LazyLock;

type Fill = fn(&Facts, &mut Rows);

/// Relations of `pg_catalog` that hold rows.
const FILLED: &[(&str, Fill)] = &[
    ("pg_am", access_methods),
    ("pg_attrdef", defaults),
    ("pg_attribute", attributes),
    ("pg_class", classes),
    ("pg_constraint", constraints),
    ("pg_database", databases),
    ("pg_depend", dependencies),
    ("pg_description", descriptions),
    ("pg_get_keywords", keywords),
    ("pg_index", indexes),
    ("pg_indexes", index_list),
    ("pg_language", languages),
    ("pg_matviews", view_list),
    ("pg_namespace", namespaces),
    ("pg_proc", functions),
    ("pg_rewrite", rules),
    ("pg_roles", roles),
    ("pg_settings", settings),
    ("pg_stat_activity", activity),
    ("pg_tables", table_list),
    ("pg_tablespace", tablespaces),
    ("pg_timezone_names", time_zones),
    ("pg_type", types),
    ("pg_user", users),
];

/// The rows of a declared relation.
pub(super) fn rows(facts: &Facts, relation: &'static Relation) -> Result<RecordBatch> {
    let mut rows = Rows::new(relation);
    if let Some(fill) = fill_of(relation) {
        fill(facts, &mut rows);
    }
    rows.finish()
}

/// Whether a relation of `pg_catalog` is declared and can never hold a row.
pub(super) fn is_always_empty(name: &str) -> bool {
    static EMPTY: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        RELATIONS.iter().filter(|r| r.schema == "pg_catalog" && fill_of(r).is_none()).map(|r| r.name).collect()
    });
    EMPTY.contains(&name)
}

fn fill_of(relation: &Relation) -> Option<Fill> {
    let filled = if relation.schema == "pg_catalog" { FILLED } else { information::FILLED };
    filled.iter().find(|(name, _)| *name == relation.name).map(|(_, fill)| *fill)
}

fn access_methods(_: &Facts, rows: &mut Rows) {
    rows.push(&[("oid", HEAP.into()), ("amname", "heap".into()), ("amtype", "t".into())]);
    rows.push(&[("oid", BTREE.into()), ("amname", "btree".into()), ("amtype", "i".into())]);
}

fn namespaces(facts: &Facts, rows: &mut Rows) {
    for (oid, name) in facts.namespaces() {
        rows.push(&[("oid", oid.into()), ("nspname", name.into()), ("nspowner", OWNER.into())]);
    }
}

fn classes(facts: &Facts, rows: &mut Rows) {
    let keyed: Vec<u32> = facts.keys().iter().map(|key| key.table.id.0).collect();
    for relation in facts.relations() {
        let method = match relation.kind {
            "r" | "m" => HEAP,
            "i" => BTREE,
            _ => 0,
        };
        rows.push(&[
            ("oid", relation.oid.into()),
            ("relname", relation.name.into()),
            ("relnamespace", relation.namespace.into()),
            ("relowner", OWNER.into()),
            ("relam", method.into()),
            ("relfilenode", relation.oid.into()),
            ("reltuples", Cell::Int(-1)),
            ("relhasindex", keyed.contains(&relation.oid).into()),
            ("relpersistence", "p".into()),
            ("relkind", relation.kind.into()),
            ("relnatts", relation.columns.len().into()),
            ("relhasrules", (relation.kind == "v").into()),
            ("relispopulated", true.into()),
            ("relreplident", if relation.kind == "r" { "d" } else { "n" }.into()),
        ]);
    }
}

fn attributes(facts: &Facts, rows: &mut Rows) {
    for relation in facts.relations() {
        relation_attributes(&relation, rows);
    }
}

fn relation_attributes(relation: &RelationFacts, rows: &mut Rows) {
    for column in &relation.columns {
        let Some(pg_type) = column.pg_type else { continue };
        let collation = if pg_type.category == "S" { DEFAULT_COLLATION } else { 0 };
        rows.push(&[
            ("attrelid", relation.oid.into()),
            ("attname", column.name.clone().into()),
            ("atttypid", pg_type.oid.into()),
            ("attstattarget", Cell::Int(-1)),
            ("attlen", i64::from(pg_type.length).into()),
            ("attnum", column.number.into()),
            ("attndims", i64::from(pg_type.category == "A").into()),
            ("attcacheoff", Cell::Int(-1)),
            ("atttypmod", i64::from(column.modifier).into()),
            ("attbyval", pg_type.by_value.into()),
            ("attalign", pg_type.align.into()),
            ("attstorage", pg_type.storage.into()),
            ("attnotnull", column.not_null.into()),
            ("atthasdef", column.default.is_some().into()),
            ("attislocal", true.into()),
            ("attcollation", collation.into()),
        ]);
    }
}

fn defaults(facts: &Facts, rows: &mut Rows) {
    for relation in facts.relations() {
        for column in relation.columns {
            let (number, Some(default)) = (column.number, column.default) else { continue };
            rows.push(&[
                ("oid", default_oid(relation.oid, number).into()),
                ("adrelid", relation.oid.into()),
                ("adnum", number.into()),
                ("adbin", default.into()),
            ]);
        }
    }
}

fn types(_: &Facts, rows: &mut Rows) {
    for pg_type in TYPES.iter() {
        let [input, output, receive, send] = pg_type.functions.map(|(oid, _)| Cell::from(oid));
        let collation = if pg_type.category == "S" { DEFAULT_COLLATION } else { 0 };
        rows.push(&[
            ("oid", pg_type.oid.into()),
            ("typname", pg_type.name.into()),
            ("typnamespace", PG_CATALOG.into()),
            ("typowner", OWNER.into()),
            ("typlen", i64::from(pg_type.length).into()),
            ("typbyval", pg_type.by_value.into()),
            ("typtype", pg_type.kind.into()),
            ("typcategory", pg_type.category.into()),
            ("typispreferred", pg_type.preferred.into()),
            ("typisdefined", true.into()),
            ("typdelim", pg_type.delimiter.into()),
            ("typelem", pg_type.element.into()),
            ("typarray", pg_type.array.into()),
            ("typinput", input),
            ("typoutput", output),
            ("typreceive", receive),
            ("typsend", send),
            ("typalign", pg_type.align.into()),
            ("typstorage", pg_type.storage.into()),
            ("typtypmod", Cell::Int(-1)),
            ("typcollation", collation.into()),
        ]);
    }
}

fn indexes(facts: &Facts, rows: &mut Rows) {
    for key in facts.keys() {
        let zeros = || Cell::list(key.key.iter().map(|_| 0_i64));
        rows.push(&[
            ("indexrelid", key.index.into()),
            ("indrelid", key.table.id.0.into()),
            ("indnatts", key.key.len().into()),
            ("indnkeyatts", key.key.len().into()),
            ("indisunique", true.into()),
            ("indisprimary", true.into()),
            ("indimmediate", true.into()),
            ("indisvalid", true.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", column_numbers(&key.key)),
            ("indcollation", zeros()),
            ("indclass", zeros()),
            ("indoption", zeros()),
        ]);
    }
}

fn constraints(facts: &Facts, rows: &mut Rows) {
    for key in facts.keys() {
        rows.push(&[
            ("oid", key.constraint.into()),
            ("conname", key.name.clone().into()),
            ("connamespace", PUBLIC.into()),
            ("contype", "p".into()),
            ("convalidated", true.into()),
            ("conrelid", key.table.id.0.into()),
            ("conindid", key.index.into()),
            ("confupdtype", " ".into()),
            ("confdeltype", " ".into()),
            ("confmatchtype", " ".into()),
            ("conislocal", true.into()),
            ("connoinherit", true.into()),
            ("conkey", column_numbers(&key.key)),
        ]);
    }
}

fn column_numbers(key: &[usize]) -> Cell {
    Cell::list(key.iter().map(|at| at + 1))
}

fn functions(facts: &Facts, rows: &mut Rows) {
    for function in facts.functions() {
        let parameters = &function.signature.parameters;
        rows.push(&[
            ("oid", function.oid.into()),
            ("proname", function.signature.name.clone().into()),
            ("pronamespace", function.module.id.0.into()),
            ("proowner", OWNER.into()),
            ("prolang", WASM_LANGUAGE.into()),
            ("procost", Cell::Int(1)),
            ("prokind", "f".into()),
            ("proisstrict", (!function.signature.sees_null.contains(&true)).into()),
            ("provolatile", "i".into()),
            ("proparallel", "s".into()),
            ("pronargs", parameters.len().into()),
            ("prorettype", oid_of_type(&function.signature.returns).into()),
            ("proargtypes", Cell::list(parameters.iter().map(|(_, data_type)| oid_of_type(data_type)))),
            ("proargnames", Cell::list(parameters.iter().map(|(name, _)| name.clone()))),
            ("prosrc", function.signature.name.clone().into()),
        ]);
    }
}

fn languages(_: &Facts, rows: &mut Rows) {
    for (oid, name, procedural) in [(12, "internal", false), (14, "sql", false), (WASM_LANGUAGE, "wasm", true)] {
        rows.push(&[
            ("oid", oid.into()),
            ("lanname", name.into()),
            ("lanowner", OWNER.into()),
            ("lanispl", procedural.into()),
            ("lanpltrusted", true.into()),
        ]);
    }
}

/// One rule per view, so that dependencies can be followed as in Postgres: view → rule → what its query reads.
fn rules(facts: &Facts, rows: &mut Rows) {
    for object in facts.objects().filter(|o| relation_kind(o) == "m") {
        rows.push(&[
            ("oid", rule_oid(object).into()),
            ("rulename", "_RETURN".into()),
            ("ev_class", object.id.0.into()),
            ("ev_type", "1".into()),
            ("ev_enabled", "O".into()),
            ("is_instead", true.into()),
        ]);
    }
}

fn dependencies(facts: &Facts, rows: &mut Rows) {
    for object in facts.objects() {
        let ObjectKind::View { inputs, .. } = &object.kind else { continue };
        let depends_on = inputs.iter().map(|id| (id.0, "n")).chain([(object.id.0, "i")]);
        for (oid, kind) in depends_on {
            rows.push(&[
                ("classid", PG_REWRITE.into()),
                ("objid", rule_oid(object).into()),
                ("refclassid", PG_CLASS.into()),
                ("refobjid", oid.into()),
                ("deptype", kind.into()),
            ]);
        }
    }
}

fn descriptions(facts: &Facts, rows: &mut Rows) {
    for object in facts.objects() {
        rows.push(&[
            ("objoid", object.id.0.into()),
            ("classoid", PG_CLASS.into()),
            ("objsubid", Cell::Int(0)),
            ("description", object.kind.noun().into()),
        ]);
    }
}

fn databases(facts: &Facts, rows: &mut Rows) {
    rows.push(&[
        ("oid", DATABASE.into()),
        ("datname", facts.session.database.clone().into()),
        ("datdba", OWNER.into()),
        ("encoding", Cell::Int(names::UTF8)),
        ("datlocprovider", "c".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", Cell::Int(-1)),
        ("dattablespace", TABLESPACE.into()),
        ("datcollate", "C.UTF-8".into()),
        ("datctype", "C.UTF-8".into()),
    ]);
}

fn roles(facts: &Facts, rows: &mut Rows) {
    rows.push(&[
        ("oid", OWNER.into()),
        ("rolname", facts.session.user.clone().into()),
        ("rolsuper", true.into()),
        ("rolinherit", true.into()),
        ("rolcreaterole", true.into()),
        ("rolcreatedb", true.into()),
        ("rolcanlogin", true.into()),
        ("rolconnlimit", Cell::Int(-1)),
        ("rolpassword", "********".into()),
    ]);
}

fn users(facts: &Facts, rows: &mut Rows) {
    rows.push(&[
        ("usename", facts.session.user.clone().into()),
        ("usesysid", OWNER.into()),
        ("usecreatedb", true.into()),
        ("usesuper", true.into()),
        ("passwd", "********".into()),
    ]);
}

fn settings(facts: &Facts, rows: &mut Rows) {
    for (name, value, description) in &facts.session.settings {
        rows.push(&[
            ("name", name.clone().into()),
            ("setting", value.clone().into()),
            ("category", "Millpond".into()),
            ("short_desc", description.clone().into()),
            ("context", "user".into()),
            ("vartype", "string".into()),
            ("source", "session".into()),
            ("boot_val", value.clone().into()),
            ("reset_val", value.clone().into()),
        ]);
    }
}

fn activity(facts: &Facts, rows: &mut Rows) {
    rows.push(&[
        ("datid", DATABASE.into()),
        ("datname", facts.session.database.clone().into()),
        ("pid", i64::from(facts.session.backend_pid).into()),
        ("leader_pid", Cell::Null),
        ("client_port", Cell::Null),
        ("query_id", Cell::Null),
        ("usesysid", OWNER.into()),
        ("usename", facts.session.user.clone().into()),
        ("state", "active".into()),
        ("backend_type", "client backend".into()),
    ]);
}

fn table_list(facts: &Facts, rows: &mut Rows) {
    for relation in facts.relations().into_iter().filter(|r| r.kind == "r") {
        let keyed = facts.keys().iter().any(|key| key.table.id.0 == relation.oid);
        rows.push(&[
            ("schemaname", names::schema_name(facts, relation.namespace).into()),
            ("tablename", relation.name.into()),
            ("tableowner", facts.session.user.clone().into()),
            ("hasindexes", keyed.into()),
        ]);
    }
}

fn view_list(facts: &Facts, rows: &mut Rows) {
    for object in facts.objects().filter(|o| relation_kind(o) == "m") {
        rows.push(&[
            ("schemaname", "public".into()),
            ("matviewname", object.name.clone().into()),
            ("matviewowner", facts.session.user.clone().into()),
            ("ispopulated", true.into()),
            ("definition", object.definition.clone().into()),
        ]);
    }
}

fn index_list(facts: &Facts, rows: &mut Rows) {
    for key in facts.keys() {
        rows.push(&[
            ("schemaname", "public".into()),
            ("tablename", key.table.name.clone().into()),
            ("indexname", key.name.clone().into()),
            ("indexdef", names::index_definition(&key).into()),
        ]);
    }
}

fn tablespaces(_: &Facts, rows: &mut Rows) {
    rows.push(&[("oid", TABLESPACE.into()), ("spcname", "pg_default".into()), ("spcowner", OWNER.into())]);
}

fn time_zones(_: &Facts, rows: &mut Rows) {
    rows.push(&[("name", "UTC".into()), ("abbrev", "UTC".into())]);
}

/// Words as sqlparser knows them; reserved are those that cannot name a column.
fn keywords(_: &Facts, rows: &mut Rows) {
    for word in ALL_KEYWORDS {
        let reserved = RESERVED_FOR_COLUMN_ALIAS.iter().any(|k| format!("{k:?}") == **word);
        let (code, description) = if reserved { ("R", "reserved") } else { ("U", "unreserved") };
        rows.push(&[
            ("word", word.to_lowercase().into()),
            ("catcode", code.into()),
            ("barelabel", (!reserved).into()),
            ("catdesc", description.into()),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg_catalog::relation::relation;

    #[test]
    fn every_filled_relation_is_declared() {
        for (schema, filled) in [("pg_catalog", FILLED), ("information_schema", information::FILLED)] {
            for (name, _) in filled {
                assert!(relation(schema, name).is_some(), "{schema}.{name}");
            }
        }
    }
}
