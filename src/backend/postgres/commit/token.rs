//! The name of a transaction that outlives its connection: where it ran, and its number there.
//!
//! A number alone says nothing after a crash or a failover: numbers that were never written to disk are
//! given again. So the token names the incarnation of the server too, and an answer counts only while
//! that is the same.

use tokio_postgres::SimpleQueryRow;

use crate::backend::TransactionOutcome;
use crate::error::{Error, ErrorKind, Result};

/// One row: the incarnation of the server. The start of the checkpointer changes when a crashed backend
/// restarts the server, the others with the cluster, a promotion, a restart; it is hidden from roles
/// without `pg_read_all_stats`, and then nothing is known.
pub(crate) const INCARNATION: &str = "\
select concat_ws('-', (select system_identifier from pg_catalog.pg_control_system()), \
       (select timeline_id from pg_catalog.pg_control_checkpoint()), \
       (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::int8, \
       (select (extract(epoch from backend_start) * 1000000)::int8 \
          from pg_catalog.pg_stat_activity where backend_type = 'checkpointer'))";

/// How many numbers an incarnation has when all are known.
const INCARNATION_PARTS: usize = 4;

/// The number of the transaction; NULL while it has written nothing.
pub(crate) const CURRENT: &str = "select pg_catalog.pg_current_xact_id_if_assigned()::text";

/// In place of a state: the server refuses the number, as it has not given it.
pub(crate) const NEVER_GIVEN: &str = "never given";

/// What names a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) incarnation: String,
    pub(crate) xid: u64,
}

impl Token {
    /// `None` when the server does not say which incarnation it is.
    pub(crate) fn new(incarnation: &str, xid: &str) -> Option<Self> {
        let known = incarnation.split('-').count() == INCARNATION_PARTS;
        let xid = xid.parse().ok()?;
        known.then(|| Self { incarnation: incarnation.to_owned(), xid })
    }

    /// As callers keep it.
    pub(crate) fn print(&self) -> String {
        format!("pg1-{}-{}", self.incarnation, self.xid)
    }

    /// # Errors
    /// `InvalidParameter` for what [`Token::print`] never prints.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            let description = "this is no token of this database";
            Error::field(ErrorKind::InvalidParameter, "transaction_token", description)
        };
        let rest = text.strip_prefix("pg1-").ok_or_else(wrong)?;
        if !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Err(wrong());
        }
        let (incarnation, xid) = rest.rsplit_once('-').ok_or_else(wrong)?;
        Self::new(incarnation, xid).ok_or_else(wrong)
    }

    /// The question what became of it: one value.
    pub(crate) fn question(&self) -> String {
        format!("select pg_catalog.pg_xact_status('{}'::xid8)", self.xid)
    }

    /// Whether it can be one of a server's.
    ///
    /// # Errors
    /// `InvalidParameter` when it is of another cluster.
    pub(crate) fn check(&self, server: &Server) -> Result<()> {
        if part(&self.incarnation, CLUSTER) == part(&server.incarnation, CLUSTER) {
            return Ok(());
        }
        let description = "this is no token of this database";
        Err(Error::field(ErrorKind::InvalidParameter, "transaction_token", description))
    }

    /// What a server's answer means.
    ///
    /// Only the server that gave the number knows. A crash that it outlived, the same postmaster, may
    /// have lost the number, which is then given again: that it was not committed stays true, and only
    /// that. Another postmaster may be one beside it, and know nothing of what was committed there.
    pub(crate) fn state(&self, server: &Server, status: Option<&str>) -> TransactionOutcome {
        if server.is_standby {
            return TransactionOutcome::Unknown;
        }
        let is_same = server.incarnation == self.incarnation;
        let [here, there] = [&server.incarnation, &self.incarnation]
            .map(|incarnation| (part(incarnation, CLUSTER), part(incarnation, POSTMASTER)));
        match status {
            Some("aborted" | NEVER_GIVEN) if here == there => TransactionOutcome::NotApplied,
            Some("committed") if is_same => TransactionOutcome::Applied,
            Some("in progress") if is_same => TransactionOutcome::InProgress,
            Some(_) | None => TransactionOutcome::Unknown,
        }
    }
}

/// A server, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) incarnation: String,
    pub(crate) is_standby: bool,
}

impl Server {
    /// One row.
    pub(crate) fn question() -> String {
        format!("{INCARNATION}, pg_catalog.pg_is_in_recovery()")
    }

    /// What it answered.
    pub(crate) fn read(row: &SimpleQueryRow) -> Option<Self> {
        let incarnation = row.get(0)?.to_owned();
        Some(Self { incarnation, is_standby: row.get(1)? != "f" })
    }
}

/// Places in an incarnation.
const CLUSTER: usize = 0;
const POSTMASTER: usize = 2;

fn part(incarnation: &str, place: usize) -> Option<&str> {
    incarnation.split('-').nth(place)
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

    fn server(incarnation: &str, is_standby: bool) -> Server {
        Server { incarnation: incarnation.to_owned(), is_standby }
    }

    #[test]
    fn only_the_server_that_gave_a_number_knows_what_became_of_it() {
        use TransactionOutcome::{Applied, InProgress, NotApplied, Unknown};
        let token = Token::new("1-2-3-4", "5").expect("all is known");
        // committed, aborted, never given, in progress
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
        let answers = ["committed", "aborted", NEVER_GIVEN, "in progress"];
        for (incarnation, states) in cases {
            let told = |is_standby| {
                answers.map(|answer| token.state(&server(incarnation, is_standby), Some(answer)))
            };
            assert_eq!(told(false), states, "{incarnation}");
            assert_eq!(told(true), [Unknown; 4], "{incarnation}");
            assert_eq!(token.state(&server(incarnation, false), None), Unknown);
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
