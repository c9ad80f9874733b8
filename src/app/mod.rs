//! The composition root: the only place that knows every part.
//!
//! A control thread accepts connections, probes databases, serves operators and hears signals; each
//! worker thread serves whole gRPC connections on a runtime of its own.

mod acceptor;
mod backends;
mod check;
mod keys;
mod prober;
mod shutdown;
mod sweeper;
mod workers;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

pub use check::{CheckLine, Verdict, check};
pub use keys::{install_keys, key_table_sql};

use crate::config::Config;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::grpc::Service;
use crate::ops;
use shutdown::Cause;
use workers::Workers;

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
    pub fn start(config: Config) -> Result<Self, Error> {
        let (grpc_listener, grpc) = listen(config.grpc.listen)?;
        let (ops_listener, ops) = listen(config.ops.listen)?;
        let engine = Arc::new(Engine::new(backends::open_all(&config)?, &config));
        let instance = instance();
        let (service, health) = Service::new(&engine, &config, &instance)?;
        let runtime = control_runtime()?;
        let workers = Workers::start(&config.grpc, &service)?;
        let (stop, stopping) = watch::channel(None);
        let (readiness, ready) = watch::channel(ops::Readiness::starting());
        let server = Server {
            listeners: (grpc_listener, ops_listener),
            status: ops::Status::new(Arc::clone(&engine), instance, ready),
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
        let grace = config.shutdown.grace;
        runtime.block_on(async move {
            let engine = status.engine();
            let operators = tokio::spawn(ops::serve(ops, status));
            let accepting = tokio::spawn(acceptor::accept(grpc, workers.doors(), &config.grpc));
            let (draining, health) = (prober.draining(), prober.health());
            let probing = tokio::spawn(prober.run());
            let sweeper = sweeper::Sweeper::new(Arc::clone(&engine), workers.handles());
            let sweeping = tokio::spawn(sweeper.run());
            shutdown::wait(stopping).await;
            tracing::info!("shutting down");
            let transactions_end = Instant::now() + transactions_grace(grace);
            draining.send_replace(true);
            sweeping.abort();
            let drained = async {
                tokio::time::sleep(config.shutdown.delay).await;
                accepting.abort();
                engine.drain(transactions_end);
                // It has told NOT_SERVING; to watch that must not keep a connection open.
                drop(probing.await);
                health.end().await;
                workers.drain().await;
            };
            let second = shutdown::signal();
            tokio::select! {
                ended = tokio::time::timeout(grace, drained) => {
                    if ended.is_err() {
                        tracing::warn!("the grace is over and calls are cut off");
                    }
                }
                () = second => tracing::warn!("a second signal: calls are cut off"),
            }
            operators.abort();
            for database in engine.databases() {
                database.backend().close();
            }
            workers.end().await;
        });
        runtime.shutdown_background();
    }
}

/// How much of the grace interactive transactions may take to do what was sent before: what is left is for
/// the callers of the others, to hear of their end.
fn transactions_grace(grace: Duration) -> Duration {
    grace.saturating_sub((grace / 10).min(Duration::from_secs(1)))
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|error| {
        Error::new(ErrorKind::Internal, format!("cannot listen on {address}"))
            .with_cause(error)
            .with_hint("Choose another address with --listen or --ops-listen.")
    })
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
