//! A database that drops connections, is away, changes its role, or is full.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rowgate::value::proto::{PoolStats, Value};
use tonic::Code;

use super::Held;
use super::worst::Worst;
use crate::failover::{LEFT, demotions, promotions};
use crate::harness::behind::Behind;
use crate::harness::client::{Client, Failure, PATIENCE};
use crate::harness::postgres::Postgres;
use crate::harness::wait::{Stutter, eventually_async};
use crate::harness::{Backend, Service};

/// Of the pools whose connections are terminated as they lie there.
const IDLE: u32 = 4;

/// Idle backends that are terminated, all of a pool at once; a write is sent right behind.
pub(super) async fn idle(faults: usize) -> Held {
    let settings = format!("pool.min = {IDLE}\npool.max = {IDLE}\n[health]\ninterval = \"1h\"\n");
    let service = Service::with(Backend::Postgres, &settings).await;
    service.client.must("create table t (id bigint)", &[]).await;
    let mut restored = Worst::new("pool size restored", Duration::from_secs(1));
    let (mut terminated, mut written) = (0, 0);
    while terminated < faults {
        let warm = service.until_pool("it is warm", |pool| pool.idle == IDLE).await;
        let stutter = Stutter::watch();
        terminated += service.postgres().terminate_backends();
        let start = Instant::now();
        service.client.must("insert into t values ($1)", &[Value::int64(written)]).await;
        written += 1;
        let all_new =
            |pool: &PoolStats| pool.idle == IDLE && pool.opened >= warm.opened + u64::from(IDLE);
        service.until_pool("it is warm again", all_new).await;
        restored.take(start.elapsed(), &stutter);
    }
    let rows = service.postgres().psql("select count(*), count(distinct id) from t");
    assert_eq!(rows, format!("{written}|{written}"));
    let figures = format!("{restored}; {written} writes right behind, all applied once");
    Held { faults: terminated, figures }
}

/// Within which a call fails while the database is known to be away.
const REFUSED: Duration = Duration::from_millis(5);

/// Between two attempts to connect, while it is: the default of `breaker.probe_interval`.
const PROBE: Duration = Duration::from_millis(250);

/// Servers that crash and are started again.
pub(super) async fn restarted(faults: usize) -> Held {
    let mut behind = Behind::start(Postgres::start(), "pool.min = 4\n", &[]).await;
    let stutter = Stutter::watch();
    let mut refused = Worst::new("UNAVAILABLE", REFUSED);
    let mut first = Worst::new("first success", Duration::from_secs(1));
    let mut attempts = 0;
    for _ in 0..faults {
        behind.client.must("select 1", &[]).await;
        behind.postgres.crash();
        // These open the breaker.
        for _ in 0..20 {
            refusal(&behind.client).await;
        }
        let (before, open) = (behind.proxy.counts().connections, Instant::now());
        while open.elapsed() < 4 * PROBE {
            refused.note(refusal(&behind.client).await);
        }
        let made = behind.proxy.counts().connections - before;
        let allowed = u64::try_from(open.elapsed().as_millis() / PROBE.as_millis()).expect("few");
        assert!(made <= allowed + 2, "{made} attempts to connect in {:?}", open.elapsed());
        attempts += made;
        behind.postgres.resume();
        let back = Instant::now();
        eventually_async("a call succeeds", PATIENCE, async || {
            behind.client.query("select 1", &[]).await.ok()
        })
        .await;
        first.take(back.elapsed(), &stutter);
    }
    let (p99, allowance) = (refused.p99(), stutter.allowance());
    assert!(p99 <= REFUSED + allowance, "UNAVAILABLE after {p99:?} of {REFUSED:?} + {allowance:?}");
    let p99 = p99.as_secs_f64() * 1e3;
    let calls = refused.count();
    let figures = format!(
        "{first}; {calls} calls UNAVAILABLE, p99 {p99:.1} ms (limit 5 ms); {attempts} connect attempts"
    );
    Held { faults: first.count(), figures }
}

/// Measures a call that fails because the database is unreachable.
async fn refusal(client: &Client) -> Duration {
    let start = Instant::now();
    let failure = client.must_fail("select 1", &[]).await;
    let took = start.elapsed();
    assert_eq!(failure.code, Code::Unavailable, "{failure:?}");
    took
}

/// Primaries that are demoted and stay up.
pub(super) async fn demoted(faults: usize) -> Held {
    let demoted = demotions(u32::try_from(faults).expect("few")).await;
    let figures = format!(
        "old connections left {:.3} s at worst (limit {} s); {} written, 0 twice; those who failed were told {:?}",
        demoted.left.as_secs_f64(),
        LEFT.as_secs(),
        demoted.written,
        demoted.reasons
    );
    Held { faults, figures }
}

/// Primaries that crash, whose standby is promoted.
pub(super) async fn promoted(faults: usize) -> Held {
    let slowest = promotions(u32::try_from(faults).expect("few")).await;
    let slowest = slowest.as_secs_f64();
    let figures = format!(
        "writes resumed {slowest:.2} s at worst (limit 2 s); 0 lost, 0 on the wrong server"
    );
    Held { faults, figures }
}

/// The longest wait for a connection in these tests, and how far from it a caller may be told.
const WAIT: Duration = Duration::from_millis(250);
const TOLERANCE: Duration = Duration::from_millis(50);

/// Callers who are refused a connection for want of room, and when: those that fail at another time, or
/// otherwise, fail the row.
async fn turned_away(client: &Client, sql: &'static str, count: usize, off: &mut Worst) {
    let stutter = Stutter::watch();
    let calls = (0..count).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let start = Instant::now();
            (client.query(sql, &[]).await, start.elapsed())
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let (answer, took) = call.await.expect("no caller panics");
        let Err(failure) = answer else { continue };
        let Failure { retry_after, .. } = &failure;
        assert_eq!(failure.what(), (Code::ResourceExhausted, "POOL_EXHAUSTED"), "{failure:?}");
        assert!(retry_after.is_some(), "{failure:?}");
        off.take(took.abs_diff(WAIT), &stutter);
    }
}

/// A server without room, while some of it is ours.
pub(super) async fn no_room(faults: usize) -> Held {
    let postgres = Postgres::with(&["max_connections=8"]);
    let settings = "pool.min = 0\npool.warm_up = false\npool.acquire_timeout = \"250ms\"\n";
    let service = Service::on(postgres, settings).await;
    let mut off = Worst::new("RESOURCE_EXHAUSTED off its limit", TOLERANCE);
    service.client.must("select 1", &[]).await;
    let rounds = faults.div_ceil(4);
    for _ in 0..rounds {
        turned_away(&service.client, "select pg_sleep(0.5)", 14, &mut off).await;
        if off.count() >= faults {
            break;
        }
    }
    Held { faults: off.count(), figures: format!("{} callers: {off}", off.count()) }
}

/// Pools that are full: callers are turned away in time, wait in line, and share.
pub(super) async fn pool(faults: usize) -> Held {
    let settings = "pool.min = 1\npool.max = 1\npool.acquire_timeout = \"250ms\"\n";
    let service = Service::with(Backend::Postgres, settings).await;
    let mut off = Worst::new("RESOURCE_EXHAUSTED off its limit", TOLERANCE);
    let holder = service.client.begin().await;
    while off.count() < faults {
        turned_away(&service.client, "select 1", 10, &mut off).await;
    }
    holder.rollback().await.expect("it was never disturbed");
    let settings = "pool.min = 1\npool.max = 1\n";
    let service = Service::with(Backend::Postgres, settings).await;
    in_line(&service).await;
    let (most, least) = share(&service).await;
    assert!(most <= 3 * least, "completions of callers: {least} to {most}");
    let figures = format!("{off}; FIFO; completions of callers {least} to {most} (limit 3 ×)");
    Held { faults: off.count(), figures }
}

/// Checks that callers are served in the order in which they came.
async fn in_line(service: &Service) {
    let holder = service.client.begin().await;
    let (served, mut order) = tokio::sync::mpsc::channel(100);
    for number in 1..=10 {
        let (client, served) = (service.client.clone(), served.clone());
        tokio::spawn(async move {
            client.must("select pg_sleep(0.02)", &[]).await;
            served.send(number).await.expect("somebody counts");
        });
        service.until_pool("it waits", |pool| pool.waiting == number).await;
    }
    drop(served);
    holder.rollback().await.expect("it was never disturbed");
    for number in 1..=10 {
        assert_eq!(order.recv().await, Some(number), "they are served in the order they came");
    }
}

/// The most and the fewest completions of four callers who all want all of a pool.
async fn share(service: &Service) -> (u64, u64) {
    let over = Instant::now() + Duration::from_secs(2);
    let mut callers = Vec::new();
    for number in 2..=5 {
        let own = Ipv4Addr::new(127, 0, 0, number);
        let client = Client::connect_from(own, service.server.grpc()).await;
        let calls = (0..8).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut completed = 0;
                while Instant::now() < over {
                    client.must("select pg_sleep(0.002)", &[]).await;
                    completed += 1;
                }
                completed
            })
        });
        callers.push(calls.collect::<Vec<_>>());
    }
    let mut completed = Vec::new();
    for calls in callers {
        let mut sum = 0;
        for call in calls {
            sum += call.await.expect("no caller panics");
        }
        completed.push(sum);
    }
    let least = completed.iter().min().copied().unwrap_or_default();
    (completed.into_iter().max().unwrap_or_default(), least)
}
