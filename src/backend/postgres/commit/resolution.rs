//! What became of a commit that got no answer.
//!
//! Only the server that it was sent to can tell, while that is what it was: a standby is behind, and a
//! server that has restarted or taken over gives numbers again that were lost.

use std::time::{Duration, Instant};

use futures_util::future::join;

use super::token::{NEVER_GIVEN, Server, Token};
use crate::backend::postgres::codec;
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::connection::pipeline::{first_value, rows};
use crate::backend::postgres::idempotency::key_table::KeyTable;
use crate::backend::postgres::session::database::DatabaseContext;
use crate::backend::{IdempotencyKey, TransactionOutcome};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};

/// By what a transaction is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Name<'a> {
    Token(&'a Token),
    /// It has claimed this key.
    Key(&'a IdempotencyKey),
}

/// How long to wait between two attempts to ask.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a commit without an answer is asked for at most, once its deadline has passed.
const LAST_CALL: Duration = Duration::from_millis(30);
/// How late after its deadline a call may end, in hundredths of what is left to the caller: the way back
/// takes a part.
const LATEST: u32 = 80;
/// How late asking is begun at all, in the same measure: a commit that was waited for until its deadline
/// goes on, and nobody else knows how it will end.
const TOO_LATE: u32 = 20;

/// How a key is claimed only to see whether it can be: the first to claim it may still be at work.
const ASK_KEY: &str = "BEGIN; SET LOCAL lock_timeout = '1s'";

impl DatabaseContext {
    /// What became of a transaction, asked on new connections until it is known or the deadline passes.
    pub(crate) async fn ask_until_known(
        &self,
        name: Name<'_>,
        deadline: Deadline,
    ) -> TransactionOutcome {
        if Instant::now() >= deadline.late(TOO_LATE) {
            return TransactionOutcome::Unknown;
        }
        let last_call = (Instant::now() + LAST_CALL).min(deadline.late(LATEST));
        let latest = deadline.instant().max(last_call);
        let asking = async {
            loop {
                let answer = match name {
                    Name::Token(token) => self.ask(token).await,
                    Name::Key(key) => self.ask_key(key).await,
                };
                match answer {
                    Ok(TransactionOutcome::InProgress) | Err(_) => tokio::time::sleep(PAUSE).await,
                    Ok(known) => return known,
                }
            }
        };
        let asked = tokio::time::timeout_at(latest.into(), asking).await;
        asked.unwrap_or(TransactionOutcome::Unknown)
    }

    /// Ends a commit whose outcome is in doubt by the key that its transaction has claimed.
    pub(crate) async fn resolve_by_key(
        &self,
        key: &IdempotencyKey,
        doubt: Error,
        deadline: Deadline,
    ) -> Result<()> {
        match self.ask_until_known(Name::Key(key), deadline).await {
            TransactionOutcome::Applied => Ok(()),
            TransactionOutcome::NotApplied => Err(self.lost_before_commit()),
            TransactionOutcome::InProgress | TransactionOutcome::Unknown => Err(doubt),
        }
    }

    /// What became of the transaction that has claimed a key, asked once on a new connection by claiming
    /// it again. Where that succeeds the first claim is gone, and with it all that it was made with.
    async fn ask_key(&self, key: &IdempotencyKey) -> Result<TransactionOutcome> {
        let mut connection = self.opener.open_through_gate().await?;
        let lost = |error| self.unanswered().with_cause(error);
        connection.client.batch_execute(ASK_KEY).await.map_err(lost)?;
        let keys = connection.keys(&self.keys).await.map_err(lost)?;
        let keys = keys.ok_or_else(|| self.unanswered())?;
        let claim = connection.prepare(&keys.claim).await.map_err(lost)?;
        let values = keys.claiming(key);
        let values = codec::encode(&values, claim.statement.params())?;
        let Err(error) = connection.client.execute_raw(&claim.statement, values).await else {
            // The connection ends here, and its claim with it.
            return Ok(TransactionOutcome::NotApplied);
        };
        match error.code().map(tokio_postgres::error::SqlState::code) {
            Some("23505") => Self::standing_under(key, &keys, &mut connection).await.map_err(lost),
            Some("55P03") => Ok(TransactionOutcome::InProgress),
            Some(_) | None => Err(lost(error)),
        }
    }

    /// Whose row stands under a key: that of this request, or of another one that came after it.
    async fn standing_under(
        key: &IdempotencyKey,
        keys: &KeyTable,
        connection: &mut Connection,
    ) -> std::result::Result<TransactionOutcome, tokio_postgres::Error> {
        connection.client.batch_execute("ROLLBACK").await?;
        let read = connection.prepare(&keys.read).await?;
        let row = connection.client.query_opt(&read.statement, &[&key.caller, &key.key]).await?;
        Ok(match row.map(|row| row.try_get::<_, Vec<u8>>(0)).transpose()? {
            Some(hash) if hash == key.request_hash => TransactionOutcome::Applied,
            Some(_) => TransactionOutcome::NotApplied,
            None => TransactionOutcome::InProgress,
        })
    }

    pub(crate) fn lost_before_commit(&self) -> Error {
        let message = format!("the connection to database \"{}\" was lost", self.database);
        Error::new(ErrorKind::ConnectionLost, message)
    }

    /// Asks once, on a new connection: an old one may be to a server that is no longer the primary.
    pub(crate) async fn ask(&self, token: &Token) -> Result<TransactionOutcome> {
        let connection = self.opener.open_through_gate().await?;
        let client = &connection.client;
        // Who answers is asked first: an error in place of the state says nothing of that.
        let (who, what) = (Server::question(), token.question());
        let (who, what) = join(client.simple_query(&who), client.simple_query(&what)).await;
        let lost = |error| self.unanswered().with_cause(error);
        let who = who.map_err(lost)?;
        let server = rows(&who).next().and_then(Server::read).ok_or_else(|| self.unanswered())?;
        token.check(&server)?;
        if server.is_standby {
            return Err(self.behind());
        }
        match what {
            Ok(messages) => Ok(token.state(&server, first_value(&messages).as_deref())),
            // Numbers in the future are refused: it has never given this one, or does not know it.
            Err(error) if error.code().is_some_and(|code| code.code() == "22023") => {
                Ok(token.state(&server, Some(NEVER_GIVEN)))
            }
            Err(error) => Err(lost(error)),
        }
    }

    /// The error of a question without an answer in time.
    pub(crate) fn late(&self) -> Error {
        let database = &self.database;
        let message = format!("the deadline passed before database \"{database}\" answered");
        Error::new(ErrorKind::DeadlineExceeded, message)
    }

    /// The error of a question that only a primary can answer.
    pub(crate) fn behind(&self) -> Error {
        let database = &self.database;
        let message =
            format!("the server of database \"{database}\" is a standby, and may be behind");
        Error::new(ErrorKind::NotPrimary, message)
            .with_hint("Ask the database that the transaction was sent to.")
    }

    fn unanswered(&self) -> Error {
        let message = format!("database \"{}\" does not answer", self.database);
        Error::new(ErrorKind::DatabaseUnavailable, message)
    }
}
