//! `rowgate pool checkouts`

use std::io;

use super::screen;
use super::stat_names::{duration, milliseconds, readable, table};
use super::text_grid::{Column, Style, lines};
use crate::cli::Exit;
use crate::cli::console::Console;
use crate::cli::query::{Format, Summary, print_set};
use crate::value::Value;
use crate::value::proto::{Checkout, ListCheckoutsResponse};

/// The part of a statement that is worth a column of its own, in characters.
const WORTHWHILE: usize = 16;

/// Prints who holds a connection.
pub(crate) fn print(
    answer: &ListCheckoutsResponse,
    format: Format,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    if format != Format::Table {
        let figures = |checkout| figures(&answer.instance, checkout);
        let rows = answer.checkouts.iter().map(figures).collect();
        let set = table(&figures(&Checkout::default()), rows);
        print_set(set, format, &mut Summary::default(), console.out)?;
    } else if answer.checkouts.is_empty() {
        writeln!(console.out, "no connection is on loan")?;
    } else {
        for line in overview(&answer.checkouts, screen::width()) {
            writeln!(console.out, "{line}")?;
        }
    }
    Ok(Exit::Success)
}

fn figures(instance: &str, checkout: &Checkout) -> Vec<(String, Value)> {
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

/// The table for people. A statement takes the room that the others leave.
pub(crate) fn overview(checkouts: &[Checkout], width: Option<usize>) -> Vec<String> {
    let each = |cell: fn(&Checkout) -> String| checkouts.iter().map(cell).collect::<Vec<_>>();
    let mut columns = vec![
        Column::text("pool", 1, each(|one| one.pool.clone())),
        Column::number("id", 0, each(|one| one.id.to_string())),
        Column::number("age", 2, each(age)),
        Column::text("state", 4, each(state)),
        Column::text("caller", 3, each(|one| one.caller.clone())),
        Column::text("rpc", 5, each(|one| one.rpc.clone())),
        Column::text("tag", 7, each(|one| one.tag.clone())),
    ];
    // What nobody says takes no room from what is said.
    columns.retain(|column| column.cells.iter().any(|cell| !cell.is_empty()));
    let mut statement = Column::text("statement", 6, each(|one| one.statement.clone()));
    let taken: usize = columns.iter().map(Column::width).sum();
    // Its border and padding, and the right border of all.
    let room = width.map(|width| width.saturating_sub(taken + 4).max(WORTHWHILE));
    for cell in &mut statement.cells {
        *cell = shortened(cell, room.unwrap_or(usize::MAX));
    }
    columns.push(statement);
    lines(columns, width, Style::Boxed)
}

fn age(checkout: &Checkout) -> String {
    readable(duration(checkout.age).unwrap_or_default())
}

fn state(checkout: &Checkout) -> String {
    let words = [checkout.state.as_str(), if checkout.leak { "LEAK" } else { "" }];
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(", ")
}

fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::console::tests::on_console;

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
        let (exit, out, err) = on_console(|console| print(&answer, format, console));
        assert_eq!((exit, err.as_str()), (Exit::Success, ""));
        out
    }

    #[test]
    fn a_leak_is_marked_and_the_statement_takes_what_room_there_is() {
        let lines = overview(&[checkout(75, true), checkout(2, false)], Some(80));
        assert!(lines[3].contains("│ main ┆ 75 ┆ 1m 15s ┆ active, LEAK ┆"), "{lines:#?}");
        assert!(lines[4].contains("select * f") && lines[4].contains('…'), "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        let narrow = overview(&[checkout(75, true)], Some(30));
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
        assert_eq!(printed(vec![], Format::Table), "no connection is on loan\n");
    }
}
