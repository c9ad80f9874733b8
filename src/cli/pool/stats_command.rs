//! `rowgate pool stats`

use std::io;

use super::screen;
use super::stat_names::{duration, figures, readable, table};
use super::text_grid::{Column, Style, lines};
use crate::cli::Exit;
use crate::cli::console::Console;
use crate::cli::query::{Format, Summary, print_set};
use crate::value::proto::{BreakerState, ListPoolStatsResponse, PoolStats};
use crate::value::{Kind, Value};

/// Prints the pools: for people a line each, or all of one; for programs all of each.
pub(crate) fn print(
    answer: &ListPoolStatsResponse,
    all: bool,
    format: Format,
    console: &mut Console<'_>,
) -> io::Result<Exit> {
    let instance = &answer.instance;
    if format == Format::Table {
        let columns = if all {
            one(instance, &answer.pools)
        } else {
            let mut columns = state(&answer.pools);
            columns.extend(counters(&answer.pools));
            columns
        };
        for line in lines(columns, screen::width(), Style::Boxed) {
            writeln!(console.out, "{line}")?;
        }
    } else {
        let rows = answer.pools.iter().map(|pool| figures(instance, pool)).collect();
        let example = figures(instance, &PoolStats::default());
        print_set(table(&example, rows), format, &mut Summary::default(), console.out)?;
    }
    Ok(Exit::Success)
}

/// A line for each figure.
fn one(instance: &str, pools: &[PoolStats]) -> Vec<Column> {
    let all: Vec<_> = pools.iter().flat_map(|pool| figures(instance, pool)).collect();
    let names = all.iter().map(|(name, _)| name.replace('_', " ")).collect();
    let values = all.iter().map(|(_, value)| shown(value)).collect();
    vec![Column::text("figure", 0, names), Column::number("value", 1, values)]
}

fn shown(value: &Value) -> String {
    match &value.kind {
        Some(Kind::TextValue(text)) => text.clone(),
        Some(Kind::Int64Value(number)) => number.to_string(),
        Some(Kind::BoolValue(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(
            Kind::NullValue(_)
            | Kind::Float64Value(_)
            | Kind::BytesValue(_)
            | Kind::TimestampValue(_)
            | Kind::ArrayValue(_)
            | Kind::RecordValue(_),
        )
        | None => "–".to_owned(),
    }
}

/// Cells of one figure, a pool each.
pub(crate) fn each(pools: &[PoolStats], cell: impl Fn(&PoolStats) -> String) -> Vec<String> {
    pools.iter().map(cell).collect()
}

/// What pools are doing now.
pub(crate) fn state(pools: &[PoolStats]) -> Vec<Column> {
    let wait =
        |pool: &PoolStats| duration(pool.oldest_wait).map_or_else(|| "–".to_owned(), readable);
    vec![
        Column::text("pool", 0, each(pools, |pool| pool.pool.clone())),
        Column::text("state", 1, each(pools, |pool| condition(pool).to_owned())),
        Column::number("in use", 2, each(pools, |pool| pool.in_use.to_string())),
        Column::number("idle", 5, each(pools, |pool| pool.idle.to_string())),
        Column::number("open", 6, each(pools, |pool| pool.open.to_string())),
        Column::number("max", 3, each(pools, |pool| pool.max.to_string())),
        Column::number("waiting", 4, each(pools, |pool| pool.waiting.to_string())),
        Column::number("oldest", 7, each(pools, wait)),
    ]
}

/// What pools have counted.
fn counters(pools: &[PoolStats]) -> Vec<Column> {
    let wait = |pool: &PoolStats| readable(duration(pool.wait_time).unwrap_or_default());
    vec![
        Column::number("acquired", 9, each(pools, |pool| pool.acquired.to_string())),
        Column::number("waited", 12, each(pools, |pool| pool.waited.to_string())),
        Column::number("wait time", 13, each(pools, wait)),
        Column::number("timeouts", 10, each(pools, |pool| pool.timeouts.to_string())),
        Column::number("leaks", 11, each(pools, |pool| pool.leaks.to_string())),
        Column::number("statements", 8, each(pools, |pool| pool.statements.to_string())),
    ]
}

/// The state of a pool in a word.
pub(crate) fn condition(pool: &PoolStats) -> &'static str {
    match (pool.paused, pool.breaker() == BreakerState::Open) {
        (true, true) => "paused, away",
        (true, false) => "paused",
        (false, true) => "away",
        (false, false) => "ok",
    }
}
