//! Databases, servers and clients for the tests. Knows no test.

pub(crate) mod balancer;
pub(crate) mod behind;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod copies;
pub(crate) mod galera;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod mariadb;
pub(crate) mod pgbouncer;
pub(crate) mod pools;
pub(crate) mod postgres;
mod private_server;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod provider;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod rewriting;
pub(crate) mod server;
mod standby;
pub(crate) mod terminal;
pub(crate) mod unit;
pub(crate) mod wait;
pub(crate) mod web;

use client::Client;
use mariadb::Mariadb;
use postgres::Postgres;
use server::Server;

/// The kind of database behind a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The embedded SQLite.
    Sqlite,
    /// A private PostgreSQL.
    Postgres,
    /// A private MariaDB, or the MySQL that `ROWGATE_MYSQLD` names.
    Mariadb,
}

/// A database, a server on it and a client of the server.
pub(crate) struct Service {
    /// The kind of database.
    pub(crate) backend: Backend,
    /// Asks the server.
    pub(crate) client: Client,
    /// The real binary.
    pub(crate) server: Server,
    /// The database, when it is PostgreSQL.
    postgres: Option<Postgres>,
    /// The database, when it is MariaDB or MySQL.
    mariadb: Option<Mariadb>,
}

impl Service {
    /// A service with the default configuration.
    pub(crate) async fn start(backend: Backend) -> Self {
        Self::with(backend, "").await
    }

    /// A service whose database `main` has `settings` too, lines of TOML, and further tables after them.
    pub(crate) async fn with(backend: Backend, settings: &str) -> Self {
        Self::with_environment(backend, settings, &[]).await
    }

    /// The same, with environment variables.
    pub(crate) async fn with_environment(
        backend: Backend,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        match backend {
            Backend::Sqlite => Self::on_sqlite(settings, environment).await,
            Backend::Postgres => Self::on_with(Postgres::start(), settings, environment).await,
            Backend::Mariadb => Self::on_mariadb(Mariadb::start(), settings, environment).await,
        }
    }

    /// A service on a PostgreSQL that runs already.
    pub(crate) async fn on(postgres: Postgres, settings: &str) -> Self {
        Self::on_with(postgres, settings, &[]).await
    }

    /// The same, with environment variables.
    pub(crate) async fn on_with(
        postgres: Postgres,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let server = Server::start_with(&database(&postgres.url(), settings), environment);
        let client = Client::connect(server.grpc()).await;
        let postgres = Some(postgres);
        Self { backend: Backend::Postgres, client, server, postgres, mariadb: None }
    }

    /// A service on a MariaDB that runs already, with environment variables.
    pub(crate) async fn on_mariadb(
        mariadb: Mariadb,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let server = Server::start_with(&database(&mariadb.url(), settings), environment);
        let client = Client::connect(server.grpc()).await;
        let mariadb = Some(mariadb);
        Self { backend: Backend::Mariadb, client, server, postgres: None, mariadb }
    }

    /// A service on a PostgreSQL that runs already, over its socket.
    pub(crate) async fn on_socket(postgres: Postgres, settings: &str) -> Self {
        let server = Server::start(&database(&postgres.socket_url(), settings));
        let client = Client::connect(server.grpc()).await;
        let postgres = Some(postgres);
        Self { backend: Backend::Postgres, client, server, postgres, mariadb: None }
    }

    async fn on_sqlite(settings: &str, environment: &[(&str, &str)]) -> Self {
        let server = Server::start_with(&database("sqlite:test.db", settings), environment);
        let client = Client::connect(server.grpc()).await;
        Self { backend: Backend::Sqlite, client, server, postgres: None, mariadb: None }
    }

    /// The PostgreSQL below.
    pub(crate) fn postgres(&self) -> &Postgres {
        self.postgres.as_ref().expect("the service stands on PostgreSQL")
    }

    /// The PostgreSQL below, to stop it and to start it.
    pub(crate) fn postgres_mut(&mut self) -> &mut Postgres {
        self.postgres.as_mut().expect("the service stands on PostgreSQL")
    }

    /// The PostgreSQL below, for itself: it outlives the server then.
    pub(crate) fn take_postgres(&mut self) -> Postgres {
        self.postgres.take().expect("the service stands on PostgreSQL")
    }

    /// The MariaDB or MySQL below.
    pub(crate) fn mariadb(&self) -> &Mariadb {
        self.mariadb.as_ref().expect("the service stands on MariaDB")
    }

    /// The MariaDB or MySQL below, to stop it and to start it.
    pub(crate) fn mariadb_mut(&mut self) -> &mut Mariadb {
        self.mariadb.as_mut().expect("the service stands on MariaDB")
    }

    /// One of three, by the backend: where the databases' own words differ.
    pub(crate) fn pick<T>(&self, sqlite: T, postgres: T, mariadb: T) -> T {
        match self.backend {
            Backend::Sqlite => sqlite,
            Backend::Postgres => postgres,
            Backend::Mariadb => mariadb,
        }
    }

    /// Makes the table of idempotency keys, as an operator does. SQLite's makes itself.
    pub(crate) fn install_keys(&self) {
        let url = match self.backend {
            Backend::Sqlite => return,
            Backend::Postgres => self.postgres().url(),
            Backend::Mariadb => self.mariadb().url(),
        };
        let install = ["idempotency", "install", "--database-url", &url];
        let installed = server::run(self.server.directory(), &install, &[]);
        assert!(installed.status.success(), "{installed:?}");
    }
}

/// The configuration of one database, `main`.
fn database(url: &str, settings: &str) -> String {
    format!("[databases.main]\nurl = \"{url}\"\n{settings}\n")
}
