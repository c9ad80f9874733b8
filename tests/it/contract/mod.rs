//! The contract of every backend. Each case runs once for each backend, on a database and a server of
//! its own; where the databases' own words differ, `Service::pick` says so in the case, and what MariaDB or MySQL
//! cannot do is in one table, `exceptions`.

mod batches;
mod command_line;
mod copies;
mod copy_counts;
mod copy_headers;
mod deadlines;
mod errors;
mod exceptions;
mod hostile;
mod keyed_calls;
mod limits;
mod options;
mod parameters;
mod pool_commands;
mod pools;
mod references;
mod retries;
mod rows;
mod services;
mod streams;
mod transaction_batches;
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
        mod mariadb {
            use crate::contract::exceptions::runs;
            use crate::harness::{Backend, Service};
            $(#[tokio::test]
            async fn $case() {
                if runs(module_path!(), stringify!($case)) {
                    super::$case(Service::start(Backend::Mariadb).await).await;
                }
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
        mod mariadb_configured {
            use crate::contract::exceptions::runs;
            use crate::harness::{Backend, Service};
            $(#[tokio::test]
            async fn $case() {
                if runs(module_path!(), stringify!($case)) {
                    super::$case(Service::with(Backend::Mariadb, $settings).await).await;
                }
            })*
        }
    };
}
use contract;
