//! The start of a statement, up to the first part of its answer.

use std::sync::Arc;

use super::unit::BEFORE_CALL;
use crate::backend::Completion;
use crate::backend::mysql::codec::parameters::encode_parameters;
use crate::backend::mysql::connection::result_shape::ResultShape;
use crate::backend::mysql::protocol::answers::{Event, RawColumns};
use crate::backend::mysql::protocol::commands::Command;
use crate::backend::mysql::protocol::ok_packet::OkPacket;
use crate::backend::mysql::session::Session;
use crate::backend::mysql::session::requests::Runnable;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::{MysqlStatement, MysqlText};
use crate::value::Value;

/// The first part of a statement's answer.
pub(crate) enum Head {
    /// It returns rows.
    Rows(Arc<ResultShape>),
    /// It returns none, and has ended.
    Done(OkPacket),
}

/// A statement that is ready to be sent, with its parameters.
pub(crate) struct ReadyStatement<'a> {
    pub(crate) sql: &'a str,
    pub(crate) text: &'a MysqlText,
    pub(crate) runnable: Runnable,
    pub(crate) parameters: Vec<u8>,
    /// A savepoint is set in front of it.
    pub(crate) is_probed: bool,
}

impl<'a> ReadyStatement<'a> {
    /// Encodes the parameters.
    pub(crate) fn new(
        sql: &'a str,
        text: &'a MysqlText,
        runnable: Runnable,
        values: &[Value],
        ahead_of_utc: i32,
    ) -> Result<Self> {
        let mut parameters = Vec::new();
        encode_parameters(values, &text.order, ahead_of_utc, &mut parameters)?;
        Ok(Self { sql, text, runnable, parameters, is_probed: false })
    }

    /// Queues a statement of our own.
    pub(crate) fn queue_own(&self, session: &mut Session) -> Result<()> {
        session.check_size(self.parameters.len(), self.sql)?;
        if let Runnable::Prepared(prepared) = &self.runnable {
            session.connection().queue_own(Command::Execute(prepared.id, &self.parameters));
            return Ok(());
        }
        Err(Error::new(ErrorKind::Internal, "a statement of our own cannot be prepared"))
    }

    /// Queues the statement; returns the number of answers to read before its own.
    pub(crate) fn queue(&self, session: &mut Session, is_plain: bool) -> Result<usize> {
        let bytes = match self.runnable {
            Runnable::Prepared(_) => self.parameters.len(),
            Runnable::Text => self.text.sql.len(),
        };
        session.check_size(bytes, self.sql)?;
        let mut before = session.queue_clearing(is_plain);
        if self.is_probed {
            session.connection().queue_own(Command::Query(BEFORE_CALL));
            before += 1;
        }
        session.queue_run(&self.runnable, self.text, &self.parameters);
        Ok(before)
    }
}

/// Sends a statement and waits for the first part of its answer.
pub(crate) async fn start(
    session: &mut Session,
    statement: &ReadyStatement<'_>,
    is_plain: bool,
) -> Result<Head> {
    session.begin_request()?;
    let before = statement.queue(session, is_plain)?;
    first_part(session, statement, before).await
}

/// As [`start`], of a statement of our own.
pub(crate) async fn start_own(
    session: &mut Session,
    statement: &ReadyStatement<'_>,
) -> Result<Head> {
    session.begin_request()?;
    statement.queue_own(session)?;
    first_part(session, statement, 0).await
}

async fn first_part(
    session: &mut Session,
    statement: &ReadyStatement<'_>,
    before: usize,
) -> Result<Head> {
    let (cleared, event) = session
        .answer(async |on| {
            let mut cleared = Ok(());
            for _ in 0..before {
                let end = on.end_of_command().await?;
                cleared = cleared.and(end.map(drop));
            }
            loop {
                // A procedure may have results without rows before those with some.
                match on.event().await? {
                    Event::ResultEnd(_) => {}
                    event @ (Event::Columns(_)
                    | Event::Row(_)
                    | Event::Prepared(_)
                    | Event::Done(_)
                    | Event::Failed(_)) => return Ok((cleared, event)),
                }
            }
        })
        .await?;
    session.must_be_cleared(cleared, statement.sql)?;
    head(session, event, statement)
}

fn head(session: &mut Session, event: Event, statement: &ReadyStatement<'_>) -> Result<Head> {
    match event {
        Event::Done(ok) => Ok(Head::Done(ok)),
        Event::Columns(raw) => Ok(Head::Rows(shape_of(session, raw, &statement.runnable)?)),
        Event::Failed(error) => Err(session.refused(&error, statement.sql)),
        Event::Row(_) | Event::ResultEnd(_) | Event::Prepared(_) => {
            session.close();
            let message = "the answers of the database do not match the requests";
            Err(Error::new(ErrorKind::Internal, message))
        }
    }
}

/// The shape of a result: that of the last run, if the columns are the same.
pub(crate) fn shape_of(
    session: &mut Session,
    raw: RawColumns,
    runnable: &Runnable,
) -> Result<Arc<ResultShape>> {
    let has_extended_types = session.connection().has_extended_types();
    let mut kept = match runnable {
        Runnable::Prepared(prepared) => Some(prepared.shape.lock()),
        Runnable::Text => None,
    };
    if let Some(Some(shape)) = kept.as_deref()
        && shape.is_of(&raw)
    {
        return Ok(Arc::clone(shape));
    }
    let shape = Arc::new(ResultShape::new(raw, has_extended_types, session.database.ahead_of_utc)?);
    if let Some(kept) = kept.as_deref_mut() {
        *kept = Some(Arc::clone(&shape));
    }
    Ok(shape)
}

/// The end of a statement, by the number of rows that it returned, if it returned any, and of those that the server
/// says it changed.
pub(crate) fn completion(
    facts: &MysqlStatement,
    returned: Option<u64>,
    changed: u64,
) -> Completion {
    let rows_affected = match returned {
        _ if facts.reads || facts.command == "SELECT" => 0,
        // RETURNING: the end of rows counts none.
        Some(rows) if changed == 0 && facts.command != "CALL" => rows,
        Some(_) | None => changed,
    };
    Completion { rows_affected, command: facts.tag.to_owned() }
}
