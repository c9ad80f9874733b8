//! Whatever happens to the database, what callers were told is true.
//!
//! Thirty-two clients do units of work in every way that the API has, while a seeded plan of faults hits
//! the database and the way to it. In the end what they were told is compared with what is there.
//!
//! | module | holds |
//! |---|---|
//! | `plan` | what goes wrong, the same for the same seed |
//! | `inject` | makes it go wrong |
//! | `mariadb_faults` | what goes wrong with MariaDB alone |
//! | `dialect` | the statements, in the words of each database |
//! | `unit` | what clients do: the workloads *set* and *bank* |
//! | `client` | clients, and what they remember |
//! | `check` | compares, counts, prints |
//! | `soak` | whether all comes back that a long load took |
//! | `rows` | all faults that are injected, each a row with its count and what held |

mod check;
mod client;
mod dialect;
mod inject;
mod mariadb_faults;
mod plan;
pub(crate) mod rows;
mod soak;
mod unit;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use check::Report;
use client::{Load, Seen, Together, read, write};
use dialect::Dialect;
use inject::{Database, Scene};
use plan::{FaultKind, InjectedFault, Plan};

use crate::harness::behind::through_proxy;
use crate::harness::client::Client;
use crate::harness::server::{self, Server};
use crate::harness::wait::eventually_async;

/// Units that are applied between two faults, at least.
const BETWEEN: u64 = 20;

/// The longest time until they are.
const RECOVERY: Duration = Duration::from_secs(30);

/// The number of clients that read while others write.
const READERS: u64 = 2;

/// Runs a plan; the server gets these variables, too.
async fn run(plan: &Plan, environment: &[(&str, &str)]) -> Report {
    let settings = match plan.dialect {
        Dialect::Postgres => "",
        Dialect::Mariadb => mariadb_faults::SETTINGS,
    };
    let database = Database::start(plan.dialect);
    let mut trial = Trial::start(database, settings, environment).await;
    trial.load(1..=plan.clients, plan.seed, Load::Full).await;
    for fault in &plan.faults {
        if !trial.inject(*fault).await {
            break;
        }
    }
    trial.unload().await;
    trial.report().await
}

/// A server, the faults around it, and those who write and read.
struct Trial {
    began: Instant,
    scene: Scene,
    server: Server,
    client: Client,
    clients: JoinSet<Seen>,
    applied: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    last_fault: watch::Sender<Instant>,
    report: Report,
}

impl Trial {
    /// A server whose database has `settings`, lines of TOML.
    async fn start(database: Database, settings: &str, environment: &[(&str, &str)]) -> Self {
        let began = Instant::now();
        let settings = format!("default_deadline = \"{:?}\"\n{settings}", unit::TOLD);
        let (url, port) = database.url();
        let (proxy, server, client) = through_proxy((&url, port), &settings, environment).await;
        if matches!(database, Database::Mariadb(_)) {
            let install = ["idempotency", "install", "--database-url", &url];
            let installed = server::run(server.directory(), &install, &[]);
            assert!(installed.status.success(), "{installed:?}");
        }
        Self {
            began,
            scene: Scene::new(database, proxy),
            server,
            client,
            clients: JoinSet::new(),
            applied: Arc::default(),
            stop: watch::Sender::new(false),
            last_fault: watch::Sender::new(began),
            report: Report::default(),
        }
    }

    /// Lets those with these numbers write, each on its own connection, and a few others read.
    async fn load(&mut self, writers: RangeInclusive<u64>, seed: u64, load: Load) {
        self.stop.send_replace(false);
        let together = Together {
            applied: Arc::clone(&self.applied),
            stop: self.stop.subscribe(),
            last_fault: self.last_fault.subscribe(),
            dialect: self.scene.database.dialect(),
            load,
        };
        for number in writers {
            let client = Client::connect(self.server.grpc()).await;
            self.clients.spawn(write(client, number, seed, together.clone()));
        }
        for _ in 0..READERS {
            let client = Client::connect(self.server.grpc()).await;
            self.clients.spawn(read(client, together.clone()));
        }
    }

    /// Lets something go wrong; false when nobody gets on after it.
    async fn inject(&mut self, fault: InjectedFault) -> bool {
        self.scene.inject(fault).await;
        self.last_fault.send_replace(Instant::now());
        self.report.count(fault);
        // Where nobody is left to write, the rest tells why.
        let Some(first) = applied_again(&self.applied, &self.clients).await else {
            let violation = format!("no units are applied in {RECOVERY:?} after {fault:?}");
            self.report.violations.push(violation);
            return false;
        };
        if matches!(fault.kind(), FaultKind::Restarted | FaultKind::Stopped) {
            self.report.slowest_return = self.report.slowest_return.max(first);
        }
        true
    }

    /// Lets all finish what they are at.
    async fn unload(&mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.clients.join_next().await {
            match ended {
                Ok(seen) => self.report.seen.add(seen),
                Err(error) => self.report.violations.push(format!("a client: {error}")),
            }
        }
    }

    /// Reports the run, when nobody writes any more.
    async fn report(self) -> Report {
        let Self { began, scene, client, mut report, .. } = self;
        report.proxy = scene.proxy.counts();
        report.seen_faults = scene.effects();
        report.check(&scene, &client).await;
        report.took = began.elapsed();
        report
    }
}

/// Waits until enough units are applied; how long it took for the first. `None`: it takes too long.
async fn applied_again(applied: &AtomicU64, clients: &JoinSet<Seen>) -> Option<Duration> {
    let start = Instant::now();
    let before = applied.load(Relaxed);
    let mut first = None;
    eventually_async("units are applied again", 2 * RECOVERY, async || {
        let more = applied.load(Relaxed) - before;
        if more > 0 {
            first.get_or_insert_with(|| start.elapsed());
        }
        let over = start.elapsed() > RECOVERY || clients.is_empty();
        (more >= BETWEEN || over).then_some(more)
    })
    .await;
    first
}

/// Runs a plan, prints what came of it, and fails with what must not be.
async fn must_hold(title: &str, plan: &Plan) -> Report {
    let report = run(plan, &[]).await;
    eprintln!("{}", report.print(title));
    assert!(report.violations.is_empty(), "{} violations", report.violations.len());
    let [applied, ..] = report.fates();
    assert!(applied > 0 && report.seen.snapshots > 0, "nothing was done");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_are_told_is_true_whatever_happens() {
    let report = must_hold("short run", &Plan::new(80, 20_261_121)).await;
    assert_eq!(report.faults.len(), 5, "every sort of fault: {:?}", report.faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_are_told_is_true_whatever_happens_to_mariadb() {
    let report = must_hold("short run of MariaDB", &Plan::of_mariadb(30, 20_261_129)).await;
    assert_eq!(report.faults.len(), 8, "every sort of fault: {:?}", report.faults);
}

/// A checker that finds nothing where something is wrong is none.
#[cfg(debug_assertions)]
async fn must_be_found(bug: &str, found: &str, plan: &Plan) {
    let report = run(plan, &[("ROWGATE_PLANTED_BUG", bug)]).await;
    eprintln!("{}", report.print(bug));
    let is_found = |violation: &String| violation.starts_with(found);
    assert!(report.violations.iter().any(is_found), "{bug} was not found as {found:?}");
    let is_unanswered = |violation: &String| violation.starts_with(client::UNANSWERED);
    let unanswered = report.violations.iter().any(is_unanswered);
    assert!(!unanswered, "a call has no answer");
    assert!(report.took < Duration::from_secs(60), "it took {:?}", report.took);
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_is_taken_for_a_commit_is_found() {
    must_be_found("ignored-tag", "lost", &Plan::new(10, 7)).await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_of_what_may_have_been_applied_is_found() {
    must_be_found("repeated-doubt", "doubled", &Plan::of(&[(FaultKind::AnswerLost, 60)], 7)).await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_goes_back_to_the_pool_is_found() {
    must_be_found(
        "recycled-transaction",
        "NOT_APPLIED and there",
        &Plan::of(&[(FaultKind::AnswerLost, 5)], 7),
    )
    .await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_that_is_taken_for_applied_is_found() {
    let plan = Plan::on(Dialect::Mariadb, &[(FaultKind::AnswerLost, 16)], 7);
    must_be_found("assumed-commit", "lost", &plan).await;
}

#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_mariadb_that_is_committed_after_a_failure_is_found() {
    let plan = Plan::on(Dialect::Mariadb, &[(FaultKind::QueryKilled, 5)], 7);
    must_be_found("ignored-tag", "committed after a failure", &plan).await;
}
