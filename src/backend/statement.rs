//! Single statements: to run and to describe.

use std::sync::Arc;

use crate::deadline::Deadline;
use crate::pool::CallContext;
use crate::sql::Analysis;
use crate::value::proto::{Column, ParameterType, Value};

/// A statement to run, already validated by the engine.
#[derive(Debug)]
pub(crate) struct Statement {
    /// The text.
    pub sql: String,
    /// The values of `$1`, `$2` ….
    pub parameters: Vec<Value>,
    /// The analysis of the text.
    pub analysis: Arc<Analysis>,
    /// The database must refuse writes.
    pub read_only: bool,
    /// The time by which it must have ended.
    pub deadline: Deadline,
    /// The call for which its connection is checked out.
    pub context: Arc<CallContext>,
}

/// A statement to describe.
#[derive(Debug)]
pub(crate) struct DescribeRequest {
    /// The text.
    pub sql: String,
    /// The analysis of the text.
    pub analysis: Arc<Analysis>,
    /// The plan is requested.
    pub include_plan: bool,
    /// The time by which it must have ended.
    pub deadline: Deadline,
    /// The call for which its connection is checked out.
    pub context: Arc<CallContext>,
}

/// The description of a statement.
#[derive(Debug, Default)]
pub(crate) struct Description {
    /// Its columns; `None` when it returns no rows at all.
    pub columns: Option<Vec<Column>>,
    /// The types of its parameters.
    pub parameters: Vec<ParameterType>,
    /// It is known to only read.
    pub read_only: bool,
    /// The plan, if it was requested and there is one.
    pub plan: Option<String>,
}
