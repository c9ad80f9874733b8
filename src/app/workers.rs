//! Worker threads: each serves gRPC connections on a single-threaded runtime.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};

use crate::config::Grpc;
use crate::error::{Error, ErrorKind};
use crate::grpc::{AcceptedConnection, AcceptedStream, CountGuard, GrpcServer};

/// The connections that are queued for one worker.
const QUEUE: usize = 16;
/// The statement parser recurses within bounds that are proven on half of this.
const STACK_SIZE: usize = 4 << 20;

/// The time that threads have to end after their last task.
const JOIN_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Workers {
    pub(crate) handles: Vec<WorkerHandle>,
    pub(crate) runtimes: Vec<Handle>,
    calls: Vec<Arc<AtomicUsize>>,
    draining: watch::Sender<bool>,
    stop: watch::Sender<Stop>,
    /// Closed when all connections are closed.
    served: mpsc::Receiver<()>,
    /// Closed when all threads have ended.
    ended: mpsc::Receiver<()>,
}

/// The senders of channels that carry nothing, dropped at the end of a worker's connections and of its thread.
#[derive(Clone)]
struct Ends {
    served: mpsc::Sender<()>,
    ended: mpsc::Sender<()>,
}

/// The stages of stopping workers by force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    No,
    /// Connections are closed. Tasks of their own (a rollback, a cancel request) go on.
    Connections,
    /// Everything is stopped.
    All,
}

#[derive(Debug, Clone)]
pub(crate) struct WorkerHandle {
    sender: mpsc::Sender<AcceptedConnection>,
    open: Arc<AtomicUsize>,
}

impl WorkerHandle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<AcceptedConnection>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender, open: Arc::default() }, receiver)
    }

    /// The number of the worker's connections.
    pub(crate) fn connections(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Sends a connection to the worker, or returns it if the worker takes none.
    pub(crate) fn send(&self, stream: AcceptedStream) -> Result<(), AcceptedStream> {
        let accepted = AcceptedConnection { stream, count: self.count() };
        self.sender.try_send(accepted).map_err(|rejected| rejected.into_inner().stream)
    }

    pub(crate) fn count(&self) -> CountGuard {
        CountGuard::new(&self.open)
    }
}

impl Workers {
    pub(crate) fn start(settings: &Grpc, service: &GrpcServer) -> Result<Self, Error> {
        let (end_served, served) = mpsc::channel(1);
        let (end, ended) = mpsc::channel(1);
        let ends = Ends { served: end_served, ended: end };
        let mut workers = Self {
            handles: Vec::new(),
            runtimes: Vec::new(),
            calls: Vec::new(),
            draining: watch::Sender::new(false),
            stop: watch::Sender::new(Stop::No),
            served,
            ended,
        };
        for number in 0..settings.workers.get() {
            workers.start_one(number, service.clone(), ends.clone())?;
        }
        Ok(workers)
    }

    /// The number of calls in progress that end by themselves: no transactions and no watches.
    pub(crate) fn calls(&self) -> usize {
        self.calls.iter().map(|calls| calls.load(Relaxed)).sum()
    }

    /// Asks clients to disconnect.
    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Waits until all connections are closed.
    pub(crate) async fn served(&mut self) {
        self.served.recv().await;
    }

    /// Closes all connections, which ends their calls.
    pub(crate) fn close_connections(&self) {
        self.stop.send_replace(Stop::Connections);
    }

    /// Stops the workers. A thread that is stuck is abandoned.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(Stop::All);
        if tokio::time::timeout(JOIN_TIMEOUT, self.ended.recv()).await.is_err() {
            tracing::warn!("worker thread did not end; abandoning it");
        }
    }

    fn start_one(&mut self, number: usize, service: GrpcServer, ends: Ends) -> Result<(), Error> {
        let runtime = single_threaded()?;
        let (handle, connections) = WorkerHandle::new();
        let calls = Arc::<AtomicUsize>::default();
        self.runtimes.push(runtime.handle().clone());
        self.calls.push(Arc::clone(&calls));
        let serving = service.serve(connections, calls, self.draining.subscribe());
        let stop = self.stop.subscribe();
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .stack_size(STACK_SIZE)
            .spawn(move || {
                seed_random_numbers();
                run(runtime, serving, stop, ends);
            })
            .map_err(|error| cannot("start a worker thread", error))?;
        self.handles.push(handle);
        Ok(())
    }
}

/// Gives the calling thread's random numbers a seed of the operating system's. By itself the generator takes the time,
/// and servers that start in one instant would pause, and name their traces, alike.
pub(crate) fn seed_random_numbers() {
    fastrand::seed(RandomState::new().build_hasher().finish());
}

/// Starts a single-threaded runtime.
pub(crate) fn single_threaded() -> Result<Runtime, Error> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| cannot("start a runtime", error))
}

/// The error of a system call.
pub(crate) fn cannot(action: &str, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("cannot {action}")).with_cause(cause)
}

/// Runs one worker to its end. The runtime outlives its connections, for the tasks that clean up after them.
fn run(
    runtime: Runtime,
    serving: impl Future<Output = ()>,
    stop: watch::Receiver<Stop>,
    ends: Ends,
) {
    let reached = |least: Stop| {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop >= least).await) }
    };
    runtime.block_on(async {
        tokio::select! {
            () = serving => {}
            () = reached(Stop::Connections) => {}
        }
        drop(ends.served);
        reached(Stop::All).await;
    });
    runtime.shutdown_background();
    drop(ends.ended);
}
