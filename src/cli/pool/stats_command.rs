//! `rowgate pool stats`.

use std::io;

use super::screen;
use super::stat_names::{duration, figures, readable, result_set};
use super::text_grid::{Column, Style, lines};
use crate::cli::console::Console;
use crate::cli::query::{Format, Summary, print_set};
use crate::value::proto::{BreakerState, ListPoolStatsResponse, PoolStats};
use crate::value::{Kind, Value};

/// Prints the pools: in a table a line each, or all figures of the only one; for programs all figures of each.
pub(crate) fn print(
    response: &ListPoolStatsResponse,
    only: Option<&str>,
    format: Format,
    console: &mut Console<'_>,
) -> io::Result<()> {
    let ListPoolStatsResponse { instance, pools } = response;
    if format != Format::Table {
        let set = result_set(pools, |pool| figures(instance, pool));
        return print_set(set, format, &mut Summary::default(), console);
    }
    let columns = if only.is_some() {
        let all: Vec<_> = pools.iter().flat_map(|pool| figures(instance, pool)).collect();
        let names = all.iter().map(|(name, _)| name.replace('_', " "));
        let values = all.iter().map(|(_, value)| shown(value));
        vec![Column::text("figure", 0, names), Column::number("value", 1, values)]
    } else {
        state(pools).into_iter().chain(counters(pools)).collect()
    };
    let lines = lines(columns, screen::width(), Style::Boxed);
    lines.iter().try_for_each(|line| writeln!(console.out, "{line}"))
}

fn shown(value: &Value) -> String {
    match &value.kind {
        Some(Kind::TextValue(text)) => text.clone(),
        Some(Kind::Int64Value(number)) => number.to_string(),
        Some(Kind::BoolValue(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(_) | None => "–".to_owned(),
    }
}

pub(crate) fn state(pools: &[PoolStats]) -> Vec<Column> {
    let all = || pools.iter();
    let wait =
        |pool: &PoolStats| duration(pool.oldest_wait).map_or_else(|| "–".to_owned(), readable);
    vec![
        Column::text("pool", 0, all().map(|pool| &pool.pool)),
        Column::text("state", 1, all().map(condition)),
        Column::number("in use", 2, all().map(|pool| pool.in_use)),
        Column::number("idle", 5, all().map(|pool| pool.idle)),
        Column::number("open", 6, all().map(|pool| pool.open)),
        Column::number("max", 3, all().map(|pool| pool.max)),
        Column::number("waiting", 4, all().map(|pool| pool.waiting)),
        Column::number("oldest", 7, all().map(wait)),
    ]
}

fn counters(pools: &[PoolStats]) -> Vec<Column> {
    let all = || pools.iter();
    let wait = |pool: &PoolStats| readable(duration(pool.wait_time).unwrap_or_default());
    vec![
        Column::number("acquired", 9, all().map(|pool| pool.acquired)),
        Column::number("waited", 12, all().map(|pool| pool.waited)),
        Column::number("wait time", 13, all().map(wait)),
        Column::number("timeouts", 10, all().map(|pool| pool.timeouts)),
        Column::number("leaks", 11, all().map(|pool| pool.leaks)),
        Column::number("statements", 8, all().map(|pool| pool.statements)),
    ]
}

pub(crate) fn condition(pool: &PoolStats) -> &'static str {
    match (pool.paused, pool.breaker() == BreakerState::Open) {
        (true, true) => "paused, unreachable",
        (true, false) => "paused",
        (false, true) => "unreachable",
        (false, false) => "ok",
    }
}
