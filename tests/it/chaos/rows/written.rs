//! Faults under which thirty-two clients write: nothing is lost, nothing doubled, and nobody waits long.

use std::time::Duration;

use super::{Held, variable};
use crate::chaos::dialect::Dialect;
use crate::chaos::plan::{FaultKind, Plan};
use crate::chaos::run;
use crate::chaos::unit::TOLD;
use crate::harness::wait::Stutter;

/// The largest lateness.
const TOLERANCE: Duration = Duration::from_millis(50);

/// Faults of one kind, and a few more: of two backends that are killed at once the server tells of one.
pub(super) async fn only(kind: FaultKind, faults: usize) -> Held {
    hold(Plan::of(&[(kind, faults + faults.div_ceil(20))], seed())).await
}

/// Faults of all kinds, restarts of the server among them, in any order.
pub(super) async fn mixed(faults: usize) -> Held {
    hold(Plan::new(faults, seed())).await
}

/// The same of MariaDB.
pub(super) async fn only_mariadb(kind: FaultKind, faults: usize) -> Held {
    let count = faults + faults.div_ceil(20);
    hold(Plan::on(Dialect::Mariadb, &[(kind, count)], seed())).await
}

/// Faults of all kinds of MariaDB, in any order.
pub(super) async fn mixed_mariadb(faults: usize) -> Held {
    hold(Plan::of_mariadb(faults, seed())).await
}

fn seed() -> u64 {
    let seed = variable("ROWGATE_CHAOS_SEED");
    seed.map_or(1, |seed| seed.parse().expect("ROWGATE_CHAOS_SEED is a number"))
}

/// The longest that a unit may take. MariaDB holds commits back while it becomes read-only, until those that run have
/// ended; one that was sent is waited for as long as a statement.
fn limit(plan: &Plan) -> Duration {
    let holds_commits = plan.count(FaultKind::ReadOnly) > 0;
    (if holds_commits { 2 * TOLD } else { TOLD }) + TOLERANCE
}

async fn hold(plan: Plan) -> Held {
    let stutter = Stutter::watch();
    let report = run(&plan, &[]).await;
    eprintln!("{}", report.print("while clients write"));
    let wrong = &report.violations;
    assert!(wrong.is_empty(), "{} violations, the first: {}", wrong.len(), wrong[0]);
    let ((longest, how), snapshots) = (report.seen.longest, report.seen.snapshots);
    let limit = limit(&plan) + stutter.allowance();
    assert!(longest <= limit, "{how:?} took {longest:?} of {limit:?}");
    let [applied, not_applied, unknown] = report.fates();
    assert!(applied > 0 && snapshots > 0, "nothing was done");
    let longest = longest.as_secs_f64();
    let units = applied + not_applied + unknown;
    let figures = format!(
        "{units} units, {applied} applied, {unknown} UNKNOWN, 0 lost, 0 doubled, {snapshots} sums; \
         longest unit {longest:.2} s (limit {:.2} s)",
        limit.as_secs_f64()
    );
    Held { faults: report.effects(&plan), figures }
}
