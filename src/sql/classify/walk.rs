//! Walks a parsed statement and admits what is on its list.
//!
//! Every node is taken apart with all its fields named, so that nothing of a statement goes unseen, nor
//! do the additions of a later version of the parser. The walk keeps its own list of the nodes left to visit instead
//! of recursing: a tree as deep as the parser makes it costs no stack.
//!
//! One more check does not trust the tree at all: every name in the text must have been met by the end. A
//! name that the parser read and kept nowhere would not have been checked.

use std::collections::{BTreeSet, HashSet};

use sqlparser::ast::{Expr, Query, SetExpr, Statement, TableFactor};

use crate::sql::class::{StatementClass, Uses};

/// The class of a statement in whose text these names stand; `None` if not all of it was understood.
pub(crate) fn classify(statement: &Statement, names: HashSet<String>) -> Option<StatementClass> {
    let mut walk = Walk { unmet: names, ..Walk::default() };
    match statement {
        Statement::Query(query) => walk.later(Node::Query(query)),
        change => walk.change(change).ok()?,
    }
    walk.finish().ok()?;
    walk.unmet.is_empty().then(|| walk.classify())
}

/// Something that is not on the list.
#[derive(Debug)]
pub(super) struct NotUnderstood;

pub(super) type Understood = Result<(), NotUnderstood>;

/// `Ok` if a condition holds that every statement of PostgreSQL keeps.
pub(super) fn only_if(condition: bool) -> Understood {
    if condition { Ok(()) } else { Err(NotUnderstood) }
}

/// A node that is left to visit.
#[derive(Clone, Copy)]
pub(super) enum Node<'a> {
    Query(&'a Query),
    Body(&'a SetExpr),
    Expression(&'a Expr),
    Table(&'a TableFactor),
}

/// The innermost common table expression that is in scope, as an index into [`Walk::bindings`].
pub(super) type Scope = Option<usize>;

/// The name of a common table expression.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) outer: Scope,
}

/// A walk over one statement.
#[derive(Default)]
pub(super) struct Walk<'a> {
    todo: Vec<(Node<'a>, Scope)>,
    /// The scope of the node that is being visited.
    pub(super) scope: Scope,
    pub(super) bindings: Vec<Binding>,
    /// The names of the text that were not met yet, folded.
    pub(super) unmet: HashSet<String>,
    pub(super) functions: BTreeSet<String>,
    pub(super) attributes: BTreeSet<String>,
    pub(super) relations: BTreeSet<String>,
    pub(super) exotic: bool,
    pub(super) changes: bool,
}

impl<'a> Walk<'a> {
    /// Visits a node later, in the scope of the present one.
    pub(super) fn later(&mut self, node: Node<'a>) {
        self.todo.push((node, self.scope));
    }

    pub(super) fn expression(&mut self, expression: &'a Expr) {
        self.later(Node::Expression(expression));
    }

    pub(super) fn expressions(&mut self, expressions: impl IntoIterator<Item = &'a Expr>) {
        for expression in expressions {
            self.expression(expression);
        }
    }

    fn finish(&mut self) -> Understood {
        while let Some((node, scope)) = self.todo.pop() {
            self.scope = scope;
            match node {
                Node::Query(query) => self.visit_query(query)?,
                Node::Body(body) => self.visit_body(body)?,
                Node::Expression(expression) => self.visit_expression(expression)?,
                Node::Table(table) => self.visit_table(table)?,
            }
        }
        Ok(())
    }

    fn classify(self) -> StatementClass {
        let uses = Uses {
            functions: self.functions.into_iter().collect(),
            attributes: self.attributes.into_iter().collect(),
            relations: self.relations.into_iter().collect(),
            exotic: self.exotic,
        };
        if self.changes { StatementClass::Change(uses) } else { StatementClass::Read(uses) }
    }
}
