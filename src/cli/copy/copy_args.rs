//! The arguments of `rowgate copy`, and the requests that they make.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgGroup;
use clap::builder::NonEmptyStringValueParser;

use crate::cli::command_error::{CommandError, Result};
use crate::cli::server_flag::Server;
use crate::grpc::client::Client;
use crate::value::proto::{CopyFormat, CopyInStart, CopyOutRequest, CopyTextOptions, QueryOptions};

/// The time beyond `--timeout` that the server has to report the outcome.
const REPORT_TIME: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Into a table all rows of the file are committed, or none: a row that cannot be taken is named by its line. With --header \
the first line says which columns of the table the others are for, in the order of the file; a name that the table does not \
have, or that differs from --columns, is refused. Out of a table, a file gets its name when it is whole: until then it is \
FILE.partial-PID, which is removed if the command is interrupted. Progress is shown on a terminal.

Examples:
  rowgate copy orders --from orders.csv --header
  rowgate copy orders --columns id,price --from - < orders.csv
  rowgate copy orders --schema shop --to orders.txt --format text
  rowgate copy --query 'select * from orders where year = 2026' --to - --header | gzip > orders.csv.gz
  rowgate copy orders --from orders.csv --key load-2026-01
  rowgate copy orders --from orders.arrows --format arrow

Exit status: 0 when all rows are copied, 2 when the command line is wrong, 141 when standard output \
was closed before all was printed, else 1.";

/// Load a file into a table, or a table into a file
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("direction").required(true).args(["from", "to"]))]
#[command(group = ArgGroup::new("source").required(true).args(["table", "query"]))]
pub(crate) struct Args {
    /// The name of the table, exactly as it is stored
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) table: Option<String>,
    /// The file to load; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// The file to write; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// A query whose rows are written, in the place of a table
    #[arg(long, value_name = "SQL", conflicts_with_all = ["from", "columns", "schema"])]
    query: Option<String>,
    /// The columns in the order of the file, as in `id,name`; if omitted those that the file names, else all
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = column)]
    columns: Vec<String>,
    /// The schema of the table; where the session finds it if omitted
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// The format of the file
    #[arg(long, value_enum, default_value_t = FileFormat::Csv)]
    format: FileFormat,
    /// The first line of the file has the names of its columns: they are read, not skipped
    #[arg(long)]
    header: bool,
    /// Replace the FILE of --to if it exists
    #[arg(long, conflicts_with = "from")]
    pub(super) force: bool,
    /// The character between two fields; a comma if omitted, in text a tab
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<String>,
    /// The text that stands for NULL; nothing if omitted, in text `\\N`
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    null: Option<String>,
    #[command(flatten)]
    server: Server,
    /// The logical name of the database; the server's default one if omitted
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    database: Option<String>,
    /// The time limit, as in `500ms` or `1m 30s`; the server's own limit if omitted
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// The idempotency key of the load, 1 to 128 printable ASCII characters
    #[arg(long, conflicts_with = "to")]
    key: Option<String>,
}

/// A column's name without the blanks around it.
fn column(name: &str) -> Result<String, Infallible> {
    Ok(name.trim().to_owned())
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FileFormat {
    /// As PostgreSQL's COPY writes CSV
    Csv,
    /// The text format of PostgreSQL's COPY
    Text,
    /// An Arrow IPC stream, without compression
    Arrow,
}

impl FileFormat {
    fn wire(self) -> i32 {
        match self {
            Self::Csv => CopyFormat::Csv,
            Self::Text => CopyFormat::Text,
            Self::Arrow => CopyFormat::Arrow,
        }
        .into()
    }
}

/// Returns true for a file that stands for a standard stream.
pub(super) fn is_standard(file: &Path) -> bool {
    file.as_os_str() == "-"
}

impl Args {
    /// Refuses flags that the format has no use for.
    pub(super) fn check(&self) -> Result<()> {
        let has_text = self.header || self.delimiter.is_some() || self.null.is_some();
        if has_text && self.format == FileFormat::Arrow {
            let why = "--header, --delimiter and --null are for --format csv and text";
            return Err(CommandError::Usage(why.to_owned()));
        }
        Ok(())
    }

    pub(super) async fn connect(&self) -> Result<Client> {
        let client = self.server.connect().await?;
        Ok(match self.timeout {
            Some(timeout) => client.with_limit(timeout.saturating_add(REPORT_TIME)),
            None => client,
        })
    }

    fn options(&self) -> QueryOptions {
        QueryOptions {
            timeout: self.timeout.and_then(|timeout| timeout.try_into().ok()),
            idempotency_key: self.key.clone().unwrap_or_default(),
            ..QueryOptions::default()
        }
    }

    fn text(&self) -> CopyTextOptions {
        CopyTextOptions {
            delimiter: self.delimiter.clone().unwrap_or_default(),
            null_text: self.null.clone(),
            header: self.header,
            ..CopyTextOptions::default()
        }
    }

    pub(super) fn start(&self) -> CopyInStart {
        CopyInStart {
            database: self.database.clone().unwrap_or_default(),
            schema: self.schema.clone().unwrap_or_default(),
            table: self.table.clone().unwrap_or_default(),
            columns: self.columns.clone(),
            format: self.format.wire(),
            text: Some(self.text()),
            options: Some(self.options()),
        }
    }

    pub(super) fn request(&self) -> CopyOutRequest {
        let CopyInStart { database, schema, table, columns, format, text, options } = self.start();
        let sql = self.query.clone().unwrap_or_default();
        let parameters = Vec::new();
        CopyOutRequest { database, schema, table, columns, sql, parameters, format, text, options }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from(["copy"].iter().chain(words)).map(|line| line.args)
    }

    #[test]
    fn a_copy_has_one_direction_and_one_source() {
        for words in [
            &["t"][..],
            &["--from", "f"],
            &["t", "--from", "f", "--to", "f"],
            &["--query", "select 1", "--from", "f"],
            &["t", "--query", "select 1", "--to", "f"],
            &["t", "--to", "f", "--key", "k"],
            &["t", "--from", "f", "--force"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        assert!(parse(&["--query", "select 1", "--to", "-"]).is_ok());
    }

    #[test]
    fn arrow_has_no_form_of_a_text() {
        let arrow = ["t", "--from", "f", "--format", "arrow"];
        let parsed = |more: &[&str]| parse(&[&arrow, more].concat()).expect("it is valid");
        parsed(&[]).check().expect("it is plain");
        assert_eq!(parsed(&[]).start().format(), CopyFormat::Arrow);
        for more in [&["--header"][..], &["--null", "-"], &["--delimiter", ";"]] {
            assert!(matches!(parsed(more).check(), Err(CommandError::Usage(_))), "{more:?}");
        }
    }

    #[test]
    fn flags_are_part_of_the_request() {
        let words = [
            "t",
            "--from",
            "-",
            "--columns",
            "a, b",
            "--format",
            "text",
            "--header",
            "--null",
            "-",
            "--delimiter",
            ";",
            "--schema",
            "s",
            "--database",
            "d",
            "--key",
            "k",
            "--timeout",
            "2s",
        ];
        let start = parse(&words).expect("it is valid").start();
        let text = start.text.clone().expect("it is sent");
        let options = start.options.clone().expect("they are sent");
        assert_eq!((start.database.as_str(), start.schema.as_str()), ("d", "s"));
        assert_eq!((start.table.as_str(), start.columns.join(" ").as_str()), ("t", "a b"));
        assert_eq!(start.format(), CopyFormat::Text);
        assert_eq!((text.delimiter.as_str(), text.null_text.as_deref()), (";", Some("-")));
        assert!(text.header);
        assert_eq!(options.idempotency_key, "k");
        assert_eq!(options.timeout.map(|timeout| timeout.seconds), Some(2));
    }
}
