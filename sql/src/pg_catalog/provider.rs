//! The two system schemas as DataFusion sees them. A relation is built when a statement names it.

use super::contents;
use super::facts::Facts;
use super::relation::{RELATIONS, Relation, relation};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::Result;
use std::sync::Arc;

/// Schema `pg_catalog`.
pub(crate) fn schema_provider(facts: &Arc<Facts>) -> Arc<dyn SchemaProvider> {
    provider("pg_catalog", facts)
}

/// Schema `information_schema`.
pub(crate) fn information_schema(facts: &Arc<Facts>) -> Arc<dyn SchemaProvider> {
    provider("information_schema", facts)
}

fn provider(schema: &'static str, facts: &Arc<Facts>) -> Arc<dyn SchemaProvider> {
    Arc::new(SystemSchema { schema, facts: facts.clone() })
}

#[derive(Debug)]
struct SystemSchema {
    schema: &'static str,
    facts: Arc<Facts>,
}

impl SystemSchema {
    fn relations(&self) -> impl Iterator<Item = &'static Relation> {
        RELATIONS.iter().filter(|r| r.schema == self.schema)
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        self.relations().map(|r| r.name.to_string()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(relation) = relation(self.schema, name) else { return Ok(None) };
        let rows = contents::rows(&self.facts, relation)?;
        Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        relation(self.schema, name).is_some()
    }
}
