//! Compares what clients were told with what is in the database.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::{GetTransactionOutcomeRequest, TransactionState};

use super::client::{Fate, Seen};
use super::inject::Scene;
use super::plan::{FaultKind, InjectedFault, Plan};
use super::unit::{ACCOUNTS, BALANCE};
use crate::harness::client::{Client, Failure, PATIENCE, with_deadline};
use crate::harness::proxy::Counts;
use crate::harness::wait::eventually;

/// The longest time in which the database must answer after the last fault.
const LIMIT: Duration = Duration::from_secs(30);

/// Violations that are shown of each kind.
const SHOWN: usize = 5;

/// The result of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Faults by kind.
    pub(super) faults: BTreeMap<FaultKind, usize>,
    /// The faults that the proxy caused.
    pub(super) proxy: Counts,
    /// The faults that the database was seen to have.
    pub(super) seen_faults: BTreeMap<FaultKind, usize>,
    /// The answers to clients.
    pub(super) seen: Seen,
    /// The later answers to clients that asked with their tokens.
    pub(super) reported_later: BTreeMap<&'static str, usize>,
    /// Rows in the end.
    pub(super) rows: usize,
    /// From the server's return to the first unit that was applied, at most.
    pub(super) slowest_return: Duration,
    /// The duration of the run.
    pub(super) took: Duration,
    /// The violations: with any, the run has failed.
    pub(super) violations: Vec<String>,
}

impl Report {
    /// Counts a fault that happened.
    pub(super) fn count(&mut self, fault: InjectedFault) {
        *self.faults.entry(fault.kind()).or_default() += 1;
    }

    /// Faults that took effect: as the database logged them, or the proxy counted. One signal may end a
    /// backend that another was on its way to, and what a crash ends is not counted twice.
    pub(super) fn effects(&self, plan: &Plan) -> usize {
        let Counts { resets, closes, losses, abandoned, .. } = self.proxy;
        let wide = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let seen = |kind| match kind {
            // Each was waited for until it had happened.
            FaultKind::Restarted | FaultKind::Stopped => usize::MAX,
            // A connection that lost an answer is reset, too.
            FaultKind::Cut => wide(resets + closes - losses),
            FaultKind::AnswerLost => wide(losses + abandoned),
            FaultKind::Terminated
            | FaultKind::Killed
            | FaultKind::QueryKilled
            | FaultKind::ReadOnly
            | FaultKind::NoRoom => self.seen_faults.get(&kind).copied().unwrap_or_default(),
        };
        self.faults.iter().map(|(kind, count)| seen(*kind).min(plan.count(*kind)).min(*count)).sum()
    }

    /// Units by what their clients were told.
    pub(super) fn fates(&self) -> [usize; 3] {
        let count = |wanted: fn(&Fate) -> bool| {
            self.seen.units.values().filter(|(_, fate)| wanted(fate)).count()
        };
        [
            count(|fate| *fate == Fate::Applied),
            count(|fate| *fate == Fate::NotApplied),
            count(|fate| matches!(fate, Fate::Unknown(_))),
        ]
    }

    /// Checks everything, when nobody writes any more.
    pub(super) async fn check(&mut self, scene: &Scene, client: &Client) {
        let ask = |sql: &str| {
            eventually("the database answers", LIMIT, || scene.ask(sql)).trim().to_owned()
        };
        let (rows, sum, counters) = tokio::task::block_in_place(|| {
            (
                ask("select token from units"),
                ask("select sum(balance) from accounts"),
                ask("select shard, n, (select count(*) from units u where u.shard = c.shard) \
                     from counters c order by shard"),
            )
        });
        let rows: Vec<i64> = rows.lines().map(|row| row.parse().expect("a number")).collect();
        self.rows = rows.len();
        if sum != (ACCOUNTS * BALANCE).to_string() {
            self.violations.push(format!("the accounts hold {sum}"));
        }
        for line in counters.lines() {
            let fields: Vec<&str> = line.split('|').collect();
            if fields[1] != fields[2] {
                let wrong = format!("counter {}: {}, rows: {}", fields[0], fields[1], fields[2]);
                self.violations.push(wrong);
            }
        }
        self.check_set(&rows);
        self.ask_for_tokens(&rows.into_iter().collect(), client).await;
        self.violations.append(&mut self.seen.violations);
    }

    /// acknowledged ⊆ rows ⊆ acknowledged + unknown, each once.
    fn check_set(&mut self, rows: &[i64]) {
        let mut there = BTreeSet::new();
        for token in rows {
            let reported = self.seen.units.get(token);
            if !there.insert(*token) {
                self.violations.push(format!("doubled: {token}, {reported:?}"));
            }
            match reported {
                None => self.violations.push(format!("from nowhere: {token}")),
                Some((how, Fate::NotApplied)) => {
                    self.violations.push(format!("NOT_APPLIED and there: {token}, {how:?}"));
                }
                Some((_, Fate::Applied | Fate::Unknown(_))) => {}
            }
        }
        for (token, (how, fate)) in &self.seen.units {
            if *fate == Fate::Applied && !there.contains(token) {
                self.violations.push(format!("lost: {token}, {how:?}"));
            }
            if matches!(fate, Fate::Unknown(_)) && how.has_key() {
                self.violations.push(format!("a key without an answer: {token}, {how:?}"));
            }
        }
    }

    /// Whoever does not know asks with the token that came with the error.
    async fn ask_for_tokens(&mut self, rows: &BTreeSet<i64>, client: &Client) {
        for (token, (how, fate)) in &self.seen.units {
            let Fate::Unknown(handle) = fate else { continue };
            if handle.is_empty() {
                *self.reported_later.entry("no token").or_default() += 1;
                continue;
            }
            let there = rows.contains(token);
            let state = outcome(client, handle).await;
            let (reported, agrees) = match state {
                Ok(TransactionState::Applied) => ("APPLIED", there),
                Ok(TransactionState::NotApplied) => ("NOT_APPLIED", !there),
                Ok(TransactionState::Unknown) => ("UNKNOWN", true),
                Ok(TransactionState::InProgress | TransactionState::Unspecified) => {
                    ("IN_PROGRESS", false)
                }
                Err(failure) => {
                    self.violations.push(format!("asked for {handle}: {failure:?}"));
                    continue;
                }
            };
            *self.reported_later.entry(reported).or_default() += 1;
            if !agrees {
                let wrong = format!("told {reported} later, there: {there}: {token}, {how:?}");
                self.violations.push(wrong);
            }
        }
    }

    /// All counts, for people.
    pub(super) fn print(&self, title: &str) -> String {
        let mut text = format!("== {title}: {:.1} s\n", self.took.as_secs_f64());
        let total: usize = self.faults.values().sum();
        let mut line = |what: &str, how_many: String| {
            writeln!(text, "{what:44} {how_many:>9}").expect("a string takes all");
        };
        line("faults", total.to_string());
        for (kind, count) in &self.faults {
            line(&format!("  {kind:?}"), count.to_string());
        }
        let Counts { connections, resets, closes, losses, lost_bytes, abandoned } = self.proxy;
        line("connections to the database", connections.to_string());
        line("  reset, closed", format!("{resets}, {closes}"));
        line("  answers lost, bytes", format!("{losses}, {lost_bytes}"));
        line("  abandoned", abandoned.to_string());
        let [applied, not_applied, unknown] = self.fates();
        line("units", self.seen.units.len().to_string());
        line("  applied", applied.to_string());
        line("  NOT_APPLIED", not_applied.to_string());
        line("  UNKNOWN", unknown.to_string());
        for (reported, count) in &self.reported_later {
            line(&format!("    asked later: {reported}"), count.to_string());
        }
        line("  took several attempts", self.seen.repeated.to_string());
        line("  replayed", self.seen.replayed.to_string());
        line("rows", self.rows.to_string());
        line("snapshots of the accounts", self.seen.snapshots.to_string());
        let (longest, how) = self.seen.longest;
        line(&format!("longest unit: {how:?}"), format!("{:.2} s", longest.as_secs_f64()));
        line("slowest return", format!("{:.2} s", self.slowest_return.as_secs_f64()));
        for ((how, what), count) in &self.seen.answers {
            line(&format!("{how:?}: {what}"), count.to_string());
        }
        line("violations", self.violations.len().to_string());
        text + &self.print_violations()
    }

    /// Some violations of each kind.
    fn print_violations(&self) -> String {
        let mut by_kind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for violation in &self.violations {
            let kind = violation.split(':').next().unwrap_or_default();
            let kind = kind.trim_start_matches(|c: char| c.is_ascii_digit());
            by_kind.entry(kind).or_default().push(violation);
        }
        let shown = by_kind.values().flat_map(|violations| {
            let more = violations.len().saturating_sub(SHOWN);
            let more = (more > 0).then(|| format!("  … and {more} like these"));
            violations.iter().take(SHOWN).map(|violation| format!("  {violation}")).chain(more)
        });
        shown.map(|line| line + "\n").collect()
    }
}

/// Returns the outcome of a transaction, by the token that came with its error.
async fn outcome(client: &Client, token: &str) -> Result<TransactionState, Failure> {
    let handle = Some(Handle::TransactionToken(token.to_owned()));
    let request = GetTransactionOutcomeRequest { handle, ..Default::default() };
    let answer = client.raw().get_transaction_outcome(with_deadline(request, PATIENCE)).await;
    answer.map(|answer| answer.into_inner().state()).map_err(Failure::from)
}
