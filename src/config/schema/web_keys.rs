//! The keys of calls without gRPC: `grpc.web.*`.

use std::time::Duration;

use super::section::*;

section! {
    /// Calls without gRPC on the port of the services: Connect and gRPC-Web, over HTTP/1.1 and HTTP/2. docs/HTTP.md shows them.
    #[derive(Debug, Clone)]
    pub struct GrpcWeb in "grpc.web" (reader) {
        /// Serve them. Without it the port speaks gRPC alone.
        enabled: bool = Bool, "true";
        /// The origins whose pages may call from a browser, as browsers write them: `["https://app.example.com"]`. A request
        /// with any other origin is refused before it runs, also one of gRPC itself, and gets no leave by CORS.
        allowed_origins: Vec<String> = Origins, "none" => Vec::new();
        /// Serve the methods that only read, and Query in a READ_ONLY transaction, by GET. The statement and its parameters
        /// are then part of the URL, which proxies log.
        get: bool = Bool, "false";
        /// The names that a GET may have for this server in its header Host, without ports; addresses and `localhost` are
        /// always allowed. A page of another site may have sent a GET by any other name (DNS rebinding).
        allowed_hosts: Vec<String> = Names, "no names" => Vec::new();
        /// The time within which the head of a request over HTTP/1.1 must arrive, on an idle connection too.
        header_timeout: Duration = Duration("100ms", "1h"), "30s";
    }
}
