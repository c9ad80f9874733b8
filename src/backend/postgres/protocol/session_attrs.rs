//! The session attributes that `target_session_attrs` selects servers by.

use std::fmt;

use tokio_postgres::Client;

use super::simple_query::rows;
use crate::config::TargetSession;

/// The query for both attributes, for servers that do not report them.
const QUERY: &str =
    "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

/// The known attributes of a session; servers before version 14 report none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SessionAttrs {
    /// `in_hot_standby`: the server is a standby.
    pub(crate) standby: Option<bool>,
    /// `default_transaction_read_only`: transactions are read-only.
    pub(crate) read_only: Option<bool>,
}

impl SessionAttrs {
    pub(crate) async fn query(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let messages = client.simple_query(QUERY).await?;
        let row = rows(&messages).next();
        let is = |column, wanted| row.and_then(|row| row.get(column)).map(|value| value == wanted);
        Ok(Self { standby: is(0, "t"), read_only: is(1, "on") })
    }

    /// Updates an attribute from a ParameterStatus: a name and a value, each ended by a zero byte.
    pub(crate) fn update(&mut self, parameter_status: &[u8]) {
        let mut texts = parameter_status.split(|byte| *byte == 0);
        let name = texts.next();
        let is_on = texts.next().map(|value| value == b"on");
        if name == Some(b"in_hot_standby") {
            self.standby = is_on.or(self.standby);
        } else if name == Some(b"default_transaction_read_only") {
            self.read_only = is_on.or(self.read_only);
        }
    }

    /// Returns true if a session has the required attributes; `None` if that is unknown.
    pub(crate) fn satisfies(self, session: TargetSession) -> Option<bool> {
        let Self { standby, read_only } = self;
        let writes = match (standby, read_only) {
            (Some(true), _) | (_, Some(true)) => Some(false),
            (Some(false), Some(false)) => Some(true),
            (None, _) | (_, None) => None,
        };
        match session {
            TargetSession::Any | TargetSession::PreferStandby => Some(true),
            TargetSession::ReadWrite => writes,
            TargetSession::ReadOnly => writes.map(|writes| !writes),
            TargetSession::Primary => standby.map(|standby| !standby),
            TargetSession::Standby => standby,
        }
    }

    /// Returns the attributes that an open connection must keep: one that could write must remain
    /// able to, even if any session is accepted.
    pub(crate) fn to_keep(self, session: TargetSession) -> TargetSession {
        if session == TargetSession::PreferStandby {
            TargetSession::Any
        } else if session == TargetSession::Any
            && self.satisfies(TargetSession::ReadWrite) == Some(true)
        {
            TargetSession::ReadWrite
        } else {
            session
        }
    }
}

impl fmt::Display for SessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.standby, self.read_only) {
            (Some(true), _) => "the server is a standby",
            (_, Some(true)) => "its transactions are read-only by default",
            (Some(false), Some(false)) => "the server is a primary that accepts writes",
            (None, _) | (_, None) => "the server does not report its role",
        })
    }
}

#[cfg(test)]
mod tests {
    use TargetSession as T;

    use super::*;

    const ALL: [T; 6] =
        [T::Any, T::ReadWrite, T::ReadOnly, T::Primary, T::Standby, T::PreferStandby];

    #[test]
    fn sessions_are_selected_as_by_libpq() {
        let attrs = |standby, read_only| SessionAttrs {
            standby: Some(standby),
            read_only: Some(read_only),
        };
        let yes = Some(true);
        let no = Some(false);
        let cases = [
            (attrs(false, false), [yes, yes, no, yes, no, yes]),
            (attrs(false, true), [yes, no, yes, yes, no, yes]),
            (attrs(true, true), [yes, no, yes, no, yes, yes]),
            (attrs(true, false), [yes, no, yes, no, yes, yes]),
            (SessionAttrs::default(), [yes, None, None, None, None, yes]),
        ];
        for (attrs, expected) in cases {
            assert_eq!(ALL.map(|session| attrs.satisfies(session)), expected, "{attrs:?}");
        }
    }

    #[test]
    fn a_session_that_could_write_must_remain_able_to() {
        let writes = SessionAttrs { standby: Some(false), read_only: Some(false) };
        let kept = [T::ReadWrite, T::ReadWrite, T::ReadOnly, T::Primary, T::Standby, T::Any];
        assert_eq!(ALL.map(|session| writes.to_keep(session)), kept);
        let standby = SessionAttrs { standby: Some(true), read_only: Some(false) };
        assert_eq!(standby.to_keep(T::Any), T::Any);
        assert_eq!(SessionAttrs::default().to_keep(T::Any), T::Any);
    }
}
