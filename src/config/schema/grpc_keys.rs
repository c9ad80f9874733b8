//! `grpc.*` and `stream.*`: the listener for services.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::super::source;
use super::section::*;

section! {
    /// The listener for services.
    #[derive(Debug, Clone)]
    pub struct Grpc in "grpc" (reader) {
        /// The address where services connect. An address beyond loopback needs `--insecure`, because
        /// callers are not authenticated.
        listen: SocketAddr = Address, "127.0.0.1:50051";
        /// The largest message that is received.
        max_request_size: usize = Size("1KiB", "1GiB"), "4MiB";
        /// The largest message that is sent.
        max_response_size: usize = Size("512KiB", "1GiB"), "4MiB";
        /// Concurrent calls on one connection.
        max_concurrent_streams: u32 = Integer(1, 65_535), "200";
        /// Concurrent connections. A further one gets GOAWAY, "too many connections", and is closed.
        max_connections: usize = Integer(1, 1_000_000), "10000";
        /// The time without data after which a connection is pinged.
        keepalive_interval: Duration = Duration("1s", "1h"), "20s";
        /// The time to wait for the answer to a ping before the connection is closed.
        keepalive_timeout: Duration = Duration("1s", "1h"), "10s";
        /// The time within which a new connection must send the preface of HTTP/2.
        preface_timeout: Duration = Duration("100ms", "1h"), "10s";
        /// The age, ± 10 %, at which a connection gets GOAWAY, so that clients spread over new replicas.
        /// Its calls in progress are completed.
        max_connection_age: Duration = Duration("1s", "24h"), "30m";
        /// The size of all headers of one request. A larger request gets HTTP 431.
        max_header_size: u32 = Size("1KiB", "1MiB"), "16KiB";
        /// Server reflection: clients such as grpcurl may list the services.
        reflection: bool = Bool, "true";
        /// Single-threaded runtimes that serve connections.
        workers: NonZeroUsize = Integer(1, 256), "one for each core" => source::cores();
    }
}

section! {
    /// Streamed results.
    #[derive(Debug, Clone)]
    pub struct Stream in "stream" (reader) {
        /// The time after which a stream is ended whose reader takes nothing.
        stall_timeout: Duration = Duration("100ms", "1h"), "10s";
    }
}
