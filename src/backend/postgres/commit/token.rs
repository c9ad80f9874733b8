//! The token of a transaction, which outlives its connection: the server's incarnation and the
//! transaction's number there.
//!
//! A number alone says nothing after a crash or a failover: numbers that were never written to disk are
//! assigned again. So the token names the incarnation of the server too, and an answer counts only while
//! that is the same.

use tokio_postgres::SimpleQueryRow;

use crate::backend::TransactionOutcome;
use crate::backend::postgres::connect::capabilities::{Ability, Expected, Probe};
use crate::error::{Error, ErrorKind, Result};

/// A query of one row: the incarnation of the server. The start of the checkpointer changes when a crashed
/// backend restarts the server, the other parts with the cluster, a promotion, a restart. It is hidden from
/// roles without `pg_read_all_stats`, and then the incarnation is not known.
pub(crate) const INCARNATION: &str = "\
select pg_catalog.concat_ws('-', (select system_identifier from pg_catalog.pg_control_system()), \
       (select timeline_id from pg_catalog.pg_control_checkpoint()), \
       (extract(epoch from pg_catalog.pg_postmaster_start_time()) \
          operator(pg_catalog.*) 1000000)::pg_catalog.int8, \
       (select (extract(epoch from backend_start) operator(pg_catalog.*) 1000000)::pg_catalog.int8 \
          from pg_catalog.pg_stat_activity where backend_type operator(pg_catalog.=) 'checkpointer'))";

/// The number of parts of an incarnation, and the positions of two of them.
const INCARNATION_PARTS: usize = 4;
const CLUSTER: usize = 0;
const POSTMASTER: usize = 2;

/// A query of one value: the number of the transaction; NULL while it has written nothing.
pub(crate) const CURRENT_XID: &str =
    "select pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text";

/// The same in a SERIALIZABLE transaction; where that is not serializable any more it fails, as the level cannot be
/// set by a query.
pub(crate) const SERIALIZABLE_XID: &str = "\
select case when pg_catalog.current_setting('transaction_isolation') operator(pg_catalog.=) 'serializable' \
       then pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text \
       else pg_catalog.set_config('transaction_isolation', 'serializable', true) end";

/// The same in a REPEATABLE_READ transaction, which may have become serializable.
pub(crate) const REPEATABLE_READ_XID: &str = "\
select case when pg_catalog.left(pg_catalog.current_setting('transaction_isolation'), 4) \
            operator(pg_catalog.<>) 'read' \
       then pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text \
       else pg_catalog.set_config('transaction_isolation', 'repeatable read', true) end";

/// Stands for [`CURRENT_XID`] where a server cannot answer that: nothing follows from its answer.
pub(crate) const UNKNOWN_XID: &str = "select 'unknown'";

/// The questions that show whether transactions have tokens, and numbers.
pub(crate) fn probes() -> [Probe; 2] {
    let parts = format!(
        "select pg_catalog.array_length(pg_catalog.string_to_array(({INCARNATION}), '-'), 1)"
    );
    [
        Probe::new(Ability::Tokens, parts, Expected::Value("4")),
        Probe::new(Ability::TransactionNumbers, CURRENT_XID, Expected::Answered),
    ]
}

/// Stands for the status of a number that the server rejects, as it has not assigned it.
pub(crate) const NEVER_ASSIGNED: &str = "never assigned";

/// The token of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    incarnation: String,
    xid: u64,
}

impl Token {
    /// The token of a transaction; `None` when the server's incarnation is not known.
    pub(crate) fn new(incarnation: &str, xid: &str) -> Option<Self> {
        let is_known = incarnation.split('-').count() == INCARNATION_PARTS;
        let xid = xid.parse().ok()?;
        is_known.then(|| Self { incarnation: incarnation.to_owned(), xid })
    }

    /// The token as callers get it.
    pub(crate) fn print(&self) -> String {
        format!("pg1-{}-{}", self.incarnation, self.xid)
    }

    /// Reads a token, as [`Token::print`] returns it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("pg1-").ok_or_else(foreign_token)?;
        if !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Err(foreign_token());
        }
        let (incarnation, xid) = rest.rsplit_once('-').ok_or_else(foreign_token)?;
        Self::new(incarnation, xid).ok_or_else(foreign_token)
    }

    /// A query of one value: the status of the transaction.
    pub(crate) fn status_query(&self) -> String {
        format!("select pg_catalog.pg_xact_status('{}'::pg_catalog.xid8)", self.xid)
    }

    /// Checks that it is a token of the server's cluster.
    pub(crate) fn check(&self, server: &ServerIdentity) -> Result<()> {
        let is_own = part(&self.incarnation, CLUSTER) == part(&server.incarnation, CLUSTER);
        if is_own { Ok(()) } else { Err(foreign_token()) }
    }

    /// The outcome of the transaction, by the status that a server returned.
    ///
    /// Only the server that assigned the number knows. After a crash that its postmaster outlived, the
    /// number may be lost and assigned again: a transaction that was not committed stays so, and nothing
    /// else is known. Another postmaster may run beside it, and know nothing of its commits.
    pub(crate) fn outcome(
        &self,
        server: &ServerIdentity,
        status: Option<&str>,
    ) -> TransactionOutcome {
        if server.is_standby {
            return TransactionOutcome::Unknown;
        }
        let is_same = server.incarnation == self.incarnation;
        let is_same_postmaster = [CLUSTER, POSTMASTER]
            .iter()
            .all(|place| part(&server.incarnation, *place) == part(&self.incarnation, *place));
        match status {
            Some("aborted" | NEVER_ASSIGNED) if is_same_postmaster => {
                TransactionOutcome::NotApplied
            }
            Some("committed") if is_same => TransactionOutcome::Applied,
            Some("in progress") if is_same => TransactionOutcome::InProgress,
            Some(_) | None => TransactionOutcome::Unknown,
        }
    }
}

/// The identity of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerIdentity {
    pub(crate) incarnation: String,
    pub(crate) is_standby: bool,
}

impl ServerIdentity {
    /// A query of one row: the server's identity.
    pub(crate) fn query() -> String {
        format!("{INCARNATION}, pg_catalog.pg_is_in_recovery()")
    }

    /// Reads the row.
    pub(crate) fn read(row: &SimpleQueryRow) -> Option<Self> {
        let incarnation = row.get(0)?.to_owned();
        Some(Self { incarnation, is_standby: row.get(1)? != "f" })
    }
}

fn part(incarnation: &str, place: usize) -> Option<&str> {
    incarnation.split('-').nth(place)
}

fn foreign_token() -> Error {
    let description = "this is no token of this database";
    Error::field(ErrorKind::InvalidParameter, "transaction_token", description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_printed() {
        let token = Token::new("7512-1-1700000000-1700000001", "12345").expect("all is known");
        assert_eq!(Token::parse(&token.print()).expect("it is one"), token);
        for wrong in ["", "12345", "pg1-", "pg1-1-2-3", "pg1-1-2-3-4-x", "pg1-1-2-3-4';---5"] {
            let error = Token::parse(wrong).expect_err(wrong);
            assert_eq!(error.kind(), ErrorKind::InvalidParameter, "{wrong}");
        }
    }

    #[test]
    fn without_the_whole_incarnation_there_is_no_token() {
        assert_eq!(Token::new("7512-1-1700000000", "5"), None);
        assert_eq!(Token::new("7512-1-1700000000-1", ""), None);
    }

    fn server(incarnation: &str, is_standby: bool) -> ServerIdentity {
        ServerIdentity { incarnation: incarnation.to_owned(), is_standby }
    }

    #[test]
    fn only_the_server_that_assigned_a_number_knows_the_outcome() {
        use TransactionOutcome::{Applied, InProgress, NotApplied, Unknown};
        let token = Token::new("1-2-3-4", "5").expect("all is known");
        // committed, aborted, never assigned, in progress
        let cases = [
            ("1-2-3-4", [Applied, NotApplied, NotApplied, InProgress]),
            // A crash that the postmaster outlived.
            ("1-2-3-5", [Unknown, NotApplied, NotApplied, Unknown]),
            // Who may not see the checkpointer.
            ("1-2-3", [Unknown, NotApplied, NotApplied, Unknown]),
            // Restarted, promoted, a copy.
            ("1-2-4-4", [Unknown; 4]),
            ("1-3-9-9", [Unknown; 4]),
            ("9-2-3-4", [Unknown; 4]),
            ("", [Unknown; 4]),
        ];
        let answers = ["committed", "aborted", NEVER_ASSIGNED, "in progress"];
        for (incarnation, expected) in cases {
            let outcomes = |is_standby| {
                answers.map(|answer| token.outcome(&server(incarnation, is_standby), Some(answer)))
            };
            assert_eq!(outcomes(false), expected, "{incarnation}");
            assert_eq!(outcomes(true), [Unknown; 4], "{incarnation}");
            assert_eq!(token.outcome(&server(incarnation, false), None), Unknown);
        }
    }

    #[test]
    fn a_token_of_another_cluster_is_none_of_this_database() {
        let token = Token::new("1-2-3-4", "5").expect("all is known");
        token.check(&server("1-7-8-9", false)).expect("it is of this cluster");
        let error = token.check(&server("7-2-3-4", false)).expect_err("it is of another");
        assert_eq!(error.kind(), ErrorKind::InvalidParameter);
    }
}
