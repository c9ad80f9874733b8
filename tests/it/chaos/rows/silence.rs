//! Silent parties: a network, a backend, a postmaster.

use std::time::{Duration, Instant};

use tonic::Code;

use super::Held;
use super::worst::Worst;
use crate::cancel::frozen::{DEAD, FROZEN, TOLERANCE, behind, fall_silent, freeze, service_of_one};
use crate::harness::Service;
use crate::harness::client::Client;
use crate::harness::postgres::Postgres;
use crate::harness::process::Stopped;
use crate::harness::wait::Stutter;

/// Networks that pass nothing, under a connection that reads and one that writes.
pub(super) async fn peers(faults: usize) -> Held {
    let behind = behind().await;
    let mut late = Worst::new("calls end after their deadline", TOLERANCE);
    let mut dead = Worst::new("connections given up", DEAD);
    let mut back = Worst::new("a call when it passes again", Duration::from_secs(1));
    while late.count() < faults {
        let stutter = Stutter::watch();
        let silent = fall_silent(&behind).await;
        for by in silent.late {
            late.take(by, &stutter);
        }
        dead.take(silent.given_up, &stutter);
        back.take(silent.back, &stutter);
    }
    Held { faults: late.count(), figures: format!("{late}; {dead}; {back}") }
}

/// Backends that are stopped as they read, and as they write.
pub(super) async fn backends(faults: usize) -> Held {
    let service = service_of_one().await;
    let mut late = Worst::new("calls end after their deadline", TOLERANCE);
    let mut freed = Worst::new("the slot is free", DEAD);
    for (sql, what, outcome) in FROZEN.into_iter().cycle().take(faults) {
        let stutter = Stutter::watch();
        let frozen = freeze(&service, sql).await;
        let failure = &frozen.failure;
        assert_eq!((failure.what(), failure.outcome.as_str()), (what, outcome), "{failure:?}");
        late.take(frozen.late, &stutter);
        freed.take(frozen.freed, &stutter);
    }
    Held { faults: late.count(), figures: format!("{late}; {freed}; UNKNOWN for writes") }
}

/// The budget of a new connection in these tests.
const CONNECT: Duration = Duration::from_secs(1);

/// The number of callers that need a new connection while none can be opened: too few for the breaker to open, or
/// enough.
const CALLERS: [usize; 2] = [4, 1];

/// Postmasters that are stopped: the system accepts for them, and nobody answers.
pub(super) async fn postmasters(faults: usize) -> Held {
    // One worker: else a caller's may have no connection and try for one while another has one idle.
    let settings = format!(
        "pool.min = 2\npool.max = 8\npool.connect_timeout = \"{CONNECT:?}\"\n[grpc]\nworkers = 1\n"
    );
    let service = Service::on(Postgres::start(), &settings).await;
    let mut reported = Worst::new("UNAVAILABLE", CONNECT + TOLERANCE);
    let mut back = Worst::new("a new connection when it goes on", Duration::from_secs(1));
    let mut served = 0;
    for callers in CALLERS.into_iter().cycle().take(faults) {
        let connected = |pool: &rowgate::value::proto::PoolStats| pool.open == 2 && pool.idle == 2;
        service.until_pool("there are the fewest connections", connected).await;
        let mut first = service.client.begin().await;
        let mut second = service.client.begin().await;
        let stutter = Stutter::watch();
        let stopped = Stopped::new(&service.postgres().postmaster());
        let callers: Vec<_> =
            (0..callers).map(|_| tokio::spawn(refused(service.client.clone()))).collect();
        // Those who have a connection do not notice.
        while !callers.iter().all(tokio::task::JoinHandle::is_finished) {
            for transaction in [&mut first, &mut second] {
                transaction.query("select 1", &[]).await.expect("it is connected");
                served += 1;
            }
        }
        for caller in callers {
            reported.take(caller.await.expect("no caller panics"), &stutter);
        }
        drop(stopped);
        let start = Instant::now();
        crate::harness::wait::eventually_async("a new connection serves", DEAD, async || {
            service.client.query("select 1", &[]).await.ok()
        })
        .await;
        back.take(start.elapsed(), &stutter);
        first.commit().await.expect("it was never disturbed");
        second.commit().await.expect("it was never disturbed");
        shrink(&service).await;
    }
    let figures = format!(
        "{} calls {reported}; {served} on existing connections served; {back}",
        reported.count()
    );
    Held { faults, figures }
}

/// Measures the time until a caller is told that the database is unreachable.
async fn refused(client: Client) -> Duration {
    let start = Instant::now();
    let failure = client.must_fail("select 1", &[]).await;
    assert_eq!(failure.what(), (Code::Unavailable, "DATABASE_UNAVAILABLE"), "{failure:?}");
    start.elapsed()
}

/// Closes what was opened beyond the fewest.
async fn shrink(service: &Service) {
    for max in [2, 8] {
        let pool = "main".to_owned();
        let request =
            rowgate::value::proto::ResizePoolRequest { pool, min: Some(2), max: Some(max) };
        service.pools().resize_pool(request).await.expect("it fits");
        if max == 2 {
            service.until_pool("the rest is closed", |pool| pool.open <= 2).await;
        }
    }
}
