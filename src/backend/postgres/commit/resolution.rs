//! The outcome of a commit that got no answer.
//!
//! Only the server that it was sent to knows, as long as that has not changed: a standby is behind, and a
//! server that has restarted or taken over reuses transaction numbers that were lost.

use futures_util::future::join;

use super::token::{NEVER_ASSIGNED, ServerIdentity, Token};
use crate::backend::postgres::connect::capabilities::{Ability, lacks_ability};
use crate::backend::postgres::idempotency::may_be_behind;
use crate::backend::postgres::protocol::simple_query::{first_value, rows};
use crate::backend::postgres::session::database_context::DatabaseContext;
use crate::backend::resolution::no_answer;
use crate::backend::{IdempotencyKey, TransactionOutcome};
use crate::error::Result;

/// Opens the transaction of a claim that only tests a key: the first to claim it may still be running.
const BEGIN_CLAIM: &str = "BEGIN; SET LOCAL lock_timeout = '1s'";

/// Queries the outcome of the transaction that has claimed a key, once, on a new connection, by claiming it
/// again. If that succeeds, the first claim and everything in its transaction is gone.
pub(crate) async fn outcome_of_claim(
    database: &DatabaseContext,
    key: &IdempotencyKey,
) -> Result<TransactionOutcome> {
    let lost = |error| no_answer(&database.name).with_cause(error);
    let mut connection = database.opener.open_through_breaker().await?;
    connection.client.batch_execute(BEGIN_CLAIM).await.map_err(lost)?;
    let table = connection.key_table(&database.key_table).await.map_err(lost)?;
    let table = table.ok_or_else(|| no_answer(&database.name))?;
    let claim = connection.prepare(&table.claim).await.map_err(lost)?;
    let values = table.claim_values(key);
    let Err(error) = connection.client.execute_raw(&claim.statement, claim.encode(&values)?).await
    else {
        // The connection ends here, and its claim with it.
        return Ok(TransactionOutcome::NotApplied);
    };
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("23505") => {}
        Some("55P03") => return Ok(TransactionOutcome::InProgress),
        Some(_) | None => return Err(lost(error)),
    }
    // The row under the key is of this request, or of another one that came after it.
    connection.client.batch_execute("ROLLBACK").await.map_err(lost)?;
    let read = connection.prepare(&table.read).await.map_err(lost)?;
    let row = connection.client.query_opt(&read.statement, &[&key.caller, &key.key]).await;
    let hash = row.map_err(lost)?.map(|row| row.try_get::<_, Vec<u8>>(0));
    Ok(match hash.transpose().map_err(lost)? {
        Some(hash) if hash == key.request_hash => TransactionOutcome::Applied,
        Some(_) => TransactionOutcome::NotApplied,
        None => TransactionOutcome::InProgress,
    })
}

/// Queries the outcome of a transaction once, on a new connection: an old one may lead to a server that is
/// no longer the primary.
pub(crate) async fn outcome_of_token(
    database: &DatabaseContext,
    token: &Token,
) -> Result<TransactionOutcome> {
    let connection = database.opener.open_through_breaker().await?;
    if connection.protocol.is_behind_pooler() {
        // Identity and status may be those of two servers.
        return Ok(TransactionOutcome::Unknown);
    }
    if !connection.capabilities.has(Ability::Tokens) {
        return Ok(TransactionOutcome::Unknown);
    }
    let client = &connection.client;
    let lost = |error| no_answer(&database.name).with_cause(error);
    // The identity is queried first: an error in place of the status says nothing of it.
    let identity_query = ServerIdentity::query();
    let status_query = token.status_query();
    let identity = client.simple_query(&identity_query);
    let (identity, status) = join(identity, client.simple_query(&status_query)).await;
    if identity.as_ref().is_err_and(lacks_ability) {
        return Ok(TransactionOutcome::Unknown);
    }
    let identity = identity.map_err(lost)?;
    let server = rows(&identity).next().and_then(ServerIdentity::read);
    let server = server.ok_or_else(|| no_answer(&database.name))?;
    token.check(&server)?;
    if server.is_standby {
        return Err(may_be_behind(&database.name));
    }
    match status {
        Ok(messages) => Ok(token.outcome(&server, first_value(&messages).as_deref())),
        // The server rejects numbers in the future: it has never assigned this one, or lost it.
        Err(error) if error.code().is_some_and(|code| code.code() == "22023") => {
            Ok(token.outcome(&server, Some(NEVER_ASSIGNED)))
        }
        Err(error) => Err(lost(error)),
    }
}
