//! Prepared statements of a connection: many more than it keeps, and such as somebody else closed.

mod changed;
mod definitions;
mod ended;
mod evicted;
mod lost;
mod moment;
mod renewed;

use rowgate::value::proto::BatchStatement;
use rowgate::value::proto::expectation::Rows;

use crate::harness::unit::statement;
use crate::harness::{Backend, Service};

/// Logs the connections that are opened and closed.
const LOG_POOL: &str = "[telemetry]\nlog_filter = \"info,rowgate::pool=debug\"";

/// A service with one connection that keeps so many statements, and the tables for keys and rows.
async fn keeping(statements: usize) -> Service {
    let settings = format!(
        "session_statements = \"allow\"\nstatement_cache = {statements}\n\
         [databases.main.pool]\nmin = 1\nmax = 1\n{LOG_POOL}"
    );
    let service = Service::with(Backend::Postgres, &settings).await;
    service.postgres().psql(crate::harness::behind::KEYS);
    service.postgres().psql("create table t (id int, n int)");
    service
}

/// A statement that must change so many rows.
fn exactly(count: u64, sql: &str) -> BatchStatement {
    let rows = Some(Rows::Exactly(count));
    let expect = Some(rowgate::value::proto::Expectation { rows });
    BatchStatement { expect, ..statement(sql, &[]) }
}
