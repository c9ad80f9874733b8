//! What can be known of a configuration only by connecting: whether each database answers, and whether
//! its server has room for the pools.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::backend::{Backend, Fill, RowSink, Statement, fill};
use crate::config::{Config, Database, Target};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CallContext;
use crate::sql::Analysis;
use crate::value::{Kind, Value};

/// What an ordinary role may use of the server, then the limits of the role and of the database; -1 is
/// no limit. The third setting exists since PostgreSQL 16.
const CONNECTION_LIMITS: &str = "\
select current_setting('max_connections')::int8
     - current_setting('superuser_reserved_connections')::int8
     - coalesce(current_setting('reserved_connections', true), '0')::int8,
       (select rolconnlimit::int8 from pg_catalog.pg_roles where rolname = current_user),
       (select datconnlimit::int8 from pg_catalog.pg_database where datname = current_database())";

/// Reading the limits takes milliseconds; a check must end.
const QUERY_TIME: Duration = Duration::from_secs(5);

/// Closing takes milliseconds, too.
const CLOSING: Duration = Duration::from_secs(1);

/// One finding about one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckLine {
    /// The database's name.
    pub database: String,
    /// How good the finding is.
    pub verdict: Verdict,
    /// What was found, in the tone of error messages.
    pub text: String,
}

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Passed,
    /// It could not be found out.
    Unclear,
    /// The server would not work as configured.
    Failed,
}

/// Connects to each database and says what it finds, in the order of their names. Blocks; must not be
/// called from a runtime.
///
/// # Errors
/// When no runtime can be started.
pub fn check(config: &Config) -> Result<Vec<CheckLine>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Error::new(ErrorKind::Internal, "the runtime cannot be started").with_cause(error)
        })?;
    let lines =
        runtime.block_on(join_all(config.databases.iter().map(async |(name, database)| {
            match super::backends::open(name, database) {
                Ok(backend) => check_backend(config, name, &*backend).await,
                Err(error) => vec![failed(name, &error)],
            }
        })));
    Ok(lines.concat())
}

async fn check_backend(config: &Config, name: &str, backend: &dyn Backend) -> Vec<CheckLine> {
    let limit = config.databases.get(name).map(|database| database.pool.connect_timeout);
    let lines = match backend.probe(limit.unwrap_or_default()).await {
        Ok(()) => findings(config, name, backend).await,
        Err(error) => vec![failed(name, &error)],
    };
    backend.close();
    // One that is stuck must not keep whoever asked.
    drop(tokio::time::timeout(CLOSING, backend.closed()).await);
    lines
}

/// What else is found of a database that answers.
async fn findings(config: &Config, name: &str, backend: &dyn Backend) -> Vec<CheckLine> {
    let mut lines = vec![line(name, Verdict::Passed, "answers".to_owned())];
    let needed = connections_needed(config, name);
    if needed > 0 {
        lines.push(match connection_limits(backend).await {
            Ok(limits) => compare(name, needed, limits),
            Err(error) => {
                line(name, Verdict::Unclear, format!("its connection limits are unknown: {error}"))
            }
        });
    }
    lines
}

fn line(name: &str, verdict: Verdict, text: String) -> CheckLine {
    CheckLine { database: name.to_owned(), verdict, text }
}

fn failed(name: &str, error: &Error) -> CheckLine {
    let mut text = error.to_string();
    let cause = error.cause();
    if !cause.is_empty() {
        text = format!("{text}: {cause}");
    }
    if let Some(hint) = error.hint() {
        text = format!("{text} ({hint})");
    }
    line(name, Verdict::Failed, text)
}

/// The connections that this configuration may hold on the database's server: of every database that is
/// on it, the pool and one probe. 0 where the server does not count them.
fn connections_needed(config: &Config, name: &str) -> usize {
    let servers = |database: &Database| match &database.target {
        Target::Postgres(target) => target.servers.clone(),
        Target::Sqlite(_) => Vec::new(),
    };
    let own = config.databases.get(name).map(servers).unwrap_or_default();
    let shares = |database: &&Database| {
        servers(database).iter().any(|server| own.iter().any(|own| own.is_at(server)))
    };
    // Where several servers take turns, each must have room for all.
    let most = |database: &Database| database.pool.max.get() + database.pool.overflow + 1;
    config.databases.values().filter(shares).map(most).sum()
}

/// How many connections the server, the role and the database allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ConnectionLimits {
    server: i64,
    role: i64,
    database: i64,
}

fn compare(name: &str, needed: usize, limits: ConnectionLimits) -> CheckLine {
    let bounds = [
        (limits.server, "max_connections of the server, less what it reserves,"),
        (limits.role, "the connection limit of the role"),
        (limits.database, "the connection limit of the database"),
    ];
    let tightest = bounds.into_iter().filter(|(limit, _)| *limit >= 0).min_by_key(|bound| bound.0);
    let Some((limit, whose)) = tightest else {
        return line(name, Verdict::Passed, "its server sets no connection limit".to_owned());
    };
    if i64::try_from(needed).is_ok_and(|needed| needed <= limit) {
        let text = format!("needs up to {needed} connections, {limit} are allowed");
        return line(name, Verdict::Passed, text);
    }
    let text = format!(
        "the pools on its server and their probes need up to {needed} connections, but {whose} allows \
         {limit} (Lower pool.max, or raise the limit.)"
    );
    line(name, Verdict::Failed, text)
}

async fn connection_limits(backend: &dyn Backend) -> Result<ConnectionLimits> {
    let statement = Statement {
        sql: CONNECTION_LIMITS.to_owned(),
        parameters: Vec::new(),
        analysis: Arc::new(Analysis::unknown()),
        read_only: true,
        deadline: Deadline::at(Instant::now() + QUERY_TIME),
        context: CallContext::own("check"),
    };
    let mut stream = backend.execute(Arc::new(statement)).await?;
    let mut sink = RowSink::new(usize::MAX);
    while fill(&mut *stream, &mut sink).await? != Fill::Done {}
    stream.finish().await?;
    let rows = sink.take();
    let values = rows.first().map(|row| row.values.as_slice()).unwrap_or_default();
    let limit = |index: usize| match values.get(index) {
        Some(Value { kind: Some(Kind::Int64Value(limit)) }) => *limit,
        Some(_) | None => -1,
    };
    Ok(ConnectionLimits { server: limit(0), role: limit(1), database: limit(2) })
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::backend::{
        Batch, BatchResult, BeginRequest, Completion, ConnectBreaker, DescribeRequest, Description,
        RowStream, Transaction, TransactionHandle, TransactionOutcome,
    };
    use crate::config;
    use crate::error::Outcome;
    use crate::pool::{PoolAdmin, PoolSnapshot};
    use crate::value::{Column, Row};

    /// A database that answers the question about limits with these values, or not at all.
    struct Answers(Option<Vec<Value>>);

    impl Backend for Answers {
        fn name(&self) -> &'static str {
            "answers"
        }

        fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
            assert_eq!(statement.sql, CONNECTION_LIMITS);
            let values = self.0.clone().unwrap_or_default();
            Box::pin(async { Ok(Box::new(OneRow(values)) as Box<dyn RowStream>) })
        }

        fn execute_batch(&self, _batch: Arc<Batch>) -> BoxFuture<'_, Result<BatchResult>> {
            Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
        }

        fn begin(&self, _request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
            Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
        }

        fn outcome(
            &self,
            _handle: TransactionHandle,
            _deadline: Deadline,
            _borrower: Arc<CallContext>,
        ) -> BoxFuture<'_, Result<TransactionOutcome>> {
            Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
        }

        fn delete_expired_keys(&self, _deadline: Deadline) -> BoxFuture<'_, Result<u64>> {
            Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
        }

        fn describe(&self, _request: DescribeRequest) -> BoxFuture<'_, Result<Description>> {
            Box::pin(async { Ok(Description::default()) })
        }

        fn breaker(&self) -> &Arc<ConnectBreaker> {
            unreachable!("nobody connects")
        }

        fn probe(&self, _limit: Duration) -> BoxFuture<'_, Result<()>> {
            let answers = self.0.is_some();
            Box::pin(async move {
                let refused = || {
                    Error::new(ErrorKind::DatabaseUnavailable, "connection refused")
                        .with_hint("Start the database.")
                };
                answers.then_some(()).ok_or_else(refused)
            })
        }

        fn warm_up(&self, _connections: usize) -> BoxFuture<'_, Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn pool(&self) -> PoolSnapshot {
            PoolSnapshot::default()
        }

        fn control(&self) -> &dyn PoolAdmin {
            unreachable!("no operator is here")
        }

        fn close(&self) {}
    }

    struct OneRow(Vec<Value>);

    impl RowStream for OneRow {
        fn columns(&self) -> Option<&[Column]> {
            Some(&[])
        }

        fn poll_rows(&mut self, _cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
            sink.push(Row { values: std::mem::take(&mut self.0) });
            Poll::Ready(Ok(Fill::Done))
        }

        fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
        where
            Self: 'a,
        {
            Box::pin(async { Ok(Completion::default()) })
        }

        fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
        where
            Self: 'a,
        {
            Box::pin(async { Outcome::NotApplied })
        }
    }

    fn shop(pool_max: &str) -> Config {
        config::load_from(&[
            ("databases.main.url", "postgres://me@127.0.0.1:5432/shop"),
            ("databases.main.pool.max", pool_max),
            ("databases.reports.url", "postgres://me@127.0.0.1:5432/reports"),
            ("databases.reports.pool.max", "9"),
            ("databases.elsewhere.url", "postgres://me@127.0.0.1:5433/shop"),
            ("databases.local.url", "sqlite:local.db"),
            ("default_database", "main"),
        ])
        .unwrap()
    }

    async fn checked(config: &Config, name: &str, answer: Option<[i64; 3]>) -> Vec<CheckLine> {
        let values = answer.map(|limits| limits.map(Value::int64).to_vec());
        check_backend(config, name, &Answers(values)).await
    }

    #[tokio::test]
    async fn pools_that_share_a_server_are_added_up() {
        let fits = checked(&shop("10"), "main", Some([97, -1, -1])).await;
        assert_eq!(
            fits,
            [
                line("main", Verdict::Passed, "answers".to_owned()),
                line(
                    "main",
                    Verdict::Passed,
                    "needs up to 21 connections, 97 are allowed".to_owned()
                ),
            ]
        );
        let full = checked(&shop("88"), "main", Some([97, -1, -1])).await;
        assert_eq!(full[1].verdict, Verdict::Failed);
        assert!(full[1].text.contains("up to 99 connections"), "{full:?}");
    }

    #[tokio::test]
    async fn the_tightest_limit_decides_and_is_named() {
        for (limits, whose) in [
            ([97, 5, 30], "limit of the role allows 5"),
            ([97, -1, 20], "limit of the database allows 20"),
            ([3, -1, 30], "less what it reserves, allows 3"),
        ] {
            let lines = checked(&shop("10"), "main", Some(limits)).await;
            assert_eq!(lines[1].verdict, Verdict::Failed);
            assert!(lines[1].text.contains(whose), "{lines:?}");
        }
    }

    #[tokio::test]
    async fn a_database_without_connection_limits_only_has_to_answer() {
        let lines = checked(&shop("10"), "local", Some([0, 0, 0])).await;
        assert_eq!(lines, [line("local", Verdict::Passed, "answers".to_owned())]);
    }

    #[tokio::test]
    async fn a_database_that_does_not_answer_fails_with_its_hint() {
        let lines = checked(&shop("10"), "main", None).await;
        let text = "connection refused (Start the database.)".to_owned();
        assert_eq!(lines, [line("main", Verdict::Failed, text)]);
    }
}
