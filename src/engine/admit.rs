//! What a request must be before a connection is asked for: nothing refused here has run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Database;
use crate::backend::Statement;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::Analysis;
use crate::value::proto::{AccessMode, QueryOptions, QueryRequest};

/// The longest tag, in characters.
const MAX_TAG: usize = 64;

/// The bounds of one result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Bounds {
    /// The error of a result that is over them.
    pub(super) fn exceeded(self, rows: u64, bytes: u64) -> Option<Error> {
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

impl Database {
    /// Checks a query and turns it into a statement with its bounds; 0 in the options means `server`.
    pub(super) fn prepare(
        &self,
        query: QueryRequest,
        grpc_timeout: Option<Duration>,
        server: Bounds,
    ) -> Result<(Statement, Bounds)> {
        let analysis = self.admit(&query.sql)?;
        for (index, parameter) in query.parameters.iter().enumerate() {
            if parameter.kind.is_none() {
                let field = format!("parameters[{index}]");
                let description = "no kind is set; set null_value for NULL";
                return Err(Error::field(ErrorKind::InvalidParameter, field, description));
            }
        }
        let options = query.options.unwrap_or_default();
        let read_only = check(&options)?;
        let timeout = timeout(&options)?;
        let lower = |own: u64, server: u64| if own == 0 { server } else { own.min(server) };
        let bounds = Bounds {
            rows: lower(options.max_rows, server.rows),
            bytes: lower(options.max_bytes, server.bytes),
        };
        let deadline = self.deadline(Instant::now(), grpc_timeout, timeout);
        let QueryRequest { sql, parameters, .. } = query;
        Ok((Statement { sql, parameters, analysis, read_only, deadline }, bounds))
    }

    /// Checks a statement's text.
    pub(super) fn admit(&self, sql: &str) -> Result<Arc<Analysis>> {
        if sql.trim().is_empty() {
            return Err(Error::field(ErrorKind::InvalidSql, "sql", "the statement is empty"));
        }
        if sql.contains('\0') {
            return Err(Error::field(ErrorKind::InvalidSql, "sql", "it holds a NUL character"));
        }
        let analysis = self.analyzer.analyze(sql);
        if let Some(keyword) = analysis.transaction_control {
            let message =
                format!("{keyword} controls transactions, which SQL text may not do here");
            return Err(Error::new(ErrorKind::TransactionControl, message)
                .with_hint("Each call is a transaction of its own: send the statement alone."));
        }
        Ok(analysis)
    }

    /// When a call must have ended.
    pub(super) fn deadline(
        &self,
        now: Instant,
        grpc_timeout: Option<Duration>,
        option: Option<Duration>,
    ) -> Deadline {
        Deadline::of_call(now, grpc_timeout, option, self.limits)
    }
}

/// Checks the options that are not bounds; returns whether writes must be refused.
fn check(options: &QueryOptions) -> Result<bool> {
    let of_tag = |c: char| c.is_ascii_alphanumeric() || "_.:/-".contains(c);
    if options.tag.len() > MAX_TAG || !options.tag.chars().all(of_tag) {
        let description = "a tag has 1 to 64 characters of A-Z a-z 0-9 _ . : / -";
        return Err(Error::field(ErrorKind::InvalidOption, "options.tag", description));
    }
    match AccessMode::try_from(options.access_mode) {
        Ok(AccessMode::Unspecified | AccessMode::ReadWrite) => Ok(false),
        Ok(AccessMode::ReadOnly) => Ok(true),
        Err(unknown) => {
            Err(Error::field(ErrorKind::InvalidOption, "options.access_mode", unknown.to_string()))
        }
    }
}

fn timeout(options: &QueryOptions) -> Result<Option<Duration>> {
    let Some(timeout) = options.timeout else { return Ok(None) };
    match Duration::try_from(timeout) {
        Ok(timeout) if !timeout.is_zero() => Ok(Some(timeout)),
        Ok(_) | Err(_) => Err(Error::field(
            ErrorKind::InvalidOption,
            "options.timeout",
            "a timeout must be positive",
        )),
    }
}
