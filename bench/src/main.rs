//! The load generator of `bench/run`: starts what is compared, loads it in turn, and writes what came of it.

mod docs;
mod foreign;
mod gateway;
mod grpc;
mod handshakes;
mod histogram;
mod identities;
mod load;
mod machine;
mod mariadb;
mod measure;
mod memory;
mod mysql;
mod options;
mod plan;
mod report;
mod rounds;
mod servers;
mod sql;
mod stand;
mod targets;

/// The messages of the contract.
mod contract {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}
include!(concat!(env!("OUT_DIR"), "/arrow.rs"));

use options::Options;
use stand::Stand;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An error with this text.
pub fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(text.into().into())
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs on one thread, so that the load generator leaves the other processors to what it measures.
fn start() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = run(&options) => result,
            _ = interrupt.recv() => fail("interrupted: all that was started is ended"),
            _ = terminate.recv() => fail("terminated: all that was started is ended"),
        }
    })
}

async fn run(options: &Options) -> Result<()> {
    println!("starting PostgreSQL, PgBouncer, MariaDB and Rowgate, and filling the tables");
    let stand = Stand::start(options).await?;
    for (name, fact) in report::facts(options, &stand.versions) {
        println!("  {name:<10} {fact}");
    }
    let results = rounds::run(options, &stand, plan::rows(options), report::print).await?;
    println!("\naudited: each transaction of TPC-B and each row in SQLite is there once");
    report::print_targets(&results);
    if let Some(path) = &options.json {
        let json = report::json(options, &stand.versions, &results);
        std::fs::write(path, serde_json::to_string_pretty(&json)? + "\n")?;
        println!("the figures of all rounds are in {}", path.display());
    }
    if options.write_docs {
        docs::write(options, &stand.versions, &results)?;
        println!("docs/BENCHMARKS.md and docs/benchmarks.svg are written");
    }
    Ok(())
}
