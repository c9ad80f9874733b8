//! A server that reaches its database through the fault proxy.

use super::client::Client;
use super::postgres::Postgres;
use super::proxy::Proxy;
use super::server::Server;

/// The table of idempotency keys.
pub(crate) const KEYS: &str = "create table rowgate_idempotency (caller text not null, \
    key text not null, request_hash bytea not null, response bytea, \
    created_at timestamptz not null default now(), expires_at timestamptz not null, \
    primary key (caller, key))";

/// A database, the proxy before it, and a server on it.
pub(crate) struct Behind {
    /// The database.
    pub(crate) postgres: Postgres,
    /// The way to it.
    pub(crate) proxy: Proxy,
    /// The real binary.
    pub(crate) server: Server,
    /// Asks the server.
    pub(crate) client: Client,
}

impl Behind {
    /// A server with `settings` of its database, lines of TOML, and with environment variables.
    pub(crate) async fn start(
        postgres: Postgres,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let at = (&*postgres.url(), postgres.port());
        let (proxy, server, client) = through_proxy(at, settings, environment).await;
        Self { postgres, proxy, server, client }
    }
}

/// A server on the database of a URL on a port of loopback, through a proxy.
pub(crate) async fn through_proxy(
    (url, port): (&str, u16),
    settings: &str,
    environment: &[(&str, &str)],
) -> (Proxy, Server, Client) {
    let direct = format!("127.0.0.1:{port}");
    let proxy = Proxy::start(direct.parse().expect("it is an address")).await;
    let url = url.replace(&direct, &proxy.address().to_string());
    let configuration = format!("[databases.main]\nurl = \"{url}\"\n{settings}\n");
    let server = Server::start_with(&configuration, environment);
    let client = Client::connect(server.grpc()).await;
    (proxy, server, client)
}
