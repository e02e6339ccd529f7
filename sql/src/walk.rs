//! Walks over the syntax tree that are compiled once.
//!
//! sqlparser's `Visit` is generic in the visitor, so each visitor's type brings its own copy of the visits of every kind
//! of node; thirty visitors were three quarters of this crate's code and of its compile time. Here all of them go through
//! one visitor that calls the real one behind a `dyn`. [`Visitor`]s and [`VisitorMut`]s are written as ever.

use sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use std::ops::ControlFlow;

/// `node.visit(visitor)`.
pub(crate) fn walk<V: Visitor>(node: &impl Visit, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut held = Held { visitor, broken: None };
    let _ = node.visit(&mut Walker(&mut held));
    held.broken.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// `node.visit(visitor)`, where the visitor may change the nodes.
pub(crate) fn walk_mut<V: VisitorMut>(node: &mut impl VisitMut, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut held = Held { visitor, broken: None };
    let _ = node.visit(&mut WalkerMut(&mut held));
    held.broken.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Shows `visit` every expression, the outer before the inner.
pub(crate) fn expressions<B>(node: &impl Visit, visit: impl FnMut(&Expr) -> ControlFlow<B>) -> ControlFlow<B> {
    walk(node, &mut Expressions(visit))
}

/// Shows `visit` every name of a relation.
pub(crate) fn relations<B>(node: &impl Visit, visit: impl FnMut(&ObjectName) -> ControlFlow<B>) -> ControlFlow<B> {
    walk(node, &mut Relations(visit))
}

struct Expressions<F>(F);

impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for Expressions<F> {
    type Break = B;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<B> {
        self.0(expr)
    }
}

struct Relations<F>(F);

impl<B, F: FnMut(&ObjectName) -> ControlFlow<B>> Visitor for Relations<F> {
    type Break = B;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<B> {
        self.0(relation)
    }
}

/// What a visitor is shown.
enum Node<'a> {
    Query(&'a Query),
    Select(&'a Select),
    Relation(&'a ObjectName),
    TableFactor(&'a TableFactor),
    Expr(&'a Expr),
    Statement(&'a Statement),
    Value(&'a ValueWithSpan),
}

enum NodeMut<'a> {
    Query(&'a mut Query),
    Select(&'a mut Select),
    Relation(&'a mut ObjectName),
    TableFactor(&'a mut TableFactor),
    Expr(&'a mut Expr),
    Statement(&'a mut Statement),
    Value(&'a mut ValueWithSpan),
}

/// A visitor of any type. Its calls say whether to go on.
trait Shown {
    fn enter(&mut self, node: Node<'_>) -> ControlFlow<()>;
    fn leave(&mut self, node: Node<'_>) -> ControlFlow<()>;
}

trait ShownMut {
    fn enter(&mut self, node: NodeMut<'_>) -> ControlFlow<()>;
    fn leave(&mut self, node: NodeMut<'_>) -> ControlFlow<()>;
}

/// A visitor, and what it broke off with.
struct Held<'a, V, B> {
    visitor: &'a mut V,
    broken: Option<B>,
}

impl<V, B> Held<'_, V, B> {
    fn keep(&mut self, flow: ControlFlow<B>) -> ControlFlow<()> {
        flow.map_break(|broken| self.broken = Some(broken))
    }
}

impl<V: Visitor> Shown for Held<'_, V, V::Break> {
    fn enter(&mut self, node: Node<'_>) -> ControlFlow<()> {
        let flow = match node {
            Node::Query(query) => self.visitor.pre_visit_query(query),
            Node::Select(select) => self.visitor.pre_visit_select(select),
            Node::Relation(name) => self.visitor.pre_visit_relation(name),
            Node::TableFactor(factor) => self.visitor.pre_visit_table_factor(factor),
            Node::Expr(expr) => self.visitor.pre_visit_expr(expr),
            Node::Statement(statement) => self.visitor.pre_visit_statement(statement),
            Node::Value(value) => self.visitor.pre_visit_value(value),
        };
        self.keep(flow)
    }

    fn leave(&mut self, node: Node<'_>) -> ControlFlow<()> {
        let flow = match node {
            Node::Query(query) => self.visitor.post_visit_query(query),
            Node::Select(select) => self.visitor.post_visit_select(select),
            Node::Relation(name) => self.visitor.post_visit_relation(name),
            Node::TableFactor(factor) => self.visitor.post_visit_table_factor(factor),
            Node::Expr(expr) => self.visitor.post_visit_expr(expr),
            Node::Statement(statement) => self.visitor.post_visit_statement(statement),
            Node::Value(value) => self.visitor.post_visit_value(value),
        };
        self.keep(flow)
    }
}

impl<V: VisitorMut> ShownMut for Held<'_, V, V::Break> {
    fn enter(&mut self, node: NodeMut<'_>) -> ControlFlow<()> {
        let flow = match node {
            NodeMut::Query(query) => self.visitor.pre_visit_query(query),
            NodeMut::Select(select) => self.visitor.pre_visit_select(select),
            NodeMut::Relation(name) => self.visitor.pre_visit_relation(name),
            NodeMut::TableFactor(factor) => self.visitor.pre_visit_table_factor(factor),
            NodeMut::Expr(expr) => self.visitor.pre_visit_expr(expr),
            NodeMut::Statement(statement) => self.visitor.pre_visit_statement(statement),
            NodeMut::Value(value) => self.visitor.pre_visit_value(value),
        };
        self.keep(flow)
    }

    fn leave(&mut self, node: NodeMut<'_>) -> ControlFlow<()> {
        let flow = match node {
            NodeMut::Query(query) => self.visitor.post_visit_query(query),
            NodeMut::Select(select) => self.visitor.post_visit_select(select),
            NodeMut::Relation(name) => self.visitor.post_visit_relation(name),
            NodeMut::TableFactor(factor) => self.visitor.post_visit_table_factor(factor),
            NodeMut::Expr(expr) => self.visitor.post_visit_expr(expr),
            NodeMut::Statement(statement) => self.visitor.post_visit_statement(statement),
            NodeMut::Value(value) => self.visitor.post_visit_value(value),
        };
        self.keep(flow)
    }
}

/// The one visitor of all walks that only read.
struct Walker<'a>(&'a mut dyn Shown);

impl Visitor for Walker<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.0.enter(Node::Query(query))
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.0.leave(Node::Query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.0.enter(Node::Select(select))
    }

    fn post_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.0.leave(Node::Select(select))
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.0.enter(Node::Relation(name))
    }

    fn post_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.0.leave(Node::Relation(name))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.0.enter(Node::TableFactor(factor))
    }

    fn post_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.0.leave(Node::TableFactor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.0.enter(Node::Expr(expr))
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.0.leave(Node::Expr(expr))
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        self.0.enter(Node::Statement(statement))
    }

    fn post_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        self.0.leave(Node::Statement(statement))
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        self.0.enter(Node::Value(value))
    }

    fn post_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        self.0.leave(Node::Value(value))
    }
}

/// The one visitor of all walks that change nodes.
struct WalkerMut<'a>(&'a mut dyn ShownMut);

impl VisitorMut for WalkerMut<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.enter(NodeMut::Query(query))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.leave(NodeMut::Query(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.0.enter(NodeMut::Select(select))
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.0.leave(NodeMut::Select(select))
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        self.0.enter(NodeMut::Relation(name))
    }

    fn post_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        self.0.leave(NodeMut::Relation(name))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.0.enter(NodeMut::TableFactor(factor))
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.0.leave(NodeMut::TableFactor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.0.enter(NodeMut::Expr(expr))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.0.leave(NodeMut::Expr(expr))
    }

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        self.0.enter(NodeMut::Statement(statement))
    }

    fn post_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        self.0.leave(NodeMut::Statement(statement))
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        self.0.enter(NodeMut::Value(value))
    }

    fn post_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        self.0.leave(NodeMut::Value(value))
    }
}
