//! The name of a transaction that outlives its connection: where it ran, and its number there.
//!
//! A number alone says nothing after a crash or a failover: numbers that were never written to disk are
//! given again. So the token names the incarnation of the server too, and an answer counts only while
//! that is the same.

use crate::backend::UnitState;
use crate::error::{Error, ErrorKind, Result};

/// One row: the incarnation of the server. The start of the checkpointer changes when a crashed backend
/// restarts the server, the others with the cluster, a promotion, a restart; it is hidden from roles
/// without `pg_read_all_stats`, and then nothing is known.
pub(super) const INCARNATION: &str = "\
select concat_ws('-', (select system_identifier from pg_catalog.pg_control_system()), \
       (select timeline_id from pg_catalog.pg_control_checkpoint()), \
       (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::int8, \
       (select (extract(epoch from backend_start) * 1000000)::int8 \
          from pg_catalog.pg_stat_activity where backend_type = 'checkpointer'))";

/// How many numbers an incarnation has when all are known.
const INCARNATION_PARTS: usize = 4;

/// The number of the transaction; NULL while it has written nothing.
pub(super) const CURRENT: &str = "select pg_catalog.pg_current_xact_id_if_assigned()::text";

/// What names a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) incarnation: String,
    pub(super) xid: u64,
}

impl Token {
    /// `None` when the server does not say which incarnation it is.
    pub(super) fn new(incarnation: &str, xid: &str) -> Option<Self> {
        let known = incarnation.split('-').count() == INCARNATION_PARTS;
        let xid = xid.parse().ok()?;
        known.then(|| Self { incarnation: incarnation.to_owned(), xid })
    }

    /// As callers keep it.
    pub(super) fn print(&self) -> String {
        format!("pg1-{}-{}", self.incarnation, self.xid)
    }

    /// # Errors
    /// `InvalidParameter` for what [`Token::print`] never prints.
    pub(super) fn parse(text: &str) -> Result<Self> {
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

    /// The question what became of it: the incarnation now, and the state of the number.
    pub(super) fn question(&self) -> String {
        format!("{INCARNATION}, pg_catalog.pg_xact_status('{}'::xid8)", self.xid)
    }

    /// What the answer means.
    pub(super) fn state(&self, incarnation: &str, status: Option<&str>) -> UnitState {
        match status {
            // A number that was given again, to a transaction that failed: the first is lost too.
            Some("aborted") if cluster(incarnation) == cluster(&self.incarnation) => {
                UnitState::NotApplied
            }
            Some(_) if incarnation != self.incarnation => UnitState::Unknown,
            Some("committed") => UnitState::Applied,
            Some("in progress") => UnitState::InProgress,
            Some(_) | None => UnitState::Unknown,
        }
    }
}

fn cluster(incarnation: &str) -> Option<&str> {
    incarnation.split('-').next()
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

    #[test]
    fn a_commit_counts_only_in_the_same_incarnation() {
        let token = Token::new("1-2-3-4", "5").expect("all is known");
        let cases = [
            ("1-2-3-4", Some("committed"), UnitState::Applied),
            ("1-2-3-5", Some("committed"), UnitState::Unknown),
            ("1-2-3", Some("committed"), UnitState::Unknown),
            ("1-2-3-4", Some("aborted"), UnitState::NotApplied),
            ("1-2-3-5", Some("aborted"), UnitState::NotApplied),
            ("9-2-3-4", Some("aborted"), UnitState::Unknown),
            ("1-2-3-4", Some("in progress"), UnitState::InProgress),
            ("1-2-3-5", Some("in progress"), UnitState::Unknown),
            ("1-2-3-4", None, UnitState::Unknown),
        ];
        for (incarnation, status, state) in cases {
            assert_eq!(token.state(incarnation, status), state, "{incarnation} {status:?}");
        }
    }
}
