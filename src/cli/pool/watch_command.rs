//! `rowgate pool watch`

use std::collections::HashMap;
use std::io;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use super::screen;
use super::screen::Screen;
use super::stat_names::{duration, figures, readable, table};
use super::stats_command::{condition, each, state};
use super::text_grid::{Column, Style, lines};
use super::{WATCH, name};
use crate::app;
use crate::cli::console::{Console, visible};
use crate::cli::query::{Format, Printer, Stopped, Summary};
use crate::cli::server_address::{Server, runtime};
use crate::cli::{Exit, call_failure};
use crate::grpc::client::Client;
use crate::value::proto::{PoolStats, WatchPoolStatsResponse};

/// How long a server may take to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// Rates are taken over this long at least: over less they are noise.
const SPAN: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = WATCH)]
pub(crate) struct Args {
    /// The pool; all pools when left out
    pool: Option<String>,
    /// The longest time between two looks, 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = humantime::parse_duration)]
    interval: Duration,
    /// How to print them; json and csv are for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    server: Server,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> io::Result<Exit> {
    let mut view = View::new(args.format);
    let ended = runtime()?.block_on(async {
        tokio::select! {
            () = app::signalled() => Ok(()),
            ended = follow(args, &mut view, console.out) => ended,
        }
    });
    view.close(console.out)?;
    match ended {
        Ok(()) => Ok(Exit::Success),
        Err(Stopped::Output(error)) => Err(error),
        Err(Stopped::Call(error)) => console.fail(&call_failure::describe(&error, None)),
    }
}

/// Shows what comes, until nothing comes.
async fn follow(args: &Args, view: &mut View, out: &mut dyn Write) -> Result<(), Stopped> {
    let client = Client::connect(&args.server.address).await?.with_limit(PATIENCE);
    let mut watch = client.watch_pool_stats(name(&args.pool), args.interval).await?;
    while let Some(message) = watch.next().await? {
        view.show(&message, out)?;
        out.flush()?;
    }
    Ok(())
}

/// How the pools are shown.
enum View {
    /// A table, drawn over and over.
    Live { screen: Screen, rates: Rates },
    /// A line for each change of a pool.
    Changes(HashMap<String, String>),
    /// A row for each pool in each message.
    Rows { printer: Box<dyn Printer>, begun: bool },
}

impl View {
    fn new(format: Format) -> Self {
        match format {
            Format::Table if screen::size().is_some() => {
                Self::Live { screen: Screen::default(), rates: Rates::default() }
            }
            Format::Table => Self::Changes(HashMap::new()),
            Format::Json | Format::Csv => Self::Rows { printer: format.printer(), begun: false },
        }
    }

    fn show(&mut self, message: &WatchPoolStatsResponse, out: &mut dyn Write) -> io::Result<()> {
        let now = SystemTime::now();
        match self {
            Self::Live { screen, rates } => {
                let size = screen::size().unwrap_or_default();
                rates.note(Instant::now(), &message.pools);
                screen.draw(frame(message, rates, size, now), size.1, out)
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
            Self::Rows { printer, begun } => {
                let rows = message.pools.iter().map(|pool| row(now, &message.instance, pool));
                let example = row(now, "", &PoolStats::default());
                let set = table(&example, rows.collect());
                if !std::mem::replace(begun, true) {
                    printer.columns(set.columns, out)?;
                }
                set.rows.iter().try_for_each(|row| printer.row(row, out))
            }
        }
    }

    fn close(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Live { screen, .. } => screen.leave(out),
            Self::Changes(_) => Ok(()),
            Self::Rows { printer, begun: true } => printer.finish(&Summary::default(), out),
            Self::Rows { begun: false, .. } => Ok(()),
        }
    }
}

fn row(now: SystemTime, instance: &str, pool: &PoolStats) -> Vec<(String, crate::value::Value)> {
    let time = humantime::format_rfc3339_millis(now).to_string();
    let mut row = vec![("time".to_owned(), crate::value::Value::text(time))];
    row.extend(figures(instance, pool));
    row
}

/// A pool on one line. What grows by the clock alone is left out: it is no change.
fn line(pool: &PoolStats) -> String {
    let wait = readable(duration(pool.wait_time).unwrap_or_default());
    format!(
        "pool={} state={} in_use={} idle={} open={} min={} max={} connecting={} waiting={} acquired={} \
         wait_time={} timeouts={} rejected={} leaks={} statements={}",
        visible(&pool.pool),
        condition(pool).replace(", ", "+"),
        pool.in_use,
        pool.idle,
        pool.open,
        pool.min,
        pool.max,
        pool.connecting,
        pool.waiting,
        pool.acquired,
        wait.replace(' ', ""),
        pool.timeouts,
        pool.rejected,
        pool.leaks,
        pool.statements,
    )
}

/// The lines of the live table, each shorter than the window is wide.
fn frame(
    message: &WatchPoolStatsResponse,
    rates: &Rates,
    (columns, height): (usize, usize),
    now: SystemTime,
) -> Vec<String> {
    let width = columns.saturating_sub(1);
    let time = humantime::format_rfc3339_seconds(now);
    let head = format!("{}  {time}  Ctrl-C ends", visible(&message.instance));
    let pools = &message.pools;
    let mut all = state(pools);
    let figure = |kind: usize| {
        each(pools, |pool| rates.of(&pool.pool, kind).map_or("–".to_owned(), |n| n.to_string()))
    };
    all.extend([
        Column::number("calls/s", 8, figure(0)),
        Column::number("statements/s", 9, figure(1)),
        Column::number("timeouts", 10, each(pools, |pool| pool.timeouts.to_string())),
        Column::number("leaks", 11, each(pools, |pool| pool.leaks.to_string())),
        Column::number("retries", 12, each(pools, |pool| pool.retries.to_string())),
    ]);
    let mut frame = vec![head.chars().take(width).collect()];
    // The head, the title, and four lines around them.
    let style = if pools.len() + 5 > height { Style::Bare } else { Style::Boxed };
    frame.extend(lines(all, Some(width), style));
    frame
}

/// What is counted, as so much a second.
#[derive(Debug, Default)]
struct Rates {
    /// When the present span began, and what had been counted then.
    start: Option<(Instant, HashMap<String, [u64; 2]>)>,
    /// Of the span before.
    rates: HashMap<String, [u64; 2]>,
}

impl Rates {
    fn note(&mut self, now: Instant, pools: &[PoolStats]) {
        let counts = |pool: &PoolStats| [pool.acquired, pool.statements];
        if let Some((start, before)) = &self.start {
            let span = now.duration_since(*start);
            if span < SPAN {
                return;
            }
            let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = |pool: &PoolStats| {
                let before = before.get(&pool.pool)?;
                let counts = counts(pool);
                let rate = |kind: usize| {
                    counts[kind].saturating_sub(before[kind]).saturating_mul(1_000) / millis
                };
                Some((pool.pool.clone(), [rate(0), rate(1)]))
            };
            self.rates = pools.iter().filter_map(rate).collect();
        }
        let all = pools.iter().map(|pool| (pool.pool.clone(), counts(pool)));
        self.start = Some((now, all.collect()));
    }

    /// Calls (0) or statements (1) a second; `None` before the first span is over.
    fn of(&self, pool: &str, kind: usize) -> Option<u64> {
        self.rates.get(pool).map(|rates| rates[kind])
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
        let (mut view, mut out) = (View::Changes(HashMap::new()), Vec::new());
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
        let (mut view, mut out) = (View::new(Format::Csv), Vec::new());
        for _ in 0..2 {
            view.show(&message(1, 0), &mut out).unwrap();
        }
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 3, "{out}");
        assert!(out.starts_with("time,instance,pool,backend,"), "{out}");
    }

    #[test]
    fn rates_are_of_a_second_at_least() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        for (ms, acquired, expected) in
            [(0, 10, None), (500, 900, None), (2_000, 1_010, Some(500)), (2_100, 9_999, Some(500))]
        {
            rates.note(after(ms), &message(acquired, 0).pools);
            assert_eq!(rates.of("main", 0), expected, "after {ms} ms");
        }
    }

    #[test]
    fn a_frame_fits_any_window() {
        for columns in [0, 1, 2, 20, 40, 80, 200] {
            let (rates, now) = (Rates::default(), SystemTime::now());
            let frame = frame(&message(1, 7), &rates, (columns, 24), now);
            for line in &frame {
                assert!(line.chars().count() <= columns.saturating_sub(1), "{columns}: {line}");
            }
            let is_told = frame[1..].iter().any(|line| line.contains('7'));
            assert_eq!(columns >= 40, is_told, "{frame:#?}");
        }
        let (rates, now) = (Rates::default(), SystemTime::now());
        let low = frame(&message(1, 7), &rates, (80, 3), now);
        assert_eq!((low.len(), low[2].contains('7')), (3, true), "{low:#?}");
    }
}
