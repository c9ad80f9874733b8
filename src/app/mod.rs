//! The composition root: the only module that knows every part.
//!
//! A control thread accepts connections, probes databases, serves operators and listens for signals; each worker
//! thread serves gRPC connections on a runtime of its own.

mod acceptor;
mod admin_connections;
mod backends;
mod backup;
mod claims_install;
mod console_signals;
mod file_watch;
mod gauge_sources;
mod idempotency_gc;
mod idempotency_install;
mod jwks_fetch;
mod jwks_watch;
mod listener;
mod maintain;
mod maintenance_schedule;
mod migrate;
mod mysql_safety;
mod preflight;
mod prober;
mod role_warnings;
mod safety;
mod schema_export;
mod shutdown;
mod workers;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

pub(crate) use backends::configured;
pub(crate) use backup::PartialFile;
pub use backup::{FileJob, Progress, Summary, backup, restore};
pub use claims_install::{claim_keys_sql, claims_sql, install_claims};
pub(crate) use console_signals::{ConsoleSignal, ConsoleSignals};
pub use idempotency_install::{install_keys, key_table_sql, postgres_key_table_sql};
pub use maintain::{MaintenanceStep, MaintenanceTasks, maintain};
pub(crate) use migrate::{migrate_up, migration_plan, pending_migrations, reset_database};
pub use preflight::{CheckStatus, Finding, check, check_offline};
pub(crate) use schema_export::{ExportedSchema, export_schema};
pub use shutdown::signalled;

use crate::access::Authenticator;
use crate::clock::milliseconds;
use crate::config::{Config, ListenAddress};
use crate::engine::Engine;
use crate::error::Error;
use crate::grpc::{Front, GrpcServer, HealthReporter, ListenerTls, ProbeServer, wrong_port};
use crate::ops;
use crate::telemetry::{Tasks, Telemetry};
use acceptor::ConnectionLimit;
use idempotency_gc::CollectAt;
use jwks_watch::JwksWatch;
use listener::{Listener, bind_tcp};
use prober::Prober;
use shutdown::{ShutdownSequence, StopCause};
use workers::{Workers, cannot, seed_random_numbers, single_threaded};

/// The time that operators' last responses have after everything else has ended.
const OPS_TIMEOUT: Duration = Duration::from_millis(100);

/// The least time that the last telemetry has to be exported.
const MIN_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// A running server; dropped, it shuts down.
#[derive(Debug)]
pub struct App {
    grpc: ListenAddress,
    ops: SocketAddr,
    stop: watch::Sender<Option<StopCause>>,
    control: Option<JoinHandle<()>>,
}

impl App {
    /// Starts everything, on threads of its own, and returns once both listeners accept. An unreachable database
    /// does not prevent startup: the server is then NOT_SERVING.
    ///
    /// # Errors
    /// A listener that cannot be bound, or a certificate that cannot be used.
    pub fn start(config: Config, telemetry: &Telemetry) -> Result<Self, Error> {
        preflight::check_safety(&config)?;
        let tls = ListenerTls::new(&config.tls, &config.web)?;
        let (grpc_listener, grpc) = Listener::bind(&config.grpc.listen)?;
        let (ops_listener, ops) = bind_tcp(config.ops.listen)?;
        let probes = config.health.listen.map(bind_tcp).transpose()?;
        let databases = config.databases.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let engine = Arc::new(Engine::new(backends::open_all(&config, telemetry)?, &config));
        let instance = instance_name();
        let tasks = Tasks::default();
        let authenticator = Authenticator::new(&config)?;
        let jwks = watch_of_keys(authenticator.as_ref(), &config)?;
        let front = Front {
            authenticator: authenticator.clone(),
            instance: &instance,
            operators: ops,
            tasks: &tasks,
            telemetry,
            tls: tls.clone(),
        };
        let (service, health) = GrpcServer::new(&engine, &config, front)?;
        let background = Background {
            authenticator,
            jwks,
            tls,
            probes: probes.map(|probes| probe_server(probes, &health, &config)),
        };
        gauge_sources::observe(telemetry, &engine);
        let runtime = single_threaded()?;
        let workers = Workers::start(&config.grpc, &service)?;
        tasks.watch([workers.runtimes.as_slice(), &[runtime.handle().clone()]].concat());
        let (stop, stopping) = watch::channel(None);
        let (readiness, ready) = watch::channel(ops::Readiness::starting());
        let status = ops::Status {
            engine: Arc::clone(&engine),
            authenticator: background.authenticator.clone(),
            instance,
            readiness: ready,
            telemetry: telemetry.clone(),
            started: Instant::now(),
            history: Arc::new(ops::History::new(config.ops.history)),
            grpc_answer: wrong_port(&grpc).into(),
        };
        let runtimes = workers.runtimes.clone();
        let prober = Prober::new(&config, engine, health, readiness, runtimes);
        let server = Server {
            grpc_listener,
            ops_listener,
            status,
            prober,
            config,
            workers,
            background,
            stopping,
        };
        let control = server.start(runtime)?;
        tracing::info!(%grpc, %ops, databases, "serving on both listeners");
        Ok(Self { grpc, ops, stop, control: Some(control) })
    }

    /// The address of gRPC.
    pub fn grpc_address(&self) -> &ListenAddress {
        &self.grpc
    }

    /// The address of operators' HTTP.
    pub fn ops_address(&self) -> SocketAddr {
        self.ops
    }

    /// Shuts down as `shutdown.*` configures, and blocks until everything has ended.
    pub fn shutdown(self) {
        drop(self);
    }

    /// Serves until SIGTERM or SIGINT, then shuts down; blocks. A second signal aborts all calls
    /// (`shutdown.second_signal_after`).
    pub fn run_until_signal(self) {
        self.stop.send_replace(Some(StopCause::Signal));
        self.shutdown();
    }
}

/// The server for probes, with its listener.
fn probe_server(
    (listener, address): (TcpListener, SocketAddr),
    health: &HealthReporter,
    config: &Config,
) -> (ProbeServer, TcpListener) {
    tracing::info!(%address, "serving probes");
    (ProbeServer::new(health, config), listener)
}

/// The watch over the keys of JSON Web Tokens, if they are at a URL.
fn watch_of_keys(
    authenticator: Option<&Arc<Authenticator>>,
    config: &Config,
) -> Result<Option<JwksWatch>, Error> {
    let watch = authenticator.map(|authenticator| JwksWatch::new(authenticator, &config.jwt));
    Ok(watch.transpose()?.flatten())
}

/// The name of this process in responses.
fn instance_name() -> String {
    let host = whoami::hostname().unwrap_or_else(|_error| "localhost".to_owned());
    format!("{host}:{}", std::process::id())
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.send_if_modified(|cause| {
            let is_new = cause.is_none();
            cause.get_or_insert(StopCause::Requested);
            is_new
        });
        drop(self.control.take().map(JoinHandle::join));
    }
}

/// The parts that the control thread runs.
struct Server {
    grpc_listener: Listener,
    ops_listener: TcpListener,
    status: ops::Status,
    prober: Prober,
    config: Config,
    workers: Workers,
    background: Background,
    stopping: watch::Receiver<Option<StopCause>>,
}

impl Server {
    /// Starts the control thread, and returns once every name is registered with health.
    fn start(self, runtime: Runtime) -> Result<JoinHandle<()>, Error> {
        let (announced, announcement) = std::sync::mpsc::sync_channel(1);
        let control = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                seed_random_numbers();
                self.prober.announce();
                announced.send(()).unwrap_or_default();
                self.run(runtime);
            })
            .map_err(|error| cannot("start the control thread", error))?;
        announcement.recv().unwrap_or_default();
        Ok(control)
    }

    fn run(self, runtime: Runtime) {
        let Self {
            grpc_listener,
            ops_listener,
            status,
            prober,
            config,
            mut workers,
            background,
            stopping,
        } = self;
        runtime.block_on(async move {
            let engine = Arc::clone(&status.engine);
            let telemetry = status.telemetry.clone();
            let (serve_ops, ops_stop) = oneshot::channel();
            let ops = tokio::spawn(ops::serve(ops_listener, status, config.ops.clone(), ops_stop));
            let (accept, stop) = oneshot::channel();
            let handles = workers.handles.clone();
            let limit = ConnectionLimit::new(&config);
            let acceptor = tokio::spawn(acceptor::run(handles, limit, grpc_listener, stop));
            let draining = prober.draining.clone();
            let prober = tokio::spawn(prober.run());
            let at = CollectAt::of(&config.health);
            let gc = idempotency_gc::run(Arc::clone(&engine), workers.runtimes.clone(), at);
            let maintenance = maintenance_schedule::run(Arc::clone(&engine));
            let upkeep = tokio::spawn(join(gc, maintenance));
            let background = background.start();
            let mut signals = shutdown::wait(stopping).await;
            let start = Instant::now();
            tracing::info!("shutting down");
            upkeep.abort();
            let sequence = ShutdownSequence {
                engine: Arc::clone(&engine),
                workers: &mut workers,
                draining,
                prober,
                accept,
                acceptor,
            };
            let second = signals.next_after(config.shutdown.second_signal_after);
            let is_aborted = sequence.run(&config.shutdown, second).await;
            let grace = if is_aborted { Duration::ZERO } else { config.shutdown.grace };
            let remaining = || grace.saturating_sub(start.elapsed());
            drop(serve_ops);
            for database in engine.databases() {
                database.backend().close();
            }
            workers.end().await;
            drop(background);
            shutdown::closed(&engine, remaining()).await;
            drop(tokio::time::timeout(OPS_TIMEOUT, ops).await);
            telemetry.end(remaining().max(MIN_FLUSH_TIMEOUT)).await;
            tracing::info!(duration_ms = milliseconds(start.elapsed()), "shut down");
        });
        runtime.shutdown_background();
    }
}

/// The tasks that last as long as the server.
struct Background {
    authenticator: Option<Arc<Authenticator>>,
    jwks: Option<JwksWatch>,
    tls: Option<Arc<ListenerTls>>,
    probes: Option<(ProbeServer, TcpListener)>,
}

impl Background {
    /// Starts them; they end when the set is dropped.
    fn start(self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some(authenticator) = self.authenticator {
            tasks.spawn(file_watch::run("tokens", move || {
                authenticator.revoke_expired(SystemTime::now());
                authenticator.reload_tokens()
            }));
        }
        if let Some(jwks) = self.jwks {
            tasks.spawn(jwks.run());
        }
        if let Some(tls) = self.tls {
            tasks.spawn(file_watch::run("certificates", move || tls.reload()));
        }
        if let Some((server, listener)) = self.probes {
            tasks.spawn(server.run(listener));
        }
        tasks
    }
}

/// Checks the files of `grpc.tls` and `access`, as a start does. Blocks.
///
/// # Errors
/// A file cannot be used.
pub fn check_files(config: &Config) -> Result<(), Error> {
    ListenerTls::new(&config.tls, &config.web)?;
    if let Some(authenticator) = Authenticator::new(config)? {
        JwksWatch::new(&authenticator, &config.jwt)?;
    }
    Ok(())
}
