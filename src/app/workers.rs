//! The threads that serve: each has a single-threaded runtime and whole gRPC connections.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};

use crate::config::Grpc;
use crate::error::Error;
use crate::grpc::{AcceptedConnection, CountGuard, GrpcServer};

/// Connections on their way to one worker.
const DOOR: usize = 16;
/// The parser of statements recurses, within bounds proven on half of this.
const STACK: usize = 4 << 20;

/// For the threads to end once nothing is left to them.
const LAST_MOMENT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Workers {
    doors: Vec<Door>,
    handles: Vec<Handle>,
    calls: Vec<Arc<AtomicUsize>>,
    draining: watch::Sender<bool>,
    stop: watch::Sender<Stop>,
    served: Vec<Ended>,
    ended: Vec<Ended>,
}

/// Nothing is ever sent: it closes when the other side is dropped.
type Ended = mpsc::Receiver<()>;

/// How workers are stopped that clients do not let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    No,
    /// Connections are closed. What has an owner of its own (a rollback, a cancel request) goes on.
    Cut,
    /// Whatever still runs.
    Now,
}

/// The way to one worker.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    connections: mpsc::Sender<AcceptedConnection>,
    open: Arc<AtomicUsize>,
}

impl Door {
    pub(crate) fn new() -> (Self, mpsc::Receiver<AcceptedConnection>) {
        let (connections, incoming) = mpsc::channel(DOOR);
        (Self { connections, open: Arc::default() }, incoming)
    }

    /// How many connections the worker has.
    pub(crate) fn load(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Hands a connection over, or gives it back when the worker takes none.
    pub(crate) fn enter(&self, stream: TcpStream) -> Result<(), TcpStream> {
        let accepted = AcceptedConnection { stream, count: self.count() };
        self.connections.try_send(accepted).map_err(|refused| refused.into_inner().stream)
    }

    pub(crate) fn count(&self) -> CountGuard {
        CountGuard::new(&self.open)
    }
}

impl Workers {
    pub(crate) fn start(settings: &Grpc, service: &GrpcServer) -> Result<Self, Error> {
        let mut workers = Self {
            doors: Vec::new(),
            handles: Vec::new(),
            calls: Vec::new(),
            draining: watch::Sender::new(false),
            stop: watch::Sender::new(Stop::No),
            served: Vec::new(),
            ended: Vec::new(),
        };
        for number in 0..settings.workers.get() {
            workers.add(number, service.clone())?;
        }
        Ok(workers)
    }

    pub(crate) fn doors(&self) -> Vec<Door> {
        self.doors.clone()
    }

    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.handles.clone()
    }

    /// Calls that run and end by themselves: no transactions, and nobody who watches.
    pub(crate) fn calls(&self) -> usize {
        self.calls.iter().map(|calls| calls.load(Relaxed)).sum()
    }

    /// Tells clients to go.
    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Returns when all connections are closed.
    pub(crate) async fn served(&mut self) {
        all(&mut self.served).await;
    }

    /// Closes all connections, which ends their calls.
    pub(crate) fn cut(&self) {
        self.stop.send_replace(Stop::Cut);
    }

    /// Ends the workers with whatever they still run. A thread that is stuck is left behind.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(Stop::Now);
        if tokio::time::timeout(LAST_MOMENT, all(&mut self.ended)).await.is_err() {
            tracing::warn!("a worker is stuck and was left behind");
        }
    }

    fn add(&mut self, number: usize, service: GrpcServer) -> Result<(), Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| super::cannot("start a worker's runtime", error))?;
        let (door, incoming) = Door::new();
        let (end_served, served) = mpsc::channel(1);
        let (end, ended) = mpsc::channel(1);
        let calls = Arc::<AtomicUsize>::default();
        self.handles.push(runtime.handle().clone());
        self.calls.push(Arc::clone(&calls));
        let serving = service.serve(incoming, calls, self.draining.subscribe());
        let stop = self.stop.subscribe();
        let work = move || {
            run(runtime, serving, stop, end_served);
            drop(end);
        };
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .stack_size(STACK)
            .spawn(work)
            .map_err(|error| super::cannot("start a worker", error))?;
        self.doors.push(door);
        self.served.push(served);
        self.ended.push(ended);
        Ok(())
    }
}

/// Runs one worker to its end. Its runtime outlives its connections: what they leave behind is still
/// put in order.
fn run(
    runtime: Runtime,
    serving: impl Future<Output = ()>,
    stop: watch::Receiver<Stop>,
    end_served: mpsc::Sender<()>,
) {
    let reached = |least: Stop| {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop >= least).await) }
    };
    runtime.block_on(async {
        tokio::select! {
            () = serving => {}
            () = reached(Stop::Cut) => {}
        }
        drop(end_served);
        reached(Stop::Now).await;
    });
    runtime.shutdown_background();
}

async fn all(ended: &mut [Ended]) {
    for ended in ended {
        ended.recv().await;
    }
}
