//! Plans one statement over one snapshot.
//!
//! What all statements share (functions, rules, memory pool) is built once per process in [`Base`]; a [`Planner`] adds
//! what one statement sees: the catalog or snapshot, module functions, the system catalogs.

mod optimizer;

use crate::dialect;
use crate::error::{Error, Result};
use crate::parameters::declared_type;
use crate::parser::check_statement;
use crate::pg_catalog::{self, Facts, SessionInfo};
use crate::relation::{Relation, WITH_SYSTEM_COLUMNS, no_offsets_yet};
use crate::rewrite::{self, Needs};
use crate::size::{check_relations, check_size};
use crate::statement::folded;
use crate::types::SqlTypes;
use crate::walk;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::config::Dialect;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DfStatement;
use millpond_engine::catalog::{Catalog, ObjectKind};
use millpond_engine::function::CallLimits;
use millpond_engine::snapshot::Snapshot;
use millpond_engine::transaction::OwnChanges;
use sqlparser::ast::{Expr, Ident, ObjectNamePart, Statement};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

pub(crate) const CATALOG: &str = "millpond";
pub(crate) const SCHEMA: &str = "public";

/// Memory all running queries may hold together; beyond it they spill or fail with 53200.
const QUERY_MEMORY_BYTES_MAX: usize = 2 << 30;
/// Plans with more nodes are optimised beside their statement, so that it can be cancelled meanwhile.
const NODES_AT_ONCE: u64 = 500;
/// Threads one query may keep busy.
const QUERY_PARTITIONS_MAX: usize = 16;

/// The planner's static parts. One per process.
#[derive(Debug)]
pub(crate) struct Base {
    state: SessionState,
}

impl Base {
    pub(crate) fn new() -> Result<Base> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut config = SessionConfig::new()
            .with_target_partitions(cores.min(QUERY_PARTITIONS_MAX))
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false);
        let options = config.options_mut();
        options.sql_parser.dialect = Dialect::PostgreSQL;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.parse_float_as_decimal = true;
        // It copies the whole plan below every relation in FROM: exponentially, in WITH queries made of each other.
        options.sql_parser.enable_subquery_sort_elimination = false;
        options.execution.parquet.schema_force_view_types = false;
        options.execution.time_zone = Some("UTC".to_owned());
        // DataFusion's two notions of what `x IS TRUE` says about NULL differ.
        options.execution.skip_physical_aggregate_schema_check = true;
        // Filters of operators are found by name: see optimizer::physical_rules().
        options.optimizer.enable_dynamic_filter_pushdown = false;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(QUERY_MEMORY_BYTES_MAX)))
            .build_arc()?;
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_type_planner(Arc::new(SqlTypes))
            .with_optimizer_rules(optimizer::logical_rules()?)
            .with_physical_optimizer_rules(optimizer::physical_rules())
            .with_analyzer_rules(dialect::analyzer_rules())
            .with_query_planner(Arc::new(dialect::GuardedPlanner))
            .build();
        dialect::install(&mut state)?;
        state.register_udf(Arc::new(pg_catalog::empty_if_null()))?;
        Ok(Base { state })
    }

    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }
}

/// What a statement reads from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) catalog: Arc<Catalog>,
    /// `None`: plan only.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// What the transaction has written and the snapshot does not show.
    pub(crate) own: OwnChanges,
    /// Rows to be read under a name instead of what the catalog has under it.
    pub(crate) shown: HashMap<String, Arc<MemTable>>,
}

impl Source {
    pub(crate) fn catalog(catalog: Arc<Catalog>) -> Source {
        Source { catalog, snapshot: None, own: OwnChanges::default(), shown: HashMap::new() }
    }

    pub(crate) fn snapshot(snapshot: Arc<Snapshot>, own: OwnChanges) -> Source {
        Source { snapshot: Some(snapshot.clone()), own, ..Source::catalog(snapshot.catalog.clone()) }
    }

    /// Shows `rows` under `name`.
    pub(crate) fn showing(mut self, name: &str, schema: SchemaRef, rows: Vec<RecordBatch>) -> Result<Source> {
        self.shown.insert(name.to_owned(), Arc::new(MemTable::try_new(schema, vec![rows])?));
        Ok(self)
    }
}

/// Plans statements over one source.
pub(crate) struct Planner {
    pub(crate) state: SessionState,
    pub(crate) source: Source,
    /// What functions about the database answer from; `None` where there may be none.
    facts: Option<Arc<Facts>>,
    limits: CallLimits,
    /// Of the last plan, as a tree.
    nodes: u64,
}

impl Planner {
    /// `limits` end the calls of modules' functions. `for_view`: scans keep no filters, so that a view can be lowered
    /// from the plan.
    pub(crate) fn new(
        state: &SessionState,
        source: Source,
        info: SessionInfo,
        limits: CallLimits,
        for_view: bool,
    ) -> Result<Planner> {
        let mut state = state.clone();
        let facts = Arc::new(Facts { catalog: source.catalog.clone(), session: info });
        let public =
            Public { source: source.clone(), system: pg_catalog::schema_provider(&facts), keeps_filters: for_view };
        let information = pg_catalog::information_schema(&facts);
        state.register_catalog_list(Arc::new(Schemas { public: Arc::new(public), information }));
        if !for_view {
            // now() is the time of the statement.
            state.mark_start_execution();
        }
        // A view's rows may not depend on who asks.
        let facts = (!for_view).then_some(facts);
        Ok(Planner { state, source, facts, limits, nodes: 0 })
    }

    /// Rewrites and plans `statement`; `parameters[i]` is the type of `$i+1`.
    pub(crate) async fn plan(&mut self, statement: Statement, parameters: &[DataType]) -> Result<(LogicalPlan, Needs)> {
        check_statement(&statement)?;
        check_relations(&statement)?;
        let mut statement = statement;
        let is_aggregate = |name: &str| self.state.aggregate_functions().contains_key(name);
        let needs = rewrite::rewrite(&mut statement, &self.source.catalog, &self.limits, &is_aggregate)?;
        self.register_catalog_functions(&statement)?;
        for function in needs.functions.values() {
            self.state.register_udf(Arc::new(function.clone()))?;
        }
        let plan = self.plan_rewritten(statement, parameters).await?;
        self.nodes = check_size(&plan)?;
        Ok((plan, needs))
    }

    /// Those of `pg_catalog` that the statement calls.
    fn register_catalog_functions(&mut self, statement: &Statement) -> Result<()> {
        let Some(facts) = &self.facts else { return Ok(()) };
        let mut called = HashMap::new();
        let _ = walk::expressions(statement, |expr| {
            if let Expr::Function(call) = expr
                && let [ObjectNamePart::Identifier(name)] = call.name.0.as_slice()
                && let Some(function) = pg_catalog::function(&folded(name), facts)
            {
                called.insert(folded(name), function);
            }
            ControlFlow::<()>::Continue(())
        });
        for function in called.into_values() {
            self.state.register_udf(function)?;
        }
        Ok(())
    }

    async fn plan_rewritten(&self, statement: Statement, parameters: &[DataType]) -> Result<LogicalPlan> {
        if parameters.is_empty() {
            return Ok(self.state.statement_to_plan(DfStatement::Statement(Box::new(statement))).await?);
        }
        let data_types = parameters.iter().map(declared_type).collect::<Result<Vec<_>>>()?;
        let prepare = Statement::Prepare { name: Ident::new("statement"), data_types, statement: Box::new(statement) };
        match self.state.statement_to_plan(DfStatement::Statement(Box::new(prepare))).await? {
            LogicalPlan::Statement(PlanStatement::Prepare(prepared)) => Ok(Arc::unwrap_or_clone(prepared.input)),
            plan => Ok(plan),
        }
    }

    /// Plans with parameter values put in.
    pub(crate) async fn plan_with(
        &mut self,
        statement: Statement,
        parameters: &[ScalarValue],
    ) -> Result<(LogicalPlan, Needs)> {
        let types: Vec<DataType> = parameters.iter().map(ScalarValue::data_type).collect();
        let (plan, needs) = self.plan(statement, &types).await?;
        if parameters.is_empty() {
            return Ok((plan, needs));
        }
        let values = ParamValues::from(parameters.to_vec());
        Ok((plan.replace_params_with_values(&values)?, needs))
    }

    /// A plan after its types have been made to agree: only then its schema is that of the rows.
    pub(crate) fn analysed(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Ok(self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})?)
    }

    /// Starts a plan.
    pub(crate) async fn execute(&self, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
        let (_, physical) = self.physical(plan).await?;
        Ok(execute_stream(physical, self.state.task_ctx())?)
    }

    /// Optimises a plan and chooses how to run it.
    pub(crate) async fn physical(&self, plan: &LogicalPlan) -> Result<(LogicalPlan, Arc<dyn ExecutionPlan>)> {
        if self.nodes <= NODES_AT_ONCE {
            return physical(&self.state, plan).await;
        }
        let (state, plan) = (self.state.clone(), plan.clone());
        let runtime = Handle::current();
        spawn_blocking(move || runtime.block_on(physical(&state, &plan))).await?
    }
}

async fn physical(state: &SessionState, plan: &LogicalPlan) -> Result<(LogicalPlan, Arc<dyn ExecutionPlan>)> {
    let optimised = state.optimize(plan)?;
    let physical = state.query_planner().create_physical_plan(&optimised, state).await?;
    Ok((optimised, physical))
}

/// Whether a statement reads an object of the database (and so needs a snapshot).
pub(crate) fn reads_objects(catalog: &Catalog, statement: &Statement) -> bool {
    let named = walk::relations(statement, |name| match name.0.last().and_then(ObjectNamePart::as_ident).map(folded) {
        // The relation of TUMBLE and HOP is an argument, before the rewrite.
        Some(name) if matches!(name.as_str(), "tumble" | "hop") || catalog.get(&name).is_some() => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    named.is_break()
}

/// The schemas of the one catalog; it answers to any catalog name, because clients use their database's.
#[derive(Debug)]
struct Schemas {
    public: Arc<Public>,
    information: Arc<dyn SchemaProvider>,
}

impl CatalogProviderList for Schemas {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, _name: &str) -> Option<Arc<dyn CatalogProvider>> {
        Some(Arc::new(Schemas { public: self.public.clone(), information: self.information.clone() }))
    }
}

impl CatalogProvider for Schemas {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned(), "pg_catalog".to_owned(), "information_schema".to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            SCHEMA => Some(self.public.clone()),
            "pg_catalog" => Some(self.public.system.clone()),
            "information_schema" => Some(self.information.clone()),
            _ => None,
        }
    }
}

/// The schema `public`; names it does not have are looked up in `pg_catalog`, as Postgres' search path does.
#[derive(Debug)]
struct Public {
    source: Source,
    system: Arc<dyn SchemaProvider>,
    keeps_filters: bool,
}

#[async_trait]
impl SchemaProvider for Public {
    fn table_names(&self) -> Vec<String> {
        self.source.catalog.objects().map(|o| o.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> datafusion::common::Result<Option<Arc<dyn TableProvider>>> {
        if let Some(shown) = self.source.shown.get(name.strip_suffix(WITH_SYSTEM_COLUMNS).unwrap_or(name)) {
            return match name.ends_with(WITH_SYSTEM_COLUMNS) {
                true => Err(no_offsets_yet(name.trim_end_matches(WITH_SYSTEM_COLUMNS)).into()),
                false => Ok(Some(shown.clone())),
            };
        }
        let (object, system_columns) = match self.source.catalog.get(name) {
            Some(object) => (Some(object), false),
            None => (name.strip_suffix(WITH_SYSTEM_COLUMNS).and_then(|n| self.source.catalog.get(n)), true),
        };
        let Some(object) = object.filter(|o| !matches!(o.kind, ObjectKind::Module { .. })) else {
            return self.system.table(name).await;
        };
        Ok(Some(Arc::new(Relation::new(object.clone(), &self.source, system_columns, self.keeps_filters))))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.source.catalog.get(name).is_some() || self.source.shown.contains_key(name)
    }
}

/// The first error a query may not have: it does something other than read.
pub(crate) fn only_reads(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
            Err(Error::unsupported("this statement is not supported here", "Use it as a statement of its own."))
        }
        _ => Ok(()),
    }
}
