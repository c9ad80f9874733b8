//! `rowgate pool`: what operators ask of a server's pools, and have done to them.

mod admin_commands;
mod checkouts;
mod screen;
mod stat_names;
mod stats_command;
mod text_grid;
mod watch_command;

use std::io;
use std::time::Duration;

use clap::Subcommand;

use super::Exit;
use super::call_failure;
use super::console::Console;
use super::query::Format;
use super::server_address::{Server, runtime};
use crate::grpc::client::{CallError, Client};

const POOLS: &str = "\
A pool has the name of its database. All of this acts on the one server that is asked: behind a load \
balancer, address each replica itself.

Examples:
  rowgate pool stats                     the pools and what they have counted
  rowgate pool watch                     the same, live
  rowgate pool checkouts                 who holds a connection, and since when
  rowgate pool pause main                let open work end and let no more in, before maintenance
  rowgate pool resume main
  rowgate pool reconnect main            replace all connections, after a change in the database
  rowgate pool resize main --max 40      until the server ends
  rowgate pool terminate main 4711       end what one checkout does

Exit status: 0 success; 1 the call failed, or work is still open after `pause`; 2 wrong usage.";

const STATS: &str = "\
Examples:
  rowgate pool stats                     a line for each pool
  rowgate pool stats main                all that is known of one
  rowgate pool stats --format json | jq .waiting

Counters count since the server's start; csv and json have all of them, and durations in milliseconds.

Exit status: 0 success; 1 the call failed.";

const WATCH: &str = "\
On a terminal the table is drawn anew whenever a pool changes; otherwise each change is a line. Ctrl-C ends \
it. Where the window is narrow, the columns that matter least are left out.

Examples:
  rowgate pool watch
  rowgate pool watch main --interval 1s
  rowgate pool watch --format json >> pools.jsonl

Exit status: 0 after Ctrl-C; 1 the call failed, or the server ended.";

const CHECKOUTS: &str = "\
Statements are shown without literals and parameters. A checkout that is held for longer than \
`pool.leak_threshold` is marked LEAK.

Examples:
  rowgate pool checkouts main
  rowgate pool checkouts --format json | jq 'select(.leak)'

Exit status: 0 success; 1 the call failed.";

const PAUSE: &str = "\
Callers that come wait as long as their deadlines and `pool.acquire_timeout` allow, and are let in by \
`rowgate pool resume`. The pool is paused until then, also when open work did not end in time, and when this \
command was interrupted.

Examples:
  rowgate pool pause main
  rowgate pool pause main --timeout 2m && pg_ctl restart; rowgate pool resume main

Exit status: 0 the pool is at rest; 1 work is still open, or the call failed.";

const RESIZE: &str = "\
Examples:
  rowgate pool resize main --max 40      those that wait are let in at once
  rowgate pool resize main --min 10 --max 20

The bounds hold until the server ends: a restart takes those of its configuration.

Exit status: 0 success; 1 the call failed, or the bounds do not fit.";

const TERMINATE: &str = "\
Examples:
  rowgate pool checkouts main            lists the numbers
  rowgate pool terminate main 4711

Its statement is cancelled in the database, its transaction rolled back, and its caller told TERMINATED. A \
commit that was sent is finished.

Exit status: 0 success; 1 the call failed, or there is no such checkout (any more).";

/// See what connections are doing, and act on their pools
#[derive(Debug, clap::Args)]
#[command(after_help = POOLS)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the state and counters of pools
    #[command(after_help = STATS)]
    Stats {
        /// The pool, to see all that is known of it; all pools when left out
        pool: Option<String>,
        /// How to print them
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show the state of pools, live
    #[command(after_help = WATCH)]
    Watch(watch_command::Args),
    /// List who holds a connection, the oldest first
    #[command(after_help = CHECKOUTS)]
    Checkouts {
        /// The pool; all pools when left out
        pool: Option<String>,
        /// How to print them
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        ask: Ask,
    },
    /// Let no more callers in, and wait until open work has ended
    #[command(after_help = PAUSE)]
    Pause {
        /// The pool
        pool: String,
        /// How long to wait for open work; 0s to not wait
        #[arg(long, value_name = "DURATION", default_value = "30s")]
        #[arg(value_parser = humantime::parse_duration)]
        timeout: Duration,
        #[command(flatten)]
        server: Server,
    },
    /// Let callers in again after a pause
    Resume {
        /// The pool
        pool: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Replace all connections: idle ones now, the others when they come back
    Reconnect {
        /// The pool
        pool: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Change the bounds of a pool, until the server ends
    #[command(after_help = RESIZE)]
    #[command(group(clap::ArgGroup::new("bounds").args(["min", "max"]).required(true).multiple(true)))]
    Resize {
        /// The pool
        pool: String,
        /// The fewest connections to keep open
        #[arg(long, value_name = "CONNECTIONS")]
        min: Option<u32>,
        /// The most connections
        #[arg(long, value_name = "CONNECTIONS")]
        max: Option<u32>,
        #[command(flatten)]
        ask: Ask,
    },
    /// End what one checkout does
    #[command(after_help = TERMINATE)]
    Terminate {
        /// The pool
        pool: String,
        /// The checkout's number, as `rowgate pool checkouts` lists it
        checkout: u64,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Whom to ask, and how patiently.
#[derive(Debug, clap::Args)]
struct Ask {
    #[command(flatten)]
    server: Server,
    /// How long to wait for an answer
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Ask {
    /// Makes one call.
    fn call<T>(
        &self,
        call: impl AsyncFnOnce(&Client) -> Result<T, CallError>,
    ) -> io::Result<Result<T, CallError>> {
        Ok(runtime()?.block_on(async {
            let client = Client::connect(&self.server.address).await?.with_limit(self.timeout);
            call(&client).await
        }))
    }
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> io::Result<Exit> {
    let done = match &args.command {
        Command::Stats { pool, format, ask } => {
            let answer = ask.call(async |client| client.list_pool_stats(name(pool)).await)?;
            answer.map(|answer| stats_command::print(&answer, pool.is_some(), *format, console))
        }
        Command::Watch(args) => return watch_command::run(args, console),
        Command::Checkouts { pool, format, ask } => {
            let answer = ask.call(async |client| client.list_checkouts(name(pool)).await)?;
            answer.map(|answer| checkouts::print(&answer, *format, console))
        }
        Command::Pause { pool, timeout, server } => {
            return admin_commands::pause(pool, *timeout, server, console);
        }
        Command::Resume { pool, ask } => {
            let answer = ask.call(async |client| client.resume_pool(pool).await)?;
            answer.map(|answer| admin_commands::resumed(pool, &answer, console))
        }
        Command::Reconnect { pool, ask } => {
            let answer = ask.call(async |client| client.reconnect_pool(pool).await)?;
            answer.map(|answer| admin_commands::reconnected(pool, &answer, console))
        }
        Command::Resize { pool, min, max, ask } => {
            let answer = ask.call(async |client| client.resize_pool(pool, *min, *max).await)?;
            answer.map(|answer| admin_commands::resized(pool, &answer, console))
        }
        Command::Terminate { pool, checkout, ask } => {
            let answer =
                ask.call(async |client| client.terminate_checkout(pool, *checkout).await)?;
            answer.map(|answer| admin_commands::terminated(pool, *checkout, &answer, console))
        }
    };
    done.unwrap_or_else(|error| console.fail(&call_failure::describe(&error, None)))
}

/// The name in a request: the empty one is all pools.
fn name(pool: &Option<String>) -> &str {
    pool.as_deref().unwrap_or_default()
}
