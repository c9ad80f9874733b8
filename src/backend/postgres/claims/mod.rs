//! Claims of callers: signed for a session, verified and sealed for the transaction by functions in the database.
//!
//! Callers send any SQL, and can give every setting any value. So the database signs the claims of a transaction with a
//! key that only the owner of its functions reads, and takes them from nobody who cannot sign for its session.

pub(crate) mod install;

use std::sync::Arc;
use std::time::Duration;

use super::connection::claim_signature::ClaimSession;
use super::connection::prepared::Prepared;
use super::session::Session;
use super::session::failure::of_own_statement;
use crate::backend::attempt::RetryScope;
use crate::clock::now;
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// Gives the transaction the claims of its caller. They are parameters: no text that the server shows has them.
const SET_CLAIMS: &str = "select rowgate.set_claims($1, $2, $3)";

/// The question that shows which session it is.
const SESSION: &str = include_str!("session.sql");

/// The SQLSTATE with which `rowgate.set_claims` refuses a signature.
const NOT_SIGNED: &str = "RG001";

/// The SQLSTATE with which it refuses one that has expired.
const EXPIRED: &str = "RG002";

/// The statement that gives a transaction claims, and its parameters.
pub(crate) struct SignedClaims {
    pub(crate) set: Arc<Prepared>,
    pub(crate) values: [Value; 3],
}

/// Signs claims for the next transaction of a session, outside of any.
pub(crate) async fn sign(session: &mut Session, claims: &Secret) -> Result<SignedClaims> {
    let database = Arc::clone(&session.database);
    let Some(keys) = &database.claim_keys else {
        // The engine passes no claims to a database without a key.
        return Err(Error::new(ErrorKind::Internal, "there is no key to sign claims"));
    };
    let in_force = keys.fresh().await;
    let own = claim_session(session, in_force.settings.check_interval).await?;
    let set = session.prepare(SET_CLAIMS).await.map_err(|error| setup_error(session, error))?;
    let values = own.signed(claims, &in_force.key, in_force.settings.validity);
    Ok(SignedClaims { set, values })
}

/// The session that a connection has. It is asked anew once it is older than `check_interval`: its login may have got rights.
async fn claim_session(session: &mut Session, check_interval: Duration) -> Result<ClaimSession> {
    let known = session.connection().claim_session.take();
    if let Some(known) = known.filter(|known| known.asked_at.elapsed() < check_interval) {
        session.connection().claim_session = Some(known.clone());
        return Ok(known);
    }
    if session.connection().protocol.is_behind_pooler() {
        let message =
            "claims are not passed on behind a pooler, where sessions change between transactions";
        return Err(Error::new(ErrorKind::BackendMisconfigured, message)
            .with_condition("CLAIMS_UNSAFE")
            .with_hint("Connect databases.NAME.url to PostgreSQL itself."));
    }
    let asked_at = now();
    let answer = session.query_value(SESSION).await;
    let answer = answer.map_err(|error| setup_error(session, error))?.unwrap_or_default();
    let (own, rights) = ClaimSession::parse(&answer, asked_at).ok_or_else(not_installed)?;
    if !rights.is_empty() {
        return Err(is_no_boundary(rights));
    }
    session.connection().claim_session = Some(own.clone());
    Ok(own)
}

/// The meaning of the error reply to [`SET_CLAIMS`].
pub(crate) fn refused(session: &mut Session, error: Error) -> Error {
    let Some(report) = error.report() else { return error };
    let has_expired = report.sqlstate == EXPIRED;
    if !has_expired && report.sqlstate != NOT_SIGNED {
        return setup_error(session, error);
    }
    session.connection().claim_session = None;
    if has_expired {
        // The clocks have moved apart since this connection was asked: another one is asked now.
        session.work.retry = RetryScope::OtherConnection;
        session.close();
    }
    let message = if has_expired {
        "the database refused the claims of the caller: they had expired"
    } else {
        "the database refused the claims of the caller: it does not know the key that signed them"
    };
    Error::new(ErrorKind::BackendMisconfigured, message)
        .with_condition("CLAIMS_REFUSED")
        .with_hint(
            "An operator can run rowgate claims install with the configuration of this server.",
        )
        .with_cause(error)
}

/// The meaning of an error of our own statements on the functions of claims.
fn setup_error(session: &Session, error: Error) -> Error {
    let is_missing = error.report().is_some_and(|report| {
        // No schema, no function, no right to use one.
        ["3F000", "42883", "42501"].contains(&report.sqlstate.as_str())
    });
    if is_missing {
        return not_installed().with_cause(error);
    }
    of_own_statement(error, &session.database.name)
}

fn not_installed() -> Error {
    Error::new(ErrorKind::BackendMisconfigured, "the database does not know claims of callers")
        .with_condition("CLAIMS_NOT_INSTALLED")
        .with_hint("An operator can run rowgate claims install once for this database.")
}

/// The error of a role whose callers can pass over what claims decide.
fn is_no_boundary(rights: &str) -> Error {
    let message = format!("claims would be no boundary: the role of the database {rights}");
    Error::new(ErrorKind::BackendMisconfigured, message).with_condition("CLAIMS_UNSAFE").with_hint(
        "An operator can give databases.NAME.url a login without that right (docs/SECURITY.md).",
    )
}
