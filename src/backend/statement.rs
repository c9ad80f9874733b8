//! Single statements: to run and to describe.

use std::sync::Arc;

use crate::deadline::Deadline;
use crate::pool::CallContext;
use crate::sql::Analysis;
use crate::value::proto::{Column, ParameterType, Value};

/// A statement to run, already validated by the engine.
#[derive(Debug)]
pub(crate) struct Statement {
    pub sql: String,
    /// The values of `$1`, `$2` ….
    pub parameters: Vec<Value>,
    pub analysis: Arc<Analysis>,
    /// The database must refuse writes.
    pub read_only: bool,
    pub deadline: Deadline,
    /// The call for which its connection is checked out.
    pub context: Arc<CallContext>,
}

/// A statement to describe.
#[derive(Debug)]
pub(crate) struct DescribeRequest {
    pub sql: String,
    pub analysis: Arc<Analysis>,
    pub include_plan: bool,
    pub deadline: Deadline,
    /// The call for which its connection is checked out.
    pub context: Arc<CallContext>,
}

/// The description of a statement.
#[derive(Debug, Default)]
pub(crate) struct Description {
    /// `None` when it returns no rows at all.
    pub columns: Option<Vec<Column>>,
    pub parameters: Vec<ParameterType>,
    /// It is known to only read.
    pub read_only: bool,
    /// The plan, if it was requested and there is one.
    pub plan: Option<String>,
}
