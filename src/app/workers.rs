//! The threads that serve: each has a single-threaded runtime and whole gRPC connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, watch};

use crate::config::Grpc;
use crate::error::Error;
use crate::grpc::{Accepted, Open, Service};

/// Connections on their way to one worker.
const DOOR: usize = 16;
/// The parser of statements recurses, within bounds proven on half of this.
const STACK: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Workers {
    doors: Vec<Door>,
    handles: Vec<Handle>,
    stop: watch::Sender<bool>,
    ended: Vec<mpsc::Receiver<()>>,
}

/// The way to one worker.
#[derive(Debug, Clone)]
pub(super) struct Door {
    connections: mpsc::Sender<Accepted>,
    open: Arc<AtomicUsize>,
}

impl Door {
    /// How many connections the worker has.
    pub(super) fn load(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(super) async fn enter(&self, stream: std::net::TcpStream) {
        let accepted = Accepted { stream, open: Open::count(&self.open) };
        drop(self.connections.send(accepted).await);
    }
}

impl Workers {
    pub(super) fn start(settings: &Grpc, service: &Service) -> Result<Self, Error> {
        let (stop, _) = watch::channel(false);
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
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
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
        let (connections, incoming) = mpsc::channel(DOOR);
        let (end, ended) = mpsc::channel(1);
        let mut stop = self.stop.subscribe();
        self.handles.push(runtime.handle().clone());
        let serve = move || {
            runtime.block_on(async move {
                let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
                if let Err(error) = service.serve(incoming, stopped).await {
                    tracing::error!(%error, "a worker ended");
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
        self.doors.push(Door { connections, open: Arc::default() });
        self.ended.push(ended);
        Ok(())
    }
}
