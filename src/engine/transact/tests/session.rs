//! A caller's session with the engine.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::fake::Fake;
use crate::backend::Backend;
use crate::config;
use crate::engine::transact::replies::TransactReply;
use crate::engine::{Caller, CallerEvent, CallerEvents, Engine, ReplyBody};
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::transact_request::Command;
use crate::value::proto::{
    Begin, Commit, QueryOptions, Release, ResultSet, Rollback, RollbackTo, Savepoint,
    TransactQuery, TransactRequest, TransactResult, TransactionOptions,
};

pub(crate) fn engine(fake: &Fake, settings: &[(&str, &str)]) -> Arc<Engine> {
    let config = config::load_from(settings).expect("the settings are right");
    let main = config.databases["main"].clone();
    let backend: Arc<dyn Backend> = Arc::new(fake.clone());
    Arc::new(Engine::new(vec![("main".to_owned(), main, backend)], &config))
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn wire(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}

pub(crate) fn begin(options: TransactionOptions) -> Command {
    Command::Begin(Begin { transaction: Some(options), ..Begin::default() })
}

pub(crate) fn query(sql: &str) -> Command {
    query_with(sql, QueryOptions::default())
}

pub(crate) fn query_with(sql: &str, options: QueryOptions) -> Command {
    let sql = sql.to_owned();
    Command::Query(TransactQuery { sql, options: Some(options), parameters: Vec::new() })
}

pub(crate) fn savepoint(name: &str) -> Command {
    Command::Savepoint(Savepoint { name: name.to_owned() })
}

pub(crate) fn rollback_to(name: &str) -> Command {
    Command::RollbackTo(RollbackTo { name: name.to_owned() })
}

pub(crate) fn release(name: &str) -> Command {
    Command::Release(Release { name: name.to_owned() })
}

pub(crate) const COMMIT: Command = Command::Commit(Commit {});
pub(crate) const ROLLBACK: Command = Command::Rollback(Rollback {});

struct Events(Receiver<CallerEvent>);

impl CallerEvents for Events {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<CallerEvent> {
        self.0.poll_recv(cx).map(|event| event.unwrap_or(CallerEvent::Disconnected))
    }

    fn read_ahead(&mut self, _cx: &mut Context<'_>) {}

    fn discard(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = self.0.poll_recv(cx) {}
    }
}

/// The caller's side of a stream.
pub(crate) struct Session {
    commands: Option<Sender<CallerEvent>>,
    replies: Pin<Box<dyn Stream<Item = Result<TransactReply>> + Send>>,
    /// The sequence of the last command.
    pub(crate) sequence: u32,
}

impl Session {
    /// A stream on which nothing has been sent.
    pub(crate) fn start(engine: &Arc<Engine>, grpc_timeout: Option<Duration>) -> Self {
        let (commands, receiver) = channel(64);
        let caller = Caller { time_left: grpc_timeout, ..Caller::default() };
        let replies = engine.transact(Box::new(Events(receiver)), caller);
        Self { commands: Some(commands), replies: Box::pin(replies), sequence: 0 }
    }

    /// An open transaction.
    pub(crate) async fn open(engine: &Arc<Engine>, options: TransactionOptions) -> Self {
        let mut session = Self::start(engine, None);
        session.send(begin(options)).await;
        session.begun().await;
        session
    }

    pub(crate) async fn begun(&mut self) {
        let reply = self.reply().await;
        assert!(matches!(reply, Ok(Ok(ReplyBody::Begun(_)))), "{reply:?}");
    }

    pub(crate) async fn send(&mut self, command: Command) {
        self.sequence += 1;
        let request = TransactRequest { sequence: self.sequence, command: Some(command) };
        self.offer(CallerEvent::Command(request)).await;
    }

    pub(crate) async fn offer(&mut self, event: CallerEvent) {
        // The next reply shows when the stream has ended.
        drop(self.commands.as_ref().expect("it is open").send(event).await);
    }

    pub(crate) async fn next(&mut self) -> Option<Result<TransactReply>> {
        self.replies.next().await
    }

    /// The next reply, which must be one.
    pub(crate) async fn reply(&mut self) -> Result<Result<ReplyBody>> {
        self.next().await.expect("a reply or an error").map(|reply| reply.body)
    }

    /// Sends a command and returns its reply.
    pub(crate) async fn ask(&mut self, command: Command) -> Result<Result<ReplyBody>> {
        self.send(command).await;
        self.reply().await
    }

    /// Sends a command that succeeds.
    pub(crate) async fn succeeds(&mut self, command: Command) {
        self.ask(command).await.expect("the stream goes on").expect("the command succeeds");
    }

    /// Sends a command that fails, and returns the kind of its error.
    pub(crate) async fn fails(&mut self, command: Command) -> ErrorKind {
        match self.ask(command).await {
            Ok(Err(error)) => error.kind(),
            other => panic!("no failure: {other:?}"),
        }
    }

    /// The parts of the next result.
    pub(crate) async fn parts(&mut self) -> Result<Vec<ResultSet>, Error> {
        let mut parts = Vec::new();
        loop {
            let reply = self.reply().await??;
            let ReplyBody::Result(TransactResult { result_set, more }) = reply else {
                panic!("it is no query's reply: {reply:?}")
            };
            parts.extend(result_set);
            if !more {
                return Ok(parts);
            }
        }
    }

    /// Reads to the end of the stream.
    pub(crate) async fn end(&mut self) -> Result<()> {
        while let Some(reply) = self.next().await {
            reply?;
        }
        Ok(())
    }

    /// The error that ends the stream.
    pub(crate) async fn failure(&mut self) -> Error {
        self.end().await.expect_err("it ends with an error")
    }

    pub(crate) async fn half_close(&mut self) {
        self.offer(CallerEvent::HalfClosed).await;
        self.commands = None;
    }
}
