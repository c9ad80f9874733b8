//! A proxy between a server and its database that fails as it is told: it cuts connections at a byte,
//! loses what one side says, passes nothing, delays, throttles; and it counts what it did.
//!
//! Knows no protocol, only bytes. A fault that is armed hits the next connection that has something to say
//! in its direction, so that it always hits one that is at work; the weather is the same for all.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::AbortHandle;

/// A connection that has a fault and says nothing for this long leaves it to another.
const SILENCE: Duration = Duration::from_millis(500);

/// The longest time in which the other side must close, too.
const FAREWELL: Duration = Duration::from_secs(2);

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the database.
    Up,
    /// From the database.
    Down,
}

/// The way in which a connection is cut, on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As by a crash: RST.
    Reset,
    /// In order: FIN.
    Close,
    /// On the one side as by a crash. The database sees nothing of it, and works on.
    Abandon,
}

/// The fate of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is cut.
    Cut(Cut),
    /// One way only is lost: whatever comes is dropped, and after this long the connection is reset. What
    /// the other side still says arrives, and is acted upon.
    Lose(Duration),
}

/// A place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// After so many more bytes.
    Byte(u64),
    /// The place of this text, unless it comes in two pieces: a cut comes after it, a loss takes it along.
    Text(&'static str),
}

/// A fault of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The direction in which it waits.
    pub(crate) direction: Direction,
    /// The place at which it happens.
    pub(crate) place: Place,
    /// The fault.
    pub(crate) then: Then,
}

/// Settings of all connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Connections are accepted, and nothing passes, until this ends.
    pub(crate) black_hole: bool,
    /// The delay of everything, each way.
    pub(crate) latency: Duration,
    /// The throughput of a connection, each way.
    pub(crate) bytes_per_second: Option<u64>,
}

/// Counts of faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections accepted.
    pub(crate) connections: u64,
    /// Connections cut with RST.
    pub(crate) resets: u64,
    /// Connections cut with FIN.
    pub(crate) closes: u64,
    /// Connections that lost what one side said.
    pub(crate) losses: u64,
    /// Bytes that were lost so.
    pub(crate) lost_bytes: u64,
    /// Connections of which the database does not know that they are gone.
    pub(crate) abandoned: u64,
}

/// A running proxy; dropped, it accepts no more.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: AbortHandle,
}

impl Proxy {
    /// A proxy on a free port before `target`.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            abandoned: Mutex::default(),
            weather: watch::Sender::default(),
            everybody: broadcast::Sender::new(1),
            armed: Mutex::default(),
            counters: Counters::default(),
        });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Self { address, shared, acceptor }
    }

    /// The address on which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Arms a fault; what is returned resolves when it has happened.
    pub(crate) fn arm(&self, fault: Fault) -> oneshot::Receiver<()> {
        let (happened, receiver) = oneshot::channel();
        self.shared.armed().push_back(Armed { fault, left: 0, happened });
        receiver
    }

    /// Cuts every connection now; how many there were.
    pub(crate) fn cut_all(&self, cut: Cut) -> usize {
        self.shared.everybody.send(cut).unwrap_or_default()
    }

    /// Leads to another server from here on; connections that are open stay where they are.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("nobody panics with it") = target;
    }

    /// Changes what holds for all connections, those that are open too.
    pub(crate) fn set_weather(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Returns the faults so far.
    pub(crate) fn counts(&self) -> Counts {
        let Counters { connections, resets, closes, losses, lost_bytes, abandoned } =
            &self.shared.counters;
        Counts {
            connections: connections.load(Relaxed),
            resets: resets.load(Relaxed),
            closes: closes.load(Relaxed),
            losses: losses.load(Relaxed),
            lost_bytes: lost_bytes.load(Relaxed),
            abandoned: abandoned.load(Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// A fault that waits for its connection.
struct Armed {
    fault: Fault,
    left: u64,
    happened: oneshot::Sender<()>,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    resets: AtomicU64,
    closes: AtomicU64,
    losses: AtomicU64,
    lost_bytes: AtomicU64,
    abandoned: AtomicU64,
}

struct Shared {
    target: Mutex<SocketAddr>,
    abandoned: Mutex<Vec<TcpStream>>,
    weather: watch::Sender<Weather>,
    everybody: broadcast::Sender<Cut>,
    armed: Mutex<VecDeque<Armed>>,
    counters: Counters,
}

impl Shared {
    fn armed(&self) -> std::sync::MutexGuard<'_, VecDeque<Armed>> {
        self.armed.lock().expect("nobody panics with it")
    }

    /// The first fault that waits for what is said in this direction.
    fn take(&self, direction: Direction, said: &[u8]) -> Option<Armed> {
        let mut armed = self.armed();
        let left = |armed: &Armed| {
            let fault = &armed.fault;
            let place = (fault.direction == direction).then_some(fault.place)?;
            match place {
                Place::Byte(after) => Some(after),
                Place::Text(text) => {
                    let found =
                        said.windows(text.len()).position(|part| part == text.as_bytes())?;
                    let end = match fault.then {
                        Then::Cut(_) => found + text.len(),
                        Then::Lose(_) => found,
                    };
                    Some(wide(end))
                }
            }
        };
        let (place, left) =
            armed.iter().enumerate().find_map(|(place, armed)| Some((place, left(armed)?)))?;
        armed.remove(place).map(|armed| Armed { left, ..armed })
    }

    /// Waits out a black hole.
    async fn clear(&self) {
        let mut weather = self.weather.subscribe();
        // The sender is in `self`, so the wait cannot end otherwise.
        drop(weather.wait_for(|weather| !weather.black_hole).await);
    }

    /// Waits as long as bytes must wait before they go on.
    async fn delay(&self, bytes: usize) {
        self.clear().await;
        let Weather { latency, bytes_per_second, .. } = *self.weather.borrow();
        let bytes = u32::try_from(bytes).expect("a buffer is small");
        let transfer = bytes_per_second.map_or(0.0, |rate| {
            f64::from(bytes) / f64::from(u32::try_from(rate).unwrap_or(u32::MAX))
        });
        let delay = latency + Duration::from_secs_f64(transfer);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.counters.connections.fetch_add(1, Relaxed);
        tokio::spawn(serve(client, Arc::clone(&shared)));
    }
}

/// Carries one connection to its end.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let mut everybody = shared.everybody.subscribe();
    shared.clear().await;
    let target = *shared.target.lock().expect("nobody panics with it");
    let Ok(mut server) = TcpStream::connect(target).await else {
        client.set_zero_linger().unwrap_or_default();
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("it is TCP");
    }
    let cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(Direction::Up, from_client, to_server, &shared);
        let down = pump(Direction::Down, from_server, to_client, &shared);
        tokio::select! {
            cut = both(up, down) => cut,
            Ok(cut) = everybody.recv() => Some(cut),
        }
    };
    match cut {
        Some(Cut::Reset) => {
            shared.counters.resets.fetch_add(1, Relaxed);
            for stream in [&client, &server] {
                stream.set_zero_linger().unwrap_or_default();
            }
        }
        Some(Cut::Close) => {
            shared.counters.closes.fetch_add(1, Relaxed);
            for stream in [&mut client, &mut server] {
                stream.shutdown().await.unwrap_or_default();
            }
        }
        Some(Cut::Abandon) => {
            shared.counters.abandoned.fetch_add(1, Relaxed);
            client.set_zero_linger().unwrap_or_default();
            shared.abandoned.lock().expect("nobody panics with it").push(server);
        }
        None => {}
    }
}

/// Runs both ways until both have ended, or one says how to cut.
async fn both(
    up: impl Future<Output = Option<Cut>>,
    down: impl Future<Output = Option<Cut>>,
) -> Option<Cut> {
    tokio::pin!(up, down);
    let (cut, up_ended) = tokio::select! {
        cut = &mut up => (cut, true),
        cut = &mut down => (cut, false),
    };
    if cut.is_some() {
        return cut;
    }
    let rest = async { if up_ended { down.await } else { up.await } };
    tokio::time::timeout(FAREWELL, rest).await.unwrap_or_default()
}

/// Carries bytes one way; `None` when there are no more.
async fn pump(
    direction: Direction,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
) -> Option<Cut> {
    let mut buffer = vec![0; 16 << 10];
    let mut own: Option<Armed> = None;
    loop {
        let reading = from.read(&mut buffer);
        let read = match own {
            None => reading.await,
            Some(_) => match tokio::time::timeout(SILENCE, reading).await {
                Ok(read) => read,
                Err(_silent) => {
                    shared.armed().extend(own.take());
                    continue;
                }
            },
        };
        let read = read.unwrap_or_default();
        if read == 0 {
            // The fault has not happened: another connection shall have it.
            shared.armed().extend(own);
            to.shutdown().await.unwrap_or_default();
            return None;
        }
        shared.delay(read).await;
        own = own.or_else(|| shared.take(direction, &buffer[..read]));
        let left = own.as_ref().map_or(u64::MAX, |armed| armed.left);
        let passed = usize::try_from(left).unwrap_or(usize::MAX).min(read);
        // Who takes no more may still say something.
        to.write_all(&buffer[..passed]).await.unwrap_or_default();
        let Some(armed) = &mut own else { continue };
        armed.left -= wide(passed);
        let lost = read - passed;
        match armed.fault.then {
            Then::Cut(cut) if armed.left == 0 => {
                own.map(|armed| armed.happened.send(()));
                return Some(cut);
            }
            Then::Lose(delay) if lost > 0 => {
                own.map(|armed| armed.happened.send(()));
                shared.counters.losses.fetch_add(1, Relaxed);
                let count = |lost| {
                    shared.counters.lost_bytes.fetch_add(wide(lost), Relaxed);
                };
                count(lost);
                lose(from, &mut buffer, delay, count).await;
                return Some(Cut::Reset);
            }
            Then::Cut(_) | Then::Lose(_) => {}
        }
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a buffer is small")
}

/// Drops whatever comes, for a while.
async fn lose(mut from: ReadHalf<'_>, buffer: &mut [u8], delay: Duration, count: impl Fn(usize)) {
    let losing = async {
        loop {
            match from.read(buffer).await {
                Ok(0) | Err(_) => return std::future::pending().await,
                Ok(lost) => count(lost),
            }
        }
    };
    let until: Result<(), _> = tokio::time::timeout(delay, losing).await;
    drop(until);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A proxy before a server that sends back what it gets, and a connection through it.
    async fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let target = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.unwrap_or_default();
                });
            }
        });
        let proxy = Proxy::start(target).await;
        let stream = TcpStream::connect(proxy.address()).await.expect("it accepts");
        (proxy, stream)
    }

    async fn exchange(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(text).await?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).await?;
        Ok(back)
    }

    #[tokio::test]
    async fn what_is_not_faulty_passes() {
        let (proxy, mut stream) = echo().await;
        let text = vec![7; 100_000];
        assert_eq!(exchange(&mut stream, &text).await.expect("it passes"), text);
        drop(stream);
        assert_eq!(proxy.counts(), Counts { connections: 1, ..Counts::default() });
    }

    #[tokio::test]
    async fn a_connection_is_cut_at_its_byte_and_the_next_lives() {
        for (cut, direction) in [(Cut::Reset, Direction::Down), (Cut::Close, Direction::Up)] {
            let (proxy, mut stream) = echo().await;
            let happened =
                proxy.arm(Fault { direction, place: Place::Byte(5), then: Then::Cut(cut) });
            assert_eq!(exchange(&mut stream, b"abc").await.expect("3 of 5"), b"abc");
            stream.write_all(b"defgh").await.expect("it is open");
            happened.await.expect("it happens");
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest).await;
            assert!(rest.len() <= 2, "{cut:?}: {rest:?}");
            assert_eq!(ended.is_err(), cut == Cut::Reset, "{cut:?}: {ended:?}");
            let mut next = TcpStream::connect(proxy.address()).await.expect("it accepts");
            assert_eq!(exchange(&mut next, b"xyz").await.expect("it passes"), b"xyz");
        }
    }

    #[tokio::test]
    async fn a_loss_goes_one_way() {
        let (proxy, mut stream) = echo().await;
        let then = Then::Lose(Duration::from_millis(20));
        let happened = proxy.arm(Fault { direction: Direction::Down, place: Place::Byte(2), then });
        stream.write_all(b"abcd").await.expect("it is open");
        happened.await.expect("it happens");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.expect_err("it is reset");
        assert!(got.len() <= 2, "{got:?}");
        let counts = proxy.counts();
        assert_eq!((counts.losses, counts.lost_bytes, counts.resets), (1, 2, 1));
    }

    #[tokio::test]
    async fn a_fault_waits_for_its_text() {
        let (proxy, mut stream) = echo().await;
        let place = Place::Text("abc");
        let then = Then::Lose(Duration::from_millis(20));
        let lost = proxy.arm(Fault { direction: Direction::Down, place, then });
        exchange(&mut stream, b"xyz").await.expect("that is another");
        stream.write_all(b"..abc").await.expect("it is open");
        lost.await.expect("it happens");
        assert_eq!(proxy.counts().lost_bytes, 3);
        let mut next = TcpStream::connect(proxy.address()).await.expect("it accepts");
        let then = Then::Cut(Cut::Reset);
        let cut = proxy.arm(Fault { direction: Direction::Up, place, then });
        exchange(&mut next, b"xyz").await.expect("that is another");
        next.write_all(b"..abc..").await.expect("it is open");
        cut.await.expect("it happens");
    }

    #[tokio::test]
    async fn a_fault_that_found_no_connection_waits_for_the_next() {
        let (proxy, mut stream) = echo().await;
        let place = Place::Byte(10);
        let fault = Fault { direction: Direction::Up, place, then: Then::Cut(Cut::Reset) };
        let happened = proxy.arm(fault);
        exchange(&mut stream, b"abc").await.expect("3 of 10");
        drop(stream);
        let mut next = TcpStream::connect(proxy.address()).await.expect("it accepts");
        exchange(&mut next, b"abcdefghi").await.expect("9 of 10");
        next.write_all(b"j").await.expect("it is open");
        happened.await.expect("it happens");
    }

    #[tokio::test]
    async fn nothing_passes_a_black_hole_until_it_closes() {
        let (proxy, mut stream) = echo().await;
        exchange(&mut stream, b"a").await.expect("it passes");
        proxy.set_weather(Weather { black_hole: true, ..Weather::default() });
        let silent = Duration::from_millis(30);
        tokio::time::timeout(silent, exchange(&mut stream, b"b")).await.expect_err("silence");
        let mut other = TcpStream::connect(proxy.address()).await.expect("it accepts");
        tokio::time::timeout(silent, exchange(&mut other, b"b")).await.expect_err("silence");
        proxy.set_weather(Weather::default());
        let mut byte = [0];
        stream.read_exact(&mut byte).await.expect("it was only late");
        assert_eq!(byte, *b"b");
        assert_eq!(proxy.cut_all(Cut::Reset), 2);
        stream.read_exact(&mut byte).await.expect_err("it is cut");
    }

    #[tokio::test]
    async fn latency_and_throttle_take_their_time() {
        let (proxy, mut stream) = echo().await;
        let latency = Duration::from_millis(20);
        proxy.set_weather(Weather { latency, ..Weather::default() });
        let start = Instant::now();
        exchange(&mut stream, b"a").await.expect("it passes");
        assert!(start.elapsed() >= 2 * latency, "{:?}", start.elapsed());
        proxy.set_weather(Weather { bytes_per_second: Some(100_000), ..Weather::default() });
        let start = Instant::now();
        exchange(&mut stream, &[7; 2_000]).await.expect("it passes");
        assert!(start.elapsed() >= 2 * latency, "{:?}", start.elapsed());
    }
}
