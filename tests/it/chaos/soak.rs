//! A long load at half of what the server can do, with faults and with callers who do not behave: what it
//! has in hand when all have gone is what it had before.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rowgate::value::proto::pool_service_client::PoolServiceClient;
use rowgate::value::proto::server_service_client::ServerServiceClient;
use rowgate::value::proto::{GetServerInfoRequest, ListPoolStatsRequest, PoolStats, QueryOptions};
use tokio::task::JoinSet;

use super::client::Load;
use super::dialect::Dialect;
use super::inject::Database;
use super::plan::Plan;
use super::{Trial, rows};
use crate::harness::client::{Client, request, request_with};
use crate::harness::wait::{eventually_async, idle_for};
use crate::session::{DIRTY, FAILING, SETUP};

/// Connections come and go while it lasts, and in the end as many are left as at first.
const SETTINGS: &str = "[databases.main.pool]\nmin = 4\nmax = 12\n\
    idle_timeout = \"5s\"\nmax_lifetime = \"30s\"";

/// Writers of one load.
const WRITERS: u64 = 32;

/// Callers who do not behave.
const RUDE: u64 = 4;

/// For so long the server remembers what ran, for its page: until then its memory grows.
const RECENT: Duration = Duration::from_secs(6 * 60);

/// Between two faults.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest time until all must be as it was.
const SETTLED: Duration = Duration::from_secs(120);

/// The resources that a server holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Footprint {
    descriptors: usize,
    threads: usize,
    tasks: usize,
    sessions: usize,
    resident: u64,
}

impl Footprint {
    async fn of(trial: &Trial) -> Option<Self> {
        let mut server = ServerServiceClient::new(trial.client.channel());
        let info = server.get_server_info(GetServerInfoRequest {}).await.ok()?.into_inner();
        let sessions = "select count(*) from pg_stat_activity \
            where backend_type = 'client backend' and pid <> pg_backend_pid()";
        Some(Self {
            descriptors: trial.server.descriptors()?,
            threads: trial.server.threads()?,
            tasks: usize::try_from(info.tasks).ok()?,
            sessions: trial.scene.ask(sessions)?.trim().parse().ok()?,
            resident: trial.server.resident(),
        })
    }

    /// The same, once nobody is served and the pool has shrunk.
    async fn settled(trial: &Trial) -> Self {
        let mut last = None;
        eventually_async("the server is idle", SETTLED, async || {
            idle_for(PAUSE).await;
            let now = Self::of(trial).await?;
            let pool = pool(trial).await?;
            let is_idle = pool.in_use == 0 && pool.waiting == 0 && pool.open == 4;
            // Memory apart, nothing moves any more.
            let counts = Self { resident: 0, ..now };
            let was = last.replace(counts);
            (is_idle && was == Some(counts)).then_some(now)
        })
        .await
    }

    /// Returns the resources that differ by more than 5 % from before; memory may be less. Threads are only
    /// shown: those that block for others end when they have idled for a while.
    fn strays(&self, before: &Self) -> Vec<&'static str> {
        let near = |now: usize, before: usize| now.abs_diff(before) * 20 <= before;
        let checks = [
            ("descriptors", near(self.descriptors, before.descriptors)),
            ("tasks", near(self.tasks, before.tasks)),
            ("sessions", near(self.sessions, before.sessions)),
            ("memory", self.resident * 20 <= before.resident * 21),
        ];
        checks.iter().filter(|(_, holds)| !holds).map(|(what, _)| *what).collect()
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptors, threads, tasks, sessions, resident } = self;
        let resident = resident >> 10;
        write!(f, "{descriptors} descriptors, {threads} threads, {tasks} tasks, ")?;
        write!(f, "{sessions} sessions, {resident} KiB")
    }
}

async fn pool(trial: &Trial) -> Option<PoolStats> {
    let mut pools = PoolServiceClient::new(trial.client.channel());
    let request = ListPoolStatsRequest { pool: "main".to_owned() };
    pools.list_pool_stats(request).await.ok()?.into_inner().pools.into_iter().next()
}

/// Calls as nobody should, until it is aborted: leaves session state, does not read, does not wait, goes
/// in the middle.
async fn misbehave(address: SocketAddr, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        let client = Client::connect(address).await;
        for _ in 0..random.usize(1..20) {
            let start = Instant::now();
            match random.u8(..6) {
                0 => drop(client.query(DIRTY[random.usize(..DIRTY.len())], &[]).await),
                1 => drop(client.query(FAILING[random.usize(..FAILING.len())], &[]).await),
                2 => {
                    let timeout = Duration::from_millis(random.u64(1..40)).try_into().ok();
                    let options = QueryOptions { timeout, ..QueryOptions::default() };
                    drop(client.run(request_with("select pg_sleep(1)", options)).await);
                }
                3 => {
                    let rows = "select repeat('x', 1000) from generate_series(1, 100000)";
                    let unread = client.open(request(rows, &[])).await;
                    idle_for(Duration::from_millis(random.u64(..200))).await;
                    drop(unread);
                }
                4 => {
                    let mut transaction = client.transact().await;
                    transaction.send_query("update t set n = n + 1").await;
                    idle_for(Duration::from_millis(random.u64(..20))).await;
                }
                _ => {
                    let query = client.query("select count(*) from generate_series(1, 1e6)", &[]);
                    drop(
                        tokio::time::timeout(Duration::from_millis(random.u64(..50)), query).await,
                    );
                }
            }
            idle_for(start.elapsed()).await;
        }
    }
}

/// Loads for a while; what the server has in hand when all have gone.
async fn soak(trial: &mut Trial, plan: &Plan, first: u64, during: Duration) -> Footprint {
    let (start, address) = (Instant::now(), trial.server.grpc());
    trial.load(first..=first + WRITERS - 1, plan.seed ^ first, Load::Half).await;
    let mut rude = JoinSet::new();
    for number in 0..RUDE {
        rude.spawn(misbehave(address, plan.seed ^ (first + number)));
    }
    let mut faults = plan.faults.iter().cycle();
    while start.elapsed() < during {
        idle_for(PAUSE).await;
        let fault = faults.next().expect("it never ends");
        if !trial.inject(*fault).await {
            break;
        }
    }
    while let Some(ended) = rude.try_join_next() {
        ended.expect("nobody who misbehaves gives up");
    }
    rude.shutdown().await;
    trial.unload().await;
    Footprint::settled(trial).await
}

/// A load long enough to have caches filled, then one of `during`.
async fn all_comes_back(during: Duration) {
    let database = Database::start(Dialect::Postgres);
    let mut trial = Trial::start(database, SETTINGS, &[]).await;
    trial.scene.ask(SETUP).expect("the server answers");
    let plan = Plan::new(1000, 9);
    let warm = (during / 6).max(RECENT.min(during)).max(Duration::from_secs(5));
    let before = soak(&mut trial, &plan, 1, warm).await;
    println!("before: {before}");
    let after = soak(&mut trial, &plan, 1001, during).await;
    println!("after:  {after}");
    let report = trial.report().await;
    println!("{}", report.print(&format!("soak of {during:?} after {warm:?}")));
    assert!(report.violations.is_empty(), "{} violations", report.violations.len());
    assert_eq!(after.strays(&before), [""; 0], "{before} became {after}");
}

/// For how long comes from `scripts/soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes an hour: scripts/soak runs it"]
async fn after_an_hour_all_comes_back() {
    let minutes = rows::variable("ROWGATE_SOAK_MINUTES")
        .map_or(60, |minutes| minutes.parse().expect("ROWGATE_SOAK_MINUTES is a number"));
    all_comes_back(Duration::from_secs(60 * minutes)).await;
}
