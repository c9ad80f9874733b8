//! The mark of a commit: a row that is committed with the work, by which the commit can be resolved.
//!
//! The row is written, and its answer read, before the commit is sent: a mark that failed by itself would let its
//! absence say of a commit that it was none.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

use super::commit_token::CommitToken;
use super::connection::CommandEnd;
use super::execute::statement_start::ReadyStatement;
use super::key_rows::KeyRows;
use super::protocol::server_error::ServerError;
use super::session::Session;
use super::session::requests::Runnable;
use crate::error::{Error, ErrorKind, Result};

/// The numbers of the errors of a server without a table for marks, or without a right to it: NO_SUCH_TABLE,
/// TABLEACCESS_DENIED, COLUMNACCESS_DENIED. They leave the transaction as it was.
const HAS_NO_MARKS: [u16; 3] = [1146, 1142, 1143];

/// The mark of a commit, and the statement that writes it.
pub(crate) struct CommitMark {
    pub(crate) token: CommitToken,
    insert: Runnable,
}

impl CommitMark {
    /// Returns false where it is known that no table holds marks, or that nothing could name the commit.
    pub(crate) fn is_possible(session: &mut Session) -> bool {
        session.database.marks.are_possible() && !session.connection().server.uuid.is_empty()
    }

    /// Makes a mark and prepares its statement; `None` where no table holds marks.
    pub(crate) async fn prepare(session: &mut Session) -> Result<Option<Self>> {
        if !Self::is_possible(session) {
            return Ok(None);
        }
        let database = Arc::clone(&session.database);
        let claim = &database.keys.claim;
        match session.prepare_all(&[(&claim.sql, claim)]).await?.pop() {
            Some(insert) => Self::new(session, insert),
            None => Ok(None),
        }
    }

    /// Makes a mark whose statement was prepared; `None` where no table holds marks.
    pub(crate) fn new(
        session: &mut Session,
        insert: Result<Runnable, ServerError>,
    ) -> Result<Option<Self>> {
        let insert = match insert {
            Ok(insert) => insert,
            Err(error) => return refused(session, &error).map(|()| None),
        };
        let server = Arc::clone(&session.connection().server);
        let mut number = [0; 32];
        SystemRandom::new().fill(&mut number).map_err(|_unspecified| {
            Error::new(ErrorKind::Internal, "the system has no random numbers")
        })?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let token = CommitToken {
            server: server.uuid.clone(),
            started: server.started,
            thread: session.connection().state.thread_id,
            time: seconds,
            mark: number,
        };
        Ok(Some(Self { token, insert }))
    }

    /// Queues the statement that writes the row.
    pub(crate) fn queue(&self, session: &mut Session) -> Result<()> {
        let database = Arc::clone(&session.database);
        let claim = &database.keys.claim;
        let values = KeyRows::mark_values(&self.token.mark);
        let insert = self.insert.clone();
        ReadyStatement::new(&claim.sql, claim, insert, &values, 0)?.queue_own(session)
    }

    /// Takes the answer to the statement: returns the mark if it was written, `None` if no table holds marks.
    pub(crate) fn written(self, session: &mut Session, end: CommandEnd) -> Result<Option<Self>> {
        match end {
            Ok(_) => Ok(Some(self)),
            Err(error) => refused(session, &error).map(|()| None),
        }
    }
}

/// Fails unless the error says only that no table holds marks. Any other may have rolled all of the transaction back,
/// after which a commit would say OK of nothing.
fn refused(session: &mut Session, error: &ServerError) -> Result<()> {
    if !HAS_NO_MARKS.contains(&error.errno) {
        return Err(session.refused(error, ""));
    }
    session.database.marks.are_refused();
    Ok(())
}
