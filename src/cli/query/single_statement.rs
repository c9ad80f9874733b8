//! Runs one statement and prints its result.

use std::io::{self, IsTerminal as _, Read as _, Write};

use super::args::Args;
use super::format::{Format, print_set, print_without_rows};
use super::printer::{Printer, Summary};
use crate::cli::command_error::{CommandError, Result, Text, describe};
use crate::cli::console::{Console, Exit, counted};
use crate::cli::server_flag::block_on;
use crate::error::Outcome;
use crate::grpc::client::ResultStream;
use crate::value::proto::stream_query_response::Part;
use crate::value::{Column, Row};

/// The size limit of a statement from standard input, in bytes; servers accept less.
const MAX_SQL: u64 = 1 << 26;

pub(crate) fn run(mut args: Args, console: &mut Console<'_>) -> Result<Exit> {
    let sql = match args.sql.take() {
        Some(sql) => sql,
        None => read_statement(console)?,
    };
    check(&sql)?;
    let format = output_format(&args, console)?;
    let mut summary = Summary::default();
    let ended = block_on(async {
        let client = args.connect().await?;
        let request = args.request(&sql);
        if args.key.is_some() {
            // A result that is stored under a key is not streamed.
            let response = client.query(request).await?;
            summary.attempts = response.attempts;
            summary.replayed = response.replayed;
            summary.is_whole = true;
            let result = response.result.unwrap_or_default();
            print_set(result, format, &mut summary, console)?;
            console.out.flush()?;
            return Ok(Exit::Success);
        }
        let mut stream = client.stream_query(request).await?;
        let mut printer: Box<dyn Printer> = match args.format.printed() {
            Some(format) => format.printer(console),
            None => Box::new(PassedOn),
        };
        print_stream(&mut stream, &mut *printer, &mut summary, console.out).await?;
        if !summary.has_columns {
            print_without_rows(&summary, format, console)?;
            console.out.flush()?;
        }
        Ok(Exit::Success)
    });
    let outcome = if summary.is_whole { Outcome::Applied } else { Outcome::Unknown };
    let ended = if args.read_only { ended } else { ended.map_err(|error| error.behind(outcome)) };
    let Err(CommandError::Call(error)) = ended else { return ended };
    console.fail(&describe(&error, Some(Text::alone(&sql))))?;
    if summary.row_count > 0 {
        let rows = counted(summary.row_count, "row");
        writeln!(console.err, "  the result is incomplete: it failed after {rows}")?;
    }
    Ok(Exit::Failure)
}

/// The printer of a result whose bytes are passed on as they come.
struct PassedOn;

impl Printer for PassedOn {
    fn columns(&mut self, _columns: Vec<Column>, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, _row: &Row, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// The format of what is printed: beside bytes for a program only what is for people.
fn output_format(args: &Args, console: &Console<'_>) -> Result<Format> {
    if let Some(format) = args.format.printed() {
        return Ok(format);
    }
    let why = if console.is_terminal {
        "--format arrow writes bytes that are no text: send them to a file or a program, as in > result.arrows"
    } else if args.key.is_some() {
        "--format arrow cannot be used with --key: only rows are stored under a key"
    } else {
        return Ok(Format::Csv);
    };
    Err(CommandError::Usage(why.to_owned()))
}

/// Prints parts as they arrive, and keeps the summary up to date.
pub(crate) async fn print_stream(
    stream: &mut ResultStream,
    printer: &mut dyn Printer,
    summary: &mut Summary,
    out: &mut dyn Write,
) -> Result<()> {
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
            Part::Arrow(bytes) => out.write_all(&bytes)?,
            // Nobody has asked for it.
            Part::Json(_) => {}
            Part::Summary(end) => {
                summary.is_whole = true;
                summary.rows_affected = end.rows_affected;
                summary.command = end.command;
                if summary.has_columns {
                    printer.finish(summary, out)?;
                }
            }
        }
        out.flush()?;
    }
    Ok(())
}

fn read_statement(console: &mut Console<'_>) -> Result<String> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        writeln!(console.err, "type a statement, then Ctrl-D at the start of a line")?;
    }
    let mut sql = String::new();
    match stdin.lock().take(MAX_SQL).read_to_string(&mut sql) {
        Ok(_size) => Ok(sql),
        Err(error) => Err(CommandError::Failed(format!("standard input cannot be read: {error}"))),
    }
}

/// Refuses what is not SQL in any dialect.
fn check(sql: &str) -> Result<()> {
    let sql = sql.trim();
    if sql.is_empty() {
        let why = "no statement: give it as an argument or on standard input";
        return Err(CommandError::Usage(why.to_owned()));
    }
    // psql's own files start with one.
    if sql.starts_with('\\') {
        let command = sql.split_ascii_whitespace().next().unwrap_or_default();
        let why =
            format!("{command} is a command of psql, not SQL; a file of statements needs --batch");
        return Err(CommandError::Usage(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;
    use crate::cli::query::tests::parse;
    use crate::cli::tests::on_console;
    use crate::grpc::client::tests::server_thread;
    use crate::value::Value;
    use crate::value::proto::{AccessMode, QueryOptions};

    #[test]
    fn parameters_are_sent_as_text() {
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
    fn options_are_part_of_the_request() {
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
    fn wrong_usage_is_rejected_with_a_reason() {
        let cases: [(&[&str], &str); 16] = [
            (&["--timeout", "10"], "write it as 500ms, 10s or 1m"),
            (&["--timeout", "0s"], "longer than nothing"),
            (&["--format", "xml"], "possible values: table, json, csv, arrow"),
            (&["--address", "ftp://db:1"], "must be http://, https:// or unix:"),
            (&["select 1", "--cert", "x"], "--cert-key"),
            (&["select 1", "--token", "rg_a_b"], "unexpected argument"),
            (&["select 1", "select 2"], "unexpected argument"),
            (&["--dry-run"], "--batch"),
            (&["select 1", "--isolation", "serializable"], "cannot be used with"),
            (&["--batch", "x", "-p", "1"], "cannot be used with"),
            (&["--batch", "x", "--key", "k", "--dry-run"], "cannot be used with"),
            (&["select 1", "--key", "k", "--read-only"], "cannot be used with"),
            (
                &["select 1", "--key", ""],
                "1 to 128 printable ASCII characters; this one has 0 bytes",
            ),
            (&["select 1", "--key", &"k".repeat(129)], "this one has 129 bytes"),
            (&["select 1", "--key", "ü"], "1 to 128 printable ASCII characters"),
            (&["select 1", "--database", ""], "a value is required"),
        ];
        for (arguments, reason) in cases {
            let all = ["rowgate", "query"].iter().chain(arguments);
            let error = Cli::try_parse_from(all).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_statement_that_is_none_is_wrong_usage() {
        for (sql, why) in [
            ("", "error: no statement"),
            (" \n", "error: no statement"),
            ("\\dt orders", "error: \\dt is a command of psql, not SQL"),
        ] {
            let (exit, out, err) = ran(sql, "csv");
            assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
            assert!(err.starts_with(why), "{err}");
        }
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
    fn arrow_goes_to_programs_only() {
        let args = parse(&["rows", "--format", "arrow", "--address", "127.0.0.1:1"]);
        let mut console = Console { out: &mut io::sink(), is_terminal: true, err: &mut io::sink() };
        let error = run(args, &mut console).unwrap_err();
        let CommandError::Usage(why) = error else { panic!("{error:?}") };
        assert!(why.contains("a file or a program"), "{why}");
        let args = parse(&["rows", "--format", "arrow", "--key", "k"]);
        let mut console = Console { is_terminal: false, ..console };
        let error = run(args, &mut console).unwrap_err();
        let CommandError::Usage(why) = error else { panic!("{error:?}") };
        assert!(why.contains("--key"), "{why}");
    }

    #[test]
    fn a_statement_without_rows_prints_nothing_for_programs() {
        assert_eq!(ran("complete", "csv"), (Exit::Success, String::new(), "done\n".to_owned()));
        assert_eq!(ran("complete", "table"), (Exit::Success, "done\n".to_owned(), String::new()));
    }

    #[test]
    fn a_result_that_failed_after_rows_is_called_incomplete() {
        let (exit, out, err) = ran("rows, then failure", "csv");
        assert_eq!((exit, out.as_str()), (Exit::Failure, "id\n1\n"));
        assert!(err.starts_with("error: duplicate key\n  line 1: rows, then failure\n"), "{err}");
        assert!(err.ends_with("  the result is incomplete: it failed after 1 row\n"), "{err}");
    }

    /// A writer that fails after the first line, as with `head -1`.
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
    fn a_closed_pipe_ends_the_query() {
        let address = server_thread().to_string();
        let args = parse(&["rows", "--format", "csv", "--address", &address]);
        let mut out = Head(false);
        let mut err = Vec::new();
        let error = run(args, &mut Console { out: &mut out, is_terminal: false, err: &mut err })
            .unwrap_err();
        let CommandError::Output(error) = error else { panic!("{error:?}") };
        assert_eq!((error.kind(), err), (io::ErrorKind::BrokenPipe, Vec::new()));
    }
}
