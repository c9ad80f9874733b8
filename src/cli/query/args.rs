//! The arguments of `rowgate query`, and the requests that they make.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;

use super::format::Format;
use crate::cli::command_error::Result;
use crate::cli::console::counted;
use crate::cli::server_flag::Server;
use crate::engine::{KEY_RULE, is_key};
use crate::grpc::client::Client;
use crate::value::Value;
use crate::value::proto::{
    AccessMode, IsolationLevel, QueryOptions, QueryRequest, ResultFormat, Setting,
};
use crate::wire_size::widen;

/// The time beyond `--timeout` that the server has to report the outcome of the statement.
pub(crate) const RESPONSE_TIME: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Parameters are sent as text, which the database converts to the type that it expects; the two \
characters \\N are NULL.

Formats: `table` is for people. `csv` has a header; NULL is an empty field and the empty text is \
\"\". `json` is one object a line: numeric is a string, json is embedded, bytea is \\x and hex \
digits, repeated column names get a number. csv and json print rows as they arrive, and nothing but rows. \
`arrow` is an Arrow IPC stream, for a file or a program: pyarrow, Polars, DuckDB.

With --batch the statements of a file, or of standard input for `-`, are run in one transaction: all of \
them are applied, or none. They end with semicolons and have no parameters. Their results are printed \
in order once all have run; csv puts an empty line between two.

With --key a statement or a batch runs once, however often it is sent: a retry prints the stored result.

Examples:
  rowgate query 'select 1 as one'
  rowgate query 'select * from orders where id = $1 and state = $2' -p 42 -p open
  rowgate query --format csv 'select * from orders' > orders.csv
  rowgate query --format arrow 'select * from orders' > orders.arrows
  rowgate query --read-only --timeout 10s --database reports < report.sql
  rowgate query --setting work_mem=256MB --format csv 'select * from report' > report.csv
  rowgate query --key order-4711 'insert into orders values (4711)'
  rowgate query --batch migration.sql --dry-run

Exit status: 0 when all succeeded, 2 when the command line is wrong, 141 when standard output was closed before all was \
printed, else 1; a result is then incomplete.";

/// Run SQL on a server and print its result
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The statement; read from standard input if omitted
    pub(crate) sql: Option<String>,
    /// The value of `$1`, as text; repeat it for `$2` …
    ///
    /// SQLite converts it to a number where it is compared with a column of numbers; elsewhere write
    /// `cast($1 as integer)`.
    #[arg(short, long = "parameter", value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) parameters: Vec<String>,
    /// The output format
    #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
    pub(crate) format: QueryFormat,
    #[command(flatten)]
    pub(crate) server: Server,
    /// The logical name of the database; the server's default one if omitted
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) database: Option<String>,
    /// The time limit, as in `500ms` or `1m 30s`; the server's own limits if omitted
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub(crate) timeout: Option<Duration>,
    /// A setting of PostgreSQL's for this call alone; repeat it for more. The server must allow it
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) settings: Vec<Setting>,
    /// Have the database refuse writes
    #[arg(long)]
    pub(crate) read_only: bool,
    /// The idempotency key, 1 to 128 printable ASCII characters
    #[arg(long, value_parser = key, conflicts_with_all = ["read_only", "dry_run"])]
    pub(crate) key: Option<String>,
    /// Run the statements of a file in one transaction; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sql", "parameters"])]
    pub(crate) batch: Option<PathBuf>,
    /// Run the batch, then roll it back
    #[arg(long, requires = "batch", conflicts_with = "sql")]
    pub(crate) dry_run: bool,
    /// The isolation level of the batch; the database's default if omitted
    #[arg(long, value_name = "LEVEL", value_enum, requires = "batch", conflicts_with = "sql")]
    pub(crate) isolation: Option<Isolation>,
}

/// The format of a query's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum QueryFormat {
    Table,
    Json,
    Csv,
    Arrow,
}

impl QueryFormat {
    /// The format in which rows are printed; `None` for bytes that are passed on.
    pub(crate) fn printed(self) -> Option<Format> {
        match self {
            Self::Table => Some(Format::Table),
            Self::Json => Some(Format::Json),
            Self::Csv => Some(Format::Csv),
            Self::Arrow => None,
        }
    }
}

/// The isolation level of a batch, with the numbers of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[repr(i32)]
pub(crate) enum Isolation {
    ReadCommitted = IsolationLevel::ReadCommitted as i32,
    RepeatableRead = IsolationLevel::RepeatableRead as i32,
    Serializable = IsolationLevel::Serializable as i32,
}

/// Checks a key: on the wire an empty one is none, and a repeated statement would run again.
fn key(text: &str) -> Result<String, String> {
    let refused = || format!("{KEY_RULE}; this one has {}", counted(widen(text.len()), "byte"));
    is_key(text).then(|| text.to_owned()).ok_or_else(refused)
}

/// Reads `NAME=VALUE`.
pub(crate) fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("there is no = behind the name")?;
    Ok(Setting { name: name.trim().to_owned(), value: value.to_owned() })
}

/// Reads a time limit, which is not zero.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(format!("{error}; write it as 500ms, 10s or 1m")),
    }
}

impl Args {
    pub(crate) async fn connect(&self) -> Result<Client> {
        let client = self.server.connect().await?;
        Ok(match self.timeout {
            Some(timeout) => client.with_limit(timeout.saturating_add(RESPONSE_TIME)),
            None => client,
        })
    }

    pub(crate) fn access_mode(&self) -> AccessMode {
        if self.read_only { AccessMode::ReadOnly } else { AccessMode::Unspecified }
    }

    /// The options of a query and of a batch.
    pub(crate) fn options(&self) -> QueryOptions {
        QueryOptions {
            timeout: self.timeout.and_then(|timeout| timeout.try_into().ok()),
            idempotency_key: self.key.clone().unwrap_or_default(),
            settings: self.settings.clone(),
            ..QueryOptions::default()
        }
    }

    fn wire_format(&self) -> i32 {
        let format = self.format.printed().map(|_printed| ResultFormat::Unspecified);
        format.unwrap_or(ResultFormat::Arrow).into()
    }

    pub(crate) fn request(&self, sql: &str) -> QueryRequest {
        let access_mode = self.access_mode().into();
        let parameter =
            |text: &String| if text == "\\N" { Value::null() } else { Value::text(text) };
        QueryRequest {
            database: self.database.clone().unwrap_or_default(),
            sql: sql.to_owned(),
            parameters: self.parameters.iter().map(parameter).collect(),
            options: Some(QueryOptions {
                access_mode,
                format: self.wire_format(),
                ..self.options()
            }),
        }
    }
}
