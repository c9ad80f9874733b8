//! The server and the database that the prompt works with.

use std::sync::Arc;
use std::time::Duration;

use super::sql_args::Args;
use crate::cli::command_error::{CommandError, Result};
use crate::cli::query::{RESPONSE_TIME, dialect_of};
use crate::grpc::client::{CallError, Client};
use crate::sql::Dialect;
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{
    AccessMode, Begin, DatabaseInfo, GetServerInfoResponse, QueryOptions, QueryRequest, Setting,
    TransactQuery, TransactionOptions,
};
use crate::value::{Kind, Value};

/// The server, and the options of every call.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    timeout: Option<Duration>,
    settings: Vec<Setting>,
    read_only: bool,
    pub(super) database: CurrentDatabase,
    /// The logical names of the server's databases; none where the caller may not ask for them.
    pub(super) databases: Arc<[String]>,
}

/// The database that statements run on.
#[derive(Debug, Clone)]
pub(super) struct CurrentDatabase {
    /// The logical name; empty for the default one of a server that does not tell its name.
    pub(super) name: String,
    pub(super) dialect: Dialect,
    /// The engine and its version, if they are known.
    pub(super) engine: String,
}

impl Connection {
    /// Connects, and finds out what the database is.
    pub(super) async fn open(args: &Args) -> Result<Self> {
        let client = args.server.connect().await?;
        let database = CurrentDatabase {
            name: args.database.clone().unwrap_or_default(),
            dialect: Dialect::Postgres,
            engine: String::new(),
        };
        let mut connection = Self {
            client,
            timeout: args.timeout,
            settings: args.settings.clone(),
            read_only: args.read_only,
            database,
            databases: Arc::default(),
        };
        let name = connection.database.name.clone();
        connection.use_database(&name).await?;
        Ok(connection)
    }

    /// Uses another database; the default one for an empty name.
    pub(super) async fn use_database(&mut self, name: &str) -> Result<()> {
        let Some(info) = self.server_info().await? else {
            self.database = self.asked(name).await?;
            return Ok(());
        };
        let name = if name.is_empty() { &info.default_database } else { name };
        let found = info.databases.iter().find(|database| database.name == name);
        let Some(found) = found else {
            let known: Vec<_> = info.databases.iter().map(|database| &*database.name).collect();
            let why = format!(
                "there is no database {name:?}\n  hint: The server has {}.",
                known.join(", ")
            );
            return Err(CommandError::Failed(why));
        };
        self.database = CurrentDatabase {
            name: found.name.clone(),
            dialect: dialect_of(&found.backend),
            engine: engine(found),
        };
        self.databases = info.databases.iter().map(|database| database.name.clone()).collect();
        Ok(())
    }

    /// Returns what the server tells of itself; `None` for a caller that may not ask.
    pub(super) async fn server_info(&self) -> Result<Option<GetServerInfoResponse>, CallError> {
        match self.limited().server_info().await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.code == "PERMISSION_DENIED" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds out what a database is by a query, of which SQLite lacks the function.
    async fn asked(&self, name: &str) -> Result<CurrentDatabase, CallError> {
        let name = name.to_owned();
        let request =
            QueryRequest { database: name.clone(), ..self.question("select version()", &[]) };
        let version = match self.first_text(request).await {
            Ok(version) => version,
            Err(error) if error.reason.as_deref() == Some("UNDEFINED_FUNCTION") => {
                "SQLite".to_owned()
            }
            Err(error) => return Err(error),
        };
        let dialect = match &*version {
            "SQLite" => Dialect::Sqlite,
            version if version.starts_with(|c: char| c.is_ascii_digit()) => Dialect::Mysql,
            _ => Dialect::Postgres,
        };
        Ok(CurrentDatabase { name, dialect, engine: version })
    }

    /// Returns the first value of the last rows of a question.
    pub(super) async fn first_text(&self, request: QueryRequest) -> Result<String, CallError> {
        let mut text = String::new();
        let mut stream = self.limited().stream_query(request).await?;
        while let Some(part) = stream.next().await? {
            let Part::Rows(batch) = part else { continue };
            let value = batch.rows.first().and_then(|row| row.values.first());
            if let Some(Kind::TextValue(value)) = value.and_then(|value| value.kind.as_ref()) {
                text.clone_from(value);
            }
        }
        Ok(text)
    }

    /// The client for a call of now.
    pub(super) fn limited(&self) -> Client {
        let client = self.client.clone();
        match self.timeout {
            Some(timeout) => client.with_limit(timeout.saturating_add(RESPONSE_TIME)),
            None => client,
        }
    }

    /// The request of a statement outside of a transaction.
    pub(super) fn query(&self, sql: &str) -> QueryRequest {
        QueryRequest {
            database: self.database.name.clone(),
            sql: sql.to_owned(),
            parameters: Vec::new(),
            options: Some(QueryOptions {
                access_mode: self.access_mode().into(),
                settings: self.settings.clone(),
                ..self.options()
            }),
        }
    }

    /// The request of a statement that asks about the database and changes nothing.
    pub(super) fn question(&self, sql: &str, parameters: &[&str]) -> QueryRequest {
        let mut request = self.query(sql);
        request.parameters = parameters.iter().map(|&text| Value::text(text)).collect();
        if let Some(options) = &mut request.options {
            options.access_mode = AccessMode::ReadOnly.into();
        }
        request
    }

    /// The same within a transaction.
    pub(super) fn transact_query(&self, sql: &str, parameters: &[&str]) -> TransactQuery {
        let parameters = parameters.iter().map(|&text| Value::text(text)).collect();
        TransactQuery { sql: sql.to_owned(), parameters, options: Some(self.options()) }
    }

    /// The request of a transaction.
    pub(super) fn begin(&self, mut options: TransactionOptions) -> Begin {
        if self.read_only {
            options.access_mode = AccessMode::ReadOnly.into();
        }
        Begin {
            database: self.database.name.clone(),
            transaction: Some(options),
            settings: self.settings.clone(),
            ..Begin::default()
        }
    }

    /// The client for a transaction, whose calls have no limit together.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn access_mode(&self) -> AccessMode {
        if self.read_only { AccessMode::ReadOnly } else { AccessMode::Unspecified }
    }

    fn options(&self) -> QueryOptions {
        let timeout = self.timeout.and_then(|timeout| timeout.try_into().ok());
        QueryOptions { timeout, ..QueryOptions::default() }
    }
}

/// The name of an engine for people; its backend's before it was reached.
pub(super) fn engine(database: &DatabaseInfo) -> String {
    if database.engine.is_empty() { database.backend.clone() } else { database.engine.clone() }
}
