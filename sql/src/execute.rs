//! Executes statements: the only file that joins plans, snapshots and the engine's calls.

mod change;
mod define;
mod describe;
mod insert;
mod lock;
pub(crate) mod prepared;

use crate::dml;
use crate::error::{Error, Result};
use crate::explain::{plan_lines, read_lines};
use crate::feed::Feed;
use crate::function::CALL_DEADLINE_DEFAULT;
use crate::names;
use crate::planner::{Planner, Source, only_reads, reads_objects};
use crate::returning::{self, Returning};
use crate::rewrite::text_shown;
use crate::rows::{Limits, Rows, bounded, text_rows};
use crate::session::{Outcome, Session, complete};
use crate::show;
use crate::statement::{Kind, Statement};
use crate::view;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::common::collect as collect_stream;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{collect, displayable};
use millpond_engine::catalog::ObjectKind;
use millpond_engine::database::ReadMode;
use millpond_engine::function::{CallLimits, CallsOf};
use millpond_engine::snapshot::Snapshot;
use millpond_engine::subscription::SubscribeOptions;
use sqlparser::ast;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How long a strict read waits for the dataflow when no `statement_timeout` is set.
const SNAPSHOT_WAIT_MAX: Duration = Duration::from_secs(60);

impl Session {
    pub(crate) async fn run(
        &mut self,
        statement: &Statement,
        parameters: &[ScalarValue],
        limits: Limits,
    ) -> Result<Outcome> {
        self.refuse_in_read_only(&statement.kind)?;
        match statement.kind.as_ref() {
            Kind::Query(query) => Ok(Outcome::Rows(self.select(query, parameters, &limits).await?)),
            Kind::Explain { analyze, verbose, query } => {
                self.explain(query, parameters, *analyze, *verbose, &limits).await
            }
            Kind::ExplainView(create) => {
                let catalog = self.instance.database.catalog();
                let planned = view::plan_view(&self.instance.base, catalog, &create.query, &create.columns).await?;
                let lines = plan_lines(&planned.plan, &self.instance.database.catalog());
                explained(lines)
            }
            Kind::Insert(insert) => self.insert(insert, parameters, &limits).await,
            Kind::Update(update, with) => {
                let change = dml::update(update, with.as_ref(), &self.instance.database.catalog())?;
                self.change(change, parameters, &limits).await
            }
            Kind::Delete(delete, with) => {
                let change = dml::delete(delete, with.as_ref(), &self.instance.database.catalog())?;
                self.change(change, parameters, &limits).await
            }
            Kind::CopyIn { relation, columns, options } => self.copy_in(relation, columns, options.clone(), limits),
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
            Kind::Begin { read_only, tag } => Ok(self.begin(*read_only, tag)),
            Kind::SetTransaction { read_only } => self.set_transaction(*read_only),
            Kind::Commit => self.commit().await,
            Kind::Rollback => Ok(self.rollback()),
            Kind::Savepoint(what) => self.savepoint(what),
            Kind::Prepare { name, types, statement, bytes } => self.prepare_named(name, types, statement, *bytes).await,
            Kind::Execute { name, values } => self.execute_named(name, values, limits).await,
            Kind::Deallocate { name } => self.deallocate(name.as_deref()),
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
        if !query.locks.is_empty() {
            self.lock_tables(query, parameters, limits).await?;
        }
        let source = match query.locks.is_empty() {
            true => self.source(&statement, limits).await?,
            // What is locked is read as it is now, whatever millpond.read says.
            false => Source::snapshot(self.snapshot(ReadMode::Strict, limits).await?, self.block.lock().own_changes()),
        };
        let mut planner = self.planner(source, limits)?;
        let (plan, _) = planner.plan_with(statement, parameters).await?;
        only_reads(&plan)?;
        let names = names::of_query(query, plan.schema());
        let stream = limits.bound(planner.execute(&plan)).await??;
        let snapshot = planner.source.snapshot.clone();
        let (schema, stream) = bounded(stream, Some(names), limits.clone(), snapshot);
        Ok(Rows { schema, stream, tag: "SELECT", count: true, timeout: limits.timeout.clone() })
    }

    /// All rows of a query over `source`, which is let go of.
    async fn read_all(
        &self,
        source: Source,
        query: &ast::Statement,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<RecordBatch> {
        let mut planner = self.planner(source, limits)?;
        let (plan, _) = planner.plan_with(query.clone(), parameters).await?;
        let stream = limits.bound(planner.execute(&plan)).await??;
        let schema = stream.schema();
        let batches = limits.bound(collect_stream(stream)).await??;
        Ok(concat_batches(&schema, &batches)?)
    }

    async fn rows_of_returning(
        &self,
        returning: &Returning,
        source: Source,
        parameters: &[ScalarValue],
        limits: &Limits,
    ) -> Result<Rows> {
        let mut planner = self.planner(source, limits)?;
        // One partition keeps the rows in order.
        planner.state.config_mut().options_mut().execution.target_partitions = 1;
        let (plan, _) = planner.plan_with(returning.statement(), parameters).await?;
        returning::check_plan(&plan)?;
        let names = names::of_query(&returning.query, plan.schema());
        let stream = limits.bound(planner.execute(&plan)).await??;
        let schema = stream.schema();
        let batches = limits.bound(collect_stream(stream)).await??;
        Ok(Rows::ready(&schema, &names, &batches))
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
        let (optimised, physical) = limits.bound(planner.physical(&plan)).await??;
        let text = if analyze {
            let run = collect(physical.clone(), planner.state.task_ctx());
            limits.bound(run).await??;
            DisplayableExecutionPlan::with_metrics(physical.as_ref()).indent(verbose).to_string()
        } else if verbose {
            format!("{}\n{}", optimised.display_indent_schema(), displayable(physical.as_ref()).indent(true))
        } else {
            displayable(physical.as_ref()).indent(false).to_string()
        };
        let mut lines: Vec<String> = text_shown(&text).lines().map(str::to_owned).collect();
        lines.extend(read_lines(&optimised, &planner.source.catalog)?);
        explained(lines)
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
        if !reads_objects(&catalog, statement) {
            return Ok(Source::catalog(catalog));
        }
        let mode = if self.settings.reads_latest() { ReadMode::Latest } else { ReadMode::Strict };
        Ok(Source::snapshot(self.snapshot(mode, limits).await?, self.block.lock().own_changes()))
    }

    pub(crate) async fn snapshot(&self, mode: ReadMode, limits: &Limits) -> Result<Arc<Snapshot>> {
        let timeout = self.settings.statement_timeout().unwrap_or(SNAPSHOT_WAIT_MAX);
        let database = self.instance.database.clone();
        let waiting = spawn_blocking(move || database.snapshot(mode, timeout));
        Ok(limits.bound(waiting).await???)
    }

    /// A planner whose plan is only looked at.
    pub(crate) fn planner_of_types(&self, source: Source) -> Result<Planner> {
        self.planner(source, &Limits::new(Arc::default(), self.settings.statement_timeout()))
    }

    pub(crate) fn planner(&self, source: Source, limits: &Limits) -> Result<Planner> {
        let calls = CallLimits {
            of: CallsOf::Statements,
            call: self.settings.statement_timeout().unwrap_or(CALL_DEADLINE_DEFAULT),
            until: limits.timeout.clone(),
            cancel: limits.cancel.clone(),
        };
        Planner::new(self.instance.base.state(), source, self.info(), calls, false)
    }
}

fn explained(lines: Vec<String>) -> Result<Outcome> {
    let rows = lines.into_iter().map(|line| vec![Some(line)]).collect();
    Ok(Outcome::Rows(text_rows("EXPLAIN", &["QUERY PLAN"], rows)?))
}
