//! What Postgres clients ask about the database: `pg_catalog`, `information_schema`, the functions over them, and the
//! spelling in which they ask.
//!
//! psql, drivers and dashboards read the system catalogs with SQL of their own, before the user's first statement.
//! This room answers them from one [`Catalog`] value:
//! - [`schema_provider`] and [`information_schema`]: relations, built when a statement names them;
//! - [`functions`]: `pg_get_viewdef`, `format_type`, `has_table_privilege`, …;
//! - [`rewrite`]: turns Postgres' constructs that DataFusion cannot plan into ones that it can.
//!
//! Invariants: everything is derived from the catalog value and the session, nothing is stored; an OID names the same
//! thing as long as that thing lives; what Millpond has none of (triggers, policies, …) is an empty relation, and a
//! number it does not know (sizes) is NULL, never invented.
//!
//! Streams and tables show as ordinary tables, materialized views as such, a module as a schema that holds its
//! functions, a primary key as an index and a constraint named `<table>_pkey`.

mod contents;
mod facts;
mod fold;
mod functions;
mod information;
mod names;
mod provider;
mod relation;
mod rewrite;
#[cfg(test)]
mod tests;
mod text_functions;

pub use functions::functions;
pub use provider::{information_schema, schema_provider};
pub use rewrite::rewrite;

/// What the catalog tells about the session that asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionInfo {
    pub user: String,
    pub database: String,
    /// Name, value and description of every setting.
    pub settings: Vec<(String, String, String)>,
    pub backend_pid: i32,
}
