//! `rowgate query --batch FILE`: runs the statements of a file in one transaction.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use super::args::Args;
use super::format::{Format, print_set};
use super::printer::Summary;
use crate::cli::command_error::{self, CommandError, Result, Text};
use crate::cli::console::{Console, Exit, counted};
use crate::cli::server_flag::block_on;
use crate::error::Outcome;
use crate::grpc::client::{CallError, Client};
use crate::sql::{Dialect, SplitStatement, split_statements};
use crate::value::proto::{
    BatchStatement, ExecuteBatchRequest, ExecuteBatchResponse, TransactionOptions,
};
use crate::wire_size::widen;

/// The size limit of a file, in bytes; servers accept less.
const MAX_SIZE: u64 = 1 << 26;

pub(crate) fn run(args: &Args, file: &Path, console: &mut Console<'_>) -> Result<Exit> {
    let Some(format) = args.format.printed() else {
        let why = "--format arrow is for one statement: a batch has several results";
        return Err(CommandError::Usage(why.to_owned()));
    };
    let text = read(file, console)?;
    let failed = |why: String| CommandError::Failed(format!("{}: {why}", name(file)));
    block_on(async {
        let client = args.connect().await?;
        // The ends of statements depend on the database's own ways to quote.
        let dialect = dialect(&client, args.database.as_deref()).await?;
        let pieces = split(&text, dialect).map_err(failed)?;
        if pieces.is_empty() {
            return Err(failed("there is no statement in it".to_owned()));
        }
        let response = client.execute_batch(request(args, &pieces)).await;
        let response = response.map_err(|error| CommandError::Failed(describe(error, &pieces)))?;
        let printed = print(args, format, response, console).and_then(|()| console.out.flush());
        let applies = !args.dry_run && !args.read_only;
        let outcome = if applies { Outcome::Applied } else { Outcome::NotApplied };
        printed.map_err(|error| CommandError::from(error).behind(outcome))?;
        Ok(Exit::Success)
    })
}

fn read(file: &Path, console: &mut Console<'_>) -> Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        if io::stdin().is_terminal() {
            writeln!(console.err, "type statements, then Ctrl-D at the start of a line")?;
        }
        io::stdin().lock().take(MAX_SIZE + 1).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|file| file.take(MAX_SIZE + 1).read_to_string(&mut text))
    };
    let failed = |why: String| Err(CommandError::Failed(format!("{} {why}", name(file))));
    match read {
        Ok(size) if widen(size) > MAX_SIZE => failed("is larger than 64 MiB".to_owned()),
        Ok(_size) => Ok(text),
        Err(error) => failed(format!("cannot be read: {error}")),
    }
}

fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

/// Splits the text; without a dialect only where all agree on the ends of its statements.
fn split(text: &str, dialect: Option<Dialect>) -> Result<Vec<SplitStatement<'_>>, String> {
    let of = |dialect| {
        split_statements(text, dialect)
            .map_err(|error| format!("line {}: {}", error.line, error.why))
    };
    if let Some(dialect) = dialect {
        return of(dialect);
    }
    let pieces = of(Dialect::Postgres)?;
    if of(Dialect::Sqlite)? == pieces && of(Dialect::Mysql)? == pieces {
        return Ok(pieces);
    }
    Err("PostgreSQL, SQLite and MySQL disagree on where its statements end, and this caller may not ask which it \
         is\n  \
         hint: An operator can list GetServerInfo in callers.NAME.rpcs."
        .to_owned())
}

/// The dialect of the database; `None` for a caller that may run batches and not call GetServerInfo.
async fn dialect(client: &Client, database: Option<&str>) -> Result<Option<Dialect>, CallError> {
    let info = match client.server_info().await {
        Ok(info) => info,
        Err(error) if error.code == "PERMISSION_DENIED" => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = database.unwrap_or(&info.default_database);
    let found = info.databases.iter().find(|database| database.name == name);
    // Without such a database, the server will answer that it has none.
    Ok(Some(found.map_or(Dialect::Postgres, |database| dialect_of(&database.backend))))
}

/// The dialect of a backend, by the name that GetServerInfo gives it.
pub(crate) fn dialect_of(backend: &str) -> Dialect {
    match backend {
        "sqlite" => Dialect::Sqlite,
        "mysql" => Dialect::Mysql,
        _ => Dialect::Postgres,
    }
}

fn request(args: &Args, pieces: &[SplitStatement<'_>]) -> ExecuteBatchRequest {
    let statement = |piece: &SplitStatement<'_>| BatchStatement {
        sql: piece.sql.to_owned(),
        ..Default::default()
    };
    ExecuteBatchRequest {
        database: args.database.clone().unwrap_or_default(),
        statements: pieces.iter().map(statement).collect(),
        transaction: Some(TransactionOptions {
            isolation_level: args.isolation.map_or(0, |level| level as i32),
            access_mode: args.access_mode().into(),
            ..TransactionOptions::default()
        }),
        options: Some(args.options()),
        dry_run: args.dry_run,
        ..ExecuteBatchRequest::default()
    }
}

fn print(
    args: &Args,
    format: Format,
    response: ExecuteBatchResponse,
    console: &mut Console<'_>,
) -> io::Result<()> {
    let count = widen(response.results.len());
    let mut printed = false;
    for result in response.results {
        if result.has_columns && format == Format::Csv && printed {
            writeln!(console.out)?;
        }
        printed |= result.has_columns;
        print_set(result, format, &mut Summary::default(), console)?;
    }
    if format == Format::Table {
        let end = if response.replayed {
            "replayed"
        } else if args.dry_run {
            "rolled back"
        } else if args.read_only {
            "read only"
        } else {
            "committed"
        };
        let mut notes = vec![format!("{}, {end}", counted(count, "statement"))];
        notes.extend(Summary { attempts: response.attempts, ..Summary::default() }.notes());
        writeln!(console.out, "({})", notes.join("; "))?;
    }
    Ok(())
}

/// Describes the error, with the place in the file of the statement that failed.
fn describe(mut error: CallError, pieces: &[SplitStatement<'_>]) -> String {
    let index = error.report.failed_statement.and_then(|index| usize::try_from(index).ok());
    let failed = index.and_then(|index| Some((index + 1, pieces.get(index)?)));
    let Some((number, piece)) = failed else {
        return command_error::describe(&error, Some(Text::alone("")));
    };
    error.message = format!("statement {number}, line {}: {}", piece.line, error.message);
    let text = Text { sql: piece.sql, first_line: piece.first_line };
    command_error::describe(&error, Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::query::tests::parse;
    use crate::error::Outcome;
    use crate::value::proto::{AccessMode, IsolationLevel};

    #[test]
    fn options_are_part_of_the_request() {
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
    fn without_a_dialect_a_text_is_split_where_all_agree() {
        let texts = |text| split(text, None).map(|all| all.iter().map(|one| one.sql).collect());
        assert_eq!(texts("select ';'; -- a;\nselect 2"), Ok(vec!["select ';'", "-- a;\nselect 2"]));
        let differ = [
            "select $$ a; b $$",
            "/* a /* b */ select 1; /* c */ select 2",
            "create trigger t after insert on a begin select 1; select 2; end",
        ];
        for text in differ {
            assert!(texts(text).is_err_and(|why: String| !why.is_empty()), "{text}");
            let known = [Dialect::Postgres, Dialect::Sqlite];
            assert!(known.into_iter().any(|one| split(text, Some(one)).is_ok()), "{text}");
        }
    }

    #[test]
    fn a_failed_statement_is_named_with_its_place_in_the_file() {
        let text = "select 1;\n\n-- the second\nselect\n  nope;\n";
        let pieces = split_statements(text, Dialect::Postgres).unwrap();
        let mut error = CallError::new("INVALID_ARGUMENT", "no such column", Outcome::NotApplied);
        error.report.failed_statement = Some(1);
        error.report.position = 24;
        let described = describe(error.clone(), &pieces);
        let start = "statement 2, line 4: no such column\n  line 5:   nope\n            ^\n";
        assert!(described.starts_with(start), "{described}");
        // A later server may have other numbers.
        error.report.failed_statement = Some(7);
        assert!(describe(error, &pieces).starts_with("no such column\n"));
    }
}
