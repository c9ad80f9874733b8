//! Finds a pooler between a connection and the server.
//!
//! A pooler may serve each transaction of a connection by another session. It is found by what it cannot
//! keep the same for all of them: the process in the cancel key, and the name of a prepared statement. What
//! cannot be told is taken for a pooler.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::baseline::SessionSettings;
use super::connect_errors::ConnectFailure;
use crate::backend::postgres::protocol::protocol_state::ProtocolState;
use crate::backend::postgres::protocol::simple_query::first_value;
use crate::backend::postgres::protocol::statement_names::Route;

/// A statement that is prepared to be found again.
const MARK: &str = "select 1";
/// A query of one value: the names of the session's prepared statements.
pub(crate) const NAMES: &str =
    "select pg_catalog.string_agg(name, ' ') from pg_catalog.pg_prepared_statements";

/// A connection whose login was accepted.
pub(crate) struct Handshake {
    pub(crate) client: Client,
    pub(crate) driver: JoinHandle<()>,
    pub(crate) state: Arc<ProtocolState>,
}

/// Returns the way that a new connection goes.
pub(crate) async fn find(
    handshake: &Handshake,
    found: &SessionSettings,
) -> Result<Route, ConnectFailure> {
    let Handshake { client, state, .. } = handshake;
    let [process @ .., _, _, _, _] = state.key();
    if found.process != Some(i32::from_be_bytes(process)) {
        return Ok(Route::Pooler);
    }
    let (mark, names) = tokio::join!(client.prepare(MARK), client.simple_query(NAMES));
    let (mark, names) = match (mark, names) {
        (Ok(mark), Ok(names)) => (mark, names),
        (Err(error), _) | (_, Err(error)) if tells_nothing(&error) => {
            return Err(ConnectFailure::of_login(error));
        }
        (Err(_), _) | (_, Err(_)) => return Ok(Route::Pooler),
    };
    let is_there = state.statement_names.are_among(&first_value(&names).unwrap_or_default());
    drop(mark);
    Ok(if is_there { Route::Direct } else { Route::Pooler })
}

/// Returns true for the end of the connection, or of the server (class 57, operator intervention: 57P01 and its kin): it would
/// have come with a pooler and without.
fn tells_nothing(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none_or(|reply| reply.code().code().starts_with("57P"))
}

/// Checks that there are transactions, in which a pooler keeps to one session.
pub(crate) async fn check_transactions(client: &Client) -> Result<(), ConnectFailure> {
    for command in ["BEGIN", "COMMIT"] {
        client.batch_execute(command).await.map_err(ConnectFailure::of_login)?;
    }
    Ok(())
}
