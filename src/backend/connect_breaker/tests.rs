//! The breaker of a database whose outages are planned, under a paused clock.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::error::DatabaseReport;

const MS: Duration = Duration::from_millis(1);

/// The default of `pool.connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The behaviour of a database towards new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Up,
    Refusing,
    Silent,
}

/// A database and its breaker.
struct FakeDatabase {
    breaker: Arc<ConnectBreaker>,
    condition: watch::Sender<Condition>,
    attempts: AtomicU32,
    /// Attempts in progress, and the most of them at once while the breaker was open.
    pending: AtomicU32,
    crowd: AtomicU32,
}

impl Default for ConnectBreaker {
    fn default() -> Self {
        Arc::into_inner(breaker()).expect("nobody else has it")
    }
}

fn breaker() -> Arc<ConnectBreaker> {
    breaker_with(&[])
}

fn breaker_with(settings: &[(&str, &str)]) -> Arc<ConnectBreaker> {
    let config = config::load_from(settings).expect("it is valid");
    ConnectBreaker::new("main", &config.databases["main"])
}

fn refused() -> Error {
    Error::new(ErrorKind::DatabaseUnavailable, "cannot connect").with_cause("connection refused")
}

fn with_code(kind: ErrorKind, sqlstate: &str) -> Error {
    let report = DatabaseReport { sqlstate: sqlstate.to_owned(), ..DatabaseReport::default() };
    Error::new(kind, format!("code {sqlstate}")).with_report(report)
}

async fn fail(breaker: &ConnectBreaker, error: impl Fn() -> Error, times: usize) {
    for _ in 0..times {
        breaker.connect(async { Err::<(), _>(error()) }).await.expect_err("it fails");
    }
}

async fn reach(breaker: &ConnectBreaker) {
    breaker.connect(async { Ok(()) }).await.expect("it is there");
}

/// Returns the result of a future and the time it took.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = now();
    let done = future.await;
    (done, now() - start)
}

impl FakeDatabase {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            breaker: breaker(),
            condition: watch::Sender::new(Condition::Up),
            attempts: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            crowd: AtomicU32::new(0),
        })
    }

    /// Connects as the condition has it: at once, or when it is no longer silent.
    async fn attempt(&self) -> Result<()> {
        self.attempts.fetch_add(1, SeqCst);
        let _pending = Counted::new(&self.pending);
        if self.breaker.is_open() {
            self.crowd.fetch_max(self.pending.load(SeqCst), SeqCst);
        }
        sleep(MS).await;
        let mut condition = self.condition.subscribe();
        let answering = condition.wait_for(|condition| *condition != Condition::Silent);
        let answer = tokio::time::timeout(CONNECT_TIMEOUT, answering).await;
        match *answer.map_err(|_elapsed| refused())?.expect("the database is there") {
            Condition::Up => Ok(()),
            Condition::Refusing | Condition::Silent => Err(refused()),
        }
    }

    /// Probes as the server does.
    async fn probe(self: Arc<Self>) {
        loop {
            drop(self.breaker.probe(2_000 * MS, self.attempt()).await);
            let idle =
                if self.breaker.is_open() { self.breaker.time_to_next_probe() } else { 5_000 * MS };
            let mut changes = self.breaker.state();
            drop(tokio::time::timeout(idle, changes.changed()).await);
        }
    }

    /// Connects until a time, with pauses; returns the longest wait for an error while the breaker was open.
    async fn call(self: Arc<Self>, until: Instant, pause: Duration) -> Duration {
        let mut slowest = Duration::ZERO;
        while now() < until {
            let was_open = self.breaker.is_open();
            let (connected, took) = timed(self.breaker.connect(self.attempt())).await;
            if was_open && connected.is_err() {
                slowest = slowest.max(took);
            }
            sleep(pause).await;
        }
        slowest
    }
}

struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_one_attempt_in_an_interval_and_callers_no_time() {
    for condition in [Condition::Refusing, Condition::Silent] {
        let database = FakeDatabase::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&database).probe());
        sleep(100 * MS).await;
        assert!(database.breaker.state().borrow().is_available());
        let outage = 30_000 * MS;
        let until = now() + 32_000 * MS;
        let callers: Vec<_> =
            (1..=64).map(|n| tokio::spawn(Arc::clone(&database).call(until, n * MS))).collect();
        database.condition.send_replace(condition);
        let before = database.attempts.load(SeqCst);
        sleep(outage).await;
        assert!(database.breaker.is_open());
        let attempts = database.attempts.load(SeqCst) - before;
        assert!((5..=64 + 121).contains(&attempts), "{condition:?}: {attempts}");
        assert!(
            database.crowd.load(SeqCst) <= 1,
            "{condition:?}: several at once while it was open"
        );
        database.condition.send_replace(Condition::Up);
        let mut state = database.breaker.state();
        let (closed, took) = timed(state.wait_for(|state| !state.open)).await;
        closed.expect("the breaker is there");
        assert!(took <= 260 * MS, "{condition:?}: closed after {took:?}");
        for caller in callers {
            let slowest = caller.await.expect("no caller panics");
            assert_eq!(slowest, Duration::ZERO, "{condition:?}");
        }
        assert_eq!(database.breaker.snapshot().opened, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_in_progress_fails_at_once_when_it_opens() {
    let breaker = breaker();
    reach(&breaker).await;
    let waiting = Arc::clone(&breaker);
    let waiting =
        tokio::spawn(
            async move { timed(waiting.connect(std::future::pending::<Result<()>>())).await },
        );
    sleep(10 * MS).await;
    fail(&breaker, refused, 5).await;
    let ended = tokio::time::timeout(CONNECT_TIMEOUT, waiting).await.expect("it fails");
    let (connected, took) = ended.expect("no panic");
    let error = connected.expect_err("nobody answered");
    assert_eq!((error.kind(), took), (ErrorKind::DatabaseUnavailable, 10 * MS));
    assert_eq!(error.retry_after(), Some(250 * MS));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_after_a_while_counts_and_one_that_is_dropped_sooner_does_not() {
    let breaker = breaker();
    reach(&breaker).await;
    for (patience, opens) in [(499 * MS, false), (500 * MS, true)] {
        for _ in 0..5 {
            let silent = breaker.connect(std::future::pending::<Result<()>>());
            tokio::time::timeout(patience, silent).await.expect_err("it does not answer");
        }
        assert_eq!(breaker.is_open(), opens, "{patience:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_servers_one_that_hangs_says_nothing_of_the_others() {
    let breaker = breaker_with(&[("databases.main.url", "postgres://me@a,b/shop")]);
    reach(&breaker).await;
    for (patience, opens) in [(4_999 * MS, false), (CONNECT_TIMEOUT, true)] {
        for _ in 0..5 {
            let silent = breaker.connect(std::future::pending::<Result<()>>());
            tokio::time::timeout(patience, silent).await.expect_err("the first does not answer");
        }
        assert_eq!(breaker.is_open(), opens, "{patience:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_connections_is_unreachable() {
    for sqlstate in ["57P03", "08004", "53300"] {
        let breaker = breaker();
        reach(&breaker).await;
        fail(&breaker, || with_code(ErrorKind::DatabaseUnavailable, sqlstate), 5).await;
        assert!(breaker.is_open(), "{sqlstate}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_is_that_of_the_last_attempt() {
    let breaker = breaker();
    let failure = || with_code(ErrorKind::BackendMisconfigured, "3D000").with_hint("Create it.");
    fail(&breaker, failure, 1).await;
    let error = breaker.connect(async { Ok(()) }).await.expect_err("it is open");
    assert_eq!(error.kind(), ErrorKind::BackendMisconfigured);
    assert_eq!((error.message(), error.hint()), ("code 3D000", Some("Create it.")));
    assert_eq!(error.retry_after(), None, "it will not mend itself");
    sleep(250 * MS).await;
    let probe = breaker.probe(MS, async { Err::<(), _>(refused()) }).await;
    assert_eq!(probe.expect_err("it fails").message(), "cannot connect");
    let error = breaker.connect(async { Ok(()) }).await.expect_err("it is open");
    assert_eq!((error.message(), error.retry_after()), ("cannot connect", Some(250 * MS)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_tried_rarely_until_something_changes() {
    let breaker = breaker_with(&[("databases.main.retry.max_backoff", "20s")]);
    reach(&breaker).await;
    let error = || with_code(ErrorKind::BackendMisconfigured, "28P01");
    fail(&breaker, error, 5).await;
    let attempts = AtomicU32::new(0);
    let attempt = async || {
        attempts.fetch_add(1, SeqCst);
        Err::<(), _>(error())
    };
    for _ in 0..240 {
        sleep(250 * MS).await;
        breaker.probe(MS, attempt()).await.expect_err("it fails");
    }
    assert_eq!(attempts.load(SeqCst), 3, "in a minute");
    breaker.probe_now();
    breaker.probe(MS, async { Ok(()) }).await.expect("the login was mended");
    assert!(!breaker.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_full_server_is_there_while_some_of_it_is_ours() {
    let breaker = breaker();
    reach(&breaker).await;
    let full = || with_code(ErrorKind::DatabaseUnavailable, "53300");
    let pooled = Arc::clone(&breaker.pooled);
    fail(&breaker, full, 10).await;
    assert!(!breaker.is_open());
    drop(pooled);
    fail(&breaker, full, 5).await;
    assert!(breaker.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_caller_probes_when_nobody_else_does() {
    let breaker = breaker();
    fail(&breaker, refused, 1).await;
    sleep(499 * MS).await;
    breaker.may_connect().expect_err("a probe is due, and nobody is late");
    sleep(MS).await;
    breaker.may_connect().expect("it is late");
    reach(&breaker).await;
    assert!(breaker.state().borrow().is_available());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_is_followed_by_another() {
    let breaker = breaker();
    fail(&breaker, refused, 1).await;
    sleep(250 * MS).await;
    let silent = breaker.probe(MS, std::future::pending::<Result<()>>());
    tokio::time::timeout(20 * MS, silent).await.expect_err("it does not answer");
    sleep(230 * MS).await;
    breaker.probe(MS, async { Ok(()) }).await.expect("it is back");
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_a_server_that_is_slow_has_the_time_of_a_caller() {
    let breaker = breaker();
    reach(&breaker).await;
    let slow = async || {
        sleep(3_000 * MS).await;
        Ok(())
    };
    for _ in 0..5 {
        let (probed, took) = timed(breaker.probe(2_000 * MS, slow())).await;
        let error = probed.expect_err("it is slow");
        assert_eq!((error.kind(), took), (ErrorKind::DatabaseUnavailable, 2_000 * MS));
    }
    sleep(250 * MS).await;
    breaker.probe(2_000 * MS, slow()).await.expect("it has 5 s now");
    assert!(!breaker.is_open());
}

/// A condition, and for how many milliseconds it lasts.
fn condition() -> impl Strategy<Value = (Condition, u64)> {
    let condition = prop_oneof![
        2 => Just(Condition::Up),
        2 => Just(Condition::Refusing),
        1 => Just(Condition::Silent),
    ];
    (condition, 1u64..4_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_any_condition_attempts_are_few_errors_are_immediate_and_the_end_is_noticed(
        plan in prop::collection::vec(condition(), 1..20),
        callers in 1u64..32,
        pause in 1u64..500,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let database = FakeDatabase::new();
            let mut tasks = JoinSet::new();
            tasks.spawn(Arc::clone(&database).probe());
            let length = plan.iter().map(|(_, length)| length).sum::<u64>();
            let until = now() + Duration::from_millis(length);
            let calls: Vec<_> = (0..callers)
                .map(|n| tokio::spawn(Arc::clone(&database).call(until, Duration::from_millis(pause + n))))
                .collect();
            for (condition, length) in plan {
                database.condition.send_replace(condition);
                sleep(Duration::from_millis(length)).await;
            }
            database.condition.send_replace(Condition::Up);
            let mut state = database.breaker.state();
            let (_, took) = timed(state.wait_for(|state| !state.open)).await;
            assert!(took <= 260 * MS, "closed after {took:?}");
            for call in calls {
                let slowest = call.await.expect("no caller panics");
                assert!(slowest <= MS, "refused after {slowest:?}");
            }
            assert!(database.crowd.load(SeqCst) <= 1, "several at once while it was open");
        });
    }
}
