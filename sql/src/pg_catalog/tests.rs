//! Every statement that psql and common drivers send is parsed, rewritten, planned and run over a sample catalog.
//!
//! `psql_queries/commands.sql` holds what psql 15 sends for its backslash commands against a PostgreSQL 15 with the
//! same objects, `completion.sql` what its tab completion sends, `drivers.sql` what drivers and tools send. Each
//! statement follows a comment line that names the command.

use super::facts::Facts;
use super::functions::functions;
use super::{SessionInfo, empty_if_null, information_schema, schema_provider};
use crate::rewrite::rewrite;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::array_value_to_string;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use millpond_engine::ObjectId;
use millpond_engine::catalog::{Catalog, Column, Object, ObjectKind};
use millpond_engine::function::{CallLimits, FunctionInstance, FunctionSignature, Module, SkippedExport};
use std::collections::HashMap;
use std::sync::Arc;

const COMMANDS: &str = include_str!("psql_queries/commands.sql");
const COMPLETION: &str = include_str!("psql_queries/completion.sql");
const DRIVERS: &str = include_str!("psql_queries/drivers.sql");

#[derive(Debug)]
struct SampleModule;

impl Module for SampleModule {
    fn hash(&self) -> [u8; 32] {
        [7; 32]
    }

    fn functions(&self) -> Vec<FunctionSignature> {
        vec![FunctionSignature {
            name: "f".into(),
            parameters: vec![("a".into(), DataType::Int64), ("b".into(), DataType::Utf8)],
            returns: DataType::Utf8,
            sees_null: vec![false, false],
        }]
    }

    fn skipped(&self) -> Vec<SkippedExport> {
        vec![]
    }

    fn instantiate(&self, _: &str, _: CallLimits) -> millpond_engine::Result<Arc<dyn FunctionInstance>> {
        Err(millpond_engine::Error::Unsupported("the sample is never called".into()))
    }
}

/// The objects that psql's statements were recorded with, under the same OIDs.
pub(super) fn facts() -> Facts {
    let timestamptz = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let bids = [
        ("auction", DataType::Int64),
        ("bidder", DataType::Int64),
        ("price", DataType::Decimal128(12, 2)),
        ("url", DataType::Utf8),
        ("ts", timestamptz),
    ];
    let t = [("id", DataType::Int64), ("name", DataType::Utf8), ("n", DataType::Int32)];
    let hot = [("auction", DataType::Int64), ("n", DataType::Int64)];
    let module = ObjectId(16385);
    let objects = vec![
        object(16385, "m", ObjectKind::Module { hash: [7; 32] }, &[]),
        object(16386, "bids", ObjectKind::Stream { partitions: 4, key: vec![] }, &bids),
        object(16391, "t", ObjectKind::Table { key: vec![0] }, &t),
        object(16398, "hot", ObjectKind::View { append_only: false, inputs: vec![ObjectId(16386)] }, &hot),
        object(16403, "v", ObjectKind::View { append_only: false, inputs: vec![ObjectId(16398)] }, &hot[..1]),
    ];
    let modules = HashMap::from([(module, Arc::new(SampleModule) as Arc<dyn Module>)]);
    let settings = ["search_path", "statement_timeout", "standard_conforming_strings"];
    let session = SessionInfo {
        user: "ada".into(),
        database: "millpond".into(),
        settings: settings.map(|name| (name.to_string(), "on".to_string(), "a setting".to_string())).into(),
        backend_pid: 42,
        transaction_id: 7,
    };
    Facts { catalog: Arc::new(Catalog::from_objects(objects, modules)), session }
}

fn object(id: u32, name: &str, kind: ObjectKind, columns: &[(&str, DataType)]) -> Object {
    let column = |(name, data_type): &(&str, DataType)| Column {
        name: name.to_string(),
        data_type: data_type.clone(),
        nullable: (*name != "id"),
    };
    Object {
        id: ObjectId(id),
        name: name.into(),
        kind,
        columns: columns.iter().map(column).collect(),
        definition: format!("SELECT the definition of {name}"),
        modules: vec![],
    }
}

fn context() -> SessionContext {
    let facts = Arc::new(facts());
    let config = SessionConfig::new().with_default_catalog_and_schema("millpond", "public").with_target_partitions(1);
    let mut state = SessionContext::new_with_config(config).state();
    crate::dialect::install(&mut state).unwrap();
    let context = SessionContext::new_with_state(state);
    let database = MemoryCatalogProvider::new();
    let register = |name, schema| database.register_schema(name, schema).map(|_| ());
    register("public", Arc::new(MemorySchemaProvider::new())).unwrap();
    register("pg_catalog", schema_provider(&facts)).unwrap();
    register("information_schema", information_schema(&facts)).unwrap();
    context.register_catalog("millpond", Arc::new(database));
    for function in functions(&facts) {
        context.register_udf((*function).clone());
    }
    context.register_udf(empty_if_null());
    context
}

async fn run(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)?;
    assert_eq!(statements.len(), 1, "{sql}");
    let state = context.state();
    let is_aggregate = |name: &str| state.aggregate_functions().contains_key(name);
    let limits = CallLimits::from(std::time::Duration::from_secs(1));
    rewrite(&mut statements[0], &facts().catalog, &limits, &is_aggregate)?;
    let statement = ParsedStatement::Statement(Box::new(statements.remove(0)));
    let plan: LogicalPlan = context.state().statement_to_plan(statement).await?;
    context.execute_logical_plan(plan).await?.collect().await
}

/// Rows as lines, columns split by `|`, NULL as nothing, as `psql -At` prints.
async fn print(sql: &str) -> String {
    let batches = run(&context(), sql).await.unwrap_or_else(|e| panic!("{}\n{sql}", e.strip_backtrace()));
    let mut lines = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
            lines.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    lines.join("\n")
}

/// `(comment, statement)` of a file.
fn statements(file: &str) -> Vec<(String, String)> {
    let blocks = file.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let split = |block: &str| {
        let (comment, sql) = block.split_once('\n').unwrap_or((block, ""));
        (comment.to_string(), sql.trim_end_matches(';').to_string())
    };
    blocks.map(split).collect()
}

async fn run_all(file: &str) {
    let context = context();
    let mut failures = Vec::new();
    for (command, sql) in statements(file) {
        if let Err(error) = run(&context, &sql).await {
            failures.push(format!("{command}\n{sql}\n=> {}\n", error.strip_backtrace()));
        }
    }
    assert!(failures.is_empty(), "{} statements failed:\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test]
async fn psql_commands_run() {
    run_all(COMMANDS).await;
}

#[tokio::test]
async fn psql_completion_runs() {
    run_all(COMPLETION).await;
}

#[tokio::test]
async fn driver_queries_run() {
    run_all(DRIVERS).await;
}

/// The statements recorded for one command, in order.
fn recorded(command: &str) -> Vec<String> {
    let all = statements(COMMANDS).into_iter().filter(|(c, _)| c == &format!("-- {command}"));
    all.map(|(_, sql)| sql).collect()
}

#[tokio::test]
async fn every_relation_of_the_catalog_can_be_read() {
    let context = context();
    for relation in super::relation::RELATIONS.iter() {
        let sql = format!("SELECT * FROM {}.{}", relation.schema, relation.name);
        run(&context, &sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

#[tokio::test]
async fn d_lists_streams_tables_and_views() {
    let expected = "public|bids|table|ada\npublic|hot|materialized view|ada\npublic|t|table|ada\n\
                    public|v|materialized view|ada";
    assert_eq!(print(&recorded("\\d")[0]).await, expected);
}

#[tokio::test]
async fn d_of_a_table_lists_columns_and_its_key() {
    let columns = &recorded("\\d bids")[2];
    let expected = "auction|bigint||false|||\nbidder|bigint||false|||\nprice|numeric(12,2)||false|||\nurl|text||false|||\n\
                    ts|timestamp with time zone||false|||\n_partition|integer||true|||\n_offset|bigint||true|||\n\
                    _append_ts|timestamp with time zone||true|||";
    assert_eq!(print(columns).await, expected);
    let indexes = recorded("\\d t").into_iter().find(|sql| sql.contains("pg_get_indexdef")).unwrap();
    let expected = "t_pkey|true|true|false|true|CREATE UNIQUE INDEX t_pkey ON public.t USING btree (id)|\
                    PRIMARY KEY (id)|p|false|false|false|0";
    assert_eq!(print(&indexes).await, expected);
}

#[tokio::test]
async fn df_lists_functions_of_modules() {
    assert_eq!(print(&recorded("\\df m.*")[0]).await, "m|f|text|a bigint, b text|func");
    assert_eq!(print(&recorded("\\df")[0]).await, "m|f|text|a bigint, b text|func");
    assert_eq!(print(&recorded("\\dn")[0]).await, "m|ada\npublic|ada");
}

#[tokio::test]
async fn names_and_oids_convert_as_in_postgres() {
    for (sql, rows) in [
        ("SELECT 'bids'::regclass::oid", "16386"),
        ("SELECT 16386::regclass", "bids"),
        ("SELECT 'public.t'::regclass::text", "t"),
        ("SELECT oid::regclass FROM pg_class WHERE oid = 't'::regclass", "t"),
        ("SELECT 'int4'::regtype", "integer"),
        ("SELECT relname FROM pg_class WHERE oid = '16391'", "t"),
        ("SELECT format_type(1700, 786438)", "numeric(12,2)"),
        ("SELECT current_schema, current_schema()", "public|public"),
        (
            "SELECT current_user, session_user, user, current_catalog, current_database()",
            "ada|ada|ada|millpond|millpond",
        ),
        ("SELECT pg_get_viewdef('hot'::regclass)", "SELECT the definition of hot"),
        ("SELECT attname FROM pg_attribute WHERE attrelid = 'hot'::regclass AND attnum = ANY('{2,3}'::int2[])", "n"),
        ("SELECT l.lanname, (SELECT count(*) FROM pg_trigger) AS n FROM pg_language l WHERE l.oid = 12", "internal|0"),
        ("SELECT obj_description('bids'::regclass, 'pg_class')", "stream"),
        ("SELECT EXISTS (SELECT 1 FROM pg_trigger)", "false"),
        ("SELECT ARRAY(SELECT nspname FROM pg_namespace WHERE nspname ~ '^p' ORDER BY 1 DESC)", "[public, pg_catalog]"),
        ("SELECT cardinality(ARRAY(SELECT nspname FROM pg_namespace WHERE false))", "0"),
        ("SELECT current_setting('server_version_num')::int / 100", "1500"),
    ] {
        assert_eq!(print(sql).await, rows, "{sql}");
    }
}

#[tokio::test]
async fn no_function_fails_on_too_few_arguments_of_the_wrong_type() {
    let context = context();
    for function in functions(&Arc::new(facts())) {
        for arguments in ["", "true", "'x'", "1, 1", "NULL, NULL", "ARRAY[1], -1", "'%', NULL, 'x'"] {
            // An error is fine, a panic is not.
            let _ = run(&context, &format!("SELECT {}({arguments})", function.name())).await;
        }
    }
}

/// The statement of a driver, by the comment above it.
fn driver(name: &str) -> String {
    statements(DRIVERS).into_iter().find(|(c, _)| c == &format!("-- {name}")).map(|(_, sql)| sql).unwrap()
}

#[tokio::test]
async fn drivers_learn_the_truth() {
    for (name, rows) in [
        ("pgjdbc getPrimaryKeys", "millpond|public|t|id|1|t_pkey"),
        ("pgjdbc type info", "true|pg_catalog|numeric"),
        ("pgjdbc sql type", "false|b|int4|23"),
        ("psycopg 3 TypeInfo.fetch", "int4|23|1007|integer|,"),
        ("sqlalchemy get_pk_constraint", "16391|[id]|t_pkey|"),
        ("sqlalchemy get_table_names", "bids\nt"),
        ("dbt dependencies", "public|hot|public|bids\npublic|v|public|hot"),
        ("information_schema keys", "id"),
        ("tokio-postgres typeinfo", "oid|b|0||0|pg_catalog|0"),
    ] {
        assert_eq!(print(&driver(name)).await, rows, "{name}");
    }
}

#[tokio::test]
async fn psql_prints_what_there_is() {
    for (command, nth, rows) in [
        ("\\du", 0, "ada|true|true|true|true|true|-1||[]|false|false"),
        ("\\l", 0, "millpond|ada|UTF8|C.UTF-8|C.UTF-8||libc|"),
        ("\\d t_pkey", 2, "id|bigint|yes|id"),
        ("\\di", 0, "public|t_pkey|index|ada|t"),
        ("\\d+ hot", 2, "SELECT the definition of hot"),
    ] {
        assert_eq!(print(&recorded(command)[nth]).await, rows, "{command}");
    }
}

#[tokio::test]
async fn oids_and_names_are_known_by_their_metadata() {
    let batches =
        run(&context(), "SELECT c.oid, relname, relkind, c.oid::regclass AS r FROM pg_class c").await.unwrap();
    let oids: Vec<u32> =
        batches[0].schema().fields().iter().map(|field| crate::value::oid::oid_of_field(field)).collect();
    assert_eq!(oids, [26, 19, 18, 25]);
}

#[tokio::test]
async fn an_unknown_relation_is_an_error() {
    let error = run(&context(), "SELECT 'nothing'::regclass").await.unwrap_err();
    assert!(error.to_string().contains("relation \"nothing\" does not exist"), "{error}");
}

#[tokio::test]
async fn a_users_table_that_looks_like_the_catalogs_is_left_alone() {
    let sql = "WITH pg_trigger AS (SELECT 1 AS a) SELECT a, (SELECT a FROM pg_trigger) AS b FROM pg_trigger";
    assert_eq!(print(sql).await, "1|1");
}
