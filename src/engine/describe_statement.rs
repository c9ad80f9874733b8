//! DescribeStatement: the parameters and columns of a statement, without running it.

use std::sync::Arc;

use super::attempt_loop::retry;
use super::database::Caller;
use super::databases::Engine;
use super::validate::StatementPlace;
use crate::backend::DescribeRequest;
use crate::error::Result;
use crate::resilience::RetryUnit;
use crate::value::proto::{DescribeStatementRequest, DescribeStatementResponse};

impl Engine {
    /// Describes a statement.
    pub(crate) async fn describe_statement(
        &self,
        request: DescribeStatementRequest,
        caller: Caller,
    ) -> Result<DescribeStatementResponse> {
        let DescribeStatementRequest { database, sql, include_plan } = request;
        let database = self.database_of(&caller, &database)?;
        let analysis = database.validate_statement(&sql, &[], StatementPlace::Request)?;
        let deadline = database.deadline(&caller, None);
        let context = database.context(&caller, "DescribeStatement", "");
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
        let description =
            retry(&*database.backend, &context, attempts, deadline, describe).await?.value;
        Ok(DescribeStatementResponse {
            has_columns: description.columns.is_some(),
            columns: description.columns.unwrap_or_default(),
            parameter_types: description.parameters,
            read_only: description.read_only,
            plan: description.plan.unwrap_or_default(),
        })
    }
}
