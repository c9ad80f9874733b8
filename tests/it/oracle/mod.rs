//! An oracle of sessions and of reads: random schemas whose code marks its session, and calls that reach it.
//!
//! Each database has a pool of one connection, so the call behind another meets whatever it left. A call
//! that is described as a read must change nothing: no row, no sequence, no transaction number, no byte of WAL.

mod traps;

use std::collections::BTreeSet;
use std::time::Instant;

use rowgate::value::proto::database_service_client::DatabaseServiceClient;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    Begin, Commit, DescribeStatementRequest, QueryOptions, QueryRequest, Value,
};

use crate::chaos::rows::variable;
use crate::harness::Service;
use crate::harness::client::{Client, PATIENCE, Wire, request};
use crate::harness::postgres::Postgres;
use crate::harness::random::Random;
use crate::harness::unit::{batch, keyed, statement};
use crate::harness::wait::eventually_async;
use crate::session::AUDIT;
use traps::{MARKING, PLAIN, TRAPS, Trap};

/// Databases of a run, each with traps of its own.
const DATABASES: u64 = 8;

/// Traps of one database. Some make everything in it suspect and hide the others, so they are few.
const TRAPS_EACH: u64 = 2;

/// The state that a read must not change.
const OBSERVED: &str = "select pg_current_wal_insert_lsn()::text, \
    pg_snapshot_xmax(pg_current_snapshot())::text, (select count(*) from written)";

/// The setting with which reads alone move no WAL: no autovacuum, no snapshot of running transactions.
const QUIET: &[&str] =
    &["wal_level=minimal", "max_wal_senders=0", "autovacuum=off", "checkpoint_timeout=1h"];

/// A caller on a database with traps, and an observer on a connection of its own.
struct Oracle {
    client: Client,
    describer: DatabaseServiceClient<Wire>,
    number: u64,
    random: Random,
    traps: Vec<&'static Trap>,
    clean: Vec<Value>,
    /// Calls that were described as reads.
    reads: u64,
    wrong: BTreeSet<String>,
}

impl Oracle {
    async fn new(service: &Service, number: u64, traps: Vec<&'static Trap>, seed: u64) -> Self {
        let client = Client::connect(service.server.grpc()).await;
        let mut oracle = Self {
            describer: client.raw(),
            client,
            number,
            random: Random(seed ^ (number << 32)),
            traps,
            clean: Vec::new(),
            reads: 0,
            wrong: BTreeSet::new(),
        };
        oracle.clean = oracle.session().await.expect("the first look succeeds");
        oracle
    }

    fn of(&self, request: QueryRequest) -> QueryRequest {
        QueryRequest { database: format!("d{}", self.number), ..request }
    }

    async fn session(&self) -> Result<Vec<Value>, String> {
        let seen = self.client.run(self.of(request(AUDIT, &[]))).await;
        Ok(seen.map_err(|failure| format!("the audit: {failure:?}"))?.rows.remove(0).values)
    }

    async fn observed(&self) -> Vec<Value> {
        let observer = format!("seen{}", self.number);
        let request = QueryRequest { database: observer, ..request(OBSERVED, &[]) };
        self.client.run(request).await.expect("the observer is served").rows.remove(0).values
    }

    /// Makes calls, each followed by a look at the session.
    async fn run(mut self, calls: u64) -> Self {
        for _ in 0..calls {
            let (name, text) = self.choose();
            let way = self.random.below(6);
            let is_read = self.is_read(text).await;
            self.look(&format!("describing {text} ({name})")).await;
            let before = self.observed().await;
            self.call(text, way).await;
            if is_read && way < 2 {
                self.reads += 1;
                let mut seen = [before, self.observed().await];
                if only_wal_differs(&seen) {
                    // The server prunes a page that a read comes by, once. A statement that writes does so again.
                    let before = self.observed().await;
                    self.call(text, way).await;
                    seen = [before, self.observed().await];
                }
                if seen[0] != seen[1] {
                    self.wrong.insert(format!("a read wrote: {text} ({name}): {seen:?}"));
                }
            }
            self.look(&format!("{text} ({name}), way {way}")).await;
        }
        self
    }

    fn choose(&mut self) -> (&'static str, &'static str) {
        if self.random.below(6) == 0 {
            return ("plain", self.random.pick(PLAIN));
        }
        let traps = self.traps.clone();
        let trap = self.random.pick(&traps);
        (trap.name, self.random.pick(trap.calls))
    }

    /// Compares the session with a clean one.
    async fn look(&mut self, after: &str) {
        match self.session().await {
            Ok(seen) if seen == self.clean => {}
            Ok(seen) => {
                let left: Vec<_> = seen.iter().zip(&self.clean).filter(|(a, b)| a != b).collect();
                self.wrong.insert(format!("left behind by {after}: {left:?}"));
                // What cannot be seen through is reset, so that the next call is judged by itself.
                let reset = self.of(request("select set_config('my.leak', '', false)", &[]));
                drop(self.client.run(reset).await);
            }
            Err(failed) => {
                self.wrong.insert(format!("after {after}: {failed}"));
            }
        }
    }

    /// Returns true if the gateway says that the statement only reads.
    async fn is_read(&mut self, text: &str) -> bool {
        let described = DescribeStatementRequest {
            database: format!("d{}", self.number),
            sql: text.to_owned(),
            include_plan: self.random.below(2) == 0,
        };
        let answer = self.describer.describe_statement(described).await;
        answer.is_ok_and(|answer| answer.into_inner().read_only)
    }

    /// One call, by any way of the API. It may fail.
    async fn call(&mut self, text: &str, way: u64) {
        let parts: Vec<_> = text.split(";;").collect();
        let parameters = if text.contains("$1") { vec![Value::text("{2,4}")] } else { Vec::new() };
        let key = format!("k{}", self.random.next());
        let mut single = self.of(request(parts[0], &parameters));
        match way {
            _ if parts.len() > 1 && way < 4 => self.batch(&parts).await,
            0 | 1 => drop(self.client.run(single).await),
            2 => {
                single.options = Some(QueryOptions { ..keyed(&key) });
                drop(self.client.run(single).await);
            }
            3 => {
                if let Ok(mut parts) = self.client.open(single).await {
                    while let Ok(Some(_)) = parts.next().await {}
                }
            }
            4 if parameters.is_empty() => self.batch(&[&["select 1"], &parts[..]].concat()).await,
            _ => self.transact(&parts, &parameters).await,
        }
    }

    async fn batch(&self, statements: &[&str]) {
        let mut batch = batch(statements);
        batch.database = format!("d{}", self.number);
        drop(self.client.batch(batch).await);
    }

    async fn transact(&self, statements: &[&str], parameters: &[Value]) {
        let mut transaction = self.client.transact().await;
        let database = format!("d{}", self.number);
        transaction.send(Command::Begin(Begin { database, ..Begin::default() })).await;
        if !matches!(transaction.reply().await, Ok(Some(_))) {
            return;
        }
        for sql in statements {
            let statement = statement(sql, parameters);
            drop(transaction.query(&statement.sql, &statement.parameters).await);
        }
        transaction.send(Command::Commit(Commit::default())).await;
        drop(transaction.reply().await);
    }
}

/// The traps of the databases: each trap is in at least one of them.
fn draw(random: &mut Random) -> Vec<Vec<&'static Trap>> {
    let mut order: Vec<&Trap> = TRAPS.iter().collect();
    for index in 1..order.len() {
        let other = random.below(u64::try_from(index + 1).expect("it is small"));
        order.swap(index, usize::try_from(other).expect("it is small"));
    }
    let share = order.len().div_ceil(usize::try_from(DATABASES).expect("it is small"));
    let share = share.max(usize::try_from(TRAPS_EACH).expect("it is small"));
    order.chunks(share).map(<[_]>::to_vec).collect()
}

/// The result of a run.
struct Judged {
    calls: u64,
    reads: u64,
    wrong: Vec<String>,
}

/// Returns true if only the first value, the position of the WAL, is another one.
fn only_wal_differs([before, after]: &[Vec<Value>; 2]) -> bool {
    before.first() != after.first() && before.get(1..) == after.get(1..)
}

/// Makes so many calls, and judges each.
async fn judge(calls: u64, seed: u64, environment: &[(&str, &str)]) -> Judged {
    let start = Instant::now();
    let postgres = Postgres::with(QUIET);
    let drawn = draw(&mut Random(seed));
    let mut settings =
        "[health]\ninterval = \"1h\"\n[idempotency]\ncreate_table = true\n".to_owned();
    for number in 0..drawn.len() {
        postgres.psql(&format!("create database oracle_{number}"));
        let url = format!("{}/oracle_{number}", postgres.url().trim_end_matches("/postgres"));
        for name in [format!("d{number}"), format!("seen{number}")] {
            let pool = "session_statements = \"allow\"\npool.min = 1\npool.max = 1\npool.transaction_share = 1.0";
            settings.push_str(&format!("[databases.{name}]\nurl = \"{url}\"\n{pool}\n"));
        }
    }
    // It makes the tables of keys; what is known of them ends with it.
    let mut first = Service::on_with(postgres, &settings, &[]).await;
    for number in 0..drawn.len() {
        let options = Some(keyed("first"));
        let request = || QueryRequest {
            database: format!("d{number}"),
            options: options.clone(),
            ..request("select 1", &[])
        };
        let called = async || first.client.run(request()).await.ok();
        eventually_async("the table of keys is there", PATIENCE, called).await;
    }
    let postgres = first.take_postgres();
    drop(first);
    for (number, traps) in drawn.iter().enumerate() {
        let setup: String = traps.iter().map(|trap| trap.setup).collect();
        postgres.psql(&format!("\\connect oracle_{number}\n{MARKING}\n{setup}\nvacuum;"));
    }
    let service = Service::on_with(postgres, &settings, environment).await;
    let mut oracles = Vec::new();
    for (number, traps) in drawn.into_iter().enumerate() {
        let number = u64::try_from(number).expect("it is small");
        oracles.push(Oracle::new(&service, number, traps, seed).await);
    }
    let each = calls / u64::try_from(oracles.len()).expect("it is small");
    let mut judged = Judged { calls: 0, reads: 0, wrong: Vec::new() };
    // One after the other: WAL is one for all databases of a server.
    for oracle in oracles {
        let oracle = oracle.run(each).await;
        judged.calls += each;
        judged.reads += oracle.reads;
        judged.wrong.extend(oracle.wrong);
    }
    let Judged { calls, reads, wrong } = &judged;
    eprintln!(
        "{calls} calls in {:?}, {reads} of them reads, {} wrong",
        start.elapsed(),
        wrong.len()
    );
    judged
}

#[tokio::test]
async fn code_of_anybodys_leaves_nothing_and_reads_write_nothing() {
    let judged = judge(400, 1, &[]).await;
    assert!(judged.wrong.is_empty(), "{}", judged.wrong.join("\n"));
    assert!(judged.reads > 5, "the plain ones are reads: {}", judged.reads);
}

#[tokio::test]
#[ignore = "takes minutes: scripts/oracle runs it"]
async fn code_of_anybodys_leaves_nothing_in_a_long_run() {
    let number = |name: &str, default| {
        variable(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let judged =
        judge(number("ROWGATE_ORACLE_CALLS", 100_000), number("ROWGATE_ORACLE_SEED", 1), &[]).await;
    assert!(judged.wrong.is_empty(), "{}", judged.wrong.join("\n"));
}

/// An oracle that finds nothing where something is wrong is none.
#[tokio::test]
#[cfg(debug_assertions)]
async fn a_session_that_keeps_its_marks_is_found() {
    let start = Instant::now();
    let judged = judge(200, 1, &[("ROWGATE_PLANTED_BUG", "kept-session")]).await;
    assert!(!judged.wrong.is_empty(), "nothing was found");
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "it took {:?}", start.elapsed());
}
