//! Audit lines: who called what, and if it was allowed. One line a call, when the call ends.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::log_rate_limit::{LineKind, LogRateLimit};
use crate::config::Audit;
use crate::error::{Error, ErrorKind, Outcome};

/// The refusals of one caller for one reason, since the start.
#[derive(Debug)]
pub(crate) struct Refusals {
    /// The section of the caller; empty for one that is not known.
    pub(crate) caller: String,
    pub(crate) reason: &'static str,
    pub(crate) count: u64,
}

/// The refusals, for operators. Sections and reasons are few.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounts(Mutex<Vec<Refusals>>);

impl RefusalCounts {
    pub(super) fn add(&self, caller: &str, reason: &'static str) {
        let mut all = self.0.lock();
        match all.iter_mut().find(|one| one.reason == reason && one.caller == caller) {
            Some(known) => known.count += 1,
            None => all.push(Refusals { caller: caller.to_owned(), reason, count: 1 }),
        }
    }

    pub(super) fn all(&self) -> Vec<Refusals> {
        let all = self.0.lock();
        let copy = |one: &Refusals| Refusals { caller: one.caller.clone(), ..*one };
        all.iter().map(copy).collect()
    }
}

/// The facts of a call that only its line of audit tells. Without a scope there is none.
#[derive(Debug, Default)]
pub(super) struct AuditFacts {
    scope: OnceLock<Audit>,
    /// The address of the client, or its user on a Unix socket.
    peer: OnceLock<Arc<str>>,
    /// The kind of the identity.
    identity_kind: OnceLock<&'static str>,
    /// The reason and the outcome of the error that it, or its last command that failed, was answered with.
    error: Mutex<Option<(&'static str, Outcome)>>,
    /// The reason of its first refusal.
    refusal: OnceLock<&'static str>,
    /// The database that it asked for and may not use.
    denied_database: OnceLock<String>,
}

/// The call of a line, when it has ended.
#[derive(Debug)]
pub(super) struct AuditedCall<'a> {
    pub(super) facts: &'a AuditFacts,
    pub(super) method: &'static str,
    pub(super) identity: &'a str,
    pub(super) database: &'a str,
    pub(super) tag: &'a str,
    pub(super) statement: &'a str,
    /// The status, by its name.
    pub(super) code: &'static str,
    /// The outcome of its work if it succeeds.
    pub(super) outcome: Outcome,
    pub(super) duration: Duration,
}

/// The kinds of refusals of which callers make as many as they like.
const FLOODS: [ErrorKind; 2] = [ErrorKind::Unauthenticated, ErrorKind::CallerLimit];

/// The most bytes of the name of a database that a caller may not use.
const MAX_NAME: usize = 200;

/// True for an error of a caller that is not known, lacks a right, or is over a limit of its own.
pub(super) fn is_refusal(error: &Error) -> bool {
    FLOODS.contains(&error.kind()) || error.is_denial()
}

impl AuditFacts {
    /// Lets the call have a line.
    pub(super) fn begin(&self, scope: Audit, peer: &Arc<str>) {
        self.scope.get_or_init(|| scope);
        self.peer.get_or_init(|| Arc::clone(peer));
    }

    pub(super) fn set_identity_kind(&self, kind: &'static str) {
        self.identity_kind.get_or_init(|| kind);
    }

    /// Notes an error of the call, or of a command within it.
    pub(super) fn answered_with(&self, error: &Error) {
        if self.scope.get().is_none() {
            return;
        }
        if is_refusal(error) {
            self.refusal.get_or_init(|| error.label());
        }
        if let Some(name) = error.denied_database() {
            let shown = name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or_default();
            self.denied_database.get_or_init(|| shown.to_owned());
        }
        *self.error.lock() = Some((error.label(), error.outcome()));
    }
}

impl AuditedCall<'_> {
    /// Writes the line, unless the call is not to have one. Lines about strangers, and about callers over their limits, are
    /// as many as they like to make: ten a second of each method and reason are written, and the next tells how many were not.
    pub(super) fn write(&self, rate_limit: &LogRateLimit) {
        let refusal = self.facts.refusal.get().copied();
        let is_wanted = match self.facts.scope.get() {
            Some(Audit::All) => true,
            Some(Audit::Denied) => refusal.is_some(),
            Some(Audit::Off) | None => false,
        };
        if !is_wanted {
            return;
        }
        let error = *self.facts.error.lock();
        let (reason, outcome) = match (refusal, error) {
            (Some(reason), _) => {
                (reason, error.map_or(Outcome::NotApplied, |(_, outcome)| outcome))
            }
            (None, Some((reason, outcome))) if self.code != "OK" => (reason, outcome),
            (None, _) => ("", self.outcome),
        };
        // That of a stream that ended well is not known here.
        let is_known = self.code != "OK" || outcome != Outcome::Unknown;
        let mut suppressed = 0;
        let is_flood = |reason: &&str| FLOODS.iter().any(|kind| kind.reason() == *reason);
        if let Some(reason) = refusal.filter(is_flood) {
            let kind = LineKind { method: self.method, reason, database: None };
            let Some(count) = rate_limit.admit(kind, Instant::now()) else { return };
            suppressed = count;
        }
        let is_set = |text: &&str| !text.is_empty();
        let denied_database = self.facts.denied_database.get().map(String::as_str).filter(is_set);
        tracing::info!(
            target: "rowgate::audit",
            identity = self.identity,
            identity_kind = self.facts.identity_kind.get().copied().unwrap_or("none"),
            peer = self.facts.peer.get().map(|peer| &**peer).filter(is_set),
            rpc = self.method,
            database = Some(self.database).filter(is_set).or(denied_database),
            tag = Some(self.tag).filter(is_set),
            statement = Some(self.statement).filter(is_set),
            access = if refusal.is_some() { "denied" } else { "allowed" },
            reason = Some(reason).filter(is_set),
            code = self.code,
            outcome = is_known.then(|| outcome.as_str()),
            duration_ms = crate::clock::milliseconds(self.duration),
            suppressed = Some(suppressed).filter(|suppressed| *suppressed > 0),
            "call audited"
        );
    }
}
