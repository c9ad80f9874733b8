//! The composition root: the only place that knows every part.
//!
//! A control thread accepts connections, probes databases, serves operators and hears signals; each
//! worker thread serves whole gRPC connections on a runtime of its own.

mod acceptor;
mod backends;
mod gauge_sources;
mod idempotency_gc;
mod idempotency_install;
mod preflight;
mod prober;
mod shutdown;
mod workers;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};

pub use idempotency_install::{install_keys, key_table_sql};
pub use preflight::{CheckLine, Verdict, check};

use crate::config::Config;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::grpc::GrpcServer;
use crate::ops;
use crate::telemetry::{Tasks, Telemetry};
pub use shutdown::signalled;

use crate::clock::milliseconds;
use shutdown::Cause;
use workers::Workers;

/// Connections that may knock at once, where the system allows it: std's 128 are too few for the clients
/// of a replica that has ended, and one that finds no room tries again after a whole second.
const BACKLOG: i32 = 4096;

/// For answers to operators that are being written while everything else has ended.
const LAST_ANSWERS: Duration = Duration::from_millis(100);

/// For what is still to be sent to a collector, however late it is.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running server; dropped, it shuts down.
#[derive(Debug)]
pub struct App {
    grpc: SocketAddr,
    ops: SocketAddr,
    stop: watch::Sender<Option<Cause>>,
    control: Option<JoinHandle<()>>,
}

impl App {
    /// Starts everything and returns once both listeners accept. A database that cannot be reached is
    /// no error: the server is then NOT_SERVING.
    ///
    /// Starts threads of its own; may be called from any runtime or from none.
    ///
    /// # Errors
    /// When a listener cannot be bound, or a certificate cannot be used.
    pub fn start(config: Config, telemetry: &Telemetry) -> Result<Self, Error> {
        let (grpc_listener, grpc) = listen(config.grpc.listen)?;
        let (ops_listener, ops) = listen(config.ops.listen)?;
        let engine = Arc::new(Engine::new(backends::open_all(&config, telemetry)?, &config));
        let instance = instance();
        let tasks = Tasks::default();
        let (service, health) = GrpcServer::new(&engine, &config, &instance, &tasks, telemetry)?;
        gauge_sources::observe(telemetry, &engine);
        let runtime = control_runtime()?;
        let workers = Workers::start(&config.grpc, &service)?;
        tasks.watch([workers.handles(), vec![runtime.handle().clone()]].concat());
        let (stop, stopping) = watch::channel(None);
        let (readiness, ready) = watch::channel(ops::Readiness::starting());
        let server = Server {
            listeners: (grpc_listener, ops_listener),
            status: ops::Status::new(Arc::clone(&engine), instance, ready, telemetry.clone()),
            prober: prober::Prober::new(&config, engine, health, readiness, workers.handles()),
            config,
            workers,
            stopping,
        };
        let (announced, announcement) = std::sync::mpsc::sync_channel(1);
        let control = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                runtime.block_on(server.prober.announce());
                announced.send(()).unwrap_or_default();
                server.run(runtime);
            })
            .map_err(|error| cannot("start the control thread", error))?;
        announcement.recv().unwrap_or_default();
        Ok(Self { grpc, ops, stop, control: Some(control) })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Where operators' HTTP is served.
    #[must_use]
    pub fn ops_address(&self) -> SocketAddr {
        self.ops
    }

    /// Shuts down as `shutdown.*` says, and returns when everything has ended; blocks.
    pub fn shutdown(mut self) {
        self.end();
    }

    /// Serves until SIGTERM or SIGINT, then shuts down; blocks. A second signal ends it at once.
    pub fn run_until_signal(self) {
        self.stop.send_replace(Some(Cause::Signal));
        self.shutdown();
    }

    fn end(&mut self) {
        if let Some(control) = self.control.take() {
            self.stop.send_if_modified(|cause| match cause {
                Some(Cause::Signal) => false,
                Some(Cause::Asked) | None => {
                    *cause = Some(Cause::Asked);
                    true
                }
            });
            drop(control.join());
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the control thread runs.
struct Server {
    listeners: (TcpListener, TcpListener),
    status: ops::Status,
    prober: prober::Prober,
    config: Config,
    workers: Workers,
    stopping: watch::Receiver<Option<Cause>>,
}

impl Server {
    fn run(self, runtime: Runtime) {
        let Self { listeners: (grpc, ops), status, prober, config, mut workers, stopping } = self;
        runtime.block_on(async move {
            let (engine, telemetry) = (status.engine(), status.telemetry());
            let (serve_operators, dismissed) = oneshot::channel::<()>();
            let dismissed = async move { drop(dismissed.await) };
            let operators = tokio::spawn(ops::serve(ops, status, config.ops.clone(), dismissed));
            let (open, closed) = oneshot::channel::<()>();
            let closed = async move { drop(closed.await) };
            let acceptor = acceptor::Acceptor::new(workers.doors(), config.grpc.max_connections);
            let accepting = tokio::spawn(acceptor.run(grpc, closed));
            let draining = prober.draining();
            let probing = tokio::spawn(prober.run());
            let sweeper = idempotency_gc::Sweeper::new(Arc::clone(&engine), workers.handles());
            let sweeping = tokio::spawn(sweeper.run());
            let mut signals = shutdown::wait(stopping).await;
            let start = Instant::now();
            tracing::info!("shutting down");
            sweeping.abort();
            let (ending, workers_left) = (Arc::clone(&engine), &mut workers);
            let ending = shutdown::Ending {
                engine: ending,
                workers: workers_left,
                draining,
                probing,
                open,
                accepting,
            };
            let patience = tokio::select! {
                () = ending.run(&config.shutdown) => config.shutdown.grace,
                () = signals.next() => {
                    tracing::warn!("a second signal: calls are cut off");
                    Duration::ZERO
                }
            };
            drop(serve_operators);
            for database in engine.databases() {
                database.backend().close();
            }
            workers.end().await;
            shutdown::closed(&engine, patience.saturating_sub(start.elapsed())).await;
            drop(tokio::time::timeout(LAST_ANSWERS, operators).await);
            let left = patience.saturating_sub(start.elapsed()).max(LAST_WORDS);
            telemetry.end(left).await;
            tracing::info!(duration_ms = milliseconds(start.elapsed()), "shut down");
        });
        runtime.shutdown_background();
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    bind(address).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("cannot listen on {address}"))
            .with_cause(error)
            .with_hint("Choose another address with --listen or --ops-listen.")
    })
}

fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // As std does, so that a server that is restarted gets its address back at once.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn control_runtime() -> Result<Runtime, Error> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot("start the control runtime", error))
}

fn cannot(what: &str, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("cannot {what}")).with_cause(cause)
}

/// How this process is named in answers: its host and process id.
fn instance() -> String {
    let host = whoami::hostname().unwrap_or_else(|_error| "localhost".to_owned());
    format!("{host}:{}", std::process::id())
}
