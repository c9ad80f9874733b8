//! The connector of a database: it logs in, sets the baseline, and asks the server what it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;

use super::baseline::Baseline;
use super::connect_failure::{ConnectFailure, connect_error};
use super::server_questions::{AnswerRows, UPTIME, facts, questions};
use super::writable_servers::WritableServers;
use crate::backend::AdminLogin;
use crate::backend::mysql::connection::connection_state::ConnectionState;
use crate::backend::mysql::connection::opened::{OpenedConnection, ServerFacts};
use crate::backend::mysql::protocol::answers::{AnswerKind, Answers, Awaited, Event};
use crate::backend::mysql::protocol::commands::Command;
use crate::backend::mysql::protocol::length_encoded::PacketReader;
use crate::backend::mysql::protocol::login::{Encryption, LoggedIn, LoginRequest, log_in};
use crate::backend::mysql::protocol::packet_stream::{PacketStream, StreamFailure};
use crate::backend::mysql::protocol::server_error::ServerError;
use crate::backend::network::{ConnectFailures, Dialer, LogIn, Login, ServerAddress, open_socket};
use crate::config::{Database, MysqlTarget, TargetSession};
use crate::error::{Error, Result};
use crate::telemetry::DatabaseTelemetry;

/// The bound on packets beside rows, while a connection is opened or killed.
const MAX_ANSWER: usize = 1 << 20;
/// The bytes that a row has beyond its values, at most: the lengths of 4,096 of them.
const ROW_OVERHEAD: usize = 64 << 10;

pub(crate) struct Connector {
    telemetry: Arc<DatabaseTelemetry>,
    dialer: Dialer<MysqlTarget>,
    session: TargetSession,
    schema: Option<Arc<str>>,
    baseline: Baseline,
    max_row_size: usize,
    /// The facts of the last server that was reached.
    known: Mutex<Option<Arc<ServerFacts>>>,
    pub(crate) writable: WritableServers,
}

impl Connector {
    pub(crate) fn new(
        telemetry: &Arc<DatabaseTelemetry>,
        config: &Database,
        target: &MysqlTarget,
    ) -> Result<Self> {
        Ok(Self {
            telemetry: Arc::clone(telemetry),
            dialer: Dialer::new(telemetry.name(), config, target)?,
            session: target.session,
            schema: target.dbname.as_deref().map(Arc::from),
            baseline: Baseline::new(config),
            max_row_size: config.max_row_size,
            known: Mutex::default(),
            writable: WritableServers::default(),
        })
    }

    /// Opens a connection to the first suitable server.
    pub(crate) async fn open(&self) -> Result<OpenedConnection> {
        self.dialer.open(self).await
    }

    /// Returns the current login, for the first server.
    pub(crate) fn login(&self) -> AdminLogin {
        let login = self.dialer.latest_login();
        AdminLogin { user: login.user().to_owned(), password: login.password(0).cloned() }
    }

    /// Returns true if the login that was last rejected has been replaced.
    pub(crate) async fn login_has_changed(&self) -> bool {
        self.dialer.login_has_changed().await
    }

    /// The facts of the last server that was reached.
    pub(crate) fn known_server(&self) -> Option<Arc<ServerFacts>> {
        self.known.lock().clone()
    }

    /// Returns true if a connection must be to a server that takes writes.
    pub(crate) fn needs_writes(&self) -> bool {
        self.session != TargetSession::Any
    }

    /// Kills what runs on a connection, or the connection, at the address that it was opened to; returns true once the
    /// server has acted on it. It may have ended before.
    pub(crate) async fn kill(&self, target: &ConnectionState, kill: Kill) -> bool {
        let login = self.dialer.latest_login();
        let killing = async {
            let logged_in = self.log_in_raw(&login, target.server, &target.address).await.ok()?;
            let own = u64::from(logged_in.greeting.thread_id);
            let mut side = Side::new(logged_in);
            // After a restart the number is another connection's.
            side.queue(Command::Query(UPTIME));
            let uptime: u64 = side.first_row().await.ok()?.get(1)?.as_deref()?.parse().ok()?;
            let age = target.since.elapsed().as_secs();
            if has_restarted((uptime, own), (age, target.thread_id)) {
                return Some(kill == Kill::Connection);
            }
            let word = match kill {
                Kill::Query => "QUERY",
                Kill::Connection => "CONNECTION",
            };
            side.queue(Command::Query(&format!("KILL {word} {}", target.thread_id)));
            let ended = side.end().await.ok()?;
            side.queue(Command::Quit);
            drop(side.packets.send().await);
            match (ended, kill) {
                (Ok(()), Kill::Query) => Some(true),
                // It is dying: its transaction may not be over.
                (Ok(()), Kill::Connection) => Some(false),
                (Err(error), _) => Some(error.errno == NO_SUCH_THREAD),
            }
        };
        tokio::time::timeout(self.dialer.timeout(), killing).await.ok().flatten() == Some(true)
    }

    /// Kills a connection; returns true if the server does not know it any more: what it ran has ended.
    pub(crate) async fn has_ended(&self, target: &ConnectionState) -> bool {
        for pause in END_PAUSES {
            if self.kill(target, Kill::Connection).await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        false
    }

    /// Logs in at an address, and no more.
    async fn log_in_raw(
        &self,
        login: &Login<MysqlTarget>,
        server: usize,
        address: &ServerAddress,
    ) -> Result<LoggedIn, ConnectFailure> {
        let socket = open_socket(address).await.map_err(ConnectFailure::of_io)?;
        let (is_local, encryption) = match (address, login.tls()) {
            (ServerAddress::Unix(_), _) => (true, None),
            (ServerAddress::Tcp(..), None) => (false, None),
            (ServerAddress::Tcp(_, host), Some(config)) => {
                let server_name = ServerName::try_from(host.clone());
                let server_name = server_name.map_err(ConnectFailure::of_name)?;
                (false, Some(Encryption { config: Arc::clone(config), server_name }))
            }
        };
        let password = login.password(server).map(crate::config::Secret::expose);
        let request = LoginRequest {
            user: login.user(),
            password: password.unwrap_or_default(),
            database: self.schema.as_deref(),
            encryption,
            is_local,
            attributes: &attributes(),
        };
        log_in(Box::new(socket), MAX_ANSWER, request).await.map_err(ConnectFailure::of_login)
    }
}

/// Tells if a server, from its uptime and the number of its newest connection, has started since a connection was opened,
/// from its age and number: where the clocks leave it open, numbers that begin anew tell.
fn has_restarted((uptime, newest): (u64, u64), (age, number): (u64, u64)) -> bool {
    uptime + CLOCK_ERROR < age || (uptime <= age + CLOCK_ERROR && newest < number)
}

/// The pauses between looks for the end of a connection that was killed, in milliseconds.
const END_PAUSES: [u64; 5] = [1, 2, 5, 10, 20];

/// The seconds by which two clocks may disagree that count in seconds.
const CLOCK_ERROR: u64 = 2;

/// The number of an error: there is no such thread.
const NO_SUCH_THREAD: u16 = 1094;

/// The part of a connection that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    Query,
    Connection,
}

/// The names and values by which servers list connections.
fn attributes() -> [(&'static str, String); 2] {
    [
        ("program_name", "rowgate".to_owned()),
        ("_client_version", env!("CARGO_PKG_VERSION").to_owned()),
    ]
}

impl LogIn<MysqlTarget> for Connector {
    type Opened = OpenedConnection;
    type Failure = ConnectFailure;

    fn socket_path(&self, named: &Path, _port: u16) -> PathBuf {
        named.to_owned()
    }

    async fn log_in(
        &self,
        login: &Login<MysqlTarget>,
        server: usize,
        address: &ServerAddress,
    ) -> Result<OpenedConnection, ConnectFailure> {
        let logged_in = self.log_in_raw(login, server, address).await?;
        let version = logged_in.greeting.version.clone();
        self.telemetry.server_says(version.flavor.system_name());
        let thread_id = u64::from(logged_in.greeting.thread_id);
        let has_extended_types = logged_in.has_extended_types;
        let baseline = self.baseline.statement(version.flavor);
        let mut side = Side::new(logged_in);
        side.queue(Command::Query(&baseline));
        for question in questions(version.flavor) {
            side.queue(Command::Query(question));
        }
        if let Err(error) = side.end().await? {
            return Err(ConnectFailure::Baseline(error));
        }
        let mut answers = AnswerRows::new();
        for _ in questions(version.flavor) {
            answers.push(side.first_row().await?);
        }
        let facts = facts(version, &answers).ok_or(ConnectFailure::no_facts())?;
        if self.needs_writes() {
            self.writable.note(address, facts.takes_writes);
            if !facts.takes_writes {
                return Err(ConnectFailure::ReadOnly);
            }
        }
        let facts = Arc::new(facts);
        *self.known.lock() = Some(Arc::clone(&facts));
        let mut packets = side.packets;
        packets.max_packet = self.max_row_size.saturating_add(ROW_OVERHEAD);
        Ok(OpenedConnection {
            packets,
            state: Arc::new(ConnectionState::new(thread_id, server, address.clone())),
            server: facts,
            baseline: baseline.into(),
            schema: self.schema.clone(),
            has_extended_types,
        })
    }

    fn is_preferred(&self, _opened: &OpenedConnection) -> bool {
        true
    }

    fn error(&self, failures: ConnectFailures<ConnectFailure>) -> Error {
        connect_error(failures, self.telemetry.name())
    }
}

/// A connection that only answers questions of our own.
struct Side {
    packets: PacketStream,
    answers: Answers,
}

impl Side {
    fn new(logged_in: LoggedIn) -> Self {
        let answers = Answers::new(logged_in.has_extended_types);
        Self { packets: logged_in.packets, answers }
    }

    fn queue(&mut self, command: Command<'_>) {
        self.packets.queue(0, |body| command.write(body));
        self.answers.expect(Awaited { kind: AnswerKind::Results, is_own: true });
    }

    async fn event(&mut self) -> Result<Event, StreamFailure> {
        loop {
            let packet = self.packets.packet().await?;
            if let Some(event) = self.answers.take(packet)? {
                return Ok(event);
            }
        }
    }

    /// Reads an answer to its end.
    async fn end(&mut self) -> Result<Result<(), ServerError>, StreamFailure> {
        loop {
            match self.event().await? {
                Event::Columns(_) | Event::Row(_) | Event::ResultEnd(_) | Event::Prepared(_) => {}
                Event::Done(_) => return Ok(Ok(())),
                Event::Failed(error) => return Ok(Err(error)),
            }
        }
    }

    /// Reads the first row of an answer; it is empty without one.
    async fn first_row(&mut self) -> Result<Vec<Option<String>>, ConnectFailure> {
        let mut first = None;
        loop {
            match self.event().await? {
                Event::Row(packet) => drop(first.get_or_insert_with(|| text_values(&packet))),
                Event::Columns(_) | Event::ResultEnd(_) | Event::Prepared(_) => {}
                Event::Done(_) => return Ok(first.unwrap_or_default()),
                Event::Failed(error) => return Err(ConnectFailure::Baseline(error)),
            }
        }
    }
}

/// The values of a row that came as text.
pub(crate) fn text_values(packet: &[u8]) -> Vec<Option<String>> {
    let mut reader = PacketReader::new(packet);
    let next = || {
        if reader.is_empty() { None } else { reader.nullable_string() }
    };
    let values = std::iter::from_fn(next);
    values.map(|value| value.map(|value| String::from_utf8_lossy(value).into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::has_restarted;

    #[test]
    fn a_restart_shows_in_the_uptime_or_in_numbers_that_begin_anew() {
        assert!(has_restarted((10, 900), (13, 7)), "younger than the connection");
        assert!(
            has_restarted((1, 5), (2, 40)),
            "as old as the connection, whose number is to come"
        );
        assert!(!has_restarted((1, 41), (2, 40)), "perhaps the same server");
        assert!(!has_restarted((100, 5), (2, 40)), "numbers of an old server that has run through");
        assert!(!has_restarted((100, 50), (90, 40)), "the same server");
    }
}
