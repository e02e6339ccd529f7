//! A parsed statement: what the session executes. Own shapes for what only Millpond has, sqlparser's for the rest.

use crate::copy::CopyOptions;
use crate::error::{Error, Result};
use arrow::datatypes::DataType;
use sqlparser::ast;
use sqlparser::tokenizer::Location;
use std::sync::Arc;

/// One parsed statement of a query string.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(crate) kind: Arc<Kind>,
    /// The query string it came from, and where in it the statement starts; for positions of errors.
    pub(crate) text: Arc<str>,
    pub(crate) start: Location,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Query(Box<ast::Query>),
    Explain {
        analyze: bool,
        verbose: bool,
        query: Box<ast::Query>,
    },
    ExplainView(CreateView),
    Insert(Box<ast::Insert>),
    /// With the WITH in front of it.
    Update(Box<ast::Update>, Option<ast::With>),
    Delete(Box<ast::Delete>, Option<ast::With>),
    CreateStream(CreateRelation),
    CreateTable(CreateRelation),
    CreateModule {
        name: String,
        if_not_exists: bool,
        bytes: Vec<u8>,
    },
    CreateView(CreateView),
    Drop {
        noun: DropNoun,
        names: Vec<String>,
        if_exists: bool,
        cascade: bool,
    },
    CopyIn {
        relation: String,
        columns: Vec<String>,
        options: CopyOptions,
    },
    CopyOut {
        query: Box<ast::Query>,
        options: CopyOptions,
    },
    Subscribe {
        relation: String,
        snapshot: bool,
        progress: bool,
        options: CopyOptions,
    },
    Show(Show),
    /// `value: None` = back to the default.
    Set {
        name: String,
        value: Option<String>,
        local: bool,
    },
    ResetAll,
    /// `read_only: None` = as the session's default says.
    Begin {
        read_only: Option<bool>,
        tag: &'static str,
    },
    /// `SET TRANSACTION`; of the modes only READ ONLY and READ WRITE make a difference.
    SetTransaction {
        read_only: Option<bool>,
    },
    Commit,
    Rollback,
    Savepoint(SavepointVerb),
    Prepare {
        name: String,
        /// As declared; may be fewer than there are.
        types: Vec<DataType>,
        statement: Arc<Kind>,
        /// Length of its text.
        bytes: usize,
    },
    Execute {
        name: String,
        values: Vec<ast::Expr>,
    },
    /// `None` = ALL.
    Deallocate {
        name: Option<String>,
    },
    DiscardAll,
    Nothing {
        tag: &'static str,
    },
}

/// `CREATE STREAM` or `CREATE TABLE`.
#[derive(Clone, Debug)]
pub(crate) struct CreateRelation {
    pub(crate) name: String,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<ast::ColumnDef>,
    /// `PRIMARY KEY (…)` of a table, `KEY (…)` or `WITH (key = …)` of a stream.
    pub(crate) key: Vec<String>,
    pub(crate) partitions: Option<u32>,
    /// The statement's own text; kept as the object's definition.
    pub(crate) text: String,
}

/// `CREATE MATERIALIZED VIEW`.
#[derive(Clone, Debug)]
pub(crate) struct CreateView {
    pub(crate) name: String,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<String>,
    pub(crate) query: Box<ast::Query>,
    /// The query as the user wrote it; kept as the view's definition.
    pub(crate) text: String,
}

/// What is done with the savepoint of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SavepointVerb {
    Set(String),
    Release(String),
    RollbackTo(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    All,
    Setting(String),
    /// `STREAMS`, `TABLES`, `MATERIALIZED VIEWS`, `MODULES`; by the noun of the catalog.
    Objects(&'static str),
    Functions,
    Definition(String),
}

/// What a DROP says it drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropNoun {
    Stream,
    Table,
    View,
    Module,
}

impl DropNoun {
    /// The catalog's word for it.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            DropNoun::Stream => "stream",
            DropNoun::Table => "table",
            DropNoun::View => "materialized view",
            DropNoun::Module => "module",
        }
    }

    /// Command tag.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            DropNoun::Stream => "DROP STREAM",
            DropNoun::Table => "DROP TABLE",
            DropNoun::View => "DROP MATERIALIZED VIEW",
            DropNoun::Module => "DROP MODULE",
        }
    }
}

/// An identifier as Postgres folds it.
pub(crate) fn folded(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The catalog name of an object: the schema is always `public`.
///
/// # Errors
/// 3F000 for another schema.
pub(crate) fn object_name(name: &ast::ObjectName) -> Result<String> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect();
    match parts.as_slice() {
        [name] => Ok(name.clone()),
        [schema, name] | [_, schema, name] if schema == "public" => Ok(name.clone()),
        [schema, _] | [_, schema, _] => Err(Error::new("3F000", format!("schema \"{schema}\" does not exist"))
            .with_hint("Objects live in the schema public.")),
        _ => Err(Error::syntax(format!("improper qualified name: {name}"))),
    }
}
