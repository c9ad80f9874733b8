//! Idempotency keys over tables without transactions: the row of a key is rolled back without what was written to them, so
//! that no key protects it. What would be done twice is refused, or told in a way in which nobody sends it again unseen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{Begin, CopyInStart, ExecuteBatchRequest};

use super::{TABLE, number, running, told};
use crate::harness::client::{Client, Failure, PATIENCE, request_with};
use crate::harness::copies::csv_into;
use crate::harness::mariadb::Mariadb;
use crate::harness::rewriting::{CUT, Rewriting};
use crate::harness::server::{self, Server};
use crate::harness::unit::{Transaction, batch, keyed};
use crate::harness::wait::eventually;

/// Tables with and without transactions, triggers and procedures that write to either, and a user that sees no triggers.
const DEFINITIONS: &str = "
create table m (n int not null) engine = MyISAM; insert into m values (0);
create table log (n int) engine = Aria;
create table journal (n int) engine = InnoDB;
create table audited (id int primary key) engine = InnoDB;
create trigger audit after insert on audited for each row insert into log values (new.id);
create table noted (id int primary key) engine = InnoDB;
create trigger note after insert on noted for each row insert into journal values (new.id);
create procedure logs() insert into log values (1);
create procedure notes() insert into journal values (1);
delimiter //
create procedure escapes() begin insert into journal values (1); commit; start transaction; end//
create function logged() returns int begin insert into log values (1); return 1; end//
delimiter ;
create view seen as select logged() as n;
create user plain@'%' identified by 'plain';
grant select, insert, update, delete, execute on test.* to plain@'%'";

/// The statement in front of which the connection ends.
const LAST: &str = "update t set n = n + 10 where id = 1";

/// One that reads, with the same in front of it.
const READ: &str = "select n + 10 from t where id = 1";

const KILL: &str = "kill connection_id()";

const DOUBT: &str = "FailedPrecondition KEY_NOT_TRANSACTIONAL UNKNOWN";
const LOST: &str = "Unknown OUTCOME_UNKNOWN UNKNOWN";
const REFUSED: &str = "FailedPrecondition KEY_NOT_TRANSACTIONAL NOT_APPLIED";
const REPEATED: &str = "applied, after more than one attempt";

/// A database, a proxy that ends connections in place of statements, and a server on it.
struct Ending {
    mariadb: Mariadb,
    proxy: Rewriting,
    client: Client,
    server: Server,
    /// The number of connections that are still to be ended.
    left: Arc<AtomicUsize>,
    /// The server of the database ends them, and says so; otherwise they just end.
    is_killed: Arc<AtomicBool>,
}

impl Ending {
    async fn start() -> Self {
        Self::start_as(None).await
    }

    /// The server logs in as another user than the one with all rights.
    async fn start_as(user: Option<&str>) -> Self {
        let mariadb = Mariadb::start();
        mariadb.sql(TABLE);
        mariadb.sql(DEFINITIONS);
        let left = Arc::new(AtomicUsize::new(0));
        let is_killed = Arc::new(AtomicBool::new(false));
        let (endings, kills) = (Arc::clone(&left), Arc::clone(&is_killed));
        let replace = move |sql: &str| {
            let beginnings =
                [LAST, READ, "insert into audited values (7)", "call test.notes()", "UPDATE `"];
            let is_meant = beginnings.iter().any(|beginning| sql.starts_with(beginning));
            let one_less = |left: usize| left.checked_sub(1);
            (is_meant && endings.fetch_update(Relaxed, Relaxed, one_less).is_ok())
                .then(|| if kills.load(Relaxed) { KILL.to_owned() } else { CUT.to_owned() })
        };
        let proxy = Rewriting::start_mysql(&mariadb, Arc::new(replace)).await;
        let mut url = proxy.mysql_url(&mariadb);
        if let Some(user) = user {
            let (_, address) = url.split_once('@').expect("it has a user");
            url = format!("mysql://{user}:{user}@{address}");
        }
        let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
        let install = ["idempotency", "install", "--database-url", &mariadb.url()];
        let installed = server::run(server.directory(), &install, &[]);
        assert!(installed.status.success(), "{installed:?}");
        let client = Client::connect(server.grpc()).await;
        Self { mariadb, proxy, client, server, left, is_killed }
    }

    /// Runs a unit with the next connection ended in place of a statement.
    async fn run(&self, way: Way, statements: &[&str]) -> String {
        self.left.store(1, Relaxed);
        let answer = run(&self.client, way, statements).await;
        assert_eq!(self.left.load(Relaxed), 0, "{way:?}: {:?}", self.proxy.seen());
        told(&answer)
    }

    fn count(&self, table: &str) -> String {
        self.mariadb.sql(&format!("select count(*) from {table}"))
    }
}

/// The ways to run several statements as a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Batch,
    KeyedBatch,
    KeyedTransact,
}

fn a_key() -> String {
    format!("key-{:016x}", fastrand::u64(..))
}

async fn run(client: &Client, way: Way, statements: &[&str]) -> Result<u32, Failure> {
    match way {
        Way::Batch => Ok(client.batch(batch(statements)).await?.attempts),
        Way::KeyedBatch => Ok(client.batch(keyed_batch(&a_key(), statements)).await?.attempts),
        Way::KeyedTransact => {
            let mut unit = keyed_transaction(client, &a_key()).await?;
            for sql in statements {
                unit.query(sql, &[]).await?;
            }
            unit.commit().await.map(|()| 1)
        }
    }
}

fn keyed_batch(key: &str, statements: &[&str]) -> ExecuteBatchRequest {
    ExecuteBatchRequest { options: Some(keyed(key)), ..batch(statements) }
}

async fn keyed_transaction(client: &Client, key: &str) -> Result<Transaction, Failure> {
    let mut unit = client.transact().await;
    let begin = Begin { idempotency_key: key.to_owned(), ..Begin::default() };
    unit.send(Command::Begin(begin)).await;
    unit.reply().await?;
    Ok(unit)
}

async fn keyed_query(client: &Client, key: &str, sql: &str) -> Result<u32, Failure> {
    Ok(client.call(request_with(sql, keyed(key)), PATIENCE).await?.attempts)
}

fn keyed_copy(table: &str) -> CopyInStart {
    CopyInStart { options: Some(keyed(&a_key())), ..csv_into(table) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_such_a_table_is_refused_under_a_key() {
    let ending = Ending::start().await;
    let client = &ending.client;
    for sql in ["update m set n = n + 1", "delete from test.m", "insert into m select id from t"] {
        let answer = keyed_query(client, &a_key(), sql).await;
        assert_eq!(told(&answer), REFUSED, "{sql}");
        let failure = answer.expect_err(sql);
        let expected = "table \"m\" (engine MyISAM) has no transactions";
        assert!(failure.message.starts_with(expected), "{failure:?}");
        assert_eq!(failure.retry_after, None);
    }
    for way in [Way::KeyedBatch, Way::KeyedTransact] {
        let unit = ["update t set n = n + 1 where id = 1", "replace into log values (1)"];
        assert_eq!(told(&run(client, way, &unit).await), REFUSED, "{way:?}");
    }
    let copied = client.copy_text(keyed_copy("m"), "1\n2\n", 64).await.map(|done| done.attempts);
    assert_eq!(told(&copied), REFUSED);
    assert_eq!(
        (ending.mariadb.sql("select n from m"), ending.count("log")),
        ("0".into(), "0".into())
    );
    assert_eq!((number(&ending.mariadb), ending.count("rowgate_idempotency")), (0, "0".into()));
    // To read one is no write.
    let read = ["insert into t select 100 + n, n from m", "select * from m"];
    assert_eq!(told(&run(client, Way::KeyedBatch, &read).await), "applied");
    let own = ["create temporary table m (n int) engine = InnoDB", "insert into m values (1)"];
    assert_eq!(told(&run(client, Way::KeyedBatch, &own).await), "applied");
    // Without a key it is the caller's affair.
    assert_eq!(told(&run(client, Way::Batch, &["update m set n = n + 1"]).await), "applied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_was_applied_with_such_rows_is_replayed() {
    let ending = Ending::start().await;
    let client = &ending.client;
    keyed_query(client, "call", "call logs()").await.expect("nothing fails");
    keyed_query(client, "insert", "insert into journal values (1)")
        .await
        .expect("it has transactions");
    ending.mariadb.sql("alter table journal engine = MyISAM");
    for (key, sql) in [("call", "call logs()"), ("insert", "insert into journal values (1)")] {
        let again = client.call(request_with(sql, keyed(key)), PATIENCE).await.expect(sql);
        assert!(again.replayed, "{sql}");
    }
    assert_eq!((ending.count("log"), ending.count("journal")), ("1".into(), "1".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_has_written_such_rows_is_not_run_again() {
    let ending = Ending::start().await;
    for (kept, first) in [
        "call logs()",
        "insert into audited values (1)",
        "insert into journal select logged()",
        "select * from seen",
    ]
    .iter()
    .enumerate()
    {
        for (way, expected) in
            [(Way::Batch, LOST), (Way::KeyedBatch, DOUBT), (Way::KeyedTransact, DOUBT)]
        {
            assert_eq!(ending.run(way, &[first, LAST]).await, expected, "{way:?}: {first}");
        }
        assert_eq!(ending.count("log"), (3 * (kept + 1)).to_string(), "{first}");
    }
    assert_eq!((number(&ending.mariadb), ending.count("rowgate_idempotency")), (0, "0".into()));
    ending.is_killed.store(true, Relaxed);
    for way in [Way::KeyedBatch, Way::KeyedTransact] {
        assert_eq!(ending.run(way, &["call logs()", LAST]).await, DOUBT, "{way:?}");
    }
    // Rows of a CopyIn, whose connection ends in front of the commit.
    ending.left.store(1, Relaxed);
    let copied = ending.client.copy_text(keyed_copy("audited"), "1\n2\n", 64).await;
    assert_eq!(told(&copied.map(|done| done.attempts)), DOUBT, "{:?}", ending.proxy.seen());
    assert_eq!((ending.count("log"), ending.count("audited")), ("16".into(), "0".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_whose_code_has_written_innodb_alone_is_run_again() {
    let ending = Ending::start().await;
    let mut done = 0;
    for first in ["call notes()", "insert into noted values (?)"] {
        for way in [Way::Batch, Way::KeyedBatch] {
            done += 1;
            let first = first.replace('?', &done.to_string());
            assert_eq!(ending.run(way, &[&first, LAST]).await, REPEATED, "{way:?}: {first}");
            assert_eq!(ending.count("journal"), done.to_string(), "{way:?}: {first}");
            assert_eq!(number(&ending.mariadb), 10 * done, "{way:?}: {first}");
        }
    }
    let lost = ending.run(Way::KeyedTransact, &["call notes()", LAST]).await;
    assert_eq!(lost, "Unavailable CONNECTION_LOST NOT_APPLIED");
    let unit = ["call notes()", "update t set n = n + 1 where id = 1", "call notes()"];
    for way in [Way::Batch, Way::KeyedBatch, Way::KeyedTransact] {
        assert_eq!(told(&run(&ending.client, way, &unit).await), "applied", "{way:?}");
    }
    assert_eq!(ending.count("journal"), "10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_in_flight_that_may_write_anywhere_is_a_doubt() {
    let ending = Ending::start().await;
    for (statement, way, expected) in [
        ("call test.notes()", Way::KeyedBatch, DOUBT),
        ("call test.notes()", Way::KeyedTransact, DOUBT),
        ("insert into audited values (7)", Way::KeyedBatch, DOUBT),
        ("insert into audited values (7)", Way::Batch, LOST),
    ] {
        assert_eq!(ending.run(way, &[statement]).await, expected, "{way:?}: {statement}");
    }
    ending.left.store(1, Relaxed);
    let answer = keyed_query(&ending.client, &a_key(), "call test.notes()").await;
    assert_eq!(told(&answer), DOUBT);
    let failure = answer.expect_err("its connection ended");
    assert!(failure.message.contains("connection to database \"main\" was lost"), "{failure:?}");
    assert_eq!((ending.count("journal"), ending.count("log")), ("0".into(), "0".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_procedure_that_commits_and_begins_anew_is_a_doubt() {
    let ending = Ending::start().await;
    for (way, expected) in
        [(Way::Batch, "InvalidArgument TRANSACTION_CONTROL UNKNOWN"), (Way::KeyedBatch, DOUBT)]
    {
        let unit = ["call escapes()", LAST];
        let answer = run(&ending.client, way, &unit).await;
        assert_eq!(told(&answer), expected, "{way:?}");
    }
    assert_eq!((ending.count("journal"), number(&ending.mariadb)), ("2".into(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_sees_no_triggers_has_doubts_in_flight_alone() {
    let ending = Ending::start_as(Some("plain")).await;
    let client = &ending.client;
    let add = "update t set n = n + 1 where id = 1";
    for (way, expected) in [(Way::Batch, LOST), (Way::KeyedBatch, DOUBT)] {
        assert_eq!(ending.run(way, &[add, LAST]).await, expected, "{way:?}");
    }
    assert_eq!(number(&ending.mariadb), 0);
    for way in [Way::Batch, Way::KeyedBatch] {
        // It ends in a statement that reads, behind one that has ended well.
        assert_eq!(ending.run(way, &[add, READ]).await, REPEATED, "{way:?}");
    }
    assert_eq!(number(&ending.mariadb), 2);
    // Of a failure the warnings tell.
    let mut told_of = Vec::new();
    for sql in ["insert into noted values (1)", "insert into audited values (1)"] {
        client.query(sql, &[]).await.expect("it is new");
        let failure = client.query(sql, &[]).await.expect_err("it is there");
        assert_eq!(failure.reason, "UNIQUE_VIOLATION");
        let failed = run(client, Way::Batch, &[sql]).await.expect_err("it is there");
        let keyed = run(client, Way::KeyedBatch, &[sql]).await.expect_err("it is there");
        told_of.push((failure.outcome, failed.outcome, keyed.reason));
    }
    let known = ("NOT_APPLIED".into(), "NOT_APPLIED".into(), "UNIQUE_VIOLATION".into());
    assert_eq!(told_of, [known.clone(), known]);
    ending.mariadb.sql(
        "create trigger early before insert on audited for each row insert into log values (0)",
    );
    let sql = "insert into audited values (1)";
    let failure = client.query(sql, &[]).await.expect_err("it is there");
    assert_eq!(
        (failure.reason.as_str(), failure.outcome.as_str()),
        ("UNIQUE_VIOLATION", "UNKNOWN")
    );
    let keyed = run(client, Way::KeyedBatch, &[sql]).await;
    assert_eq!(told(&keyed), DOUBT, "{}", ending.server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_repeated_where_the_warnings_tell_that_nothing_stayed() {
    let ending = Ending::start_as(Some("plain")).await;
    let client = &ending.client;
    for way in [Way::Batch, Way::KeyedBatch] {
        // It has written more, so that the other is chosen.
        let mut holder = client.begin().await;
        let rows = "insert into journal select seq from seq_1_to_300";
        holder.query(rows, &[]).await.expect("it takes rows");
        holder.query("update t set n = 5 where id = 2", &[]).await.expect("it is free");
        let other = client.clone();
        let unit = tokio::spawn(async move {
            let unit = ["update t set n = 7 where id = 1", "update t set n = 7 where id = 2"];
            run(&other, way, &unit).await
        });
        let wait = Duration::from_secs(10);
        eventually("it waits for row 2", wait, || {
            let waiting = running(&ending.mariadb, "update t set n = 7 where id = 2");
            (!waiting.is_empty()).then_some(())
        });
        holder.query("update t set n = 6 where id = 1", &[]).await.expect("it is not chosen");
        holder.commit().await.expect("it is open");
        assert_eq!(told(&unit.await.expect("no panic")), REPEATED, "{way:?}");
        assert_eq!(number(&ending.mariadb), 7);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_knows_again_behind_a_rollback_to_a_savepoint() {
    let ending = Ending::start().await;
    for (table, reason, expected) in [
        ("noted", "UNIQUE_VIOLATION", "Unavailable CONNECTION_LOST NOT_APPLIED"),
        ("audited", "KEY_NOT_TRANSACTIONAL", DOUBT),
    ] {
        ending.mariadb.sql(&format!("insert into {table} values (1)"));
        let mut unit = keyed_transaction(&ending.client, &a_key()).await.expect("it opens");
        unit.savepoint("before").await.expect("it is open");
        let rows = format!("insert into {table} values (2), (3), (1)");
        let failure = unit.query(&rows, &[]).await.expect_err("one is there");
        assert_eq!(failure.reason, reason, "{failure:?}");
        unit.rollback_to("before").await.expect("it is set");
        ending.left.store(1, Relaxed);
        let lost = unit.query(LAST, &[]).await.map(|_result| 1);
        assert_eq!(told(&lost), expected, "{table}");
        assert_eq!(ending.left.load(Relaxed), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_row_of_a_copy_is_named_where_triggers_write_innodb() {
    let ending = Ending::start().await;
    ending.mariadb.sql("insert into noted values (3)");
    let copied = ending.client.copy_text(csv_into("noted"), "1\n2\n3\n4\n", 64).await;
    let failure = copied.expect_err("one is there");
    assert!(failure.message.starts_with("line 3"), "{failure:?}");
    assert_eq!((failure.outcome.as_str(), ending.count("noted")), ("NOT_APPLIED", "1".into()));
}
