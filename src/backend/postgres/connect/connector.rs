//! The connector of a database: it logs in at one of its servers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio_postgres::config::{self, SslMode, SslNegotiation};

use super::baseline::Baseline;
use super::cancel_request;
use super::capabilities::{Capabilities, Probe, is_inability};
use super::connect_errors::{self, ConnectFailure};
use super::driver_login;
use super::driver_stream::{self, HandshakeDone};
use super::driver_task;
use super::opened_connection::OpenedConnection;
use super::pooler::{self, Handshake};
use super::role_settings::RoleSettings;
use super::server_probes::ServerProbes;
use super::server_traits::ServerTraits;
use super::settings_script::SettingsScript;
use crate::backend::AdminLogin;
use crate::backend::network::{
    AttemptFailure as _, ConnectFailures, Dialer, LogIn, Login, ServerAddress,
};
use crate::backend::postgres::protocol::auth_guard::AllowedAuth;
use crate::backend::postgres::protocol::backend::MessageLimits;
use crate::backend::postgres::protocol::protocol_state::ProtocolState;
use crate::backend::postgres::protocol::renaming::Renaming;
use crate::backend::postgres::protocol::session_attrs::SessionAttrs;
use crate::backend::postgres::protocol::statement_names::Route;
use crate::backend::postgres::protocol::tap::Tap;
use crate::config::{
    AuthMethod, ChannelBinding, Database, PoolerUse, PostgresTarget, TargetSession,
};
use crate::error::{Error, Result};

pub(crate) struct Connector {
    database: String,
    dialer: Dialer<PostgresTarget>,
    session: TargetSession,
    driver: tokio_postgres::Config,
    baseline: Baseline,
    pub(crate) role_settings: RoleSettings,
    pooler: PoolerUse,
    settings: SettingsScript,
    require_auth: Option<Vec<AuthMethod>>,
    /// The traits of each server that logins have shown.
    traits: Vec<ServerTraits>,
    limits: MessageLimits,
    probes: ServerProbes,
}

impl Connector {
    /// Creates the connector of a database, whose servers are tried with these probes and its own.
    pub(crate) fn new(
        name: &str,
        config: &Database,
        target: &PostgresTarget,
        probes: Vec<Probe>,
    ) -> Result<Self> {
        let timeout = config.pool.connect_timeout;
        let baseline = Baseline::new(config.statement_timeout, config.lock_timeout);
        let probes = ServerProbes::new(name, timeout, &baseline, probes);
        Ok(Self {
            database: name.to_owned(),
            dialer: Dialer::new(name, config, target)?,
            session: target.session,
            driver: driver_config(target),
            baseline,
            probes,
            role_settings: RoleSettings::default(),
            pooler: config.pooler,
            settings: SettingsScript::new(config),
            require_auth: config.require_auth.clone(),
            traits: target.servers.iter().map(|_| ServerTraits::default()).collect(),
            limits: MessageLimits {
                row: config.max_row_size,
                report: config.max_report_size,
                other: config.max_message_size,
            },
        })
    }

    /// Returns true if callers may expect to write: sessions that are for reading only reject it
    /// permanently.
    pub(crate) fn takes_writes(&self) -> bool {
        let for_writes = [TargetSession::Any, TargetSession::ReadWrite, TargetSession::Primary];
        for_writes.contains(&self.session)
    }

    /// Returns true if a pooler was found before any server.
    pub(crate) fn is_behind_pooler(&self) -> bool {
        self.traits.iter().any(|traits| traits.route() == Route::Pooler)
    }

    /// Returns the capabilities of the first server that is known.
    pub(crate) fn known_capabilities(&self) -> Option<Capabilities> {
        self.traits.iter().find_map(ServerTraits::known_capabilities)
    }

    /// Opens a connection within `pool.connect_timeout` to the first suitable server; its driver
    /// runs on the calling runtime. Names are resolved anew, and changed secrets are read again.
    pub(crate) async fn open(&self) -> Result<OpenedConnection> {
        self.dialer.open(self).await
    }

    /// Returns the current login, for the first server.
    pub(crate) fn login(&self) -> AdminLogin {
        let login = self.dialer.latest_login();
        AdminLogin { user: login.user().to_owned(), password: login.password(0).cloned() }
    }

    /// Returns true if the login that was last rejected has been replaced, so that an attempt is
    /// worthwhile.
    pub(crate) async fn login_has_changed(&self) -> bool {
        self.dialer.login_has_changed().await
    }

    /// Logs in at one address, compares the session with the required attributes and sets its settings.
    async fn establish(
        &self,
        login: &Login<PostgresTarget>,
        server: usize,
        address: &ServerAddress,
    ) -> Result<OpenedConnection, ConnectFailure> {
        let handshake = self.start_session(login, server, address).await?;
        let known = handshake.state.statement_names.route;
        let found = self.baseline.query(&handshake.client).await?;
        let Handshake { client, driver, state } = match known {
            Route::Direct if pooler::find(&handshake, &found).await? == Route::Pooler => {
                self.found_pooler(server)?;
                drop(handshake);
                self.start_session(login, server, address).await?
            }
            Route::Direct | Route::Pooler => handshake,
        };
        let route = state.statement_names.route;
        if route == Route::Pooler {
            pooler::check_transactions(&client).await?;
        }
        let traits = &self.traits[server];
        let capabilities =
            self.probes.capabilities(&client, self.dialer.server(server), traits).await?;
        let language = found.language.clone();
        let mut settings = self.baseline.establish(&client, found, route).await?;
        settings += self.baseline.untranslate(&client, language, route).await?;
        settings += capabilities.settings(&client).await?;
        settings += &self.role_settings.keep(&self.database, &client, route).await?;
        settings += self.settings.give(&client, route).await?;
        let is_preference = self.session == TargetSession::PreferStandby;
        let required = if is_preference { TargetSession::Standby } else { self.session };
        let mut attrs = state.session_attrs();
        if attrs.satisfies(required).is_none() {
            attrs = match SessionAttrs::query(&client).await {
                Err(error) if is_inability(&error) => SessionAttrs::default(),
                attrs => attrs.map_err(ConnectFailure::of_login)?,
            };
        }
        let session = attrs.to_keep(self.session);
        let is_preferred = attrs.satisfies(required) == Some(true);
        if !is_preferred && !is_preference {
            return Err(ConnectFailure::Unsuitable(attrs));
        }
        Ok(OpenedConnection {
            client,
            driver,
            state,
            session,
            settings,
            capabilities,
            is_preferred,
        })
    }

    /// Notes that a pooler is between, unless it is refused.
    fn found_pooler(&self, server: usize) -> Result<(), ConnectFailure> {
        if self.pooler == PoolerUse::Refuse {
            return Err(ConnectFailure::Pooler);
        }
        if self.traits[server].found_pooler() {
            let server = self.dialer.server(server).to_string();
            tracing::warn!(
                database = %self.database, server,
                "a pooler is between, or cannot be ruled out: no prepared statements, transaction tokens or cancels"
            );
        }
        Ok(())
    }

    /// Starts a session with `options`, and without where they are refused, which is remembered.
    async fn start_session(
        &self,
        login: &Login<PostgresTarget>,
        server: usize,
        address: &ServerAddress,
    ) -> Result<Handshake, ConnectFailure> {
        let mut driver = self.driver.clone();
        driver_login::write(login, &mut driver, server);
        let traits = &self.traits[server];
        let refuses_options = &traits.refuses_options;
        if !refuses_options.load(Relaxed) {
            let mut with_options = driver.clone();
            with_options.options(self.baseline.options());
            match self.handshake(login, address, (&with_options, traits.route())).await {
                Err(failure) if failure.may_reject_options() => {}
                started => return started,
            }
        }
        let started = self.handshake(login, address, (&driver, traits.route())).await?;
        if !refuses_options.swap(true, Relaxed) {
            let server = self.dialer.server(server).to_string();
            tracing::info!(
                database = %self.database, server, "options refused at login, setting them after it"
            );
        }
        Ok(started)
    }

    async fn handshake(
        &self,
        login: &Login<PostgresTarget>,
        address: &ServerAddress,
        (driver, route): (&tokio_postgres::Config, Route),
    ) -> Result<Handshake, ConnectFailure> {
        let socket = driver_stream::connect(address, login.tls().map(Arc::as_ref)).await;
        let socket = socket.map_err(ConnectFailure::unreachable)?;
        let state = Arc::new(ProtocolState::new(route));
        state.set_address(address.clone());
        let renaming = Renaming::new(socket, Arc::clone(&state.statement_names));
        let tap = Tap::new(renaming, Arc::clone(&state), self.limits)
            .allowing(AllowedAuth::at(address, self.require_auth.as_deref()));
        let (client, connection) =
            driver.connect_raw(tap, HandshakeDone).await.map_err(ConnectFailure::of_login)?;
        let driver = tokio::spawn(driver_task::drive(connection, Arc::clone(&state)));
        Ok(Handshake { client, driver, state })
    }

    /// Cancels the running statement of a connection, at the address that it was opened to: its name
    /// may resolve to another server now. Returns when the server has processed the request, or
    /// `pool.connect_timeout` has passed.
    pub(crate) async fn cancel(&self, state: &ProtocolState) -> io::Result<()> {
        if state.is_behind_pooler() {
            // Its key names a client of the pooler, whose server connection may be another client's by the
            // time that the request is passed on.
            return Err(io::ErrorKind::Unsupported.into());
        }
        let address = state.address().ok_or(io::ErrorKind::NotConnected)?;
        let login = self.dialer.latest_login();
        let tls = login.tls().map(Arc::as_ref);
        let request = cancel_request::send(address, tls, state.key());
        tokio::time::timeout(self.dialer.timeout(), request).await?
    }
}

impl LogIn<PostgresTarget> for Connector {
    type Opened = OpenedConnection;
    type Failure = ConnectFailure;

    fn socket_path(&self, named: &Path, port: u16) -> PathBuf {
        named.join(format!(".s.PGSQL.{port}"))
    }

    async fn log_in(
        &self,
        login: &Login<PostgresTarget>,
        server: usize,
        address: &ServerAddress,
    ) -> Result<OpenedConnection, ConnectFailure> {
        self.establish(login, server, address).await
    }

    fn is_preferred(&self, opened: &OpenedConnection) -> bool {
        opened.is_preferred
    }

    fn error(&self, failures: ConnectFailures<ConnectFailure>) -> Error {
        connect_errors::error(failures, &self.database, self.session)
    }
}

fn driver_config(target: &PostgresTarget) -> tokio_postgres::Config {
    let mut driver = tokio_postgres::Config::new();
    let channel_binding = match target.channel_binding {
        ChannelBinding::Disable => config::ChannelBinding::Disable,
        ChannelBinding::Prefer => config::ChannelBinding::Prefer,
        ChannelBinding::Require => config::ChannelBinding::Require,
    };
    driver
        .channel_binding(channel_binding)
        .dbname(&target.dbname)
        .application_name(&target.application_name)
        // The driver gets the stream after the TLS handshake, if there is any.
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct);
    driver
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::super::driver_stream::SSL_REQUEST;
    use super::*;
    use crate::config::{Target, load_from};
    use crate::error::ErrorKind;

    /// A connector to a port of this machine that gives up after a while.
    fn connector(port: u16, user: &str, query: &str, timeout: &str) -> Connector {
        let url = format!("postgres://{user}@127.0.0.1:{port}/shop?{query}");
        let pairs = [
            ("databases.main.url", url.as_str()),
            ("databases.main.pool.connect_timeout", timeout),
        ];
        let config = load_from(&pairs).expect("it is valid");
        let database = config.databases.get("main").expect("it is in it");
        let Target::Postgres(target) = &database.target else { panic!("not PostgreSQL's URL") };
        Connector::new("main", database, target, Vec::new()).expect("no certificate is asked for")
    }

    /// Returns the state of a connection that was opened to this port.
    fn state(port: u16, key: [u8; 8]) -> ProtocolState {
        let state = ProtocolState::default();
        state
            .set_address(ServerAddress::Tcp(([127, 0, 0, 1], port).into(), "127.0.0.1".to_owned()));
        state.received(b'K', &key);
        state
    }

    async fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        (listener, port)
    }

    /// Reads a packet without a type.
    async fn packet(stream: &mut TcpStream) -> Vec<u8> {
        let length = stream.read_u32().await.expect("a length comes");
        let mut body = vec![0; usize::try_from(length).expect("it is small") - 4];
        stream.read_exact(&mut body).await.expect("the body comes");
        body
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("it is small").to_be_bytes();
        [kind].into_iter().chain(length).chain(body.iter().copied()).collect()
    }

    /// Answers every login with these bytes; returns the first startup packet and the error.
    async fn answer_login(user: &str, answer: Vec<u8>) -> (Vec<u8>, Error) {
        let (listener, port) = listen().await;
        let (first, startup) = oneshot::channel();
        let server = tokio::spawn(async move {
            let mut first = Some(first);
            while let Ok((mut stream, _)) = listener.accept().await {
                let startup = packet(&mut stream).await;
                stream.write_all(&answer).await.expect("it is sent");
                if let Some(first) = first.take() {
                    first.send(startup).expect("the test waits");
                }
            }
        });
        let opened = connector(port, user, "", "5s").open().await;
        server.abort();
        let startup = startup.await.expect("a client connects");
        (startup, opened.map(drop).expect_err("the login is rejected"))
    }

    fn fatal_error(code: &str) -> Vec<u8> {
        let text = "password authentication failed for user \"keeper\"";
        message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0").as_bytes())
    }

    #[tokio::test]
    async fn the_session_begins_at_its_baseline() {
        let (startup, _) = answer_login("keeper", fatal_error("57P03")).await;
        let startup = String::from_utf8(startup).expect("it is text");
        let pairs: Vec<_> = startup[4..].trim_end_matches('\0').split('\0').collect();
        let value = |key| pairs.iter().position(|each| *each == key).map(|at| pairs[at + 1]);
        assert_eq!(value("client_encoding"), Some("UTF8"));
        assert_eq!((value("user"), value("database")), (Some("keeper"), Some("shop")));
        let options = value("options").expect("they are set");
        for setting in ["TimeZone=UTC", "statement_timeout=305000", "lock_timeout=5000"] {
            assert!(options.contains(&format!("-c {setting}")), "{options}");
        }
    }

    #[tokio::test]
    async fn a_rejected_login_is_a_misconfiguration_or_temporary() {
        let cases = [
            ("28P01", ErrorKind::BackendMisconfigured),
            ("28000", ErrorKind::BackendMisconfigured),
            ("3D000", ErrorKind::BackendMisconfigured),
            ("42501", ErrorKind::BackendMisconfigured),
            ("22023", ErrorKind::BackendMisconfigured),
            ("53300", ErrorKind::DatabaseUnavailable),
            ("57P01", ErrorKind::DatabaseUnavailable),
            ("57P02", ErrorKind::DatabaseUnavailable),
            ("57P03", ErrorKind::DatabaseUnavailable),
            ("08P01", ErrorKind::DatabaseUnavailable),
            ("XX000", ErrorKind::DatabaseUnavailable),
        ];
        for (code, kind) in cases {
            let (_, error) = answer_login("keeper:s3cret", fatal_error(code)).await;
            assert_eq!(error.kind(), kind, "{code}");
            assert_eq!(error.outcome(), crate::error::Outcome::NotApplied, "{code}");
            let may_retry = kind == ErrorKind::DatabaseUnavailable;
            assert_eq!(error.retry_after().is_some(), may_retry, "{code}");
            assert_eq!(error.report().map(|report| report.sqlstate.as_str()), Some(code));
            assert!(error.message().contains(code), "{error}");
            assert!(!format!("{error}{:?}", error.hint()).contains("keeper"), "{error}");
            let cause = error.source().expect("logs tell why").to_string();
            assert!(cause.contains("failed for user \"keeper\""), "{cause}");
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }

    #[tokio::test]
    async fn a_login_that_cannot_be_answered_is_a_misconfiguration() {
        let cleartext = message(b'R', &[0, 0, 0, 3]);
        let md5 = message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]);
        let scram = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let other_sasl = message(b'R', b"\0\0\0\x0aOTHER\0\0");
        let gss = message(b'R', &[0, 0, 0, 7]);
        let cases = [
            ("keeper", cleartext),
            ("keeper", md5),
            ("keeper", scram),
            ("keeper:s3cret", other_sasl),
            ("keeper:s3cret", gss),
        ];
        for (user, answer) in cases {
            let (_, error) = answer_login(user, answer.clone()).await;
            assert_eq!(error.kind(), ErrorKind::BackendMisconfigured, "{answer:?}");
            assert_eq!(error.retry_after(), None, "{answer:?}");
            assert!(error.source().is_some(), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_server_other_than_postgresql_is_unavailable() {
        for answer in [Vec::new(), b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), vec![0; 64]] {
            let (_, error) = answer_login("keeper:s3cret", answer.clone()).await;
            assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable, "{answer:?}");
            assert!(error.retry_after().is_some() && error.source().is_some());
        }
    }

    /// Answers an SSLRequest with these bytes; returns all that the client sends then, and its error.
    async fn answer_tls(answer: &[u8]) -> (Vec<u8>, Error) {
        let (listener, port) = listen().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a client connects");
            assert_eq!(packet(&mut stream).await, SSL_REQUEST[4..]);
            stream.write_all(answer).await.expect("it is sent");
            let mut rest = Vec::new();
            // It may be reset.
            drop(stream.read_to_end(&mut rest).await);
            rest
        };
        let connector = connector(port, "keeper:s3cret", "sslmode=require", "5s");
        let (rest, opened) = tokio::join!(server, connector.open());
        (rest, opened.map(drop).expect_err("nothing is encrypted"))
    }

    #[tokio::test]
    async fn nothing_is_sent_in_plain_text_to_a_server_without_tls() {
        // A man in the middle appends a successful login to the answer.
        let granted = [b"S".to_vec(), message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
        let failed = [b"E".to_vec(), fatal_error("53300")].concat();
        for (answer, why) in [
            (&b"N"[..], "no TLS"),
            (&failed, "not answer as PostgreSQL"),
            (b"X", "not answer as PostgreSQL"),
            (&granted, ""),
        ] {
            let (rest, error) = answer_tls(answer).await;
            assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable, "{why}");
            let cause = error.source().expect("logs tell why").to_string();
            assert!(cause.contains(why) && !cause.contains("keeper"), "{cause}");
            assert!(!rest.windows(6).any(|bytes| bytes == b"keeper"), "{rest:?}");
        }
    }

    #[tokio::test]
    async fn the_cause_of_an_unreachable_server_is_kept() {
        let (listener, port) = listen().await;
        drop(listener);
        let opened = connector(port, "keeper", "", "5s").open().await;
        let error = opened.map(drop).expect_err("the port is closed");
        assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::ConnectionRefused));
    }

    #[tokio::test]
    async fn an_attempt_at_a_silent_server_times_out() {
        // Its connections wait to be accepted, for ever.
        let (_listener, port) = listen().await;
        for query in ["sslmode=disable", "sslmode=require"] {
            let connector = connector(port, "keeper", query, "100ms");
            let state = state(port, [7; 8]);
            let both = async { tokio::join!(connector.open(), connector.cancel(&state)) };
            let ended = tokio::time::timeout(Duration::from_secs(5), both).await;
            let (opened, cancelled) = ended.expect("both end by themselves");
            let error = opened.map(drop).expect_err("the server does not answer");
            assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
            let cancelled = cancelled.expect_err("the server does not answer");
            assert_eq!(cancelled.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn a_cancel_waits_until_the_server_has_processed_it() {
        let (listener, port) = listen().await;
        let (release, released) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client connects");
            let request = packet(&mut stream).await;
            released.await.expect("the test releases it");
            request
        });
        let connector = connector(port, "keeper", "", "5s");
        let state = state(port, [1, 2, 3, 4, 5, 6, 7, 8]);
        let mut cancel = std::pin::pin!(connector.cancel(&state));
        let early = tokio::time::timeout(Duration::from_millis(100), cancel.as_mut()).await;
        early.expect_err("the server has not acted on it");
        release.send(()).expect("it waits");
        cancel.await.expect("it was read");
        let request = server.await.expect("it does not panic");
        assert_eq!(
            request,
            [&cancel_request::CANCEL_REQUEST[4..], &[1, 2, 3, 4, 5, 6, 7, 8]].concat()
        );
    }

    #[tokio::test]
    async fn a_cancel_goes_to_the_address_of_its_connection() {
        let (listener, port) = listen().await;
        let (elsewhere, other_port) = listen().await;
        drop(elsewhere);
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a client connects");
            packet(&mut stream).await
        };
        let connector = connector(other_port, "keeper", "", "5s");
        let state = state(port, [9; 8]);
        let (request, cancelled) = tokio::join!(server, connector.cancel(&state));
        cancelled.expect("the server accepts it");
        assert_eq!(request, [&cancel_request::CANCEL_REQUEST[4..], &[9; 8]].concat());
    }

    /// The `in_hot_standby` of servers; before version 14 they do not report it.
    const SILENT: &str = "";
    const PRIMARY: &str = "off";
    const STANDBY: &str = "on";

    /// A result of one row of texts.
    fn row(values: &[Option<&str>]) -> Vec<u8> {
        let count = u16::try_from(values.len()).expect("a few").to_be_bytes();
        let column = b"x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        let columns = [&count[..], &column.repeat(values.len())].concat();
        let mut row = count.to_vec();
        for value in values {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).expect("short"));
            row.extend(length.to_be_bytes());
            row.extend(value.unwrap_or_default().bytes());
        }
        [message(b'T', &columns), message(b'D', &row)].concat()
    }

    /// The result of one of our queries: of a primary that takes writes, with one prepared statement, in
    /// the process of [`KEY`] and without any settings.
    fn result(sql: &str, prepared: &str) -> Vec<u8> {
        let mut session = [None; 12];
        session[0] = Some("16843009");
        let row = if sql.contains("in_recovery") {
            row(&[Some("f"), Some("off")])
        } else if sql.contains("pg_prepared_statements") {
            row(&[Some(prepared)])
        } else {
            row(&session)
        };
        [row, message(b'C', b"SELECT 1\0")].concat()
    }

    /// The cancel key of each connection.
    const KEY: [u8; 8] = [1; 8];

    /// Starts a server that accepts every login, and reports at login or on request whether it is a
    /// standby; returns its port and the number of logins.
    async fn server(standby: &'static str) -> (u16, Arc<std::sync::atomic::AtomicUsize>) {
        let (listener, port) = listen().await;
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let serve = move |mut stream: TcpStream| async move {
            packet(&mut stream).await;
            let mut hello = message(b'R', &[0; 4]);
            if standby != SILENT {
                for name in ["in_hot_standby", "default_transaction_read_only"] {
                    let value = if name == "in_hot_standby" { standby } else { "off" };
                    hello.extend(message(b'S', format!("{name}\0{value}\0").as_bytes()));
                }
            }
            hello.extend([message(b'K', &KEY), message(b'Z', b"I")].concat());
            stream.write_all(&hello).await.expect("it is sent");
            let mut prepared = String::new();
            while let Ok(kind) = stream.read_u8().await {
                let body = packet(&mut stream).await;
                let text = String::from_utf8_lossy(&body);
                let answer = match kind {
                    b'P' => {
                        prepared = text.split('\0').next().unwrap_or_default().to_owned();
                        message(b'1', b"")
                    }
                    b'D' => [message(b't', &[0, 0]), message(b'n', b"")].concat(),
                    b'C' => message(b'3', b""),
                    b'S' => message(b'Z', b"I"),
                    b'Q' => [result(&text, &prepared), message(b'Z', b"I")].concat(),
                    other => panic!("{other}"),
                };
                stream.write_all(&answer).await.expect("it is sent");
            }
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        (port, count)
    }

    /// A connector to several ports of this machine.
    fn connector_to(ports: &[u16], query: &str, timeout: &str) -> Connector {
        let places: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let url = format!("postgres://keeper@{}/shop?{query}", places.join(","));
        let pairs = [
            ("databases.main.url", url.as_str()),
            ("databases.main.pool.connect_timeout", timeout),
        ];
        let config = load_from(&pairs).expect("it is valid");
        let Target::Postgres(target) = &config.databases["main"].target else { panic!("no") };
        Connector::new("main", &config.databases["main"], target, Vec::new()).expect("it is valid")
    }

    fn port_of(opened: &OpenedConnection) -> u16 {
        match opened.state.address() {
            Some(ServerAddress::Tcp(address, _)) => address.port(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_first_suitable_server_is_used() {
        let (standby, _) = server(STANDBY).await;
        let (primary, _) = server(PRIMARY).await;
        let (old, _) = server(SILENT).await;
        let cases: [(&[u16], &str, u16); 9] = [
            (&[standby, primary], "", primary),
            (&[standby, primary], "target_session_attrs=any", standby),
            (&[standby, primary], "target_session_attrs=primary", primary),
            (&[primary, standby], "target_session_attrs=standby", standby),
            (&[primary, standby], "target_session_attrs=read-only", standby),
            (&[primary, standby], "target_session_attrs=prefer-standby", standby),
            (&[primary, primary], "target_session_attrs=prefer-standby", primary),
            (&[standby, old], "", old),
            (&[old, standby], "target_session_attrs=standby", standby),
        ];
        for (ports, query, expected) in cases {
            let opened = connector_to(ports, query, "5s").open().await;
            let opened = opened.unwrap_or_else(|error| panic!("{query}: {}", error.cause()));
            assert_eq!(port_of(&opened), expected, "{query}");
        }
    }

    #[tokio::test]
    async fn servers_are_tried_at_random_if_configured() {
        let (one, _) = server(PRIMARY).await;
        let (other, _) = server(PRIMARY).await;
        let mut taken = std::collections::BTreeSet::new();
        let connector = connector_to(&[one, other], "load_balance_hosts=random", "5s");
        for _ in 0..40 {
            taken.insert(port_of(&connector.open().await.expect("both take writes")));
        }
        assert_eq!(taken.len(), 2);
    }

    #[tokio::test]
    async fn a_server_that_hangs_takes_its_share_of_the_time_once() {
        let (hung, hung_port) = listen().await;
        let (primary, _) = server(PRIMARY).await;
        let connector = connector_to(&[hung_port, primary], "", "3s");
        let start = Instant::now();
        assert_eq!(port_of(&connector.open().await.expect("the second answers")), primary);
        let first = start.elapsed();
        assert!(first >= Duration::from_millis(1400), "{first:?}");
        // A busy machine may hold one up, but not each of three.
        let mut later = Duration::MAX;
        for _ in 0..3 {
            let start = Instant::now();
            assert_eq!(port_of(&connector.open().await.expect("the second answers")), primary);
            later = later.min(start.elapsed());
        }
        assert!(later < first / 2, "{later:?} after {first:?}");
        drop(hung);
    }

    #[tokio::test]
    async fn a_rejection_is_reported_only_if_every_server_was_reached() {
        let (standby, asked) = server(STANDBY).await;
        let (closed, closed_port) = listen().await;
        drop(closed);
        let rejecting = |code: &'static str| async move {
            let (listener, port) = listen().await;
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    packet(&mut stream).await;
                    drop(stream.write_all(&fatal_error(code)).await);
                }
            });
            port
        };
        let wrong = rejecting("28P01").await;
        let full = rejecting("53300").await;
        let unavailable = ErrorKind::DatabaseUnavailable;
        let cases: [(&[u16], ErrorKind, &str); 5] = [
            (&[standby, standby], unavailable, "accepts writes"),
            (&[closed_port, standby], unavailable, "accepts writes"),
            (&[standby, wrong], ErrorKind::BackendMisconfigured, "28P01"),
            (&[wrong, closed_port], unavailable, "cannot connect"),
            (&[full, standby], unavailable, "53300"),
        ];
        for (ports, kind, message) in cases {
            let opened = connector_to(ports, "", "5s").open().await;
            let error = opened.map(drop).expect_err("none will do");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(message), "{error}");
            let cause = error.cause();
            for port in ports {
                assert!(cause.contains(&format!("127.0.0.1:{port}: ")), "{cause}");
                assert!(!error.message().contains(&port.to_string()), "{error}");
            }
        }
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 5, "each attempt asks once");
    }
}
