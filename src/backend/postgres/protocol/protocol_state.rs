//! The state of a connection as its messages show it: all that the driver hides and sessions need.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::kept_notices::KeptNotices;
use super::notifications::NotificationSink;
use super::own_copies::OwnCopies;
use super::requests::{Exchange, Requests};
use super::session_attrs::SessionAttrs;
use super::statement_names::{Route, StatementNames};
use super::text_results::TextResults;
use crate::backend::network::ServerAddress;

#[derive(Debug, Default)]
pub(crate) struct ProtocolState {
    /// The transaction status of the last ReadyForQuery: `I`, `T` or `E`.
    transaction_status: AtomicU8,
    /// Notified of each answer and of the end of the connection.
    changed: Notify,
    end: OnceLock<ConnectionEnd>,
    copying: AtomicBool,
    copies: OwnCopies,
    unconfirmed: AtomicBool,
    deallocated: AtomicBool,
    /// The bytes that may still be received of an abandoned result; 0 is no limit.
    discard_limit: AtomicU64,
    key: Mutex<[u8; 8]>,
    tag: Mutex<String>,
    pub(super) requests: Mutex<Requests>,
    pub(crate) text_results: TextResults,
    pub(crate) statement_names: Arc<StatementNames>,
    /// The receiver of notifications, where anybody listens on this connection.
    pub(crate) notifications: OnceLock<Arc<dyn NotificationSink>>,
    /// The notices of the server, where somebody reads them.
    pub(crate) notices: OnceLock<Arc<KeptNotices>>,
    address: OnceLock<ServerAddress>,
    session_attrs: Mutex<SessionAttrs>,
    /// The major version that the server reported, or 0.
    major_version: AtomicU32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The server, the driver or the network closed it.
    Closed,
    RowTooLarge,
}

impl ProtocolState {
    /// Creates the state of a connection that goes this way.
    pub(crate) fn new(route: Route) -> Self {
        Self { statement_names: Arc::new(StatementNames::new(route)), ..Self::default() }
    }

    /// Returns true if a pooler is between: the next transaction may be served by another session.
    pub(crate) fn is_behind_pooler(&self) -> bool {
        self.statement_names.route == Route::Pooler
    }

    /// Returns true if the session is outside a transaction and every request is answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.lock().all_answered() && !self.in_transaction() && !self.has_ended()
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction_status.load(SeqCst) != b'I'
    }

    /// Waits, without a round trip, until every request is answered or the connection has ended.
    pub(crate) async fn quiesce(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.requests.lock().all_answered() || self.has_ended() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.has_ended() {
                return;
            }
            changed.await;
        }
    }

    /// Returns the last command tag, as in `INSERT 0 5`.
    pub(crate) fn tag(&self) -> String {
        self.tag.lock().clone()
    }

    pub(crate) fn record_requests(&self) {
        self.requests.lock().record();
    }

    pub(crate) fn take_recorded(&self) -> Vec<Exchange> {
        self.requests.lock().take_recorded()
    }

    /// Returns the number of the last request of which a part was sent, from 1.
    pub(crate) fn last_sent(&self) -> u64 {
        self.requests.lock().last_sent
    }

    /// Returns the number of the last request that was answered, from 1.
    pub(crate) fn last_answered(&self) -> u64 {
        self.requests.lock().last_answered
    }

    /// Returns the number of requests that were sent, at least in part, and are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        let requests = self.requests.lock();
        let unanswered = requests.last_sent.saturating_sub(requests.last_answered);
        usize::try_from(unanswered).unwrap_or(usize::MAX)
    }

    /// Returns the process and the secret key for a CancelRequest.
    pub(crate) fn key(&self) -> [u8; 8] {
        *self.key.lock()
    }

    pub(crate) fn set_address(&self, address: ServerAddress) {
        self.address.get_or_init(|| address);
    }

    pub(crate) fn address(&self) -> Option<&ServerAddress> {
        self.address.get()
    }

    /// Returns the attributes that the server reported last: at login, and before each answer when
    /// they have changed. A pooler repeats what some session reported once: that is unknown.
    pub(crate) fn session_attrs(&self) -> SessionAttrs {
        if self.is_behind_pooler() { SessionAttrs::default() } else { *self.session_attrs.lock() }
    }

    /// Returns true if the server is known to be older than a major version.
    pub(crate) fn is_before(&self, major_version: u32) -> bool {
        (1..major_version).contains(&self.major_version.load(SeqCst))
    }

    /// Returns true if the connection was closed because of a row larger than `max_row_size`.
    pub(crate) fn rejected_a_row(&self) -> bool {
        self.end.get() == Some(&ConnectionEnd::RowTooLarge)
    }

    /// The COPYs that this server runs itself.
    pub(crate) fn copies(&self) -> &OwnCopies {
        &self.copies
    }

    /// Returns true if the last request started a COPY that is not this server's own: nobody sends or reads its data.
    pub(crate) fn is_copying(&self) -> bool {
        self.copying.load(SeqCst)
    }

    /// Tells, once, whether a commit did not wait for its synchronous standbys, because a cancel
    /// interrupted the wait.
    pub(crate) fn take_unconfirmed(&self) -> bool {
        self.unconfirmed.load(SeqCst) && self.unconfirmed.swap(false, SeqCst)
    }

    /// Tells, once, whether SQL deallocated prepared statements.
    pub(crate) fn take_deallocated(&self) -> bool {
        self.deallocated.load(SeqCst) && self.deallocated.swap(false, SeqCst)
    }

    /// Limits the bytes that are still received of an abandoned result; `None` removes the limit.
    pub(crate) fn limit_discarded(&self, bytes: Option<NonZeroU64>) {
        self.discard_limit.store(bytes.map_or(0, NonZeroU64::get), SeqCst);
    }

    /// Counts received bytes; returns false when they exceed the limit of an abandoned result.
    pub(crate) fn count_received(&self, bytes: usize) -> bool {
        let limit = self.discard_limit.load(SeqCst);
        if limit == 0 {
            return true;
        }
        let left = limit.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.discard_limit.store(left.max(1), SeqCst);
        left > 0
    }

    /// Records that the connection has ended: nothing more will be answered. The first cause counts.
    pub(crate) fn end(&self, cause: ConnectionEnd) {
        self.end.get_or_init(|| cause);
        self.changed.notify_waiters();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    /// Records the first message of a request that is sent.
    pub(crate) fn begin_request(&self, message: u8) {
        // A COPY of the previous request is not one of this one; a Close does not count.
        if message != b'C' {
            self.copying.store(false, SeqCst);
            self.copies.begin_request();
        }
        self.requests.lock().begin(message);
    }

    /// Records a message from the server, of which the first bytes are known.
    pub(crate) fn received(&self, kind: u8, head: &[u8]) {
        match kind {
            b'Z' => {
                let status = head.first().copied().unwrap_or(b'E');
                self.transaction_status.store(status, SeqCst);
                let mut requests = self.requests.lock();
                if let Some(exchange) = requests.current() {
                    exchange.status = status;
                }
                requests.answer();
                drop(requests);
                self.changed.notify_waiters();
            }
            b'K' => {
                if let Some(key) = head.first_chunk::<8>() {
                    *self.key.lock() = *key;
                }
            }
            b'C' => self.command_complete(head),
            b'2' => {
                if let Some(exchange) = self.requests.lock().current() {
                    exchange.bound = true;
                }
            }
            b'S' => {
                self.session_attrs.lock().update(head);
                if let Some(version) = head.strip_prefix(b"server_version\0") {
                    self.major_version.store(leading_number(version), SeqCst);
                }
            }
            b'I' => self.tag.lock().clear(),
            b'N' if is_interrupted_wait(head) => self.unconfirmed.store(true, SeqCst),
            b'G' | b'H' | b'W' => self.copying.store(!self.copies.is_running(), SeqCst),
            _ => {}
        }
    }

    fn command_complete(&self, head: &[u8]) {
        let tag = head.split(|byte| *byte == 0).next().unwrap_or_default();
        let tag: &str = &String::from_utf8_lossy(tag);
        if let Some(exchange) = self.requests.lock().current() {
            tag.clone_into(&mut exchange.tag);
        }
        if tag.starts_with("DEALLOCATE") || tag == "DISCARD ALL" {
            self.deallocated.store(true, SeqCst);
        }
        tag.clone_into(&mut self.tag.lock());
    }
}

/// The number that a text starts with, or 0.
fn leading_number(text: &[u8]) -> u32 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u32, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    })
}

/// Returns true if a notice reports that the wait of a commit for synchronous standbys was cancelled,
/// although the commit succeeds. The name of the server's function is the only part that no language
/// changes and no statement can choose (protocol 3.0, "Error and Notice Message Fields").
fn is_interrupted_wait(notice: &[u8]) -> bool {
    notice.split(|byte| *byte == 0).any(|field| field == b"RSyncRepWaitForLSN")
}

#[cfg(test)]
mod tests {
    use super::super::own_copies::CopyDirection;
    use super::*;

    #[test]
    fn a_copy_belongs_to_its_own_request() {
        let state = ProtocolState::default();
        state.begin_request(b'Q');
        state.received(b'H', b"");
        assert!(state.is_copying());
        state.received(b'Z', b"I");
        assert!(state.is_copying(), "it may be queried after the answer");
        state.begin_request(b'Q');
        assert!(!state.is_copying(), "the next request is no COPY");
    }

    #[test]
    fn a_copy_that_was_announced_is_none_that_nobody_reads() {
        let state = ProtocolState::default();
        state.copies().announce(CopyDirection::Out);
        state.begin_request(b'C');
        state.begin_request(b'B');
        state.received(b'H', b"");
        assert!(!state.is_copying() && state.copies().is_running());
        state.begin_request(b'Q');
        state.received(b'H', b"");
        assert!(state.is_copying(), "only the next request was announced");
    }

    #[test]
    fn an_abandoned_result_is_limited() {
        let state = ProtocolState::default();
        assert!(state.count_received(usize::MAX), "there is no limit");
        state.limit_discarded(NonZeroU64::new(100));
        assert!(state.count_received(60) && !state.count_received(60) && !state.count_received(60));
        state.limit_discarded(None);
        assert!(state.count_received(60));
    }

    #[test]
    fn an_interrupted_wait_for_standbys_is_reported_once() {
        let state = ProtocolState::default();
        state.received(b'N', b"SWARNING\0C01000\0MRSyncRepWaitForLSN\0Rexec_stmt_raise\0\0");
        assert!(!state.take_unconfirmed(), "a statement can raise it");
        state.received(b'N', b"SWARNUNG\0C01000\0Mabgebrochen\0Fsyncrep.c\0RSyncRepWaitForLSN\0\0");
        assert!(state.take_unconfirmed());
        assert!(!state.take_unconfirmed(), "it is reported once");
    }

    #[test]
    fn parameter_statuses_update_the_session_attributes() {
        let state = ProtocolState::default();
        assert_eq!(state.session_attrs(), SessionAttrs::default());
        state.received(b'S', b"in_hot_standby\0off\0");
        state.received(b'S', b"default_transaction_read_only\0off\0");
        state.received(b'S', b"TimeZone\0UTC\0");
        assert_eq!(
            state.session_attrs(),
            SessionAttrs { standby: Some(false), read_only: Some(false) }
        );
        state.received(b'S', b"default_transaction_read_only\0on\0");
        assert_eq!(
            state.session_attrs(),
            SessionAttrs { standby: Some(false), read_only: Some(true) }
        );
    }

    #[test]
    fn the_major_version_is_what_the_server_reports() {
        let state = ProtocolState::default();
        assert!(!state.is_before(17), "it is not known");
        for (reported, is_before) in [
            (&b"server_version\x0015.18 (Debian 15.18-0+deb12u1)\0"[..], true),
            (b"server_version\x0017beta1\0", false),
            (b"server_version\x0016.4\0", true),
            (b"server_version\x0018.0\0", false),
            (b"server_version\0unknown\0", false),
        ] {
            state.received(b'S', reported);
            assert_eq!(state.is_before(17), is_before, "{reported:?}");
        }
    }

    #[test]
    fn each_request_has_one_answer() {
        let state = ProtocolState::default();
        assert!(!state.is_idle(), "the startup is not over");
        state.received(b'Z', b"I");
        assert!(state.is_idle());
        state.begin_request(b'Q');
        state.begin_request(b'Q');
        state.received(b'E', b"SERROR");
        state.received(b'Z', b"I");
        assert!(!state.is_idle(), "the second is queued");
        state.received(b'Z', b"E");
        assert!(!state.is_idle() && state.in_transaction());
        state.begin_request(b'Q');
        state.received(b'Z', b"I");
        assert!(state.is_idle());
    }
}
