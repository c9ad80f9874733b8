//! Writes that share a commit: each has its own outcome.

mod ends;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use tokio::sync::oneshot;

use super::super::connection::Work;
use super::super::row_channel::RowReceiver;
use super::super::shared_commit::{
    BatchWrite, GroupLimits, Place, SharedWork, StatementWrite, Write, WriteQueue, group_job,
};
use super::*;

const SCHEMA: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE refuses (id INTEGER);
    CREATE TRIGGER g BEFORE INSERT ON refuses BEGIN SELECT RAISE(ROLLBACK, 'not here'); END;
    CREATE TABLE told (id INTEGER PRIMARY KEY, last INTEGER, all_changes INTEGER);
    CREATE VIEW figures AS SELECT last_insert_rowid() AS last, total_changes() AS all_changes;
    INSERT INTO t VALUES (0, 0)";

/// The connection that writes, and the writes that will share a commit on it.
struct Group {
    _directory: TempDir,
    connection: ConnectionThread,
    queue: Arc<WriteQueue>,
    limits: GroupLimits,
    path: std::path::PathBuf,
    /// The places of the writes in the order of their turns, should no other take them along.
    places: VecDeque<Place>,
}

impl Group {
    async fn new(schema: &str) -> Self {
        let Fixture { directory, database } = fixture();
        let config = Arc::clone(&database.config);
        let path = directory.path().join("test.db");
        let connection = ConnectionThread::open(config, Role::Writer).await.expect("it opens");
        let outside = rusqlite::Connection::open(&path).expect("it opens");
        outside.execute_batch(schema).expect("the tables are made");
        let limits = GroupLimits { max: 64, time: Duration::from_millis(500) };
        let queue = Arc::default();
        let places = VecDeque::new();
        Self { _directory: directory, connection, queue, limits, path, places }
    }

    /// Does something on the connection first.
    async fn before(&self, work: impl FnOnce(&mut Session) + Send + 'static) {
        let job = |session: &mut Session, _checkout| {
            work(session);
            true
        };
        self.work(Box::new(job)).await;
    }

    /// Works on the connection, and returns once it is idle.
    async fn work(&self, work: Work) {
        let (sender, ended) = oneshot::channel();
        let job: Work = Box::new(move |session, checkout| {
            let usable = work(session, checkout);
            sender.send(()).expect("it is waited for");
            usable
        });
        // The thread has ended its last job, and so it takes this one.
        self.connection.submit(job).expect("none waits");
        ended.await.expect("it ends");
    }

    /// Adds a write.
    fn add<W: SharedWork>(&mut self, work: W, deadline: Deadline) -> PendingJob<W::Output> {
        let (sender, receiver) = row_channel(deadline.instant());
        self.add_write(Write::new(sender, work));
        PendingJob::new(receiver, deadline)
    }

    fn add_write<W: SharedWork>(&mut self, write: Write<W>) {
        let (place, _taken) = self.queue.enter(Box::new(write));
        self.places.push_back(place);
    }

    fn statement(&mut self, sql: &str) -> PendingJob<Option<Completion>> {
        let sent = Arc::new(statement(sql, vec![]));
        self.add(StatementWrite::new(sent), after(Duration::from_secs(20)))
    }

    fn batch(&mut self, batch: Batch) -> PendingJob<BatchResult> {
        self.add(BatchWrite(Arc::new(batch)), after(Duration::from_secs(20)))
    }

    /// Gives the connection to the write that waits first, if one does.
    async fn turn(&mut self) -> bool {
        while let Some(place) = self.places.pop_front() {
            if let Some(first) = place.take() {
                self.work(group_job(first, Arc::clone(&self.queue), self.limits)).await;
                return true;
            }
        }
        false
    }

    /// Gives it to one after the other, until none waits.
    async fn turns(&mut self) {
        while self.turn().await {}
    }

    /// Makes commits fail while this is true, and counts all.
    async fn fail_commits(&self, fails: &Arc<AtomicBool>) -> Arc<AtomicU64> {
        let commits = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&commits);
        let fails = Arc::clone(fails);
        self.before(move |session| {
            let hook = move || {
                counted.fetch_add(1, Ordering::Relaxed);
                fails.swap(false, Ordering::Relaxed)
            };
            session.connection.commit_hook(Some(hook)).expect("it is hooked");
        })
        .await;
        commits
    }

    async fn count_commits(&self) -> Arc<AtomicU64> {
        self.fail_commits(&Arc::default()).await
    }

    fn ids(&self) -> Vec<i64> {
        self.numbers("SELECT id FROM t WHERE id > 0 ORDER BY id")
    }

    fn numbers(&self, sql: &str) -> Vec<i64> {
        let outside = rusqlite::Connection::open(&self.path).expect("it opens");
        let mut found = outside.prepare(sql).expect("it compiles");
        let rows = found.query_map([], |row| row.get(0)).expect("it runs");
        rows.collect::<rusqlite::Result<_>>().expect("numbers")
    }
}

fn insert(id: i64) -> String {
    format!("INSERT INTO t (id) VALUES ({id})")
}

async fn outcome<T>(mut job: PendingJob<T>) -> Result<()> {
    job.end().await.map(drop)
}

/// Runs writes among others that succeed, and returns their errors and the number of commits.
async fn among_others(group: &mut Group, writes: &[&str]) -> (Vec<Option<Error>>, u64) {
    let commits = group.count_commits().await;
    let before = group.statement(&insert(1));
    let jobs: Vec<_> = writes.iter().map(|sql| group.statement(sql)).collect();
    let behind = group.statement(&insert(2));
    group.turns().await;
    outcome(before).await.expect("it commits");
    outcome(behind).await.expect("it commits");
    let mut errors = Vec::new();
    for job in jobs {
        errors.push(outcome(job).await.err());
    }
    (errors, commits.load(Ordering::Relaxed))
}

#[tokio::test]
async fn writes_that_wait_share_one_commit() {
    let mut group = Group::new(SCHEMA).await;
    let commits = group.count_commits().await;
    let jobs: Vec<_> = (1..=40).map(|id| group.statement(&insert(id))).collect();
    let batch = group.batch(batch(&["INSERT INTO t (id) VALUES (41)", "SELECT count(*) FROM t"]));
    group.turns().await;
    for job in jobs {
        outcome(job).await.expect("it commits");
    }
    outcome(batch).await.expect("it commits");
    assert_eq!(commits.load(Ordering::Relaxed), 1);
    assert_eq!(group.ids(), (1..=41).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_group_has_no_more_members_than_its_bound() {
    let mut group = Group::new(SCHEMA).await;
    group.limits.max = 3;
    let commits = group.count_commits().await;
    let jobs: Vec<_> = (1..=5).map(|id| group.statement(&insert(id))).collect();
    group.turns().await;
    for job in jobs {
        outcome(job).await.expect("it commits");
    }
    assert_eq!((commits.load(Ordering::Relaxed), group.ids()), (2, vec![1, 2, 3, 4, 5]));
}

#[tokio::test]
async fn a_write_that_fails_fails_alone() {
    let mut group = Group::new(SCHEMA).await;
    let writes = [
        "INSERT INTO t (id) VALUES (7), (0)",
        "INSERT OR FAIL INTO t (id) VALUES (8), (0)",
        "INSERT INTO t VALUES (9, NULL)",
        "INSERT INTO nowhere VALUES (1)",
        "DELETE FORM t",
    ];
    let (errors, commits) = among_others(&mut group, &writes).await;
    let reasons: Vec<_> = errors.iter().flatten().map(Error::reason).collect();
    let expected = [
        "UNIQUE_VIOLATION",
        "UNIQUE_VIOLATION",
        "NOT_NULL_VIOLATION",
        "UNDEFINED_TABLE",
        "SYNTAX_ERROR",
    ];
    assert_eq!(reasons, expected);
    assert!(errors.iter().flatten().all(|error| error.outcome() == Outcome::NotApplied));
    assert_eq!((commits, group.ids()), (1, vec![1, 2]));
}

#[tokio::test]
async fn rows_come_after_the_commit_and_large_results_by_themselves() {
    let mut group = Group::new(SCHEMA).await;
    let first = group.statement(&insert(1));
    let small = receiver(&mut group, "INSERT INTO t (id) VALUES (2) RETURNING id");
    let large =
        receiver(&mut group, "UPDATE t SET n = 1 WHERE id = 2 RETURNING hex(zeroblob(50000))");
    group.turns().await;
    outcome(first).await.expect("it commits");
    assert_eq!(rows(small).await, [Row { values: vec![Value::int64(2)] }]);
    let [Row { values }] = &rows(large).await[..] else { panic!("not one row") };
    assert_eq!(values[0].kind, Value::text("0".repeat(100_000)).kind);
    assert_eq!(group.numbers("SELECT n FROM t WHERE id = 2"), [1]);
}

fn receiver(group: &mut Group, sql: &str) -> RowReceiver<Option<Completion>> {
    let deadline = after(Duration::from_secs(20));
    let (sender, receiver) = row_channel(deadline.instant());
    group.add_write(Write::new(sender, StatementWrite::new(Arc::new(statement(sql, vec![])))));
    receiver
}

async fn rows(receiver: RowReceiver<Option<Completion>>) -> Vec<Row> {
    let job = PendingJob::new(receiver, after(Duration::from_secs(20)));
    let stream = SqliteRowStream::start(job, Outcome::Applied).await.expect("it runs");
    let mut stream = stream.expect("it is the connection that writes");
    let mut rows = Vec::new();
    let mut sink = RowSink::of_result(64 * 1024);
    while fill(&mut stream, &mut sink).await.expect("rows") == Fill::Full {
        rows.extend(sink.take().decode().expect("rows"));
    }
    rows.extend(sink.take().decode().expect("rows"));
    rows
}

#[tokio::test]
async fn a_batch_keeps_its_expectations_and_its_key() {
    let mut group = Group::new(SCHEMA).await;
    let commits = group.count_commits().await;
    let key = || {
        let caller = "me".to_owned();
        Some(IdempotencyKey { caller, key: "k".to_owned(), request_hash: [7; 32] })
    };
    let first = group.statement(&insert(1));
    let keyed = Batch { key: key(), ..batch(&["INSERT INTO t (id) VALUES (2)"]) };
    let mut once = group.batch(keyed);
    let mut again = group.batch(Batch { key: key(), ..batch(&["INSERT INTO t (id) VALUES (2)"]) });
    let mut unexpected = batch(&["INSERT INTO t (id) VALUES (3)", "DELETE FROM t WHERE id = 99"]);
    unexpected.statements[1].expect = Some(crate::backend::Expect::Exactly(1));
    let unexpected = group.batch(unexpected);
    group.turns().await;
    outcome(first).await.expect("it commits");
    assert!(!once.end().await.expect("it commits").replayed);
    assert!(again.end().await.expect("it is stored").replayed);
    let error = outcome(unexpected).await.expect_err("no row is changed");
    assert_eq!(error.kind(), ErrorKind::ExpectationFailed);
    assert_eq!((commits.load(Ordering::Relaxed), group.ids()), (1, vec![1, 2]));
}

#[tokio::test]
async fn neighbours_do_not_see_each_others_figures() {
    let mut group = Group::new(SCHEMA).await;
    let first = group.statement("INSERT INTO t (id) VALUES (5), (6)");
    let told = group.statement(
        "INSERT INTO told (id, last, all_changes) SELECT 1, last, all_changes FROM figures",
    );
    group.turns().await;
    outcome(first).await.expect("it commits");
    outcome(told).await.expect("it commits");
    assert_eq!(group.numbers("SELECT last FROM told"), [0]);
    assert_eq!(group.numbers("SELECT all_changes FROM told"), [0]);
}

#[tokio::test]
async fn where_a_commit_may_fail_by_one_of_them_none_is_shared() {
    for schema in [
        "CREATE TABLE other (id INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE VIRTUAL TABLE words USING fts5(word)",
    ] {
        let mut group = Group::new(&format!("{SCHEMA}; {schema}")).await;
        let first = group.statement(&insert(1));
        let waiting = group.statement(&insert(2));
        assert!(group.turn().await);
        outcome(first).await.expect("it commits");
        assert_eq!(group.ids(), [1], "{schema}");
        group.turns().await;
        outcome(waiting).await.expect("it commits");
        assert_eq!(group.ids(), [1, 2], "{schema}");
    }
}

#[tokio::test]
async fn calls_that_wait_for_the_connection_share_a_commit() {
    let fixture = fixture();
    fixture.run("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let request = BeginRequest {
        mode: TransactionMode::default(),
        preamble: crate::backend::Preamble::default(),
        key: None,
        deadline: after(Duration::from_secs(5)),
        context: CallContext::own("test"),
    };
    let transaction = fixture.database.begin(request).await.expect("it begins");
    let log = fixture.directory.path().join("test.db-wal");
    let size = || std::fs::metadata(&log).map_or(0, |log| log.len());
    let before = size();
    let insert = |id: i64| {
        let statement = statement("INSERT INTO t VALUES ($1)", vec![Value::int64(id)]);
        fixture.execute(statement)
    };
    let writes = futures_util::future::join_all((0..50).map(insert));
    let (written, ()) = tokio::join!(writes, transaction.rollback());
    for written in written {
        assert_eq!(written.expect("it commits").completion.rows_affected, 1);
    }
    assert_eq!(fixture.run("SELECT count(*) FROM t").await.number(), 50);
    // The first may have a commit of its own. Each writes a page of 4 KiB at least.
    assert!(size() - before < 10 * 4096, "{} bytes of log", size() - before);
}
