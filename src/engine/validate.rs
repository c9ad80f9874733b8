//! What a request must be before a connection is asked for: nothing refused here has run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Caller, Database};
use crate::backend::{IsolationLevel, Statement, TransactionMode};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, FieldViolation, Result};
use crate::sql::Analysis;
use crate::value::proto::{
    AccessMode, IsolationLevel as WireIsolation, QueryOptions, QueryRequest, TransactionOptions,
    Value,
};

/// The longest tag, in characters.
const MAX_TAG: usize = 64;

/// The longest idempotency key, in characters.
const MAX_KEY: usize = 128;

/// The bounds of one result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Bounds {
    /// These, or what the options ask for where that is less; 0 asks for nothing.
    pub(crate) fn lowered(self, options: &QueryOptions) -> Self {
        let lower = |own: u64, server: u64| if own == 0 { server } else { own.min(server) };
        Self {
            rows: lower(options.max_rows, self.rows),
            bytes: lower(options.max_bytes, self.bytes),
        }
    }

    /// The error of a result that is over them.
    pub(crate) fn exceeded(self, rows: u64, bytes: u64) -> Option<Error> {
        let message = if rows > self.rows {
            format!("the result has more than {} rows", self.rows)
        } else if bytes > self.bytes {
            format!("the result is larger than {} bytes", self.bytes)
        } else {
            return None;
        };
        let hint = "Use StreamQuery, select less, or raise max_rows and max_bytes.";
        Some(Error::new(ErrorKind::ResultTooLarge, message).with_hint(hint))
    }
}

/// Where in its request a statement stands: the paths of its fields, and what to do instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The request is the statement.
    Request,
    /// In a batch, from 0.
    Batch(usize),
    /// In an interactive transaction.
    Transaction,
}

impl Place {
    /// The path of one of the statement's fields.
    pub(crate) fn field(self, name: &str) -> String {
        match self {
            Self::Request | Self::Transaction => name.to_owned(),
            Self::Batch(index) => format!("statements[{index}].{name}"),
        }
    }

    /// Says where the statement stands that an error is about.
    fn blame(self, error: Error) -> Error {
        match self {
            Self::Request | Self::Transaction => error,
            Self::Batch(index) => error.with_failed_statement(index),
        }
    }

    fn instead_of_control(self) -> &'static str {
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
    /// Checks a query and turns it into a statement with its bounds; 0 in the options means `server`.
    pub(crate) fn prepare(
        &self,
        query: QueryRequest,
        caller: &Caller,
        rpc: &'static str,
        server: Bounds,
    ) -> Result<(Statement, Bounds)> {
        let analysis = self.admit_statement(&query.sql, &query.parameters, Place::Request)?;
        let options = query.options.unwrap_or_default();
        check_tag(&options.tag, "options.tag")?;
        let read_only = read_only(options.access_mode, "options.access_mode")?;
        let timeout = timeout(&options)?;
        let deadline = self.deadline(super::now(), caller.time_left, timeout);
        let context = caller.context(&self.name, rpc, &options.tag);
        context.runs(&analysis.summary);
        let QueryRequest { sql, parameters, .. } = query;
        let statement = Statement { sql, parameters, analysis, read_only, deadline, context };
        Ok((statement, server.lowered(&options)))
    }

    /// Checks a statement's text.
    pub(crate) fn admit(&self, sql: &str) -> Result<Arc<Analysis>> {
        self.admit_statement(sql, &[], Place::Request)
    }

    /// Checks a statement's text and its parameters.
    pub(crate) fn admit_statement(
        &self,
        sql: &str,
        parameters: &[Value],
        place: Place,
    ) -> Result<Arc<Analysis>> {
        let refuse = |kind, field: &str, description: &str| {
            Err(place.blame(Error::field(kind, place.field(field), description)))
        };
        if sql.trim().is_empty() {
            return refuse(ErrorKind::InvalidSql, "sql", "the statement is empty");
        }
        if sql.contains('\0') {
            return refuse(ErrorKind::InvalidSql, "sql", "it holds a NUL character");
        }
        let analysis = self.analyzer.analyze(sql);
        if let Some(keyword) = analysis.transaction_control {
            let message =
                format!("{keyword} controls transactions, which SQL text may not do here");
            let violation =
                FieldViolation { field: place.field("sql"), description: message.clone() };
            let error = Error::new(ErrorKind::TransactionControl, message);
            let error = error.with_violation(violation).with_hint(place.instead_of_control());
            return Err(place.blame(error));
        }
        match parameters.iter().position(|parameter| parameter.kind.is_none()) {
            None => Ok(analysis),
            Some(index) => {
                let description = "no kind is set; set null_value for NULL";
                refuse(ErrorKind::InvalidParameter, &format!("parameters[{index}]"), description)
            }
        }
    }

    /// When a call must have ended.
    pub(crate) fn deadline(
        &self,
        now: Instant,
        grpc_timeout: Option<Duration>,
        option: Option<Duration>,
    ) -> Deadline {
        Deadline::of_call(now, grpc_timeout, option, self.limits)
    }
}

/// Checks a label for logs and metrics.
pub(crate) fn check_tag(tag: &str, field: &str) -> Result<()> {
    let of_tag = |c: char| c.is_ascii_alphanumeric() || "_.:/-".contains(c);
    if tag.len() <= MAX_TAG && tag.chars().all(of_tag) {
        return Ok(());
    }
    let description = "a tag has 1 to 64 characters of A-Z a-z 0-9 _ . : / -";
    Err(Error::field(ErrorKind::InvalidOption, field, description))
}

/// Checks an idempotency key that is set.
pub(crate) fn check_key(key: &str, field: &str) -> Result<()> {
    if key.len() <= MAX_KEY && key.chars().all(|c| matches!(c, ' '..='~')) {
        return Ok(());
    }
    let description = "a key has 1 to 128 printable ASCII characters";
    Err(Error::field(ErrorKind::InvalidOption, field, description))
}

/// Whether writes must be refused.
pub(crate) fn read_only(access_mode: i32, field: &str) -> Result<bool> {
    match AccessMode::try_from(access_mode) {
        Ok(AccessMode::Unspecified | AccessMode::ReadWrite) => Ok(false),
        Ok(AccessMode::ReadOnly) => Ok(true),
        Err(unknown) => Err(Error::field(ErrorKind::InvalidOption, field, unknown.to_string())),
    }
}

/// The `timeout` of a call's options.
pub(crate) fn timeout(options: &QueryOptions) -> Result<Option<Duration>> {
    positive(options.timeout, "options.timeout")
}

/// A duration that must be positive where it is set.
pub(crate) fn positive(
    duration: Option<prost_types::Duration>,
    field: &str,
) -> Result<Option<Duration>> {
    let Some(duration) = duration else { return Ok(None) };
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(Some(duration)),
        Ok(_) | Err(_) => {
            let name = field.rsplit('.').next().unwrap_or(field).replace('_', " ");
            let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            let description = format!("{article} {name} must be positive");
            Err(Error::field(ErrorKind::InvalidOption, field, description))
        }
    }
}

/// How a transaction is run; `root` is the path of the options, as in `transaction`.
pub(crate) fn transaction_mode(
    options: &TransactionOptions,
    root: &str,
) -> Result<TransactionMode> {
    let field = |name: &str| format!("{root}.{name}");
    let isolation = match WireIsolation::try_from(options.isolation_level) {
        Ok(WireIsolation::Unspecified) => None,
        Ok(WireIsolation::ReadCommitted) => Some(IsolationLevel::ReadCommitted),
        Ok(WireIsolation::RepeatableRead) => Some(IsolationLevel::RepeatableRead),
        Ok(WireIsolation::Serializable) => Some(IsolationLevel::Serializable),
        Err(unknown) => {
            let description = unknown.to_string();
            let kind = ErrorKind::InvalidOption;
            return Err(Error::field(kind, field("isolation_level"), description));
        }
    };
    let read_only = read_only(options.access_mode, &field("access_mode"))?;
    let deferrable = options.deferrable;
    if deferrable && !(isolation == Some(IsolationLevel::Serializable) && read_only) {
        let description = "only SERIALIZABLE and READ_ONLY transactions can be deferrable";
        return Err(Error::field(ErrorKind::InvalidOption, field("deferrable"), description));
    }
    Ok(TransactionMode { isolation, read_only, deferrable })
}
