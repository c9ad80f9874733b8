//! `rowgate pool checkouts`.

use std::io::{self, Write};

use super::screen;
use super::stat_names::{Figures, duration, milliseconds, readable, result_set};
use super::text_grid::{Column, Style, lines};
use crate::cli::console::Console;
use crate::cli::query::{Format, Summary, print_set};
use crate::value::Value;
use crate::value::proto::{Checkout, ListCheckoutsResponse};

/// The least width of the column of statements, in characters.
const MIN_STATEMENT: usize = 16;

pub(crate) fn print(
    response: &ListCheckoutsResponse,
    format: Format,
    console: &mut Console<'_>,
) -> io::Result<()> {
    if format != Format::Table {
        let set = result_set(&response.checkouts, |one| figures(&response.instance, one));
        print_set(set, format, &mut Summary::default(), console)
    } else if response.checkouts.is_empty() {
        writeln!(console.out, "no connection is checked out")
    } else {
        print_table(&response.checkouts, console.out)
    }
}

fn figures(instance: &str, checkout: &Checkout) -> Figures {
    let since = checkout.since.unwrap_or_default();
    let all = [
        ("instance", Value::text(instance)),
        ("pool", Value::text(&checkout.pool)),
        ("id", Value::int64(i64::try_from(checkout.id).unwrap_or(i64::MAX))),
        ("caller", Value::text(&checkout.caller)),
        ("rpc", Value::text(&checkout.rpc)),
        ("tag", Value::text(&checkout.tag)),
        ("statement", Value::text(&checkout.statement)),
        ("since", Value::timestamp(since.seconds, since.nanos)),
        ("age_ms", milliseconds(checkout.age)),
        ("state", Value::text(&checkout.state)),
        ("leak", Value::bool(checkout.leak)),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Prints the table for people; statements take the width that the other columns leave.
pub(crate) fn print_table(checkouts: &[Checkout], out: &mut dyn Write) -> io::Result<()> {
    grid(checkouts, screen::width()).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Returns the lines of the table for people.
pub(crate) fn grid(checkouts: &[Checkout], width: Option<usize>) -> Vec<String> {
    let all = || checkouts.iter();
    let mut columns = vec![
        Column::text("pool", 1, all().map(|one| &one.pool)),
        Column::number("id", 0, all().map(|one| one.id)),
        Column::number("age", 2, all().map(|one| readable(duration(one.age).unwrap_or_default()))),
        Column::text("state", 3, all().map(state)),
        Column::text("caller", 5, all().map(|one| &one.caller)),
        Column::text("rpc", 7, all().map(|one| &one.rpc)),
        Column::text("tag", 4, all().map(|one| &one.tag)),
    ];
    columns.retain(|column| column.cells.iter().any(|cell| !cell.is_empty()));
    let mut statement = Column::text("statement", 6, all().map(|one| &one.statement));
    let taken: usize = columns.iter().map(Column::width).sum();
    // The column's border and padding, and the right border of all.
    let available = width.map(|width| width.saturating_sub(taken + 4).max(MIN_STATEMENT));
    for cell in &mut statement.cells {
        *cell = truncated(cell, available.unwrap_or(usize::MAX));
    }
    columns.push(statement);
    lines(columns, width, Style::Boxed)
}

fn state(checkout: &Checkout) -> String {
    let leak = if checkout.leak { "LEAK" } else { "" };
    let words = [checkout.state.as_str(), leak].into_iter().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(", ")
}

fn truncated(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::console::Exit;
    use crate::cli::tests::on_console;

    fn checkout(id: u64, leak: bool) -> Checkout {
        Checkout {
            pool: "main".to_owned(),
            id,
            caller: "10.0.0.7".to_owned(),
            rpc: "Query".to_owned(),
            statement: "select * from orders where id = $1 and state = $2".to_owned(),
            age: Duration::from_secs(id).try_into().ok(),
            state: "active".to_owned(),
            leak,
            ..Checkout::default()
        }
    }

    fn printed(checkouts: Vec<Checkout>, format: Format) -> String {
        let answer = ListCheckoutsResponse { instance: "host:1".to_owned(), checkouts };
        let (_, out, err) =
            on_console(|console| print(&answer, format, console).map(|()| Exit::Success));
        assert_eq!(err, "");
        out
    }

    #[test]
    fn a_leak_is_marked_and_the_statement_takes_the_remaining_width() {
        let lines = grid(&[checkout(75, true), checkout(2, false)], Some(80));
        assert!(lines[3].contains("│ main ┆ 75 ┆ 1m 15s ┆ active, LEAK ┆"), "{lines:#?}");
        assert!(lines[4].contains("select * f") && lines[4].contains('…'), "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        let narrow = grid(&[checkout(75, true)], Some(30));
        assert!(narrow[3].starts_with("│ main ┆ 75 ┆ 1m 15s │"), "{narrow:#?}");
    }

    #[test]
    fn programs_get_every_field() {
        let out = printed(vec![checkout(75, true)], Format::Json);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&json["id"], &json["leak"]), (&75.into(), &true.into()));
        assert_eq!(
            (&json["age_ms"], &json["since"]),
            (&75_000.into(), &"1970-01-01T00:00:00Z".into())
        );
        let header = "instance,pool,id,caller,rpc,tag,statement,since,age_ms,state,leak\n";
        assert_eq!(printed(vec![], Format::Csv), header);
        assert_eq!(printed(vec![], Format::Json), "");
        assert_eq!(printed(vec![], Format::Table), "no connection is checked out\n");
    }
}
