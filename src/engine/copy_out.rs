//! CopyOut: the rows of a table or of a query, as a stream of text, rows or Arrow.

use std::sync::Arc;

use futures_util::Stream;

use super::copy_options;
use super::database::{Caller, Database};
use super::databases::Engine;
use super::result_bounds::ResultBounds;
use super::stream_query::{RowForm, StreamedStatement};
use super::validate::{invalid_option, read_only, refuse_options};
use crate::backend::copy::{CopyText, TextSource};
use crate::backend::{Delivery, Statement};
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::RetryUnit;
use crate::sql::{Analysis, one_query};
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{
    AccessMode, CopyFormat, CopyOutRequest, QueryOptions, QueryRequest, ResultFormat,
};

impl Engine {
    /// Starts to copy rows out. The stream always ends with a summary or an error; the data of a text comes as
    /// [`Part::Arrow`] does.
    pub(crate) fn copy_out(
        &self,
        request: CopyOutRequest,
        mut caller: Caller,
    ) -> Result<impl Stream<Item = Result<Part>> + Send + use<>> {
        let database = self.database_of(&caller, &request.database)?;
        let format = copy_options::format(request.format)?;
        let text = copy_options::text(format, request.text.as_ref())?;
        let is_table = request.sql.is_empty();
        let dialect = database.analyzer.dialect;
        let source = Some(TextSource { dialect, is_table });
        let query = database.copied_query(request)?;
        // As of any stream without a deadline of its caller's.
        caller.time_left.get_or_insert(database.limits().cap.saturating_mul(2));
        let validated =
            database.validate_query(query, &caller, Delivery::Copied, ResultBounds::UNBOUNDED);
        let (mut statement, bounds) = validated?;
        let form = match (format, text) {
            (_, Some(text)) => database.as_text(&mut statement, CopyText { source, ..text })?,
            (CopyFormat::Arrow, None) => RowForm::Arrow,
            (_, None) => RowForm::Rows,
        };
        if !matches!(form, RowForm::Written { .. }) {
            statement.delivery = Delivery::Streamed;
        }
        let database = Arc::clone(database);
        let unit = RetryUnit::Statement;
        Ok(self.stream(StreamedStatement { database, unit, form, statement, bounds }, caller))
    }
}

impl Database {
    /// Makes the query of a request, which only reads.
    fn copied_query(&self, request: CopyOutRequest) -> Result<QueryRequest> {
        let CopyOutRequest { schema, table, columns, sql, parameters, options, .. } = request;
        let options = options.unwrap_or_default();
        let writes = !read_only(options.access_mode, "options.access_mode")?
            && options.access_mode != AccessMode::Unspecified as i32;
        let is_stored = !options.idempotency_key.is_empty();
        let has_format = options.format != ResultFormat::Unspecified as i32;
        refuse_options(&[
            ("options.access_mode", writes, "a CopyOut only reads"),
            ("options.idempotency_key", is_stored, "a CopyOut only reads"),
            ("options.format", has_format, "the format of a CopyOut is in format"),
            ("options.describe_columns", options.describe_columns, "a CopyOut does not"),
        ])?;
        let options = QueryOptions { access_mode: AccessMode::ReadOnly.into(), ..options };
        let sql = if sql.is_empty() {
            copy_options::table(schema, table, columns)?.select(self.analyzer.dialect)
        } else if schema.is_empty() && table.is_empty() && columns.is_empty() {
            sql
        } else {
            return Err(invalid_option("sql", "either it or table is set, not both"));
        };
        if !parameters.is_empty() && sql.is_empty() {
            return Err(invalid_option("parameters", "only a query has parameters"));
        }
        let options = Some(options);
        Ok(QueryRequest { database: String::new(), sql, parameters, options })
    }

    /// Has the rows of a statement written as text: by the database itself where it can.
    fn as_text(&self, statement: &mut Statement, text: CopyText) -> Result<RowForm> {
        let query = one_query(&statement.sql, self.analyzer.dialect);
        let text_of_query = query.unwrap_or(&statement.sql);
        let Some(sql) = self.backend.copy_statement(text_of_query, &text) else {
            return Ok(RowForm::Text(text));
        };
        if !statement.parameters.is_empty() {
            let why = "PostgreSQL's COPY has none: ask for COPY_FORMAT_ROWS";
            return Err(Error::field(ErrorKind::InvalidParameter, "parameters", why));
        }
        if query.is_none() {
            let why =
                "it is more than one statement, or a parenthesis or a string in it does not end";
            let hint = "Send one query, as in `select id from orders`.";
            return Err(Error::field(ErrorKind::InvalidSql, "sql", why).with_hint(hint));
        }
        let command = "COPY";
        statement.analysis = Arc::new(Analysis { command, ..(*statement.analysis).clone() });
        statement.sql = sql;
        Ok(RowForm::Written { header: text.header })
    }
}
