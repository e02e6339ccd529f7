//! Parameter and result types of a statement, before it runs.
//!
//! A statement is planned as one query or several: an INSERT, what its ON CONFLICT reads, what its RETURNING gives. They
//! share their parameters.

use crate::conflict::{self, Conflict, EXCLUDED};
use crate::dml::{self, Change};
use crate::error::{Error, Result};
use crate::names;
use crate::parameters::{
    array_of, given_type, parameter_count, parameter_type, types_in_plan, types_in_text, with_elements,
};
use crate::planner::Source;
use crate::returning::Returning;
use crate::rows::{renamed, text_schema};
use crate::session::{Prepared, Session};
use crate::show;
use crate::statement::{Kind, Statement};
use crate::types::NUMERIC_DEFAULT;
use arrow::datatypes::{DataType, SchemaRef};
use millpond_engine::catalog::Catalog;
use sqlparser::ast;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Parameters a statement may have; the protocol's own bound.
const PARAMETERS_MAX: usize = 65_535;

/// One of the queries a statement is planned as.
struct Part {
    query: ast::Statement,
    source: Source,
}

impl Session {
    pub(crate) async fn describe(&mut self, statement: &Statement, hints: &[Option<DataType>]) -> Result<Prepared> {
        self.refuse_in_failed(statement)?;
        let catalog = self.instance.database.catalog();
        let alone = |query: &ast::Query| {
            let query = ast::Statement::Query(Box::new(query.clone()));
            vec![Part { query, source: Source::catalog(catalog.clone()) }]
        };
        let (parts, returns) = match statement.kind.as_ref() {
            Kind::Query(query) => (alone(query), true),
            Kind::CopyOut { query, .. } => (alone(query), false),
            Kind::Explain { query, .. } => {
                let prepared = self.types(&alone(query), hints).await?;
                return Ok(Prepared { columns: Some(text_schema(&["QUERY PLAN"])), ..prepared });
            }
            Kind::ExplainView(_) => return Ok(Prepared::of(text_schema(&["QUERY PLAN"]))),
            Kind::Show(show) => return Ok(Prepared::of(text_schema(&show::columns(show)))),
            Kind::Execute { name, .. } => return self.describe_named(name).await,
            Kind::Insert(insert) => (parts_of_insert(insert, &catalog)?, insert.returning.is_some()),
            Kind::Update(update, with) => {
                (parts_of_change(dml::update(update, with.as_ref(), &catalog)?, &catalog)?, update.returning.is_some())
            }
            Kind::Delete(delete, with) => {
                (parts_of_change(dml::delete(delete, with.as_ref(), &catalog)?, &catalog)?, delete.returning.is_some())
            }
            _ => return Ok(Prepared { parameters: vec![], columns: None }),
        };
        let prepared = self.types(&parts, hints).await?;
        Ok(if returns { prepared } else { Prepared { columns: None, ..prepared } })
    }

    /// Types of all parameters, and the columns of the last part.
    async fn types(&mut self, parts: &[Part], hints: &[Option<DataType>]) -> Result<Prepared> {
        let count = parts.iter().map(|part| parameter_count(&part.query)).max().unwrap_or(0);
        if count > PARAMETERS_MAX {
            return Err(Error::new("54000", format!("a statement can have at most {PARAMETERS_MAX} parameters")));
        }
        let parameters = if count > 0 { self.parameters(parts, count, hints).await? } else { vec![] };
        let mut columns = None;
        for part in parts {
            let mut planner = self.planner_of_types(part.source.clone())?;
            let (plan, _) = planner.plan(part.query.clone(), &parameters).await?;
            let plan = planner.analysed(plan)?;
            columns = match &part.query {
                ast::Statement::Query(query) => {
                    let names = names::of_query(query, plan.schema());
                    Some(renamed(plan.schema().inner(), &names))
                }
                _ => None,
            };
        }
        Ok(Prepared { parameters, columns })
    }

    /// A parameter has the type its client gave it, or a cast, or what it is compared with or assigned to.
    async fn parameters(&self, parts: &[Part], count: usize, hints: &[Option<DataType>]) -> Result<Vec<DataType>> {
        let (mut casts, mut inferred) = (BTreeMap::new(), HashMap::new());
        for part in parts {
            for (index, data_type) in types_in_text(&part.query) {
                casts.entry(index).or_insert(data_type);
            }
            // Planning without types tells those that the query determines; it may fail for want of the others.
            let (query, arrays) = with_elements(&part.query);
            if let Ok((plan, _)) = self.planner_of_types(part.source.clone())?.plan(query, &[]).await {
                for (name, data_type) in types_in_plan(&plan)? {
                    let data_type = if arrays.contains(&name) { array_of(data_type) } else { data_type };
                    inferred.entry(name).or_insert(data_type);
                }
            }
        }
        let type_of = |index: usize| {
            let hint = hints.get(index - 1).cloned().flatten();
            let cast = casts.get(&index).and_then(|t| given_type(t).ok());
            let found = inferred.get(&format!("${index}")).cloned();
            // A bare `numeric` says nothing of precision and scale: where they are known, they are taken.
            let exact = [&cast, &found].into_iter().flatten().find(|t| matches!(t, DataType::Decimal128(..))).cloned();
            let hint = match hint {
                Some(DataType::Decimal128(p, s)) if (p, s) == NUMERIC_DEFAULT => exact.or(hint),
                other => other,
            };
            hint.or(cast).or(found).and_then(|t| parameter_type(&t)).unwrap_or(DataType::Utf8)
        };
        Ok((1..=count).map(type_of).collect())
    }
}

fn parts_of_insert(insert: &ast::Insert, catalog: &Arc<Catalog>) -> Result<Vec<Part>> {
    let object = dml::insert_target(catalog, &dml::insert_name(insert)?)?;
    let plain = ast::Statement::Insert(dml::with_columns(insert, &object)?);
    let mut parts = vec![Part { query: plain, source: Source::catalog(catalog.clone()) }];
    if let Some(Conflict::Update(change)) = conflict::of_insert(insert, &object)? {
        let source = Source::catalog(catalog.clone());
        let source = source.showing(EXCLUDED, conflict::excluded_schema(&object), vec![])?;
        parts.push(Part { query: change.query, source });
    }
    let returning = dml::returning(insert.returning.as_deref(), &object, dml::insert_alias(insert))?;
    add_returning(&mut parts, returning, catalog)?;
    Ok(parts)
}

fn parts_of_change(change: Change, catalog: &Arc<Catalog>) -> Result<Vec<Part>> {
    let mut parts = vec![Part { query: change.query, source: Source::catalog(catalog.clone()) }];
    add_returning(&mut parts, change.returning, catalog)?;
    Ok(parts)
}

fn add_returning(parts: &mut Vec<Part>, returning: Option<Returning>, catalog: &Arc<Catalog>) -> Result<()> {
    if let Some(returning) = returning {
        parts.push(Part { query: returning.statement(), source: returning.source(catalog.clone(), vec![])? });
    }
    Ok(())
}

impl Prepared {
    fn of(columns: SchemaRef) -> Prepared {
        Prepared { parameters: vec![], columns: Some(columns) }
    }
}
