//! An open connection: its commands and their answers, its prepared statements, and what is known of its session.

pub(crate) mod connection_state;
pub(crate) mod kill_target;
pub(crate) mod mysql_opener;
pub(crate) mod opened;
pub(crate) mod result_shape;
pub(crate) mod statement_cache;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use parking_lot::Mutex;

use super::protocol::answers::{AnswerKind, Answers, Awaited, Event};
use super::protocol::commands::Command;
use super::protocol::length_encoded::PacketReader;
use super::protocol::ok_packet::{
    AUTOCOMMIT, IN_TRANSACTION, NO_BACKSLASH_ESCAPES, OkPacket, SessionChanges,
};
use super::protocol::packet_stream::{PacketStream, StreamFailure};
use super::protocol::server_error::ServerError;
use crate::backend::definitions::{KnownDefinitions, StatementRules};
use crate::backend::network::SocketWatch;
use connection_state::ConnectionState;
use opened::{OpenedConnection, ServerFacts};
use statement_cache::{Prepared, StatementCache};

/// The end of a command: the packet that ended it, or the error with which it failed.
pub(crate) type CommandEnd = Result<OkPacket, ServerError>;

pub(crate) struct Connection {
    /// Locked by nobody but to look at a connection that is idle.
    packets: Mutex<PacketStream>,
    answers: Answers,
    pub(crate) state: Arc<ConnectionState>,
    pub(crate) server: Arc<ServerFacts>,
    status: u16,
    /// The changes of the session that statements of callers have made since it was last clean.
    pub(crate) changes: SessionChanges,
    /// True if a statement ran of which later ones can ask: its warnings, its generated key, its count of rows.
    pub(crate) has_history: bool,
    pub(crate) statements: StatementCache,
    /// The numbers of statements that are not kept any more, and are still to be closed.
    evicted: Vec<u32>,
    rules: StatementRules,
    known: KnownDefinitions,
    pub(crate) opened_at: Instant,
    /// The statement that sets the baseline of the session, after a reset.
    pub(crate) baseline: Arc<str>,
    /// The schema of the URL.
    pub(crate) schema: Option<Arc<str>>,
    was_ended_before: bool,
    /// True once the stream has failed: nothing can be read any more.
    has_ended: bool,
    /// Set where the connection is the pool's.
    pub(crate) held: Option<Arc<()>>,
}

impl Connection {
    pub(crate) fn new(opened: OpenedConnection, rules: &StatementRules) -> Self {
        let OpenedConnection { packets, state, server, baseline, schema, has_extended_types } =
            opened;
        Self {
            packets: Mutex::new(packets),
            answers: Answers::new(has_extended_types),
            state,
            server,
            status: AUTOCOMMIT,
            changes: SessionChanges::default(),
            has_history: false,
            statements: StatementCache::new(rules),
            evicted: Vec::new(),
            known: KnownDefinitions::new(rules),
            rules: rules.clone(),
            opened_at: Instant::now(),
            baseline,
            schema,
            was_ended_before: false,
            has_ended: false,
            held: None,
        }
    }

    /// Queues a command of the server's own, which changes the session as it is to be.
    pub(crate) fn queue_own(&mut self, command: Command<'_>) {
        self.queue(command, true);
    }

    /// Queues a command of a caller.
    pub(crate) fn queue_callers(&mut self, command: Command<'_>) {
        self.has_history = true;
        self.queue(command, false);
    }

    fn queue(&mut self, command: Command<'_>, is_own: bool) {
        self.packets.get_mut().queue(0, |body| command.write(body));
        let kind = match command {
            Command::CloseStatement(_) | Command::Quit => return,
            Command::Prepare(_) => AnswerKind::Prepared,
            Command::Query(_)
            | Command::Execute(..)
            | Command::Ping
            | Command::ResetConnection
            | Command::InitDb(_) => AnswerKind::Results,
        };
        self.answers.expect(Awaited { kind, is_own });
        self.state.sent.fetch_add(1, Relaxed);
    }

    /// Receives the next part of an answer.
    ///
    /// # Cancel safety
    /// May be dropped at any time: nothing is lost.
    pub(crate) async fn event(&mut self) -> Result<Event, StreamFailure> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    pub(crate) fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Event, StreamFailure>> {
        loop {
            let received = ready!(self.packets.get_mut().poll_packet(cx));
            let awaited = self.answers.next();
            let is_first = self.answers.is_at_start() && self.packets.get_mut().sequence == 0;
            let event = received.and_then(|packet| self.answers.take(packet));
            self.was_ended_before = is_first && matches!(event, Ok(Some(Event::Failed(_))));
            match event {
                Ok(None) => {}
                Ok(Some(event)) => {
                    self.note(&event, awaited);
                    return Poll::Ready(Ok(event));
                }
                Err(failure) => {
                    self.has_ended = true;
                    return Poll::Ready(Err(failure));
                }
            }
        }
    }

    /// Notes what an answer tells of the session.
    fn note(&mut self, event: &Event, awaited: Option<Awaited>) {
        let ok = match event {
            Event::Columns(_) | Event::Row(_) => return,
            Event::ResultEnd(ok) | Event::Done(ok) => Some(ok),
            Event::Prepared(_) | Event::Failed(_) => None,
        };
        if let Some(ok) = ok {
            self.status = ok.status;
            let is_own = awaited.is_some_and(|awaited| awaited.is_own);
            if is_own {
                self.changes.transaction = ok.changes.transaction.or(self.changes.transaction);
            } else {
                self.changes.add(&ok.changes);
            }
            let in_transaction = self.in_transaction();
            self.state.in_transaction.store(in_transaction, Relaxed);
        }
        if !matches!(event, Event::ResultEnd(_)) {
            self.state.answered.fetch_add(1, Relaxed);
        }
    }

    /// Reads the rest of the answer to one command, without its rows.
    pub(crate) async fn end_of_command(&mut self) -> Result<CommandEnd, StreamFailure> {
        loop {
            match self.event().await? {
                Event::Columns(_) | Event::Row(_) | Event::ResultEnd(_) => {}
                Event::Prepared(_) => {
                    return Err(StreamFailure::Malformed("an answer of another kind"));
                }
                Event::Done(ok) => return Ok(Ok(ok)),
                Event::Failed(error) => return Ok(Err(error)),
            }
        }
    }

    /// Reads the answer to one command; returns the number of its rows.
    pub(crate) async fn count_rows(&mut self) -> Result<Result<usize, ServerError>, StreamFailure> {
        let mut rows = 0;
        loop {
            match self.event().await? {
                Event::Row(_) => rows += 1,
                Event::Columns(_) | Event::ResultEnd(_) | Event::Prepared(_) => {}
                Event::Done(_) => return Ok(Ok(rows)),
                Event::Failed(error) => return Ok(Err(error)),
            }
        }
    }

    /// Asks a question of our own; `None` if the connection is lost, or the server refuses to answer.
    pub(crate) async fn ask(&mut self, sql: &str) -> Option<String> {
        self.queue_own(Command::Query(sql));
        self.first_answer().await
    }

    /// Receives the answer to a question that was queued, as [`Self::ask`] does.
    pub(crate) async fn first_answer(&mut self) -> Option<String> {
        let mut answer = None;
        loop {
            match self.event().await.ok()? {
                Event::Row(packet) => answer = first_text(&packet),
                Event::Columns(_) | Event::ResultEnd(_) | Event::Prepared(_) => {}
                Event::Done(_) => return answer,
                Event::Failed(_) => return None,
            }
        }
    }

    /// Reads the rest of all answers; fails if the connection is lost.
    pub(crate) async fn drain(&mut self) -> Result<(), StreamFailure> {
        while self.unanswered() > 0 {
            self.event().await?;
        }
        Ok(())
    }

    /// The number of commands that are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.answers.len()
    }

    /// Returns true if the last error came before the command that it seems to answer: it has the number of a first
    /// packet.
    pub(crate) fn was_ended_before(&self) -> bool {
        self.was_ended_before
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.status & IN_TRANSACTION != 0
    }

    /// Returns true if each statement commits by itself.
    pub(crate) fn commits_each(&self) -> bool {
        self.status & AUTOCOMMIT != 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(crate) fn has_extended_types(&self) -> bool {
        self.answers.has_extended_types
    }

    /// Returns true if it waits for a command, and the server has not closed it.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.has_ended && self.unanswered() == 0 && self.packets.lock().is_quiet()
    }

    /// Returns true if a statement has changed the session, as its answer told.
    pub(crate) fn is_touched(&self) -> bool {
        let SessionChanges { session, schema, variables, transaction } = &self.changes;
        let holds_locks = transaction.is_some_and(|state| state.locks_tables);
        *session || *schema || *variables || holds_locks || self.status & NO_BACKSLASH_ESCAPES != 0
    }

    /// Gives back memory that one large answer took.
    pub(crate) fn shrink(&mut self) {
        self.packets.get_mut().shrink();
    }

    /// Makes a watch that tells when the server has closed the connection.
    pub(crate) fn watch(&self) -> std::io::Result<SocketWatch> {
        self.packets.lock().watch()
    }

    /// Has all statements prepared anew if definitions may have changed.
    pub(crate) fn forget_stale_statements(&mut self) {
        if self.known.are_stale(&self.rules) {
            self.forget_statements();
            self.known = KnownDefinitions::new(&self.rules);
        }
    }

    /// Closes all prepared statements.
    pub(crate) fn forget_statements(&mut self) {
        for id in self.statements.clear() {
            self.queue_own(Command::CloseStatement(id));
        }
    }

    /// Keeps a prepared statement. Those that are evicted for it may be about to run: they are closed later.
    pub(crate) fn keep(&mut self, sql: &str, prepared: &Arc<Prepared>) {
        let evicted = self.statements.keep(sql, prepared);
        self.evicted.extend(evicted);
    }

    /// Closes the statements that were evicted, of which none is about to run.
    pub(crate) fn close_evicted(&mut self) {
        for id in std::mem::take(&mut self.evicted) {
            self.queue_own(Command::CloseStatement(id));
        }
    }

    /// Closes one prepared statement.
    pub(crate) fn forget_statement(&mut self, sql: &str) {
        if let Some(id) = self.statements.remove(sql) {
            self.queue_own(Command::CloseStatement(id));
        }
    }

    /// Notes that a reset has made the session new: its prepared statements are gone.
    pub(crate) fn was_reset(&mut self) {
        drop(self.statements.clear());
        self.evicted.clear();
        self.changes = SessionChanges::default();
        self.has_history = false;
    }
}

impl Drop for Connection {
    /// Tells the server that the connection ends: it counts and logs those that just close.
    fn drop(&mut self) {
        if self.is_quiet() {
            let packets = self.packets.get_mut();
            packets.queue(0, |body| Command::Quit.write(body));
            packets.send_now();
        }
    }
}

/// The first value of a row in text.
fn first_text(packet: &[u8]) -> Option<String> {
    let value = PacketReader::new(packet).nullable_string()??;
    Some(String::from_utf8_lossy(value).into_owned())
}
