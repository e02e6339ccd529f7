//! Where `FOR UPDATE` may stand: at the end of a SELECT that is a statement of its own. Elsewhere nothing would keep it.

use crate::error::{Error, Result};
use crate::statement::Kind;
use crate::walk::walk;
use sqlparser::ast::{Query, Visit, Visitor};
use std::ops::ControlFlow;

/// Refuses locking clauses that would be ignored.
pub(super) fn check(kind: &Kind) -> Result<()> {
    let found = match kind {
        Kind::Query(query) => locks_in(query.as_ref()) > usize::from(!query.locks.is_empty()),
        Kind::Explain { query, .. } | Kind::CopyOut { query, .. } => locks_in(query.as_ref()) > 0,
        Kind::CreateView(create) | Kind::ExplainView(create) => locks_in(create.query.as_ref()) > 0,
        Kind::Insert(insert) => locks_in(insert.as_ref()) > 0,
        Kind::Update(update, with) => locks_in(update.as_ref()) + locks_in(with) > 0,
        Kind::Delete(delete, with) => locks_in(delete.as_ref()) + locks_in(with) > 0,
        _ => false,
    };
    if found {
        return Err(Error::unsupported(
            "FOR UPDATE is not supported here",
            "It may stand at the end of a SELECT that is a statement of its own.",
        ));
    }
    Ok(())
}

/// Queries with a locking clause.
fn locks_in(node: &impl Visit) -> usize {
    let mut counter = Counter(0);
    let _ = walk(node, &mut counter);
    counter.0
}

struct Counter(usize);

impl Visitor for Counter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.0 += usize::from(!query.locks.is_empty());
        ControlFlow::Continue(())
    }
}
