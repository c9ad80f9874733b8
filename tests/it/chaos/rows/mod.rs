//! The table of faults: each is a row that is injected so often, and reports what held.
//!
//! `docs/FAULTS.md` says of each what a caller sees and what must hold, under the same names. A row runs on
//! servers of its own and in a thread of its own: one that fails hides no other. What it counts is faults
//! that took effect, not attempts; one with too few of them has failed.
//!
//! | module | holds |
//! |---|---|
//! | `table` | the rows: how many faults, which tests are their short form |
//! | `run` | runs them, judges and prints |
//! | `worst` | what was measured, against its limit |
//! | `written` | faults under which clients write, with the checkers *set* and *bank* |
//! | `database` | a database that is away, demoted, or full |
//! | `mariadb` | idle connections that MariaDB closes |
//! | `silence` | peers, backends and servers that say nothing |
//! | `callers` | clients who vanish, do not read, or leave their session dirty; tables that change |
//! | `gateway` | what happens to the server itself |

mod callers;
mod database;
mod gateway;
mod mariadb;
mod run;
mod silence;
mod table;
mod worst;
mod written;

use futures_util::future::LocalBoxFuture;

/// The result of a row; one that does not hold panics instead.
#[derive(Debug)]
struct Held {
    /// Faults that took effect.
    faults: usize,
    /// The figures that were measured.
    figures: String,
}

/// A row of the table.
struct Row {
    /// As in `docs/FAULTS.md`.
    name: &'static str,
    /// Faults of a run of 4000.
    share: usize,
    /// Faults of any run.
    least: usize,
    /// Its short form among the ordinary tests.
    short: Short,
    /// Injects them.
    run: Run,
}

/// Injects so many faults.
type Run = fn(usize) -> LocalBoxFuture<'static, Held>;

/// The short form of a row.
enum Short {
    /// These tests.
    Tests(&'static [&'static str]),
    /// The row itself, with so many faults.
    Own(usize),
}

/// The arguments of `scripts/chaos`.
#[expect(clippy::disallowed_methods, reason = "scripts/chaos says how many faults, and which")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
