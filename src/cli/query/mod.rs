//! `rowgate query`: runs a statement, or a file of them, on any Rowgate server and prints the results.

mod batch_file;
mod csv_output;
mod json_output;
mod table_output;
mod value_text;

use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::Exit;
use super::call_failure;
use super::call_failure::Text;
use super::console::{Console, counted};
use super::server_address::{Server, runtime};
use crate::grpc::client::{CallError, Client, ResultStream};
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{AccessMode, QueryOptions, QueryRequest, ResultSet};
use crate::value::{Column, Row, Value};

/// How much longer than `--timeout` an answer may take: the server that keeps it says what became of
/// the statement, so it is given the time to.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// The largest statement read from standard input, in bytes; servers take less.
const MAX_SQL: u64 = 1 << 26;

const EXAMPLES: &str = "\
Parameters are sent as text, which the database reads as whatever type it expects; the two \
characters \\N are NULL.

Formats: `table` is for people. `csv` has a header; NULL is an empty field and the empty text is \
\"\". `json` is one object a line: numeric is a string, json is embedded, bytea is \\x and hex \
digits, repeated column names get a number. csv and json print rows as they come, and nothing but rows.

With --batch the statements of a file, or of standard input for `-`, are run in one transaction: all of \
them are applied, or none is. They end with semicolons and have no parameters. Their results are printed \
in order once all have run; csv puts an empty line between two.

With --key a statement or a batch runs once, however often it is sent: a repetition prints the stored \
result.

Examples:
  rowgate query 'select 1 as one'
  rowgate query 'select * from orders where id = $1 and state = $2' -p 42 -p open
  rowgate query --format csv 'select * from orders' > orders.csv
  rowgate query --read-only --timeout 10s --database reports < report.sql
  rowgate query --key order-4711 'insert into orders values (4711)'
  rowgate query --batch migration.sql --dry-run

Exit status: 0 when all succeeded, 2 when the command line is wrong, else 1; a result after which it is 1 is incomplete.";

/// Run SQL on a server and print its result
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The statement; read from standard input when left out
    sql: Option<String>,
    /// The value of `$1`, as text; repeat it for `$2` …
    ///
    /// SQLite takes it for a number where it meets a column of numbers; elsewhere write
    /// `cast($1 as integer)`.
    #[arg(short, long = "parameter", value_name = "VALUE", allow_hyphen_values = true)]
    parameters: Vec<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    server: Server,
    /// The logical name of the database; the server's default one when left out
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// When the server is to give up, as in `500ms` or `1m 30s`; its own limits when left out
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<Duration>,
    /// Have the database refuse writes
    #[arg(long)]
    read_only: bool,
    /// The idempotency key, 1 to 128 printable ASCII characters
    #[arg(long, conflicts_with_all = ["read_only", "dry_run"])]
    key: Option<String>,
    /// Run the statements of a file in one transaction; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sql", "parameters"])]
    batch: Option<PathBuf>,
    /// Run the batch, then roll it back
    #[arg(long, requires = "batch", conflicts_with = "sql")]
    dry_run: bool,
    /// How much of other transactions the batch sees; the database's default when left out
    #[arg(long, value_name = "LEVEL", value_enum, requires = "batch", conflicts_with = "sql")]
    isolation: Option<batch_file::Isolation>,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}

fn timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(format!("{error}; write it as 500ms, 10s or 1m")),
    }
}

/// Prints a result, part by part.
pub(crate) trait Printer {
    /// Takes the columns, before any row. Not called when the statement returns no rows at all.
    fn columns(&mut self, columns: Vec<Column>, out: &mut dyn Write) -> io::Result<()>;

    /// Prints or keeps a row.
    fn row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()>;

    /// Prints what is still to be printed of a complete result.
    fn finish(&mut self, summary: &Summary, out: &mut dyn Write) -> io::Result<()>;
}

/// How a statement ended.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    has_columns: bool,
    row_count: u64,
    rows_affected: u64,
    command: String,
    /// How often the server ran it; 0 when it does not say.
    attempts: u32,
    /// Whether this is the stored result of an earlier call.
    replayed: bool,
}

impl Summary {
    /// What is worth knowing of the call beyond its result.
    fn notes(&self) -> Vec<String> {
        let attempts = (self.attempts > 1).then(|| counted(self.attempts.into(), "attempt"));
        self.replayed.then(|| "replayed".to_owned()).into_iter().chain(attempts).collect()
    }

    /// `INSERT: 1 row affected`; `None` for a command that changes no rows.
    fn change(&self) -> Option<String> {
        let changes = matches!(self.command.as_str(), "INSERT" | "UPDATE" | "DELETE" | "MERGE");
        (changes || self.rows_affected > 0)
            .then(|| format!("{}: {} affected", self.command, counted(self.rows_affected, "row")))
    }

    /// What to say of a statement that returns no rows.
    fn without_rows(&self) -> String {
        let done = match self.change() {
            Some(change) => change,
            None if self.command.is_empty() => "done".to_owned(),
            None => self.command.clone(),
        };
        match self.notes().join("; ") {
            notes if notes.is_empty() => done,
            notes => format!("{done} ({notes})"),
        }
    }
}

pub(crate) fn run(mut args: Args, console: &mut Console<'_>) -> io::Result<Exit> {
    if let Some(file) = args.batch.take() {
        return batch_file::run(&args, &file, console);
    }
    let sql = match args.sql.take() {
        Some(sql) => sql,
        None => match read_statement(console)? {
            Ok(sql) => sql,
            Err(why) => return console.fail(&why),
        },
    };
    let mut delivered = Summary::default();
    let ended = runtime()?.block_on(async {
        let client = args.connect().await?;
        if args.key.is_some() {
            // What is kept under a key is not streamed.
            let answer = client.query(args.request(&sql)).await?;
            let (attempts, replayed) = (answer.attempts, answer.replayed);
            delivered = Summary { attempts, replayed, ..Summary::default() };
            let result = answer.result.unwrap_or_default();
            return Ok(print_set(result, args.format, &mut delivered, console.out)?);
        }
        let mut stream = client.stream_query(args.request(&sql)).await?;
        print(&mut stream, &mut *args.format.printer(), &mut delivered, console.out).await
    });
    match ended {
        Ok(()) => {
            if !delivered.has_columns {
                say_done(&delivered, args.format, console)?;
            }
            Ok(Exit::Success)
        }
        Err(Stopped::Output(error)) => Err(error),
        Err(Stopped::Call(error)) => {
            console.fail(&call_failure::describe(&error, Some(Text::alone(&sql))))?;
            if delivered.row_count > 0 {
                let rows = counted(delivered.row_count, "row");
                writeln!(console.err, "  the result is incomplete: it failed after {rows}")?;
            }
            Ok(Exit::Failure)
        }
    }
}

/// Says what a statement did that returns no rows: to people. Programs that read JSON or CSV would take
/// it for data.
fn say_done(summary: &Summary, format: Format, console: &mut Console<'_>) -> io::Result<()> {
    let to: &mut dyn Write = if format == Format::Table { console.out } else { console.err };
    writeln!(to, "{}", summary.without_rows())
}

/// Prints a result that came whole, unless the statement returns no rows; `summary` then says what it was.
pub(crate) fn print_set(
    set: ResultSet,
    format: Format,
    summary: &mut Summary,
    out: &mut dyn Write,
) -> io::Result<()> {
    summary.has_columns = set.has_columns;
    summary.row_count = u64::try_from(set.rows.len()).unwrap_or(u64::MAX);
    summary.rows_affected = set.rows_affected;
    summary.command = set.command;
    if !set.has_columns {
        return Ok(());
    }
    let mut printer = format.printer();
    printer.columns(set.columns, out)?;
    for row in &set.rows {
        printer.row(row, out)?;
    }
    printer.finish(summary, out)
}

/// Why printing ended early.
pub(crate) enum Stopped {
    /// The console takes no more.
    Output(io::Error),
    /// The call failed.
    Call(Box<CallError>),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<CallError> for Stopped {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error))
    }
}

/// Prints parts as they come; `summary` says at any time how far it got.
async fn print(
    stream: &mut ResultStream,
    printer: &mut dyn Printer,
    summary: &mut Summary,
    out: &mut dyn Write,
) -> Result<(), Stopped> {
    while let Some(part) = stream.next().await? {
        match part {
            Part::Header(header) => {
                summary.has_columns = header.has_columns;
                if header.has_columns {
                    printer.columns(header.columns, out)?;
                }
            }
            Part::Rows(batch) => {
                for row in &batch.rows {
                    printer.row(row, out)?;
                    summary.row_count += 1;
                }
            }
            Part::Summary(end) => {
                summary.rows_affected = end.rows_affected;
                summary.command = end.command;
                printer.finish(summary, out)?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

impl Format {
    /// What prints a result in this format.
    pub(crate) fn printer(self) -> Box<dyn Printer> {
        match self {
            Self::Table => Box::new(table_output::Table::default()),
            Self::Json => Box::new(json_output::Json::default()),
            Self::Csv => Box::new(csv_output::Csv::default()),
        }
    }
}

impl Args {
    async fn connect(&self) -> Result<Client, CallError> {
        let client = Client::connect(&self.server.address).await?;
        Ok(match self.timeout {
            Some(timeout) => client.with_limit(timeout.saturating_add(ANSWER_TIME)),
            None => client,
        })
    }

    fn access_mode(&self) -> AccessMode {
        if self.read_only { AccessMode::ReadOnly } else { AccessMode::Unspecified }
    }

    /// The options of a query and of a batch.
    fn options(&self) -> QueryOptions {
        QueryOptions {
            timeout: self.timeout.and_then(|timeout| timeout.try_into().ok()),
            idempotency_key: self.key.clone().unwrap_or_default(),
            ..QueryOptions::default()
        }
    }

    fn request(&self, sql: &str) -> QueryRequest {
        QueryRequest {
            database: self.database.clone().unwrap_or_default(),
            sql: sql.to_owned(),
            parameters: self.parameters.iter().map(|text| parameter(text)).collect(),
            options: Some(QueryOptions {
                access_mode: self.access_mode().into(),
                ..self.options()
            }),
        }
    }
}

fn parameter(text: &str) -> Value {
    match text {
        "\\N" => Value::null(),
        text => Value::text(text),
    }
}

/// The outer error is the console's; the inner one says what is wrong with the input.
fn read_statement(console: &mut Console<'_>) -> io::Result<Result<String, String>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        writeln!(console.err, "type a statement, then Ctrl-D at the start of a line")?;
    }
    let mut sql = String::new();
    Ok(match stdin.lock().take(MAX_SQL).read_to_string(&mut sql) {
        Ok(_size) if sql.trim().is_empty() => {
            Err("no statement: give it as an argument or on standard input".to_owned())
        }
        Ok(_size) => Ok(sql),
        Err(error) => Err(format!("standard input cannot be read: {error}")),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::console::tests::on_console;
    use crate::cli::{Cli, Command};
    use crate::grpc::client::tests::server_thread;

    pub(crate) fn parse(arguments: &[&str]) -> Args {
        let all = ["rowgate", "query"].iter().chain(arguments);
        match Cli::try_parse_from(all).unwrap().command {
            Some(Command::Query(args)) => args,
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn parameters_are_text_whatever_they_look_like() {
        let args = parse(&["select $1", "-p", "-5", "-p", "--x", "-p", "\\N", "-p", "", "-pa b"]);
        let request = args.request("select 1");
        let expected = [
            Value::text("-5"),
            Value::text("--x"),
            Value::null(),
            Value::text(""),
            Value::text("a b"),
        ];
        assert_eq!(request.parameters, expected);
    }

    #[test]
    fn options_travel_in_the_request() {
        let args =
            parse(&["--read-only", "--timeout", "1m 30s", "--database", "reports", "select 1"]);
        let request = args.request("select 1");
        let options = request.options.clone().unwrap();
        assert_eq!(request.database, "reports");
        assert_eq!(options.access_mode(), AccessMode::ReadOnly);
        assert_eq!(options.timeout.unwrap().seconds, 90);
        assert_eq!((options.max_rows, options.max_bytes), (0, 0));

        let plain = parse(&["select 1"]).request("select 1");
        assert_eq!((plain.database.as_str(), plain.options), ("", Some(QueryOptions::default())));
    }

    #[test]
    fn wrong_usage_is_refused_with_a_reason() {
        let cases: [(&[&str], &str); 10] = [
            (&["--timeout", "10"], "write it as 500ms, 10s or 1m"),
            (&["--timeout", "0s"], "longer than nothing"),
            (&["--format", "xml"], "possible values: table, json, csv"),
            (&["--address", "https://db:1"], "does not speak TLS yet"),
            (&["select 1", "select 2"], "unexpected argument"),
            (&["--dry-run"], "--batch"),
            (&["select 1", "--isolation", "serializable"], "cannot be used with"),
            (&["--batch", "x", "-p", "1"], "cannot be used with"),
            (&["--batch", "x", "--key", "k", "--dry-run"], "cannot be used with"),
            (&["select 1", "--key", "k", "--read-only"], "cannot be used with"),
        ];
        for (arguments, reason) in cases {
            let all = ["rowgate", "query"].iter().chain(arguments);
            let error = Cli::try_parse_from(all).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_statement_without_a_result_says_what_it_did() {
        let said = |command: &str, rows_affected| {
            Summary { command: command.to_owned(), rows_affected, ..Summary::default() }
                .without_rows()
        };
        assert_eq!(said("INSERT", 1), "INSERT: 1 row affected");
        assert_eq!(said("UPDATE", 0), "UPDATE: 0 rows affected");
        assert_eq!(said("CREATE TABLE", 0), "CREATE TABLE");
        assert_eq!(said("CREATE TABLE AS", 3), "CREATE TABLE AS: 3 rows affected");
        assert_eq!(said("", 0), "done");
        let replayed = Summary { attempts: 2, replayed: true, ..Summary::default() };
        assert_eq!(replayed.without_rows(), "done (replayed; 2 attempts)");
    }

    fn ran(sql: &str, format: &str) -> (Exit, String, String) {
        let address = server_thread().to_string();
        let args = parse(&[sql, "--format", format, "--address", &address]);
        on_console(|console| run(args, console))
    }

    #[test]
    fn a_result_is_printed_in_each_format() {
        for (format, expected) in [
            ("csv", "id\n1\n2\n"),
            ("json", "{\"id\":1}\n{\"id\":2}\n"),
            ("table", "┌────┐\n│ id │\n╞════╡\n│ 1  │\n│ 2  │\n└────┘\n(2 rows)\n"),
        ] {
            let (exit, out, err) = ran("rows", format);
            assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Success, expected, ""));
        }
    }

    #[test]
    fn a_statement_without_a_result_leaves_programs_nothing_to_read() {
        assert_eq!(ran("complete", "csv"), (Exit::Success, String::new(), "done\n".to_owned()));
        assert_eq!(ran("complete", "table"), (Exit::Success, "done\n".to_owned(), String::new()));
    }

    #[test]
    fn rows_before_a_failure_are_said_to_be_incomplete() {
        let (exit, out, err) = ran("rows, then failure", "csv");
        assert_eq!((exit, out.as_str()), (Exit::Failure, "id\n1\n"));
        assert!(err.starts_with("error: duplicate key\n  line 1: rows, then failure\n"), "{err}");
        assert!(err.ends_with("  the result is incomplete: it failed after 1 row\n"), "{err}");
    }

    /// Takes the first line only, as `head -1` does.
    struct Head(bool);

    impl Write for Head {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_ends_the_query() {
        let address = server_thread().to_string();
        let args = parse(&["rows", "--format", "csv", "--address", &address]);
        let (mut out, mut err) = (Head(false), Vec::new());
        let error = run(args, &mut Console::new(&mut out, &mut err)).unwrap_err();
        assert_eq!((error.kind(), err), (io::ErrorKind::BrokenPipe, Vec::new()));
    }
}
