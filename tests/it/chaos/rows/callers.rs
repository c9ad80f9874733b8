//! Callers who go without a word, do not read, change tables, or leave their session dirty.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tonic::Code;

use super::Held;
use super::worst::Worst;
use crate::audit::audit;
use crate::cancel::leave::Far;
use crate::harness::client::{PATIENCE, request};
use crate::harness::server::rowgate;
use crate::harness::unit::batch;
use crate::harness::wait::Stutter;
use crate::harness::{Backend, Service};
use crate::plans::change_under_writes;
use crate::unread_streams::{NARROW, WIDE, leave_unread};

/// The default of `stream.stall_timeout`.
const STALL: Duration = Duration::from_secs(10);

/// The time by which the last connection must be back. Nothing stalls before all buffers are full: with narrow rows
/// that takes a debug build seconds.
const BACK: Duration = Duration::from_secs(if cfg!(debug_assertions) { 16 } else { 12 });

/// Memory that 256 unread streams may cost.
const MEMORY: u64 = 96 << 20;

/// Streams that nobody reads, of wide rows and of narrow ones.
pub(super) async fn unread(faults: usize) -> Held {
    let count = faults.div_ceil(2);
    let mut back = Worst::new("all connections back", BACK);
    let mut growth = 0;
    let allowed = MEMORY / 256 * u64::try_from(count.max(32)).expect("few");
    for sql in [WIDE, NARROW] {
        let stutter = Stutter::watch();
        let cost = leave_unread(count, STALL, sql).await;
        back.take(cost.back, &stutter);
        growth = growth.max(cost.growth);
        assert!(growth <= allowed, "{count} streams took {growth} bytes of {allowed}");
    }
    let (growth, allowed) = (growth >> 20, allowed >> 20);
    let figures =
        format!("all ended STREAM_STALLED; {back}; memory +{growth} MiB (limit {allowed})");
    Held { faults: 2 * count, figures }
}

/// The time by which the query of a crashed client must be gone, and its locks free.
const GONE: Duration = Duration::from_millis(500);
const FREE: Duration = Duration::from_secs(1);

/// Clients whose connection is reset under a query.
pub(super) async fn crashed_in_query(faults: usize) -> Held {
    let (far, mut gone) = (Far::start("").await, Worst::new("query gone", GONE));
    for _ in 0..faults {
        let stutter = Stutter::watch();
        gone.take(far.crash_in_query().await, &stutter);
    }
    Held { faults: gone.count(), figures: gone.to_string() }
}

/// Clients whose connection is reset under a transaction.
pub(super) async fn crashed_in_transaction(faults: usize) -> Held {
    let (far, mut free) = (Far::start("").await, Worst::new("locks free", FREE));
    for _ in 0..faults {
        let stutter = Stutter::watch();
        free.take(far.crash_in_transaction().await, &stutter);
    }
    Held { faults: free.count(), figures: free.to_string() }
}

/// Processes that are killed: in a query, and in a batch that holds locks.
pub(super) async fn killed(faults: usize) -> Held {
    let far = Far::start("").await;
    let address = format!("http://{}", far.service.server.grpc());
    let directory = far.service.server.directory();
    let script = "update t set id = id; select pg_sleep(600) /* own */;";
    fs::write(directory.join("hold.sql"), script).expect("it is ours");
    let mut gone = Worst::new("query gone, locks free", GONE);
    for number in 0..faults {
        let what = match number % 2 {
            0 => vec!["select pg_sleep(600) /* own */"],
            _ => vec!["--batch", "hold.sql"],
        };
        let mut command = rowgate(directory);
        command.args(["query", "--address", &address]).args(what);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = command.spawn().expect("the binary was built");
        far.until_busy("active", 1);
        let stutter = Stutter::watch();
        client.kill().expect("it runs");
        client.wait().expect("it is our child");
        gone.take(far.until_free(PATIENCE), &stutter);
    }
    Held { faults: gone.count(), figures: gone.to_string() }
}

/// The time by which the locks of a silent client must be free: it is pinged after 20 s, given up 10 s later,
/// and then treated as one that crashed.
const SILENT: Duration = Duration::from_millis(30_000 + 500);

/// The number of them at once.
const TOGETHER: usize = 20;

/// Clients who fall silent in transactions, many at once.
pub(super) async fn silent(faults: usize) -> Held {
    let mut free = Worst::new("locks free", SILENT);
    let mut done = 0;
    while done < faults {
        let settings = format!("pool.max = {TOGETHER}\npool.transaction_share = 1.0\n");
        let far = Far::start(&settings).await;
        let stutter = Stutter::watch();
        free.take(far.fall_silent(TOGETHER, 2 * SILENT).await, &stutter);
        done += TOGETHER;
    }
    Held { faults: done, figures: free.to_string() }
}

/// Tables that change under cached plans.
pub(super) async fn changed(faults: usize) -> Held {
    let changed = change_under_writes(faults).await;
    let (written, stale) = (changed.written, changed.stale);
    let figures = format!("{written} writes, {stale} stale plans; nobody was told, 0 ran twice");
    // A change that no plan has met has not happened.
    Held { faults: changed.changes.min(stale), figures }
}

/// Statements that no call may run on its connection.
const CONTROL: [&str; 10] = [
    "begin",
    "/* hidden */ start transaction isolation level serializable",
    ";commit",
    "; ; COMMIT and chain",
    "-- hidden\nrollback",
    "end",
    "abort",
    "savepoint s",
    "release savepoint s",
    "prepare transaction 'left'",
];

/// Statements that dirty their session, each with an audit behind it; and those that are refused.
pub(super) async fn dirty(faults: usize) -> Held {
    let audited = audit(2 * u64::try_from(faults).expect("few"), &[]).await;
    audited.must_be_clean();
    let service = Service::start(Backend::Postgres).await;
    let what = (Code::InvalidArgument, "TRANSACTION_CONTROL");
    for sql in CONTROL {
        assert_eq!(service.client.must_fail(sql, &[]).await.what(), what, "{sql}");
        let streamed = service.client.stream(request(sql, &[])).await.expect_err("it is refused");
        assert_eq!(streamed.what(), what, "{sql}");
        let batched = service.client.batch(batch(&[sql])).await.expect_err("it is refused");
        assert_eq!(batched.what(), what, "{sql}");
    }
    let done = usize::try_from(audited.checkouts / 2).expect("few");
    let figures = format!(
        "{} checkouts audited, 0 dirty; {} writes, 0 lost; {} ways to control a transaction refused",
        audited.checkouts,
        audited.writes,
        3 * CONTROL.len()
    );
    Held { faults: done, figures }
}
