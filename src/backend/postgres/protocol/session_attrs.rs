//! What a session may do on its server, and whether that is what is asked for.

use std::fmt;

use crate::config::TargetSession;

/// One row: whether the server is a standby, and whether transactions are read-only.
const QUESTION: &str =
    "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

/// What is known of a session; servers before 14 report none of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SessionAttrs {
    /// Whether the server is a standby: `in_hot_standby`.
    pub(crate) standby: Option<bool>,
    /// Whether its transactions are read-only: `default_transaction_read_only`.
    pub(crate) read_only: Option<bool>,
}

impl SessionAttrs {
    /// Asks the server.
    pub(crate) async fn ask(
        client: &tokio_postgres::Client,
    ) -> Result<Self, tokio_postgres::Error> {
        let messages = client.simple_query(QUESTION).await?;
        let row = crate::backend::postgres::connection::pipeline::rows(&messages).next();
        let is = |column, wanted| row.and_then(|row| row.get(column)).map(|value| value == wanted);
        Ok(Self { standby: is(0, "t"), read_only: is(1, "on") })
    }

    /// Whether it is what is asked for; `None`: it is not known.
    pub(crate) fn fits(self, session: TargetSession) -> Option<bool> {
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

    /// What a session that was taken must remain, or it is given up: where any is taken, one that could
    /// write must go on to.
    pub(crate) fn kept(self, session: TargetSession) -> TargetSession {
        match session {
            TargetSession::Any if self.fits(TargetSession::ReadWrite) == Some(true) => {
                TargetSession::ReadWrite
            }
            TargetSession::PreferStandby => TargetSession::Any,
            TargetSession::Any
            | TargetSession::ReadWrite
            | TargetSession::ReadOnly
            | TargetSession::Primary
            | TargetSession::Standby => session,
        }
    }
}

impl fmt::Display for SessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.standby, self.read_only) {
            (Some(true), _) => "it is a standby",
            (_, Some(true)) => "its transactions are read-only by default",
            (Some(false), Some(false)) => "it is a primary that takes writes",
            (None, _) | (_, None) => "it does not say what it is",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_fits_or_not_as_libpq_says() {
        use TargetSession as T;
        let role = |standby, read_only| SessionAttrs {
            standby: Some(standby),
            read_only: Some(read_only),
        };
        let (yes, no) = (Some(true), Some(false));
        // any, read-write, read-only, primary, standby, prefer-standby
        let cases = [
            (role(false, false), [yes, yes, no, yes, no, yes]),
            (role(false, true), [yes, no, yes, yes, no, yes]),
            (role(true, true), [yes, no, yes, no, yes, yes]),
            (role(true, false), [yes, no, yes, no, yes, yes]),
            (SessionAttrs::default(), [yes, None, None, None, None, yes]),
        ];
        for (role, expected) in cases {
            assert_eq!(T::ALL.map(|session| role.fits(session)), expected, "{role:?}");
        }
    }

    #[test]
    fn a_session_that_could_write_must_go_on_to_wherever_any_is_taken() {
        use TargetSession as T;
        let writes = SessionAttrs { standby: Some(false), read_only: Some(false) };
        let kept = [T::ReadWrite, T::ReadWrite, T::ReadOnly, T::Primary, T::Standby, T::Any];
        assert_eq!(T::ALL.map(|session| writes.kept(session)), kept);
        let standby = SessionAttrs { standby: Some(true), read_only: Some(false) };
        assert_eq!(standby.kept(T::Any), T::Any);
        assert_eq!(SessionAttrs::default().kept(T::Any), T::Any);
    }
}
