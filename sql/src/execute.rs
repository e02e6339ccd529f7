//! Executes statements: the only file that joins plans, snapshots and the engine's calls.

mod change;
mod define;

use crate::dml;
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::function::CALL_DEADLINE_DEFAULT;
use crate::names;
use crate::planner::{Planner, Source, only_reads, reads_objects};
use crate::relation::Relation;
use crate::rewrite::{cast_parameters, parameter_count};
use crate::rows::{Limits, Rows, guarded, renamed, text_rows, text_schema};
use crate::session::{Outcome, Prepared, Session, TransactionStatus, complete};
use crate::show;
use crate::statement::{Kind, Statement};
use crate::types::{arrow_type, storable};
use crate::view;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{collect, displayable};
use millpond_engine::ObjectId;
use millpond_engine::catalog::ObjectKind;
use millpond_engine::database::ReadMode;
use millpond_engine::function::CallLimits;
use millpond_engine::snapshot::Snapshot;
use millpond_engine::subscription::SubscribeOptions;
use sqlparser::ast;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How long a strict read waits for the dataflow when no `statement_timeout` is set.
const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(60);
/// Parameters a statement may have; the protocol's own bound.
const PARAMETERS_MAX: usize = 65_535;

impl Session {
    pub(crate) async fn run(
        &mut self,
        statement: &Statement,
        parameters: &[ScalarValue],
        limits: Limits,
    ) -> Result<Outcome> {
        match statement.kind.as_ref() {
            Kind::Query(query) => Ok(Outcome::Rows(self.select(query, parameters, &limits).await?)),
            Kind::Explain { analyze, verbose, query } => {
                self.explain(query, parameters, *analyze, *verbose, &limits).await
            }
            Kind::ExplainView(create) => {
                let catalog = self.instance.database.catalog();
                let planned = view::plan_view(&self.instance.base, catalog, &create.query, &create.columns).await?;
                let lines = crate::explain::plan_lines(&planned.plan, &self.instance.database.catalog());
                explained(lines)
            }
            Kind::Insert(insert) => self.insert(insert, parameters, &limits).await,
            Kind::Update(update) => {
                let change = dml::update(update, &self.instance.database.catalog())?;
                self.change(change, parameters, &limits).await
            }
            Kind::Delete(delete) => {
                let change = dml::delete(delete, &self.instance.database.catalog())?;
                self.change(change, parameters, &limits).await
            }
            Kind::CopyIn { relation, columns, options } => self.copy_in(relation, columns, options.clone()),
            Kind::CopyOut { query, options } => {
                let rows = self.select(query, parameters, &limits).await?;
                Ok(Outcome::CopyOut { rows: Rows { tag: "COPY", ..rows }, options: options.clone() })
            }
            Kind::Subscribe { relation, snapshot, progress, options } => {
                let feed = self.subscribe(relation, *snapshot, *progress).await?;
                Ok(Outcome::Subscribe { feed, options: options.clone() })
            }
            Kind::Show(show) => {
                let catalog = self.instance.database.catalog();
                Ok(Outcome::Rows(show::show(show, &self.settings, &catalog)?))
            }
            Kind::Set { name, value, local } => self.set(name, value.as_deref(), *local),
            Kind::ResetAll => {
                self.settings.reset_all();
                Ok(complete("RESET"))
            }
            Kind::Begin => Ok(self.begin()),
            Kind::Commit => self.commit().await,
            Kind::Rollback => Ok(self.rollback()),
            Kind::DiscardAll => self.discard_all(),
            Kind::Nothing { tag } => Ok(complete(*tag)),
            Kind::CreateStream(_) | Kind::CreateTable(_) | Kind::CreateModule { .. } | Kind::CreateView(_) => {
                self.create(&statement.kind, &limits).await
            }
            Kind::Drop { noun, names, if_exists, cascade } => {
                self.drop_objects(*noun, names, *if_exists, *cascade).await
            }
        }
    }

    /// A query's rows.
    async fn select(&mut self, query: &ast::Query, parameters: &[ScalarValue], limits: &Limits) -> Result<Rows> {
        let statement = ast::Statement::Query(Box::new(query.clone()));
        let source = self.source(&statement, limits).await?;
        let mut planner = self.planner(source, limits)?;
        let (plan, _) = planner.plan_with(statement, parameters).await?;
        only_reads(&plan)?;
        self.refuse_pending(&plan)?;
        let names = names::of_query(query, plan.schema());
        let stream = limits.bound(planner.execute(&plan)).await??;
        let snapshot = planner.source.snapshot.clone();
        let (schema, stream) = guarded(stream, Some(names), limits.clone(), snapshot);
        Ok(Rows { schema, stream, tag: "SELECT", count: true })
    }

    async fn explain(
        &mut self,
        query: &ast::Query,
        parameters: &[ScalarValue],
        analyze: bool,
        verbose: bool,
        limits: &Limits,
    ) -> Result<Outcome> {
        let statement = ast::Statement::Query(Box::new(query.clone()));
        let source = self.source(&statement, limits).await?;
        let mut planner = self.planner(source, limits)?;
        let (plan, _) = planner.plan_with(statement, parameters).await?;
        only_reads(&plan)?;
        self.refuse_pending(&plan)?;
        let optimised = planner.state.optimize(&plan)?;
        let physical = planner.state.query_planner().create_physical_plan(&optimised, &planner.state).await?;
        let text = if analyze {
            let run = collect(physical.clone(), planner.state.task_ctx());
            limits.bound(run).await??;
            DisplayableExecutionPlan::with_metrics(physical.as_ref()).indent(verbose).to_string()
        } else if verbose {
            format!("{}\n{}", optimised.display_indent_schema(), displayable(physical.as_ref()).indent(true))
        } else {
            displayable(physical.as_ref()).indent(false).to_string()
        };
        explained(text.lines().map(str::to_owned).collect())
    }

    async fn subscribe(&mut self, relation: &str, snapshot: bool, progress: bool) -> Result<Feed> {
        let database = self.instance.database.clone();
        let catalog = database.catalog();
        let object = catalog.get(relation).ok_or_else(|| Error::undefined_relation(relation))?;
        match object.kind {
            ObjectKind::Table { .. } | ObjectKind::View { .. } => {}
            ObjectKind::Stream { .. } => {
                return Err(Error::unsupported(
                    format!("SUBSCRIBE to stream \"{relation}\" is not supported yet"),
                    format!("Create a materialized view AS SELECT * FROM {relation} and subscribe to that."),
                ));
            }
            ObjectKind::Module { .. } => return Err(Error::undefined_relation(relation)),
        }
        let id = object.id;
        let subscription = spawn_blocking(move || database.subscribe(id, SubscribeOptions { snapshot })).await??;
        Ok(Feed::new(subscription, progress))
    }
}

/// Snapshots and planners.
impl Session {
    /// What `statement` reads: a fresh snapshot, or the catalog alone when it reads no object.
    pub(crate) async fn source(&self, statement: &ast::Statement, limits: &Limits) -> Result<Source> {
        let catalog = self.instance.database.catalog();
        if !reads_objects(self.instance.base.state(), &catalog, statement)? {
            return Ok(Source::catalog(catalog));
        }
        let mode = if self.settings.reads_latest() { ReadMode::Latest } else { ReadMode::Strict };
        Ok(Source::snapshot(self.snapshot(mode, limits).await?))
    }

    pub(crate) async fn snapshot(&self, mode: ReadMode, limits: &Limits) -> Result<Arc<Snapshot>> {
        let timeout = self.settings.statement_timeout().unwrap_or(SNAPSHOT_WAIT_MAX);
        let database = self.instance.database.clone();
        let waiting = spawn_blocking(move || database.snapshot(mode, timeout));
        Ok(limits.bound(waiting).await???)
    }

    pub(crate) fn planner(&self, source: Source, limits: &Limits) -> Result<Planner> {
        let calls = CallLimits {
            call: self.settings.statement_timeout().unwrap_or(CALL_DEADLINE_DEFAULT),
            until: limits.deadline.map(|deadline| deadline.into_std()),
            cancel: limits.cancel.clone(),
        };
        Planner::new(self.instance.base.state(), source, &self.info(), calls, false)
    }

    /// A snapshot does not show the transaction's own changes, so reading them would give a wrong answer.
    fn refuse_pending(&self, plan: &LogicalPlan) -> Result<()> {
        let block = self.block.lock();
        match scanned(plan)?.into_iter().find(|(id, _)| block.touches(*id)) {
            None => Ok(()),
            Some((_, name)) => Err(pending(&name)),
        }
    }
}

/// Parameter and result types.
impl Session {
    pub(crate) async fn describe(&mut self, statement: &Statement, hints: &[Option<DataType>]) -> Result<Prepared> {
        if self.status() == TransactionStatus::Failed
            && !matches!(statement.kind.as_ref(), Kind::Commit | Kind::Rollback)
        {
            return Err(Error::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        let catalog = self.instance.database.catalog();
        let (planned, returns) = match statement.kind.as_ref() {
            Kind::Query(query) => (ast::Statement::Query(query.clone()), true),
            Kind::CopyOut { query, .. } => (ast::Statement::Query(query.clone()), false),
            Kind::Explain { query, .. } => {
                let prepared = self.types(&ast::Statement::Query(query.clone()), hints).await?;
                return Ok(Prepared { columns: Some(text_schema(&["QUERY PLAN"])), ..prepared });
            }
            Kind::ExplainView(_) => return Ok(Prepared::of(text_schema(&["QUERY PLAN"]))),
            Kind::Show(show) => return Ok(Prepared::of(text_schema(&show::columns(show)))),
            Kind::Insert(insert) => {
                let object = dml::insert_target(&catalog, &dml::insert_name(insert)?)?;
                (ast::Statement::Insert(dml::with_columns(insert, &object)?), false)
            }
            Kind::Update(update) => (dml::update(update, &catalog)?.query, false),
            Kind::Delete(delete) => (dml::delete(delete, &catalog)?.query, false),
            _ => return Ok(Prepared { parameters: vec![], columns: None }),
        };
        let prepared = self.types(&planned, hints).await?;
        Ok(if returns { prepared } else { Prepared { columns: None, ..prepared } })
    }

    async fn types(&mut self, statement: &ast::Statement, hints: &[Option<DataType>]) -> Result<Prepared> {
        let source = Source::catalog(self.instance.database.catalog());
        let limits = Limits::new(Arc::default(), self.settings.statement_timeout());
        let count = parameter_count(statement);
        if count > PARAMETERS_MAX {
            return Err(Error::new("54000", format!("a statement can have at most {PARAMETERS_MAX} parameters")));
        }
        let mut parameters = Vec::new();
        if count > 0 {
            let mut casts = cast_parameters(statement);
            // Planning without types tells those that the query determines; it may fail for want of the others.
            let inferred = match self.planner(source.clone(), &limits)?.plan(statement.clone(), &[]).await {
                Ok((plan, _)) => plan.get_parameter_types()?,
                Err(_) => Default::default(),
            };
            for index in 1..=count {
                let hint = hints.get(index - 1).cloned().flatten();
                let cast = casts.remove(&index).and_then(|t| arrow_type(&t).ok());
                let found = inferred.get(&format!("${index}")).cloned().flatten();
                let found = hint.or(cast).or(found).and_then(|t| storable(&t));
                parameters.push(found.unwrap_or(DataType::Utf8));
            }
        }
        let (plan, _) = self.planner(source, &limits)?.plan(statement.clone(), &parameters).await?;
        let columns = match statement {
            ast::Statement::Query(query) => {
                let names = names::of_query(query, plan.schema());
                Some(renamed(plan.schema().inner(), &names))
            }
            _ => None,
        };
        Ok(Prepared { parameters, columns })
    }
}

impl Prepared {
    fn of(columns: SchemaRef) -> Prepared {
        Prepared { parameters: vec![], columns: Some(columns) }
    }
}

/// Objects a plan scans, with their names.
pub(crate) fn scanned(plan: &LogicalPlan) -> Result<Vec<(ObjectId, String)>> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(relation) = source_as_provider(&scan.source)?.downcast_ref::<Relation>()
        {
            found.push((relation.object.id, relation.object.name.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

pub(crate) fn pending(name: &str) -> Error {
    Error::unsupported(
        format!("reading \"{name}\" after changing it in the same transaction is not supported"),
        "Commit first, then read.",
    )
}

fn explained(lines: Vec<String>) -> Result<Outcome> {
    let rows = lines.into_iter().map(|line| vec![Some(line)]).collect();
    Ok(Outcome::Rows(text_rows("EXPLAIN", &["QUERY PLAN"], rows)?))
}
