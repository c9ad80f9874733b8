//! The contract of every backend. Each case runs once for each backend, on a database and a server of
//! its own; where the databases' own words differ, `Service::pick` says so in the case.

mod batches;
mod command_line;
mod deadlines;
mod errors;
mod hostile;
mod limits;
mod options;
mod parameters;
mod pool_commands;
mod pools;
mod retries;
mod rows;
mod services;
mod streams;
mod transactions;

/// Makes a test of each case for each backend: `contract::rows::sqlite::null_is_null`.
macro_rules! contract {
    ($($case:ident)*) => {
        mod sqlite {
            use crate::harness::{Backend, Service};
            $(#[tokio::test]
            async fn $case() {
                super::$case(Service::start(Backend::Sqlite).await).await;
            })*
        }
        mod postgres {
            use crate::harness::{Backend, Service};
            $(#[tokio::test]
            async fn $case() {
                super::$case(Service::start(Backend::Postgres).await).await;
            })*
        }
    };
    // The same with settings of the database, lines of TOML.
    (with $settings:literal: $($case:ident)*) => {
        mod sqlite_configured {
            use crate::harness::{Backend, Service};
            $(#[tokio::test]
            async fn $case() {
                super::$case(Service::with(Backend::Sqlite, $settings).await).await;
            })*
        }
        mod postgres_configured {
            use crate::harness::{Backend, Service};
            $(#[tokio::test]
            async fn $case() {
                super::$case(Service::with(Backend::Postgres, $settings).await).await;
            })*
        }
    };
}
use contract;
