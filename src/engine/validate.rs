//! The validation of requests, before a connection is acquired: nothing that fails here has run.

use std::sync::Arc;
use std::time::Duration;

use super::database::{Caller, Database};
use super::result_bounds::ResultBounds;
use crate::backend::{
    Delivery, IdempotencyKey, IsolationLevel, Statement, TransactionMode, copy_unsupported,
};
use crate::config::SessionStatements;
use crate::error::{Error, ErrorKind, FieldViolation, Result};
use crate::resilience::RetryUnit;
use crate::sql::{Analysis, EffectLifetime, SessionState, excess_parameter};
use crate::value::Kind;
use crate::value::proto::{
    AccessMode, IsolationLevel as WireIsolation, QueryOptions, QueryRequest, ResultFormat,
    TransactionOptions, Value,
};

/// The place of a statement in its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatementPlace {
    /// The request itself.
    Request,
    /// A statement of a batch, from 0.
    Batch(usize),
    /// A command of an interactive transaction.
    Transaction,
}

impl StatementPlace {
    /// The path of one of the statement's fields.
    fn path(self, name: &str) -> String {
        match self {
            Self::Request | Self::Transaction => name.to_owned(),
            Self::Batch(index) => format!("statements[{index}].{name}"),
        }
    }

    /// Names the statement that an error is about.
    fn locate(self, error: Error) -> Error {
        match self {
            Self::Request | Self::Transaction => error,
            Self::Batch(index) => error.with_failed_statement(index),
        }
    }

    /// Makes the error of one of the statement's fields.
    pub(super) fn error(self, kind: ErrorKind, name: &str, description: &str) -> Error {
        self.locate(Error::field(kind, self.path(name), description))
    }

    fn hint_for_transaction_control(self) -> &'static str {
        match self {
            Self::Request => {
                "Each call is a transaction of its own: send the statement alone, several with \
                 ExecuteBatch, or open a transaction with Transact."
            }
            Self::Batch(_) => "The batch is one transaction: leave the statement out.",
            Self::Transaction => {
                "The stream is the transaction: send commit, rollback or a savepoint as a command."
            }
        }
    }
}

impl Database {
    /// Validates a query, and lowers the server's bounds to those of its options.
    pub(super) fn validate_query(
        &self,
        query: QueryRequest,
        caller: &Caller,
        delivery: Delivery,
        server: ResultBounds,
    ) -> Result<(Statement, ResultBounds)> {
        let QueryRequest { sql, parameters, options, .. } = query;
        let place = StatementPlace::Request;
        let analysis = self.validate_statement(&sql, &parameters, place)?;
        self.check_session_state(&analysis, place)?;
        let options = options.unwrap_or_default();
        check_tag(&options.tag, "options.tag")?;
        let read_only = read_only(options.access_mode, "options.access_mode")?;
        let rpc = match delivery {
            Delivery::Whole => "Query",
            Delivery::Streamed => "StreamQuery",
            Delivery::Copied => "CopyOut",
        };
        // Before it may be refused: the line of audit tells what was.
        let context = self.context(caller, rpc, &options.tag);
        context.runs(&analysis.summary);
        caller.identity.policy.check_access_mode(read_only, "options.access_mode")?;
        let preamble = self.preamble(&options.settings, "options.settings", caller)?;
        let deadline = self.deadline(caller, positive(options.timeout, "options.timeout")?);
        let describe_columns = options.describe_columns;
        let needs_names = options.format == i32::from(ResultFormat::Json);
        let statement = Statement {
            sql,
            parameters,
            analysis,
            read_only,
            delivery,
            describe_columns,
            needs_names,
            preamble,
            deadline,
            context,
        };
        Ok((statement, server.lowered(&options)))
    }

    /// Validates a statement's text and its parameters.
    pub(super) fn validate_statement(
        &self,
        sql: &str,
        parameters: &[Value],
        place: StatementPlace,
    ) -> Result<Arc<Analysis>> {
        if sql.trim().is_empty() {
            return Err(place.error(ErrorKind::InvalidSql, "sql", "the statement is empty"));
        }
        if sql.contains('\0') {
            return Err(place.error(ErrorKind::InvalidSql, "sql", "it holds a NUL character"));
        }
        let analysis = self.analyzer.analyze(sql);
        if let Some(keyword) = analysis.transaction_control {
            let message =
                format!("{keyword} controls transactions, which SQL text may not do here");
            let violation =
                FieldViolation { field: place.path("sql"), description: message.clone() };
            let error = Error::new(ErrorKind::TransactionControl, message);
            let hint = place.hint_for_transaction_control();
            return Err(place.locate(error.with_violation(violation).with_hint(hint)));
        }
        self.check_parameter_count(sql, parameters, place)?;
        if analysis.client_copy {
            let error = copy_unsupported();
            let description = error.message().to_owned();
            let violation = FieldViolation { field: place.path("sql"), description };
            return Err(place.locate(error.with_violation(violation)));
        }
        if let Some(index) = parameters.iter().position(|parameter| parameter.kind.is_none()) {
            let description = "no kind is set; set null_value for NULL";
            let name = format!("parameters[{index}]");
            return Err(place.error(ErrorKind::InvalidParameter, &name, description));
        }
        check_references(parameters, place)?;
        Ok(analysis)
    }

    /// Refuses a statement outside an interactive transaction whose effect would be gone behind it.
    pub(super) fn check_session_state(
        &self,
        analysis: &Analysis,
        place: StatementPlace,
    ) -> Result<()> {
        let Some(SessionState { what, lifetime, hint }) = analysis.session_state else {
            return Ok(());
        };
        let is_kept =
            lifetime != EffectLifetime::Session && matches!(place, StatementPlace::Batch(_));
        if is_kept || self.settings().session_statements == SessionStatements::Allow {
            return Ok(());
        }
        let end = match lifetime {
            EffectLifetime::Session | EffectLifetime::Unit => {
                "session, which is reset behind this call"
            }
            EffectLifetime::Transaction => "transaction, and this statement is one of its own",
        };
        let message = format!("{what} lasts for the {end}");
        let violation = FieldViolation { field: place.path("sql"), description: message.clone() };
        let error = Error::new(ErrorKind::InvalidStatement, message)
            .with_condition("SESSION_STATE")
            .with_violation(violation)
            .with_hint(hint);
        Err(place.locate(error))
    }

    /// Refuses more parameters than the database can be sent.
    fn check_parameter_count(
        &self,
        sql: &str,
        parameters: &[Value],
        place: StatementPlace,
    ) -> Result<()> {
        let dialect = self.analyzer.dialect;
        let max = dialect.max_parameters();
        let sent = Some(parameters.len()).filter(|sent| *sent > max);
        let Some(highest) = sent.or_else(|| excess_parameter(sql, dialect)) else { return Ok(()) };
        let description = format!("a statement has at most {max} parameters, not {highest}");
        let error = place.error(ErrorKind::InvalidParameter, "parameters", &description);
        Err(error.with_hint("Send an array or JSON in one parameter, or several statements."))
    }
}

/// Checks that only statements of a batch refer to results, as whole parameters, and to those of earlier statements.
fn check_references(parameters: &[Value], place: StatementPlace) -> Result<()> {
    for (index, parameter) in parameters.iter().enumerate() {
        let description = match (&parameter.kind, place) {
            (Some(Kind::ResultReference(reference)), StatementPlace::Batch(own)) => {
                let statement = reference.statement;
                if usize::try_from(statement).is_ok_and(|earlier| earlier < own) {
                    continue;
                }
                format!("statement {statement} is not an earlier one of this batch")
            }
            (Some(Kind::ResultReference(_)), _) => {
                "only a statement of ExecuteBatch may refer to a result".to_owned()
            }
            (Some(kind), _) if holds_reference(kind) => {
                "a result_reference is a whole parameter, not a part of one".to_owned()
            }
            _ => continue,
        };
        let name = format!("parameters[{index}]");
        return Err(place.error(ErrorKind::InvalidParameter, &name, &description));
    }
    Ok(())
}

/// Tells whether a part of an array or of a record is a reference.
fn holds_reference(kind: &Kind) -> bool {
    let parts = match kind {
        Kind::ArrayValue(array) => &array.elements,
        Kind::RecordValue(record) => &record.fields,
        Kind::ResultReference(_) => return true,
        Kind::NullValue(_)
        | Kind::BoolValue(_)
        | Kind::Int64Value(_)
        | Kind::Float64Value(_)
        | Kind::TextValue(_)
        | Kind::BytesValue(_)
        | Kind::TimestampValue(_) => return false,
    };
    parts.iter().filter_map(|part| part.kind.as_ref()).any(holds_reference)
}

/// Makes the error of an option.
pub(super) fn invalid_option(field: &str, description: &str) -> Error {
    Error::field(ErrorKind::InvalidOption, field, description)
}

/// Returns the unit that is retried when a query is.
pub(super) fn statement_unit(query: &QueryRequest) -> RetryUnit {
    let idempotent = query.options.as_ref().is_some_and(|options| options.idempotent);
    if idempotent { RetryUnit::Idempotent } else { RetryUnit::Statement }
}

/// Validates a request's idempotency key, which is its caller's own; `None` when it is empty. `unstored` names the mode of a request
/// that cannot have one, as in `READ_ONLY`.
pub(super) fn idempotency_key(
    caller: &Caller,
    key: &str,
    field: &str,
    unstored: Option<&str>,
    request_hash: impl FnOnce() -> [u8; 32],
) -> Result<Option<IdempotencyKey>> {
    if key.is_empty() {
        return Ok(None);
    }
    check_key(key, field)?;
    if let Some(mode) = unstored {
        let description = format!("a {mode} request cannot have an idempotency key");
        return Err(invalid_option(field, &description));
    }
    let request_hash = request_hash();
    let caller = caller.identity.name.to_string();
    Ok(Some(IdempotencyKey { caller, key: key.to_owned(), request_hash }))
}

/// Refuses the first option that is wrong: each has its field, the finding and the reason.
pub(super) fn refuse_options(options: &[(&str, bool, &str)]) -> Result<()> {
    match options.iter().find(|(_, is_wrong, _)| *is_wrong) {
        Some((field, _, why)) => Err(invalid_option(field, why)),
        None => Ok(()),
    }
}

/// Validates a label for logs and metrics.
pub(super) fn check_tag(tag: &str, field: &str) -> Result<()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.:/-".contains(c);
    if tag.len() <= 64 && tag.chars().all(is_allowed) {
        return Ok(());
    }
    let length = tag.len();
    let description = format!(
        "a tag has 1 to 64 characters of A-Z a-z 0-9 _ . : / -; the given one has {length} bytes"
    );
    refuse_options(&[(field, true, &description)])
}

/// The rule for idempotency keys.
pub(crate) const KEY_RULE: &str = "a key has 1 to 128 printable ASCII characters";

/// Returns true if a text may be an idempotency key.
pub(crate) fn is_key(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.chars().all(|c| matches!(c, ' '..='~'))
}

/// Validates an idempotency key that is set.
pub(super) fn check_key(key: &str, field: &str) -> Result<()> {
    let description = format!("{KEY_RULE}; the given one has {} bytes", key.len());
    refuse_options(&[(field, !is_key(key), &description)])
}

/// Returns true if the database must refuse writes.
pub(super) fn read_only(access_mode: i32, field: &str) -> Result<bool> {
    let mode = AccessMode::try_from(access_mode)
        .map_err(|unknown| invalid_option(field, &unknown.to_string()))?;
    Ok(mode == AccessMode::ReadOnly)
}

/// Validates the format of a result.
pub(super) fn result_format(options: &QueryOptions) -> Result<ResultFormat> {
    let format = ResultFormat::try_from(options.format)
        .map_err(|unknown| invalid_option("options.format", &unknown.to_string()))?;
    Ok(if format == ResultFormat::Unspecified { ResultFormat::Rows } else { format })
}

/// Refuses what only the results of Query and StreamQuery without a key have; `why_not_other` is the reason for one of
/// them.
pub(super) fn refuse_result_options(options: &QueryOptions, why_not_other: &str) -> Result<()> {
    let is_other = result_format(options)? != ResultFormat::Rows;
    let why_not_described = "only Query and StreamQuery without a key describe their columns";
    refuse_options(&[
        ("options.format", is_other, why_not_other),
        ("options.describe_columns", options.describe_columns, why_not_described),
    ])
}

/// Validates a duration that must be positive where it is set.
pub(super) fn positive(
    duration: Option<prost_types::Duration>,
    field: &str,
) -> Result<Option<Duration>> {
    let Some(duration) = duration else { return Ok(None) };
    let positive = Duration::try_from(duration).ok().filter(|duration| !duration.is_zero());
    let error = || invalid_option(field, &format!("the duration must be positive, not {duration}"));
    positive.ok_or_else(error).map(Some)
}

/// Validates the mode of a transaction; `root` is the path of the options, as in `transaction`.
pub(super) fn transaction_mode(
    options: &TransactionOptions,
    root: &str,
) -> Result<TransactionMode> {
    let field = |name: &str| format!("{root}.{name}");
    let isolation = WireIsolation::try_from(options.isolation_level)
        .map_err(|unknown| invalid_option(&field("isolation_level"), &unknown.to_string()))?;
    let isolation = match isolation {
        WireIsolation::Unspecified => None,
        WireIsolation::ReadCommitted => Some(IsolationLevel::ReadCommitted),
        WireIsolation::RepeatableRead => Some(IsolationLevel::RepeatableRead),
        WireIsolation::Serializable => Some(IsolationLevel::Serializable),
    };
    let read_only = read_only(options.access_mode, &field("access_mode"))?;
    let deferrable = options.deferrable;
    if deferrable && !(isolation == Some(IsolationLevel::Serializable) && read_only) {
        let description = "only SERIALIZABLE and READ_ONLY transactions can be deferrable";
        return Err(invalid_option(&field("deferrable"), description));
    }
    Ok(TransactionMode { isolation, read_only, deferrable })
}
