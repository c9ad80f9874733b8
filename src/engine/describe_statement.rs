//! DescribeStatement: the parameters and columns of a statement, without running it.

use std::sync::Arc;

use super::attempt_loop::retry;
use super::caller::Caller;
use super::databases::Engine;
use super::validate::StatementPlace;
use crate::backend::{DescribeRequest, Description};
use crate::clock::now;
use crate::error::Result;
use crate::resilience::RetryUnit;

impl Engine {
    /// Describes a statement.
    ///
    /// # Errors
    /// The errors of running it, except those that only a run would show.
    pub async fn describe_statement(
        &self,
        database: &str,
        sql: String,
        include_plan: bool,
        caller: impl Into<Caller>,
    ) -> Result<Description> {
        let database = self.database(database)?;
        let caller = caller.into();
        let analysis = database.validate_statement(&sql, &[], StatementPlace::Request)?;
        let deadline = database.deadline(now(), caller.time_left, None);
        let context = caller.context(&database.name, "DescribeStatement", "");
        context.runs(&analysis.summary);
        let attempts = database.retries.start(RetryUnit::Statement, None);
        let describe = || {
            database.backend.describe(DescribeRequest {
                sql: sql.clone(),
                analysis: Arc::clone(&analysis),
                include_plan,
                deadline,
                context: Arc::clone(&context),
            })
        };
        Ok(retry(&context, attempts, deadline, describe).await?.value)
    }
}
