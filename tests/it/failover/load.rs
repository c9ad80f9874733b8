//! Clients that write without pause, and what they are told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rowgate::value::proto::{QueryOptions, QueryRequest, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::client::{Client, Failure, PATIENCE, request};

/// The answers to one client.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By number: when the answer came.
    pub(super) written: BTreeMap<i64, Instant>,
    pub(super) refused: Vec<i64>,
    pub(super) unknown: Vec<i64>,
    pub(super) reasons: BTreeMap<String, u32>,
}

impl Seen {
    /// Fails the test when the table `t`, of one server or several, says otherwise.
    pub(super) fn must_agree_with(&self, rows: &BTreeMap<i64, u16>) {
        let lost: Vec<_> = self.written.keys().filter(|id| !rows.contains_key(id)).collect();
        assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
        let wrong: Vec<_> = self.refused.iter().filter(|id| rows.contains_key(id)).collect();
        assert!(wrong.is_empty(), "not applied and there: {wrong:?}");
    }

    fn fail(&mut self, number: i64, failure: &Failure) {
        *self.reasons.entry(failure.reason.clone()).or_default() += 1;
        let known = match failure.outcome.as_str() {
            "UNKNOWN" => {
                self.unknown.push(number);
                ["OUTCOME_UNKNOWN", "DEADLINE"].contains(&&*failure.reason)
            }
            "NOT_APPLIED" => {
                self.refused.push(number);
                ["DATABASE_UNAVAILABLE", "CONNECTION_LOST", "NOT_PRIMARY", "POOL_EXHAUSTED"]
                    .contains(&&*failure.reason)
            }
            _ => false,
        };
        assert!(known, "the failure model has no such error: {failure:?}");
    }
}

/// A write that is applied once, with a key of its own.
pub(crate) fn keyed(number: i64) -> QueryRequest {
    let options =
        QueryOptions { idempotency_key: format!("write-{number}"), ..QueryOptions::default() };
    QueryRequest {
        options: Some(options),
        ..request("insert into t (id) values ($1)", &[Value::int64(number)])
    }
}

/// Clients that write numbers, each its own, until they are told to stop.
pub(super) struct Load {
    clients: Vec<JoinHandle<Seen>>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Of the clients' numbers, no two rounds have one in common.
    pub(super) fn start(client: &Client, clients: i64, round: u32) -> Self {
        let (stop, stopped) = watch::channel(false);
        let writing = |number: i64| {
            let first = (i64::from(round) * clients + number + 1) * 10_000_000;
            tokio::spawn(write(client.clone(), first, stopped.clone()))
        };
        Self { clients: (0..clients).map(writing).collect(), stop }
    }

    pub(super) async fn end(self) -> Seen {
        self.stop.send(true).expect("they listen");
        let mut all = Seen::default();
        for client in self.clients {
            let seen = client.await.expect("no client panics");
            all.written.extend(seen.written);
            all.refused.extend(seen.refused);
            all.unknown.extend(seen.unknown);
            for (reason, count) in seen.reasons {
                *all.reasons.entry(reason).or_default() += count;
            }
        }
        all
    }
}

async fn write(client: Client, first: i64, stop: watch::Receiver<bool>) -> Seen {
    let mut seen = Seen::default();
    let mut number = first;
    while !*stop.borrow() {
        match client.call(keyed(number), PATIENCE).await {
            Ok(_) => drop(seen.written.insert(number, Instant::now())),
            Err(failure) => {
                // As callers do who are told when to come again, only sooner.
                let pause = failure.retry_after.unwrap_or_default().min(Duration::from_millis(20));
                seen.fail(number, &failure);
                tokio::time::sleep(pause).await;
            }
        }
        number += 1;
    }
    seen
}
