//! The threads that serve: each has a single-threaded runtime and whole gRPC connections.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, watch};

use crate::config::Grpc;
use crate::error::Error;
use crate::grpc::{Accepted, Open, Service};

/// Connections on their way to one worker.
const DOOR: usize = 16;
/// The parser of statements recurses, within bounds proven on half of this.
const STACK: usize = 4 << 20;

/// For the threads of calls that were cut off to end.
const LAST_MOMENT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Workers {
    doors: Vec<Door>,
    handles: Vec<Handle>,
    stop: watch::Sender<Stop>,
    ended: Vec<mpsc::Receiver<()>>,
}

/// What the workers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    No,
    /// Tell clients to go, and wait for their calls.
    Drain,
    /// Whatever still runs.
    Now,
}

/// The way to one worker.
#[derive(Debug, Clone)]
pub(super) struct Door {
    connections: mpsc::Sender<Accepted>,
    open: Arc<AtomicUsize>,
}

impl Door {
    pub(super) fn new() -> (Self, mpsc::Receiver<Accepted>) {
        let (connections, incoming) = mpsc::channel(DOOR);
        (Self { connections, open: Arc::default() }, incoming)
    }

    /// How many connections the worker has.
    pub(super) fn load(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Hands a connection over, or gives it back when the worker takes none.
    pub(super) fn enter(&self, stream: TcpStream) -> Result<(), TcpStream> {
        let accepted = Accepted { stream, open: self.count() };
        self.connections.try_send(accepted).map_err(|refused| refused.into_inner().stream)
    }

    pub(super) fn count(&self) -> Open {
        Open::count(&self.open)
    }
}

impl Workers {
    pub(super) fn start(settings: &Grpc, service: &Service) -> Result<Self, Error> {
        let (stop, _) = watch::channel(Stop::No);
        let mut workers = Self { doors: Vec::new(), handles: Vec::new(), stop, ended: Vec::new() };
        for number in 0..settings.workers.get() {
            workers.add(number, service.clone())?;
        }
        Ok(workers)
    }

    pub(super) fn doors(&self) -> Vec<Door> {
        self.doors.clone()
    }

    pub(super) fn handles(&self) -> Vec<Handle> {
        self.handles.clone()
    }

    /// Tells clients to go, and waits for their calls.
    pub(super) async fn drain(&mut self) {
        self.stop.send_replace(Stop::Drain);
        self.ended().await;
    }

    /// Ends the workers with whatever they still run. A thread that is stuck is left behind.
    pub(super) async fn end(mut self) {
        self.stop.send_replace(Stop::Now);
        if tokio::time::timeout(LAST_MOMENT, self.ended()).await.is_err() {
            tracing::warn!("a worker is stuck and was left behind");
        }
    }

    async fn ended(&mut self) {
        for ended in &mut self.ended {
            // Nothing is ever sent: it ends when the worker drops its side.
            ended.recv().await;
        }
    }

    fn add(&mut self, number: usize, service: Service) -> Result<(), Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| super::cannot("start a worker's runtime", error))?;
        let (door, incoming) = Door::new();
        let (end, ended) = mpsc::channel(1);
        let (mut drain, mut now) = (self.stop.subscribe(), self.stop.subscribe());
        self.handles.push(runtime.handle().clone());
        let serve = move || {
            runtime.block_on(async move {
                let drain = async move { drop(drain.wait_for(|stop| *stop >= Stop::Drain).await) };
                let now = async move { drop(now.wait_for(|stop| *stop == Stop::Now).await) };
                tokio::select! {
                    served = service.serve(incoming, drain) => {
                        if let Err(error) = served {
                            tracing::error!(%error, "a worker ended");
                        }
                    }
                    () = now => {}
                }
            });
            runtime.shutdown_background();
            drop(end);
        };
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .stack_size(STACK)
            .spawn(serve)
            .map_err(|error| super::cannot("start a worker", error))?;
        self.doors.push(door);
        self.ended.push(ended);
        Ok(())
    }
}
