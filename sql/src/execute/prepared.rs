//! Statements prepared in SQL. Those that drivers prepare through the protocol are the door's; the names are apart.

use crate::error::{Error, Result};
use crate::parameters::declared_type;
use crate::parser::parse_query;
use crate::planner::Source;
use crate::rows::Limits;
use crate::session::{Outcome, Prepared, Session, complete};
use crate::statement::{Kind, Statement};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use futures::future::BoxFuture;
use sqlparser::ast::{self, CastKind, Expr};
use sqlparser::tokenizer::Location;
use std::collections::HashMap;
use std::sync::Arc;

/// Statements a session may have prepared, and the bytes of their texts together.
const PREPARED_MAX: usize = 4096;
const PREPARED_BYTES_MAX: usize = 16 << 20;

/// By name.
#[derive(Debug, Default)]
pub(crate) struct PreparedStatements(HashMap<String, Entry>);

#[derive(Clone, Debug)]
struct Entry {
    statement: Statement,
    types: Vec<DataType>,
    bytes: usize,
}

impl PreparedStatements {
    fn get(&self, name: &str) -> Result<Entry> {
        self.0.get(name).cloned().ok_or_else(|| missing(name))
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Session {
    pub(super) async fn prepare_named(
        &mut self,
        name: &str,
        types: &[DataType],
        kind: &Arc<Kind>,
        bytes: usize,
    ) -> Result<Outcome> {
        let named = &self.prepared.0;
        if named.contains_key(name) {
            return Err(Error::new("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        let held: usize = named.values().map(|entry| entry.bytes).sum();
        if named.len() >= PREPARED_MAX || held + bytes > PREPARED_BYTES_MAX {
            return Err(Error::new("53400", "too many prepared statements in this session")
                .with_hint("DEALLOCATE those that are no longer used."));
        }
        // Positions are those of the PREPARE, which is where the text is.
        let statement = Statement { kind: kind.clone(), text: Arc::from(""), start: Location::empty() };
        let hints: Vec<_> = types.iter().cloned().map(Some).collect();
        let Prepared { parameters, .. } = self.describe(&statement, &hints).await?;
        self.prepared.0.insert(name.to_owned(), Entry { statement, types: parameters, bytes });
        Ok(complete("PREPARE"))
    }

    /// A boxed future, because running a statement may mean executing one.
    pub(super) fn execute_named<'a>(
        &'a mut self,
        name: &'a str,
        values: &'a [Expr],
        limits: Limits,
    ) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let entry = self.prepared.get(name)?;
            if values.len() != entry.types.len() {
                let (want, got) = (entry.types.len(), values.len());
                let message = format!("wrong number of parameters for prepared statement \"{name}\"");
                return Err(
                    Error::new("42601", message).with_detail(format!("Expected {want} parameters but got {got}."))
                );
            }
            let parameters = self.values_of(values, &entry.types, &limits).await?;
            self.run(&entry.statement, &parameters, limits).await
        })
    }

    pub(super) fn deallocate(&mut self, name: Option<&str>) -> Result<Outcome> {
        match name {
            None => {
                self.prepared.clear();
                Ok(complete("DEALLOCATE ALL"))
            }
            Some(name) => match self.prepared.0.remove(name) {
                Some(_) => Ok(complete("DEALLOCATE")),
                None => Err(missing(name)),
            },
        }
    }

    /// What EXECUTE of `name` gives.
    pub(super) fn describe_named<'a>(&'a mut self, name: &'a str) -> BoxFuture<'a, Result<Prepared>> {
        Box::pin(async move {
            let entry = self.prepared.get(name)?;
            let hints: Vec<_> = entry.types.iter().cloned().map(Some).collect();
            let inner = self.describe(&entry.statement, &hints).await?;
            Ok(Prepared { parameters: vec![], columns: inner.columns })
        })
    }

    /// Constant expressions as values of the parameters' types.
    async fn values_of(&self, values: &[Expr], types: &[DataType], limits: &Limits) -> Result<Vec<ScalarValue>> {
        if values.is_empty() {
            return Ok(vec![]);
        }
        let mut query = parse_query("SELECT 1")?;
        let select = crate::dml::select_of(&mut query)?;
        select.projection.clear();
        for (n, (value, data_type)) in values.iter().zip(types).enumerate() {
            let expr = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(value.clone()),
                data_type: declared_type(data_type)?,
                array: false,
                format: None,
            };
            let alias = ast::Ident::new(format!("p{n}"));
            select.projection.push(ast::SelectItem::ExprWithAlias { expr, alias });
        }
        let source = Source::catalog(self.instance.database.catalog());
        let row = self.read_all(source, &ast::Statement::Query(query), &[], limits).await?;
        row.columns().iter().map(|column| Ok(ScalarValue::try_from_array(column, 0)?)).collect()
    }
}

fn missing(name: &str) -> Error {
    Error::new("26000", format!("prepared statement \"{name}\" does not exist"))
}
