//! Takes connections and hands each to the worker with the fewest.

use std::time::Duration;

use tokio::net::TcpListener;

use super::workers::Door;
use crate::config::Grpc;

/// After an error of the system's (no descriptors are left, say), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn accept(
    listener: std::net::TcpListener,
    doors: Vec<Door>,
    settings: &Grpc,
) -> impl Future<Output = ()> + Send + 'static {
    let max_connections = settings.max_connections;
    async move {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the listener cannot be used");
                return;
            }
        };
        loop {
            match take(&listener).await {
                Ok(stream) => hand_over(stream, &doors, max_connections).await,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn take(listener: &TcpListener) -> std::io::Result<std::net::TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    stream.into_std()
}

async fn hand_over(stream: std::net::TcpStream, doors: &[Door], max_connections: usize) {
    let open: usize = doors.iter().map(Door::load).sum();
    if open >= max_connections {
        tracing::warn!(max_connections, "a connection was refused: too many are open");
        return;
    }
    if let Some(door) = doors.iter().min_by_key(|door| door.load()) {
        door.enter(stream).await;
    }
}
