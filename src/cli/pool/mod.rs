//! `rowgate pool`: shows and administers the pools of a server.

mod admin_commands;
mod checkouts;
mod keyboard;
mod screen;
mod stat_names;
mod stats_command;
mod text_grid;
mod watch_command;

use std::time::Duration;

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;

use super::command_error::Result;
use super::console::{Console, Exit};
use super::query::Format;
use super::server_flag::{Server, Target};

const POOLS: &str = "\
A pool has the name of its database. The commands act on one server: behind a load balancer, address \
each replica itself.

Examples:
  rowgate pool stats                     the state and counters of the pools
  rowgate pool watch                     the same, live
  rowgate pool checkouts                 the checkouts and their ages
  rowgate pool pause main                drain the pool before maintenance
  rowgate pool resume main
  rowgate pool reconnect main            replace all connections, after a change in the database
  rowgate pool resize main --max 40      until the server ends
  rowgate pool terminate main 4711       terminate one checkout

Exit status: 0 success; 1 the call failed, or connections are still in use after `pause`; 2 wrong usage.";

const STATS: &str = "\
Examples:
  rowgate pool stats                     a line for each pool
  rowgate pool stats main                all figures of one
  rowgate pool stats --format json | jq .waiting

Counters count from the server's start; csv and json have all of them, and durations in milliseconds.

Exit status: 0 success; 1 the call failed.";

const CHECKOUTS: &str = "\
Statements are shown without literals and parameters. A checkout that lasts longer than \
`pool.leak_threshold` is marked LEAK.

Examples:
  rowgate pool checkouts main
  rowgate pool checkouts --format json | jq 'select(.leak)'

Exit status: 0 success; 1 the call failed.";

const PAUSE: &str = "\
New callers wait as long as their deadlines and `pool.acquire_timeout` allow, until `rowgate pool resume`. The \
pool stays paused even if connections are still in use at the end of the timeout, or if this command is \
interrupted.

Examples:
  rowgate pool pause main
  rowgate pool pause main --timeout 2m && pg_ctl restart; rowgate pool resume main

Exit status: 0 the pool is idle; 1 connections are still in use, or the call failed.";

const RESIZE: &str = "\
Examples:
  rowgate pool resize main --max 40      waiting callers get connections at once
  rowgate pool resize main --min 10 --max 20

The bounds apply until the server ends: a restart applies those of its configuration.

Exit status: 0 success; 1 the call failed, or the bounds are invalid.";

const TERMINATE: &str = "\
Examples:
  rowgate pool checkouts main            list the ids
  rowgate pool terminate main 4711

Its statement is cancelled in the database, its transaction is rolled back, and its caller gets the error \
TERMINATED. A commit that was sent completes.

Exit status: 0 success; 1 the call failed, or the checkout does not exist or has ended.";

/// Show what connections are doing, and administer their pools
#[derive(Debug, clap::Args)]
#[command(after_help = POOLS)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

// The arguments of a list. A doc comment would replace that of each command.
#[derive(Debug, clap::Args)]
struct List {
    /// The pool; all pools if omitted
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pool: Option<String>,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    target: Target,
}

// The pool that a command changes.
#[derive(Debug, clap::Args)]
struct Pool {
    /// The pool
    pool: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the state and counters of pools; of one pool all figures
    #[command(after_help = STATS)]
    Stats(List),
    /// Show the state of pools, live
    Watch(watch_command::Args),
    /// List the checkouts, the oldest first
    #[command(after_help = CHECKOUTS)]
    Checkouts(List),
    /// Admit no more callers, and wait until all connections are returned
    #[command(after_help = PAUSE)]
    Pause {
        /// The pool
        pool: String,
        /// The longest wait for connections in use; 0s to not wait
        #[arg(long, value_name = "DURATION", default_value = "30s")]
        #[arg(value_parser = humantime::parse_duration)]
        timeout: Duration,
        #[command(flatten)]
        server: Server,
    },
    /// Admit callers after a pause
    Resume(Pool),
    /// Replace all connections: idle ones now, the others when they are returned
    Reconnect(Pool),
    /// Change the bounds of a pool, until the server ends
    #[command(after_help = RESIZE)]
    #[command(group(clap::ArgGroup::new("bounds").args(["min", "max"]).required(true).multiple(true)))]
    Resize {
        #[command(flatten)]
        pool: Pool,
        /// The fewest connections to keep open
        #[arg(long, value_name = "CONNECTIONS")]
        min: Option<u32>,
        /// The most connections
        #[arg(long, value_name = "CONNECTIONS")]
        max: Option<u32>,
    },
    /// Terminate one checkout
    #[command(after_help = TERMINATE)]
    Terminate {
        #[command(flatten)]
        pool: Pool,
        /// The checkout's id, as `rowgate pool checkouts` lists it
        checkout: u64,
    },
}

impl List {
    /// The pool of a request; empty for all.
    fn pool(&self) -> &str {
        self.pool.as_deref().unwrap_or_default()
    }
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    match &args.command {
        Command::Stats(list) => {
            let call = list.target.call(async |client| client.list_pool_stats(list.pool()).await);
            stats_command::print(&call?, list.pool.as_deref(), list.format, console)?;
        }
        Command::Watch(args) => return watch_command::run(args, console),
        Command::Checkouts(list) => {
            let call = list.target.call(async |client| client.list_checkouts(list.pool()).await);
            checkouts::print(&call?, list.format, console)?;
        }
        Command::Pause { pool, timeout, server } => {
            return admin_commands::pause(pool, *timeout, server, console);
        }
        Command::Resume(Pool { pool, target }) => {
            let call = target.call(async |client| client.resume_pool(pool).await);
            writeln!(console.out, "{}", admin_commands::resumed(pool, &call?))?;
        }
        Command::Reconnect(Pool { pool, target }) => {
            let call = target.call(async |client| client.reconnect_pool(pool).await);
            writeln!(console.out, "{}", admin_commands::reconnected(pool, &call?))?;
        }
        Command::Resize { pool: Pool { pool, target }, min, max } => {
            let call = target.call(async |client| client.resize_pool(pool, *min, *max).await);
            writeln!(console.out, "{}", admin_commands::resized(pool, &call?))?;
        }
        Command::Terminate { pool: Pool { pool, target }, checkout } => {
            let call = target.call(async |client| client.terminate_checkout(pool, *checkout).await);
            writeln!(console.out, "{}", admin_commands::terminated(pool, *checkout, &call?))?;
        }
    }
    Ok(Exit::Success)
}
