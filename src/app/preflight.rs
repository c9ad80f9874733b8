//! Checks of a configuration beyond its keys: what is unsafe about it, each database is reachable, and its server allows
//! as many connections as the pools may open.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::workers::single_threaded;
use super::{jwks_watch, mysql_safety, safety};
use crate::backend::postgres::lanes::LANES_OF_WORKER;
use crate::backend::{Backend, Delivery, Fill, Preamble, RowSink, Statement, fill};
use crate::config::{Config, Database, PoolSettings, Secret, Target};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CallContext;
use crate::sql::{Analysis, Analyzer, Dialect};
use crate::value::{Kind, Row, Value};

/// The connections that the server has for ordinary roles, then the limits of the role and of the database; -1 is no
/// limit. The third setting exists since PostgreSQL 16.
const CONNECTION_LIMITS: &str = "\
select current_setting('max_connections')::int8
     - current_setting('superuser_reserved_connections')::int8
     - coalesce(current_setting('reserved_connections', true), '0')::int8,
       (select rolconnlimit::int8 from pg_catalog.pg_roles where rolname = current_user),
       (select datconnlimit::int8 from pg_catalog.pg_database where datname = current_database())";

/// The source of each of these limits.
const LIMIT_SOURCES: [&str; 3] = [
    "max_connections of the server, less what it reserves,",
    "the connection limit of the role",
    "the connection limit of the database",
];

const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A finding about a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The database's name; empty for the server itself.
    pub database: String,
    /// The status of the check.
    pub status: CheckStatus,
    /// The finding, in the style of error messages.
    pub text: String,
}

/// The status of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckStatus {
    /// The check passed.
    Passed,
    /// It works, and is unsafe.
    Unsafe,
    /// The check could not be made.
    Unknown,
    /// The check failed: the server would not work as configured.
    Failed,
}

/// Connects to each database; returns the findings in the order of names. Blocks; must not be called from a runtime.
///
/// # Errors
/// A runtime that cannot be started.
pub fn check(config: &Config) -> Result<Vec<Finding>> {
    let checks = config.databases.iter().map(async |(name, database)| {
        if let Target::Sqlite(target) = &database.target
            && !target.path.exists()
        {
            // A connection would create it.
            return vec![check_directory(name, &target.path)];
        }
        match super::backends::open(name, database) {
            Ok(backend) => check_backend(config, name, &*backend).await,
            Err(error) => vec![failed(name, &error)],
        }
    });
    let mut findings: Vec<_> = unsafe_findings("", safety::of_server(config)).collect();
    let runtime = single_threaded()?;
    findings.extend(runtime.block_on(jwks_watch::check(&config.jwt)).map(|read| match read {
        Ok(text) => finding("", CheckStatus::Passed, text),
        Err(error) => failed("", &error),
    }));
    findings.extend(runtime.block_on(join_all(checks)).concat());
    Ok(findings)
}

/// Returns the findings that need no connection: what is unsafe about the server and each database as configured.
pub fn check_offline(config: &Config) -> Vec<Finding> {
    let of_databases = config
        .databases
        .iter()
        .flat_map(|(name, database)| unsafe_findings(name, safety::of_database(database)));
    unsafe_findings("", safety::of_server(config)).chain(of_databases).collect()
}

/// Warns of an unsafe configuration. With `access.strict` it blocks, and must not be called from a runtime.
///
/// # Errors
/// Findings that are unsafe, or not known to be safe, with `access.strict`.
pub(super) fn check_safety(config: &Config) -> Result<()> {
    if !config.access.strict {
        safety::warn(config);
        return Ok(());
    }
    let findings = check(config)?;
    let bad = findings.iter().filter(|finding| finding.status != CheckStatus::Passed);
    let about = bad.map(|finding| match &*finding.database {
        "" => finding.text.clone(),
        database => format!("database {database}: {}", finding.text),
    });
    let about = about.collect::<Vec<_>>().join("; ");
    if about.is_empty() {
        return Ok(());
    }
    let message = format!("access.strict allows no start: {about}");
    Err(Error::new(ErrorKind::BackendMisconfigured, message))
}

/// Checks the directory of a database file that does not exist.
fn check_directory(name: &str, file: &Path) -> Finding {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    let file = file.display();
    let shown = directory.display();
    match directory.metadata() {
        Ok(found) if !found.is_dir() => {
            let text = format!("{file} cannot be created: {shown} is not a directory");
            finding(name, CheckStatus::Failed, text)
        }
        Ok(found) if found.permissions().readonly() => {
            let text = format!("{file} cannot be created: {shown} is not writable");
            finding(name, CheckStatus::Failed, text)
        }
        Ok(_directory) => {
            let text = format!("{file} does not exist; the server creates it");
            finding(name, CheckStatus::Passed, text)
        }
        Err(error) => {
            let text = format!("{file} cannot be created: {shown}: {error}");
            finding(name, CheckStatus::Failed, text)
        }
    }
}

async fn check_backend(config: &Config, name: &str, backend: &dyn Backend) -> Vec<Finding> {
    let limit = config.databases.get(name).map(|database| database.pool.connect_timeout);
    let findings = match backend.probe(limit.unwrap_or_default()).await {
        Ok(()) => check_reachable(config, name, backend).await,
        Err(error) => vec![failed(name, &error)],
    };
    backend.close();
    // A stuck connection must not delay the caller.
    drop(tokio::time::timeout(CLOSE_TIMEOUT, backend.closed()).await);
    findings
}

async fn check_reachable(config: &Config, name: &str, backend: &dyn Backend) -> Vec<Finding> {
    let mut findings = vec![finding(name, CheckStatus::Passed, "reachable".to_owned())];
    let target = config.databases.get(name).map(|database| &database.target);
    let rights = target.and_then(|target| Some((target, safety::rights_question(target)?)));
    if let Some((target, question)) = rights {
        let needed = connections_needed(config, name);
        findings.push(match connection_limits(target, backend).await {
            Ok(limits) => compare(name, needed, &limits),
            Err(error) => {
                let text = format!("connection limits are unknown: {error}");
                finding(name, CheckStatus::Unknown, text)
            }
        });
        match ask(backend, target, question).await {
            Ok(rows) => findings.extend(unsafe_findings(name, safety::of_rights(target, &rows))),
            Err(error) => {
                let text = format!("the rights of its role are unknown: {error}");
                findings.push(finding(name, CheckStatus::Unknown, text));
            }
        }
    }
    let claims = config.databases.get(name).and_then(|database| database.claims.key.as_ref());
    if claims.is_some() {
        findings.push(match try_claims(backend).await {
            Ok(()) => {
                finding(name, CheckStatus::Passed, "claims of callers are accepted".to_owned())
            }
            Err(error) => failed(name, &error),
        });
    }
    let database = config.databases.get(name).map(safety::of_database);
    findings.extend(unsafe_findings(name, database.unwrap_or_default()));
    findings
}

fn finding(name: &str, status: CheckStatus, text: String) -> Finding {
    Finding { database: name.to_owned(), status, text }
}

fn unsafe_findings(name: &str, texts: Vec<String>) -> impl Iterator<Item = Finding> + use<'_> {
    texts.into_iter().map(move |text| finding(name, CheckStatus::Unsafe, text))
}

fn failed(name: &str, error: &Error) -> Finding {
    let cause = error.cause();
    let cause = if cause.is_empty() { cause } else { format!(": {cause}") };
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    finding(name, CheckStatus::Failed, format!("{error}{cause}{hint}"))
}

/// The connections that this configuration may open to the database's server: for every database on it those of the
/// pool, the lanes and one probe. 0 for SQLite.
fn connections_needed(config: &Config, name: &str) -> usize {
    let own = config.databases.get(name).map(|database| database.target.servers());
    let own = own.unwrap_or_default();
    let shares = |database: &&Database| {
        database.target.servers().iter().any(|server| own.iter().any(|own| own.is_at(server)))
    };
    // Of several servers, any may have to take all connections.
    let workers = config.grpc.workers.get();
    let lanes = |pool: &PoolSettings| pool.lanes.min(LANES_OF_WORKER * workers);
    let most = |database: &Database| {
        let Database { pool, target, .. } = database;
        let lanes = if matches!(target, Target::Postgres(_)) { lanes(pool) } else { 0 };
        pool.max.get() + pool.overflow + lanes + 1
    };
    config.databases.values().filter(shares).map(most).sum()
}

fn compare(name: &str, needed: usize, limits: &[(i64, &str)]) -> Finding {
    let limits = limits.iter().filter(|(limit, _)| *limit >= 0);
    let lowest = limits.copied().min_by_key(|(limit, _)| *limit);
    let Some((limit, source)) = lowest else {
        return finding(name, CheckStatus::Passed, "the server has no connection limit".to_owned());
    };
    if i64::try_from(needed).is_ok_and(|needed| needed <= limit) {
        let text = format!("needs up to {needed} connections, {limit} are allowed");
        return finding(name, CheckStatus::Passed, text);
    }
    let text = format!(
        "the pools on its server and their probes need up to {needed} connections, but {source} allows \
         {limit} (Lower pool.max, or raise the limit.)"
    );
    finding(name, CheckStatus::Failed, text)
}

/// Returns the limits of the connections to a server, each with its source; -1 is none.
async fn connection_limits(
    target: &Target,
    backend: &dyn Backend,
) -> Result<Vec<(i64, &'static str)>> {
    let (question, sources): (_, &[&str]) = match target {
        Target::Postgres(_) => (CONNECTION_LIMITS, &LIMIT_SOURCES),
        Target::Mysql(_) => (mysql_safety::CONNECTION_LIMITS, &mysql_safety::LIMIT_SOURCES),
        Target::Sqlite(_) => return Ok(Vec::new()),
    };
    let rows = ask(backend, target, question).await?;
    let values = rows.first().map(|row| row.values.as_slice()).unwrap_or_default();
    let limit = |index: usize| match values.get(index) {
        Some(Value { kind: Some(Kind::Int64Value(limit)) }) => *limit,
        Some(_) | None => -1,
    };
    Ok(sources.iter().enumerate().map(|(index, source)| (limit(index), *source)).collect())
}

/// Begins a transaction with claims, as calls do, and returns why it fails.
pub(super) async fn try_claims(backend: &dyn Backend) -> Result<()> {
    let claims = Some(Arc::new(Secret::new("{}")));
    let preamble = Preamble { claims, ..Preamble::default() };
    let analysis = Arc::new(Analysis::unknown());
    ask_behind(backend, preamble, "select 1", analysis).await.map(drop)
}

/// Runs a statement of the server's own.
pub(super) async fn ask(backend: &dyn Backend, target: &Target, sql: &str) -> Result<Vec<Row>> {
    let analysis = match target {
        // Its backend runs no text that was not read.
        Target::Mysql(_) => Analyzer::new(Dialect::Mysql, 0).analyze(sql),
        Target::Postgres(_) | Target::Sqlite(_) => Arc::new(Analysis::unknown()),
    };
    ask_behind(backend, Preamble::default(), sql, analysis).await
}

async fn ask_behind(
    backend: &dyn Backend,
    preamble: Preamble,
    sql: &str,
    analysis: Arc<Analysis>,
) -> Result<Vec<Row>> {
    let statement = Statement {
        sql: sql.to_owned(),
        parameters: Vec::new(),
        analysis,
        read_only: true,
        delivery: Delivery::Streamed,
        describe_columns: false,
        needs_names: false,
        preamble,
        deadline: Deadline::at(Instant::now() + QUERY_TIMEOUT),
        context: CallContext::own("check"),
    };
    let mut stream = backend.execute(Arc::new(statement)).await?;
    let mut sink = RowSink::of_result(usize::MAX);
    while fill(&mut *stream, &mut sink).await? != Fill::Done {}
    stream.finish().await?;
    sink.take().decode().map_err(|error| {
        Error::new(ErrorKind::Internal, "the answer cannot be read").with_cause(error)
    })
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use futures_util::future::BoxFuture;
    use prost::Message as _;

    use super::*;
    use crate::backend::{
        Batch, BatchResult, BatchStrategy, BeginRequest, Completion, ConnectBreaker,
        DescribeRequest, Description, RowStream, Transaction, TransactionHandle,
        TransactionOutcome,
    };
    use crate::config;
    use crate::error::Outcome;
    use crate::pool::{PoolAdmin, PoolSnapshot};
    use crate::value::Column;

    /// A database that has these limits, or is unreachable.
    struct Answers(Option<Vec<Value>>);

    impl Backend for Answers {
        fn name(&self) -> &'static str {
            "answers"
        }

        fn execute(&self, statement: Arc<Statement>) -> BoxFuture<'_, Result<Box<dyn RowStream>>> {
            let is_asked_for = statement.sql == CONNECTION_LIMITS;
            let values = self.0.clone().filter(|_| is_asked_for).unwrap_or_default();
            Box::pin(async { Ok(Box::new(OneRow(values)) as Box<dyn RowStream>) })
        }

        fn execute_batch(
            &self,
            _batch: Arc<Batch>,
            _: BatchStrategy,
        ) -> BoxFuture<'_, Result<BatchResult>> {
            Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
        }

        fn begin(&self, _request: BeginRequest) -> BoxFuture<'_, Result<Box<dyn Transaction>>> {
            Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "not built yet")) })
        }

        fn outcome(
            &self,
            _handle: TransactionHandle,
            _deadline: Deadline,
            _context: Arc<CallContext>,
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
            sink.push(&Row { values: std::mem::take(&mut self.0) }.encode_to_vec());
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
            ("databases.reports.pool.lanes", "0"),
            ("databases.elsewhere.url", "postgres://me@127.0.0.1:5433/shop"),
            ("databases.local.url", "sqlite:local.db"),
            ("default_database", "main"),
            ("grpc.workers", "1"),
        ])
        .unwrap()
    }

    async fn checked(config: &Config, name: &str, answer: Option<[i64; 3]>) -> Vec<Finding> {
        let values = answer.map(|limits| limits.map(Value::int64).to_vec());
        check_backend(config, name, &Answers(values)).await
    }

    #[tokio::test]
    async fn pools_that_share_a_server_are_added_up() {
        let fits = checked(&shop("10"), "main", Some([97, -1, -1])).await;
        assert_eq!(
            fits,
            [
                finding("main", CheckStatus::Passed, "reachable".to_owned()),
                finding(
                    "main",
                    CheckStatus::Passed,
                    "needs up to 23 connections, 97 are allowed".to_owned()
                ),
            ]
        );
        let full = checked(&shop("88"), "main", Some([97, -1, -1])).await;
        assert_eq!(full[1].status, CheckStatus::Failed);
        assert!(full[1].text.contains("up to 101 connections"), "{full:?}");
    }

    #[tokio::test]
    async fn the_lowest_limit_decides_and_is_named() {
        for (limits, source) in [
            ([97, 5, 30], "limit of the role allows 5"),
            ([97, -1, 20], "limit of the database allows 20"),
            ([3, -1, 30], "less what it reserves, allows 3"),
        ] {
            let findings = checked(&shop("10"), "main", Some(limits)).await;
            assert_eq!(findings[1].status, CheckStatus::Failed);
            assert!(findings[1].text.contains(source), "{findings:?}");
        }
    }

    #[tokio::test]
    async fn a_database_without_connection_limits_only_has_to_be_reachable() {
        let findings = checked(&shop("10"), "local", Some([0, 0, 0])).await;
        assert_eq!(findings, [finding("local", CheckStatus::Passed, "reachable".to_owned())]);
    }

    #[tokio::test]
    async fn an_unreachable_database_fails_with_its_hint() {
        let findings = checked(&shop("10"), "main", None).await;
        let text = "connection refused (Start the database.)".to_owned();
        assert_eq!(findings, [finding("main", CheckStatus::Failed, text)]);
    }
}
