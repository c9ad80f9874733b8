//! `rowgate query --batch FILE`: the statements of a file in one transaction.

use std::fs::File;
use std::io;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use super::{Args, Format, MAX_SQL, Stopped, Summary, print_set, say_done};
use crate::cli::Exit;
use crate::cli::call_failure;
use crate::cli::call_failure::Text;
use crate::cli::console::{Console, counted, visible};
use crate::cli::server_address::runtime;
use crate::grpc::client::{CallError, Client};
use crate::sql::{Dialect, SplitStatement, split_statements};
use crate::value::proto::{
    BatchStatement, ExecuteBatchRequest, ExecuteBatchResponse, IsolationLevel, TransactionOptions,
};

/// How much of other transactions a batch sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// Why a batch was not applied, or not printed.
enum Failed {
    /// Its text is no list of statements.
    Text(String),
    Stopped(Stopped),
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self::Stopped(error.into())
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Stopped(error.into())
    }
}

pub(crate) fn run(args: &Args, file: &Path, console: &mut Console<'_>) -> io::Result<Exit> {
    let text = match read(file, console)? {
        Ok(text) => text,
        Err(why) => return console.fail(&visible(&why)),
    };
    let mut pieces = Vec::new();
    let ended = runtime()?.block_on(async {
        let client = args.connect().await?;
        // Both databases quote in ways that the other does not know: where statements end depends on it.
        let dialect = dialect(&client, args.database.as_deref()).await?;
        let split = split_statements(&text, dialect).map_err(|unterminated| {
            Failed::Text(format!("line {}: {} does not end", unterminated.line, unterminated.what))
        });
        pieces = split?;
        if pieces.is_empty() {
            return Err(Failed::Text("there is no statement in it".to_owned()));
        }
        let answer = client.execute_batch(request(args, &pieces)).await?;
        Ok(print(args, answer, console)?)
    });
    match ended {
        Ok(()) => Ok(Exit::Success),
        Err(Failed::Text(why)) => console.fail(&visible(&format!("{}: {why}", name(file)))),
        Err(Failed::Stopped(Stopped::Output(error))) => Err(error),
        Err(Failed::Stopped(Stopped::Call(error))) => console.fail(&describe(*error, &pieces)),
    }
}

/// The outer error is the console's; the inner one says what is wrong with the file.
fn read(file: &Path, console: &mut Console<'_>) -> io::Result<Result<String, String>> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        if io::stdin().is_terminal() {
            writeln!(console.err, "type statements, then Ctrl-D at the start of a line")?;
        }
        io::stdin().lock().take(MAX_SQL + 1).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|file| file.take(MAX_SQL + 1).read_to_string(&mut text))
    };
    Ok(match read {
        Ok(size) if u64::try_from(size).is_ok_and(|size| size > MAX_SQL) => {
            Err(format!("{} is larger than 64 MiB", name(file)))
        }
        Ok(_size) => Ok(text),
        Err(error) => Err(format!("{} cannot be read: {error}", name(file))),
    })
}

fn name(file: &Path) -> String {
    if file == Path::new("-") {
        return "standard input".to_owned();
    }
    file.display().to_string()
}

async fn dialect(client: &Client, database: Option<&str>) -> Result<Dialect, CallError> {
    let info = client.server_info().await?;
    let wanted = database.unwrap_or(&info.default_database);
    let found = info.databases.iter().find(|database| database.name == wanted);
    // The server itself says best that it has no such database.
    Ok(match found.map(|database| database.backend.as_str()) {
        Some("sqlite") => Dialect::Sqlite,
        Some(_) | None => Dialect::Postgres,
    })
}

fn request(args: &Args, pieces: &[SplitStatement<'_>]) -> ExecuteBatchRequest {
    let isolation_level = match args.isolation {
        None => IsolationLevel::Unspecified,
        Some(Isolation::ReadCommitted) => IsolationLevel::ReadCommitted,
        Some(Isolation::RepeatableRead) => IsolationLevel::RepeatableRead,
        Some(Isolation::Serializable) => IsolationLevel::Serializable,
    };
    let statement = |piece: &SplitStatement<'_>| BatchStatement {
        sql: piece.sql.to_owned(),
        ..Default::default()
    };
    ExecuteBatchRequest {
        database: args.database.clone().unwrap_or_default(),
        statements: pieces.iter().map(statement).collect(),
        transaction: Some(TransactionOptions {
            isolation_level: isolation_level.into(),
            access_mode: args.access_mode().into(),
            ..TransactionOptions::default()
        }),
        options: Some(args.options()),
        dry_run: args.dry_run,
        ..ExecuteBatchRequest::default()
    }
}

fn print(args: &Args, answer: ExecuteBatchResponse, console: &mut Console<'_>) -> io::Result<()> {
    let count = u64::try_from(answer.results.len()).unwrap_or(u64::MAX);
    let mut printed = false;
    for result in answer.results {
        if result.has_columns && args.format == Format::Csv && printed {
            writeln!(console.out)?;
        }
        printed |= result.has_columns;
        let mut summary = Summary::default();
        print_set(result, args.format, &mut summary, console.out)?;
        if !summary.has_columns {
            say_done(&summary, args.format, console)?;
        }
    }
    if args.format == Format::Table {
        let ended = match (answer.replayed, args.dry_run, args.read_only) {
            (true, _, _) => "replayed",
            (false, true, _) => "rolled back",
            (false, false, true) => "read only",
            (false, false, false) => "committed",
        };
        let notes = Summary { attempts: answer.attempts, ..Summary::default() }.notes();
        let mut told = vec![format!("{}, {ended}", counted(count, "statement"))];
        told.extend(notes);
        writeln!(console.out, "({})", told.join("; "))?;
    }
    Ok(())
}

/// The error, with the place in the file of the statement that is to blame.
fn describe(mut error: CallError, pieces: &[SplitStatement<'_>]) -> String {
    let index = error.failed_statement.and_then(|index| usize::try_from(index).ok());
    let blamed = index.and_then(|index| Some((index + 1, pieces.get(index)?)));
    let Some((number, piece)) = blamed else {
        return call_failure::describe(&error, Some(Text::alone("")));
    };
    error.message = format!("statement {number}, line {}: {}", piece.line, error.message);
    let text = Text { sql: piece.sql, first_line: piece.first_line };
    call_failure::describe(&error, Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::query::tests::parse;
    use crate::error::Outcome;
    use crate::value::proto::AccessMode;

    #[test]
    fn options_travel_in_the_request() {
        let arguments = [
            "--batch",
            "x.sql",
            "--isolation",
            "repeatable-read",
            "--read-only",
            "--database",
            "reports",
            "--timeout",
            "10s",
            "--dry-run",
        ];
        let pieces = split_statements("select 1; select 2", Dialect::Postgres).unwrap();
        let request = request(&parse(&arguments), &pieces);
        let transaction = request.transaction.unwrap();
        assert_eq!(transaction.isolation_level(), IsolationLevel::RepeatableRead);
        assert_eq!(transaction.access_mode(), AccessMode::ReadOnly);
        assert_eq!((request.database.as_str(), request.dry_run), ("reports", true));
        let options = request.options.unwrap();
        assert_eq!(options.timeout.unwrap().seconds, 10);
        // In a batch the mode is the transaction's.
        assert_eq!(options.access_mode(), AccessMode::Unspecified);
        let texts: Vec<_> = request.statements.iter().map(|one| one.sql.as_str()).collect();
        assert_eq!(texts, ["select 1", "select 2"]);
        let keyed = super::request(&parse(&["--batch", "-", "--key", "k"]), &pieces);
        assert_eq!(keyed.options.unwrap().idempotency_key, "k");
    }

    #[test]
    fn a_failed_statement_is_named_with_its_place_in_the_file() {
        let text = "select 1;\n\n-- the second\nselect\n  nope;\n";
        let pieces = split_statements(text, Dialect::Postgres).unwrap();
        let mut error = CallError::new("INVALID_ARGUMENT", "no such column", Outcome::NotApplied);
        error.failed_statement = Some(1);
        error.report.position = 24;
        let told = describe(error.clone(), &pieces);
        let start = "statement 2, line 4: no such column\n  line 5:   nope\n            ^\n";
        assert!(told.starts_with(start), "{told}");
        // Another server may number in another way.
        error.failed_statement = Some(7);
        assert!(describe(error, &pieces).starts_with("no such column\n"));
    }
}
