//! `rowgate pool watch`.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use clap::builder::NonEmptyStringValueParser;

use super::checkouts;
use super::keyboard::Keyboard;
use super::screen::{self, Screen};
use super::stat_names::{Figures, duration, figures, readable, result_set};
use super::stats_command::{condition, state};
use super::text_grid::{Column, Style, lines};
use crate::app;
use crate::cli::command_error::Result;
use crate::cli::console::{Console, Exit, visible};
use crate::cli::query::{Format, Printer};
use crate::cli::server_flag::{Server, block_on};
use crate::clock::milliseconds;
use crate::value::Value;
use crate::value::proto::{Checkout, PoolStats, WatchPoolStatsResponse};

const WATCH: &str = "\
On a terminal the pools, and below them the checkouts, the oldest first, are updated whenever a pool changes; \
q or Ctrl-C ends it. Otherwise each change is a line. A narrow terminal leaves out the least important columns.

Examples:
  rowgate pool watch
  rowgate pool watch main --interval 1s
  rowgate pool watch --format json >> pools.jsonl

Exit status: 0 after q or Ctrl-C; 1 the call failed, or the server ended.";

/// The time that a server has to begin its response.
const RESPONSE_TIME: Duration = Duration::from_secs(5);

/// The shortest time over which rates are computed.
const RATE_PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = WATCH)]
pub(crate) struct Args {
    /// The pool; all pools if omitted
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pool: Option<String>,
    /// The longest time between two updates, 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = humantime::parse_duration)]
    interval: Duration,
    /// The output format; json and csv are for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    server: Server,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    let mut view = View::new(args.format, console);
    let keyboard = matches!(view, View::Live { .. }).then(Keyboard::listen);
    let (_keyboard, quit) = keyboard.unzip();
    let quit = async {
        let pressed = if let Some(quit) = quit { quit.await.is_ok() } else { false };
        if !pressed {
            std::future::pending::<()>().await;
        }
    };
    let ended = block_on(async {
        tokio::select! {
            () = app::signalled() => Ok(()),
            () = quit => Ok(()),
            ended = follow(args, &mut view, console.out) => ended,
        }
    });
    if let View::Live { screen, .. } = &mut view {
        screen.leave(console.out)?;
    }
    ended.map(|()| Exit::Success)
}

/// Shows updates until the stream ends.
async fn follow(args: &Args, view: &mut View, out: &mut dyn Write) -> Result<()> {
    let client = args.server.connect().await?;
    let limited = || client.clone().with_limit(RESPONSE_TIME);
    let pool = args.pool.as_deref().unwrap_or_default();
    let mut watch = limited().watch_pool_stats(pool, args.interval).await?;
    while let Some(message) = watch.next().await? {
        if let View::Live { checkouts, .. } = view {
            *checkouts = limited().list_checkouts(pool).await?.checkouts;
        }
        view.show(&message, out)?;
        out.flush()?;
    }
    Ok(())
}

/// The view of the pools.
enum View {
    /// A table that is redrawn.
    Live { screen: Screen, rates: Rates, checkouts: Vec<Checkout> },
    /// A line for each change of a pool: the last ones by pool.
    Changes(HashMap<String, String>),
    /// A row for each pool in each message.
    Rows { printer: Box<dyn Printer>, has_header: bool },
}

impl View {
    fn new(format: Format, console: &Console<'_>) -> Self {
        match format {
            Format::Table if screen::size().is_some() => {
                let screen = Screen::default();
                Self::Live { screen, rates: Rates::default(), checkouts: Vec::new() }
            }
            Format::Table => Self::Changes(HashMap::new()),
            Format::Json | Format::Csv => {
                Self::Rows { printer: format.printer(console), has_header: false }
            }
        }
    }

    fn show(&mut self, message: &WatchPoolStatsResponse, out: &mut dyn Write) -> io::Result<()> {
        let now = SystemTime::now();
        match self {
            Self::Live { screen, rates, checkouts } => {
                let size = screen::size().unwrap_or_default();
                rates.record(Instant::now(), &message.pools);
                let mut lines = frame(message, rates, size, now);
                lines.extend(below(checkouts, size.0));
                screen.draw(lines, size.1, out)
            }
            Self::Changes(last) => {
                for pool in &message.pools {
                    let line = line(pool);
                    if last.get(&pool.pool) != Some(&line) {
                        writeln!(out, "{} {line}", humantime::format_rfc3339_millis(now))?;
                        last.insert(pool.pool.clone(), line);
                    }
                }
                Ok(())
            }
            Self::Rows { printer, has_header } => {
                let set = result_set(&message.pools, |pool| row(now, &message.instance, pool));
                if !std::mem::replace(has_header, true) {
                    printer.columns(set.columns, out)?;
                }
                set.rows.iter().try_for_each(|row| printer.row(row, out))
            }
        }
    }
}

fn row(now: SystemTime, instance: &str, pool: &PoolStats) -> Figures {
    let time = Value::text(humantime::format_rfc3339_millis(now).to_string());
    [("time".to_owned(), time)].into_iter().chain(figures(instance, pool)).collect()
}

/// Returns a pool on one line, without the figures that change with the clock alone.
fn line(pool: &PoolStats) -> String {
    let state = condition(pool).replace(", ", "+");
    let wait_time = readable(duration(pool.wait_time).unwrap_or_default()).replace(' ', "");
    let PoolStats { pool: name, in_use, idle, open, min, max, connecting, waiting, .. } = pool;
    let PoolStats { acquired, timeouts, rejected, leaks, statements, .. } = pool;
    let name = visible(name);
    format!(
        "pool={name} state={state} in_use={in_use} idle={idle} open={open} min={min} max={max} \
         connecting={connecting} waiting={waiting} acquired={acquired} wait_time={wait_time} \
         timeouts={timeouts} rejected={rejected} leaks={leaks} statements={statements}"
    )
}

/// Returns the lines below the live table, each narrower than the terminal.
fn below(checkouts: &[Checkout], columns: usize) -> Vec<String> {
    let title = match checkouts {
        [] => "no connection is checked out",
        [_, ..] => "checkouts, the oldest first",
    };
    let width = columns.saturating_sub(1);
    let mut below = vec![String::new(), title.chars().take(width).collect()];
    if !checkouts.is_empty() {
        let grid = checkouts::grid(checkouts, Some(width));
        below.extend(grid.into_iter().map(|line| line.chars().take(width).collect()));
    }
    below
}

/// Returns the lines of the live table, each narrower than the terminal.
fn frame(
    message: &WatchPoolStatsResponse,
    rates: &Rates,
    (columns, height): (usize, usize),
    now: SystemTime,
) -> Vec<String> {
    let width = columns.saturating_sub(1);
    let time = humantime::format_rfc3339_seconds(now);
    let head = format!("{}  {time}  q ends", visible(&message.instance));
    let pools = &message.pools;
    let all = || pools.iter();
    let rate = |of: fn(&Counts) -> u64| {
        let rates = all().map(move |pool| rates.rates.get(&pool.pool).map(of));
        rates.map(|rate| rate.map_or("–".to_owned(), |rate| rate.to_string()))
    };
    let mut columns = state(pools);
    columns.extend([
        Column::number("calls/s", 8, rate(|rates| rates.calls)),
        Column::number("statements/s", 9, rate(|rates| rates.statements)),
        Column::number("timeouts", 10, all().map(|pool| pool.timeouts)),
        Column::number("leaks", 11, all().map(|pool| pool.leaks)),
        Column::number("retries", 12, all().map(|pool| pool.retries)),
    ]);
    let mut frame = vec![head.chars().take(width).collect()];
    // The head, the titles, and the borders.
    let style = if pools.len() + 5 > height { Style::Bare } else { Style::Boxed };
    frame.extend(lines(columns, Some(width), style));
    frame
}

/// The counters of a pool, or their rates a second.
#[derive(Debug, Clone, Copy)]
struct Counts {
    calls: u64,
    statements: u64,
}

/// The rates of pools, by pool.
#[derive(Debug, Default)]
struct Rates {
    /// The start of the present period, and the counters then.
    start: Option<(Instant, HashMap<String, Counts>)>,
    /// The rates in the last period.
    rates: HashMap<String, Counts>,
}

impl Rates {
    fn record(&mut self, now: Instant, pools: &[PoolStats]) {
        let counts =
            |pool: &PoolStats| Counts { calls: pool.acquired, statements: pool.statements };
        let counts: HashMap<_, _> =
            pools.iter().map(|pool| (pool.pool.clone(), counts(pool))).collect();
        if let Some((start, before)) = &self.start {
            let period = now.duration_since(*start);
            if period < RATE_PERIOD {
                return;
            }
            let millis = milliseconds(period);
            let rate =
                |now: u64, before: u64| now.saturating_sub(before).saturating_mul(1_000) / millis;
            let rates = counts.iter().filter_map(|(pool, now)| {
                let before = before.get(pool)?;
                let calls = rate(now.calls, before.calls);
                let statements = rate(now.statements, before.statements);
                Some((pool.clone(), Counts { calls, statements }))
            });
            self.rates = rates.collect();
        }
        self.start = Some((now, counts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(acquired: u64, in_use: u32) -> WatchPoolStatsResponse {
        let pool = PoolStats {
            pool: "main".to_owned(),
            acquired,
            in_use,
            max: 20,
            ..PoolStats::default()
        };
        WatchPoolStatsResponse { instance: "host:1".to_owned(), pools: vec![pool] }
    }

    #[test]
    fn a_line_is_printed_for_a_change_and_for_nothing_else() {
        let mut view = View::Changes(HashMap::new());
        let mut out = Vec::new();
        for (acquired, in_use) in [(1, 0), (1, 0), (2, 1), (2, 1), (2, 0)] {
            view.show(&message(acquired, in_use), &mut out).unwrap();
        }
        let out = String::from_utf8(out).unwrap();
        let in_use: Vec<_> = out
            .lines()
            .map(|line| line.split(' ').find(|word| word.starts_with("in_use")))
            .collect();
        assert_eq!(in_use, [Some("in_use=0"), Some("in_use=1"), Some("in_use=0")], "{out}");
    }

    #[test]
    fn csv_has_one_header() {
        let console = Console { out: &mut io::sink(), is_terminal: false, err: &mut io::sink() };
        let mut view = View::new(Format::Csv, &console);
        let mut out = Vec::new();
        for _ in 0..2 {
            view.show(&message(1, 0), &mut out).unwrap();
        }
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 3, "{out}");
        assert!(out.starts_with("time,instance,pool,backend,"), "{out}");
    }

    #[test]
    fn rates_are_computed_over_a_second_at_least() {
        let mut rates = Rates::default();
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        for (ms, acquired, expected) in
            [(0, 10, None), (500, 900, None), (2_000, 1_010, Some(500)), (2_100, 9_999, Some(500))]
        {
            rates.record(after(ms), &message(acquired, 0).pools);
            assert_eq!(rates.rates.get("main").map(|rates| rates.calls), expected, "after {ms} ms");
        }
    }

    #[test]
    fn a_frame_fits_any_terminal() {
        for columns in [0, 1, 2, 20, 40, 80, 200] {
            let rates = Rates::default();
            let now = SystemTime::now();
            let frame = frame(&message(1, 7), &rates, (columns, 24), now);
            for line in &frame {
                assert!(line.chars().count() <= columns.saturating_sub(1), "{columns}: {line}");
            }
            let is_shown = frame[1..].iter().any(|line| line.contains('7'));
            assert_eq!(columns >= 40, is_shown, "{frame:#?}");
        }
        let checkout = Checkout { id: 4711, pool: "main".to_owned(), ..Checkout::default() };
        let lines = below(&[checkout], 80);
        assert!(lines.iter().any(|line| line.contains("4711")), "{lines:#?}");
        assert_eq!(below(&[], 12), ["", "no connecti"]);
        let rates = Rates::default();
        let now = SystemTime::now();
        let low = frame(&message(1, 7), &rates, (80, 3), now);
        assert_eq!((low.len(), low[2].contains('7')), (3, true), "{low:#?}");
    }
}
