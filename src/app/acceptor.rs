//! Takes connections and hands each to the worker with the fewest.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::workers::Door;
use crate::resilience::AcceptBackoff;

/// While no worker takes a connection: at first a burst of them is the likely reason, then that all are
/// stuck.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// SETTINGS without any, and GOAWAY with ENHANCE_YOUR_CALM and a word of explanation (HTTP/2, 6.5 and
/// 6.8): clients of gRPC go elsewhere, and come back after a pause of theirs.
const TURNED_AWAY: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x1c\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0btoo many connections";

/// How long one that is turned away may take to read why, and how many may at once: while that many do,
/// others are closed without a word.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELLS: usize = 64;

/// Accepts connections for workers.
pub(crate) struct Acceptor {
    doors: Vec<Door>,
    max_connections: usize,
    refusing: bool,
    farewells: Arc<Semaphore>,
}

impl Acceptor {
    pub(crate) fn new(doors: Vec<Door>, max_connections: usize) -> Self {
        let farewells = Arc::new(Semaphore::new(FAREWELLS));
        Self { doors, max_connections, refusing: false, farewells }
    }

    /// Accepts until `stop`, then takes what has knocked already and closes the listener.
    pub(crate) async fn run(
        mut self,
        listener: std::net::TcpListener,
        stop: impl Future<Output = ()>,
    ) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the listener cannot be used");
                return;
            }
        };
        tokio::select! {
            biased;
            () = stop => {}
            () = self.accept(&listener) => {}
        }
        // Asked of the system itself: what has just come is not known to the runtime yet.
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, _)) = listener.accept() {
            self.take(stream).await;
        }
    }

    /// # Cancel safety
    /// A connection that was accepted is handed over, unless all workers are stuck.
    async fn accept(&mut self, listener: &TcpListener) {
        let mut accept_backoff = AcceptBackoff::default();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    accept_backoff.accepted();
                    // One that its client has reset already is nothing to wait for.
                    if let Ok(stream) = stream.into_std() {
                        self.take(stream).await;
                    }
                }
                Err(error) => {
                    let Some(pause) = accept_backoff.failed(&error, Instant::now()) else {
                        continue;
                    };
                    if pause.should_log {
                        tracing::warn!(%error, "connections cannot be accepted; they wait");
                    }
                    tokio::time::sleep(pause.length).await;
                }
            }
        }
    }

    async fn take(&mut self, stream: TcpStream) {
        let tuned = stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true));
        if tuned.is_err() {
            return;
        }
        let max_connections = self.max_connections;
        let full = self.doors.iter().map(Door::load).sum::<usize>() >= max_connections;
        // Said once, not for each of those who knock.
        if full && !self.refusing {
            tracing::warn!(max_connections, "connections are refused: too many are open");
        }
        self.refusing = full;
        if full {
            self.turn_away(stream);
        } else {
            hand_over(stream, &self.doors).await;
        }
    }

    /// Says why, and waits a moment for it to be read: to close a socket that has unread bytes resets
    /// it, and the client might never see the reason.
    fn turn_away(&self, stream: TcpStream) {
        let Ok(waited_for) = Arc::clone(&self.farewells).try_acquire_owned() else { return };
        let Ok(mut stream) = tokio::net::TcpStream::from_std(stream) else { return };
        let farewell = async move {
            stream.write_all(TURNED_AWAY).await?;
            stream.shutdown().await?;
            let mut unread = [0; 1024];
            while stream.read(&mut unread).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        tokio::spawn(async move {
            drop(tokio::time::timeout(FAREWELL, farewell).await);
            drop(waited_for);
        });
    }
}

/// Gives a connection to the worker with the fewest that takes it: one that is stuck or has ended
/// takes none. While none does, later connections wait in the listener.
async fn hand_over(mut stream: TcpStream, doors: &[Door]) {
    let mut doors: Vec<&Door> = doors.iter().collect();
    let mut pause = PAUSE;
    loop {
        doors.sort_by_key(|door| door.load());
        for door in &doors {
            match door.enter(stream) {
                Ok(()) => return,
                Err(same) => stream = same,
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
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
