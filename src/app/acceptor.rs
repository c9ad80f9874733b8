//! Takes connections and hands each to the worker with the fewest.

use std::net::TcpStream;
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
        let mut refusing = false;
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let full = doors.iter().map(Door::load).sum::<usize>() >= max_connections;
            // Said once, not for each of those who knock.
            if full && !refusing {
                tracing::warn!(max_connections, "connections are refused: too many are open");
            }
            refusing = full;
            // One that its client has reset already cannot be tuned, and is nothing to wait for.
            if let Ok(stream) = tuned(stream)
                && !full
            {
                hand_over(stream, &doors).await;
            }
        }
    }
}

fn tuned(stream: tokio::net::TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.into_std()
}

/// Gives a connection to the worker with the fewest that takes it: one that is stuck or has ended
/// takes none. While none does, later connections wait in the listener.
async fn hand_over(mut stream: TcpStream, doors: &[Door]) {
    let mut doors: Vec<&Door> = doors.iter().collect();
    loop {
        doors.sort_by_key(|door| door.load());
        for door in &doors {
            match door.enter(stream) {
                Ok(()) => return,
                Err(same) => stream = same,
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> TcpStream {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it accepts")
    }

    #[tokio::test]
    async fn a_worker_that_takes_nothing_is_passed_by() {
        let (ended, behind) = Door::new();
        drop(behind);
        let (stuck, _never_read) = Door::new();
        while stuck.enter(connection()).is_ok() {}
        let (working, mut taken) = Door::new();
        let busy: Vec<_> = (0..100).map(|_| working.count()).collect();
        let doors = [ended.clone(), stuck.clone(), working.clone()];
        let handed = hand_over(connection(), &doors);
        tokio::time::timeout(Duration::from_secs(5), handed).await.expect("it waits for no other");
        taken.try_recv().expect("the one that works has it");
        assert_eq!((ended.load(), working.load()), (0, busy.len()), "only what is open counts");
    }
}
