//! The catalog's objects in Postgres' terms: namespaces, relations with their columns, keys, functions, and their OIDs.
//!
//! An object's OID is its `ObjectId`. What hangs on an object (index, constraint, rule, function) has an OID made from
//! it, so it is as durable:
//!
//! ```text
//! bits 31..29   000 object   010 index   011 constraint   100 rule   101 default   11x function
//! bits 28..0    the object's id
//!               default:  bits 28..12 the id, bits 11..0 the column's number
//!               function: bits 29..12 the module's id, bits 11..0 the function's place in it
//! ```

use super::SessionInfo;
use super::relation::{RELATIONS, Relation};
use crate::ddl::default_exprs;
use crate::types::name_of;
use crate::value::oid::oid_of_field;
use crate::value::pg_type::{PgType, type_by_oid, type_modifier, type_named};
use arrow::datatypes::Field;
use millpond_engine::ObjectId;
use millpond_engine::catalog::{Catalog, Object, ObjectKind};
use millpond_engine::function::FunctionSignature;
use sqlparser::ast::{Expr, Value, ValueWithSpan};
use std::sync::Arc;

pub(super) const PG_CATALOG: u32 = 11;
pub(super) const PUBLIC: u32 = 2200;
pub(super) const INFORMATION_SCHEMA: u32 = 13226;
/// The session's user, as the bootstrap superuser of Postgres.
pub(super) const OWNER: u32 = 10;
pub(super) const DATABASE: u32 = 5;
pub(super) const TABLESPACE: u32 = 1663;
pub(super) const HEAP: u32 = 2;
pub(super) const BTREE: u32 = 403;
pub(super) const WASM_LANGUAGE: u32 = 13500;
pub(super) const DEFAULT_COLLATION: u32 = 100;
/// OIDs of the relations that other rows point at.
pub(super) const PG_CLASS: u32 = 1259;
pub(super) const PG_REWRITE: u32 = 2618;

const INDEX: u32 = 0b010 << 29;
const CONSTRAINT: u32 = 0b011 << 29;
const RULE: u32 = 0b100 << 29;
const DEFAULT: u32 = 0b101 << 29;
const FUNCTION: u32 = 0b110 << 29;
const ID_MASK: u32 = (1 << 29) - 1;
const FUNCTION_BITS: u32 = 12;
const COLUMN_BITS: u32 = 12;

/// The catalog as one session sees it.
#[derive(Debug)]
pub(crate) struct Facts {
    pub catalog: Arc<Catalog>,
    pub session: SessionInfo,
}

/// A column of any relation.
#[derive(Debug)]
pub(super) struct ColumnFacts {
    pub name: String,
    /// From 1.
    pub number: usize,
    pub pg_type: Option<&'static PgType>,
    pub modifier: i32,
    pub not_null: bool,
    /// As SQL.
    pub default: Option<String>,
}

/// A relation of any schema.
#[derive(Debug)]
pub(super) struct RelationFacts {
    pub oid: u32,
    pub name: String,
    pub namespace: u32,
    /// `pg_class.relkind`.
    pub kind: &'static str,
    pub columns: Vec<ColumnFacts>,
}

/// The primary key of a table.
#[derive(Debug)]
pub(super) struct KeyFacts {
    pub index: u32,
    pub constraint: u32,
    pub name: String,
    pub table: Arc<Object>,
    /// Places of the key columns in the table.
    pub key: Vec<usize>,
}

/// A function of a module.
#[derive(Debug)]
pub(super) struct FunctionFacts {
    pub oid: u32,
    pub module: Arc<Object>,
    pub signature: FunctionSignature,
}

impl Facts {
    /// OID and name of every schema.
    pub(super) fn namespaces(&self) -> Vec<(u32, String)> {
        let fixed = [(PG_CATALOG, "pg_catalog"), (PUBLIC, "public"), (INFORMATION_SCHEMA, "information_schema")];
        let modules = self.catalog.objects().filter(|o| is_module(o)).map(|o| (o.id.0, o.name.clone()));
        fixed.into_iter().map(|(oid, name)| (oid, name.to_string())).chain(modules).collect()
    }

    /// Streams, tables and views, in order of creation.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.catalog.objects().filter(|o| !is_module(o))
    }

    /// Every relation: the objects, the indexes of their keys, and the system's own.
    pub(super) fn relations(&self) -> Vec<RelationFacts> {
        let objects = self.objects().map(|o| object_relation(o));
        let indexes = self.keys().into_iter().map(|key| key.relation());
        let system = RELATIONS.iter().filter(|r| r.oid != 0).map(system_relation);
        objects.chain(indexes).chain(system).collect()
    }

    /// OID, name and schema of every relation.
    pub(super) fn relation_names(&self) -> impl Iterator<Item = (u32, String, u32)> {
        let objects = self.objects().map(|o| (o.id.0, o.name.clone(), PUBLIC));
        let indexes = self.keys().into_iter().map(|key| (key.index, key.name, PUBLIC));
        let system = RELATIONS.iter().filter(|r| r.oid != 0).map(|r| (r.oid, r.name.to_string(), namespace_of(r)));
        objects.chain(indexes).chain(system)
    }

    pub(super) fn keys(&self) -> Vec<KeyFacts> {
        self.objects().filter_map(key_of).collect()
    }

    pub(super) fn functions(&self) -> Vec<FunctionFacts> {
        let mut functions = Vec::new();
        for object in self.catalog.objects() {
            let Some(module) = self.catalog.module(object.id) else { continue };
            for (place, signature) in (0..1_u32 << FUNCTION_BITS).zip(module.functions()) {
                let oid = FUNCTION | ((object.id.0 << FUNCTION_BITS) & !FUNCTION) | place;
                functions.push(FunctionFacts { oid, module: Arc::clone(object), signature });
            }
        }
        functions
    }

    /// The object of this OID, unless it is a module.
    pub(super) fn object(&self, oid: i64) -> Option<&Arc<Object>> {
        let id = u32::try_from(oid).ok()?;
        self.catalog.by_id(ObjectId(id)).filter(|o| !is_module(o))
    }

    pub(super) fn key_by_index(&self, oid: i64) -> Option<KeyFacts> {
        self.keys().into_iter().find(|key| i64::from(key.index) == oid)
    }

    pub(super) fn function(&self, oid: i64) -> Option<FunctionFacts> {
        self.functions().into_iter().find(|f| i64::from(f.oid) == oid)
    }
}

impl KeyFacts {
    /// Names of the key columns, in the key's order.
    pub(super) fn columns(&self) -> Vec<String> {
        self.key.iter().filter_map(|at| self.table.columns.get(*at)).map(|c| c.name.clone()).collect()
    }

    fn relation(&self) -> RelationFacts {
        let table = object_columns(&self.table);
        let columns = (1..).zip(&self.key).filter_map(|(number, at)| {
            let column = table.get(*at)?;
            let name = column.name.clone();
            let (pg_type, modifier) = (column.pg_type, column.modifier);
            Some(ColumnFacts { name, number, pg_type, modifier, not_null: true, default: None })
        });
        let columns = columns.collect();
        RelationFacts { oid: self.index, name: self.name.clone(), namespace: PUBLIC, kind: "i", columns }
    }
}

/// `pg_class.relkind` of an object.
pub(super) fn relation_kind(object: &Object) -> &'static str {
    if matches!(object.kind, ObjectKind::View { .. }) { "m" } else { "r" }
}

/// OID of the rule that, in Postgres, makes a view out of its query; dependencies of the view hang on it.
pub(super) fn rule_oid(object: &Object) -> u32 {
    RULE | (object.id.0 & ID_MASK)
}

/// OID of the default of a relation's column.
pub(super) fn default_oid(relation: u32, number: usize) -> u32 {
    DEFAULT | ((relation << COLUMN_BITS) & ID_MASK) | (number as u32 & ((1 << COLUMN_BITS) - 1))
}

/// What `\d` lists: the user's columns, then the system's.
pub(super) fn object_columns(object: &Object) -> Vec<ColumnFacts> {
    let key = if let ObjectKind::Table { key } = &object.kind { key.as_slice() } else { &[] };
    let schema = object.full_schema();
    let defaults = default_exprs(object);
    let column = |(at, field): (usize, &Arc<Field>)| ColumnFacts {
        name: field.name().clone(),
        number: at + 1,
        pg_type: type_by_oid(oid_of_field(field)),
        modifier: type_modifier(field.data_type()),
        not_null: !field.is_nullable() || key.contains(&at),
        default: defaults.get(field.name()).map(|expr| shown_default(expr, field)),
    };
    schema.fields().iter().enumerate().map(column).collect()
}

/// As Postgres shows it: text with its type.
fn shown_default(expr: &Expr, field: &Field) -> String {
    let is_text = |value: &ValueWithSpan| matches!(value.value, Value::SingleQuotedString(_));
    match expr {
        Expr::Value(value) if is_text(value) => format!("{expr}::{}", name_of(field.data_type())),
        other => other.to_string(),
    }
}

fn is_module(object: &Object) -> bool {
    matches!(object.kind, ObjectKind::Module { .. })
}

fn key_of(object: &Arc<Object>) -> Option<KeyFacts> {
    let ObjectKind::Table { key } = &object.kind else { return None };
    let id = object.id.0 & ID_MASK;
    let name = format!("{}_pkey", object.name);
    let (table, key) = (Arc::clone(object), key.clone());
    (!key.is_empty()).then_some(KeyFacts { index: INDEX | id, constraint: CONSTRAINT | id, name, table, key })
}

fn object_relation(object: &Object) -> RelationFacts {
    RelationFacts {
        oid: object.id.0,
        name: object.name.clone(),
        namespace: PUBLIC,
        kind: relation_kind(object),
        columns: object_columns(object),
    }
}

fn namespace_of(relation: &Relation) -> u32 {
    if relation.schema == "pg_catalog" { PG_CATALOG } else { INFORMATION_SCHEMA }
}

fn system_relation(relation: &Relation) -> RelationFacts {
    let column = |(number, (name, pg_type)): (usize, &(&str, &str))| ColumnFacts {
        name: (*name).to_string(),
        number,
        pg_type: type_named(pg_type),
        modifier: -1,
        not_null: *name == "oid",
        default: None,
    };
    RelationFacts {
        oid: relation.oid,
        name: relation.name.into(),
        namespace: namespace_of(relation),
        kind: relation.kind,
        columns: (1..).zip(&relation.columns).map(column).collect(),
    }
}
