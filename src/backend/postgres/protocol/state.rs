//! What the wire says of a connection: everything the driver hides and the session must know.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::requests::{Exchange, Requests};
use super::session_attrs::SessionAttrs;
use crate::backend::postgres::connect::socket::Peer;

/// The state of one connection, as its bytes tell it.
#[derive(Debug, Default)]
pub(crate) struct ProtocolState {
    /// Transaction status of the last ReadyForQuery: `I`, `T` or `E`.
    status: AtomicU8,
    /// Requests of which something was sent, the driver's own among them.
    sent: AtomicU64,
    /// ReadyForQuery messages: one for the startup, then one for each request.
    answers: AtomicU64,
    /// Told of each answer, and of the end.
    changed: Notify,
    closed: AtomicBool,
    oversized: AtomicBool,
    copying: AtomicBool,
    unconfirmed: AtomicBool,
    deallocated: AtomicBool,
    /// How much may still be received, in bytes, once nobody wants it; 0: nothing is bounded.
    patience: AtomicU64,
    key: Mutex<[u8; 8]>,
    tag: Mutex<String>,
    /// The requests that have a number.
    requests: Mutex<Requests>,
    statements: Mutex<Statements>,
    any_text: AtomicBool,
    lost_a_statement: AtomicBool,
    /// Where it leads.
    peer: OnceLock<Peer>,
    /// What the server reports of the session.
    role: Mutex<SessionAttrs>,
}

/// Which prepared statements have their results sent as text.
#[derive(Debug, Default)]
struct Statements {
    expected: Option<Expected>,
    /// Names, each until its Close is sent: no more than the driver holds.
    as_text: HashSet<Vec<u8>>,
}

/// The statement that is being prepared. The driver tells nobody the name that it gives it.
#[derive(Debug)]
struct Expected {
    text: Arc<[u8]>,
    name: Option<Vec<u8>>,
}

impl ProtocolState {
    /// Whether the session is outside a transaction and nothing that was sent is unanswered.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight() == 0 && !self.in_transaction() && !self.closed.load(SeqCst)
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.status.load(SeqCst) != b'I'
    }

    /// Waits, without a round trip, until all that was sent is answered or the connection has ended.
    pub(crate) async fn quiesce(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.in_flight() == 0 || self.closed.load(SeqCst) {
                return;
            }
            changed.await;
        }
    }

    /// The last command tag, as in `INSERT 0 5`.
    pub(crate) fn tag(&self) -> String {
        self.tag.lock().clone()
    }

    /// Starts to note the requests that are still to begin, and what they are answered.
    pub(crate) fn note(&self) {
        self.requests.lock().note();
    }

    /// What was noted.
    pub(crate) fn take_noted(&self) -> Vec<Exchange> {
        self.requests.lock().take_noted()
    }

    /// The number of the last request of which something was sent, from 1.
    pub(crate) fn begun(&self) -> u64 {
        self.requests.lock().begun()
    }

    /// The number of the last request that was answered, from 1.
    pub(crate) fn answered(&self) -> u64 {
        self.requests.lock().answered()
    }

    /// Process and secret, as a cancel names them.
    pub(crate) fn key(&self) -> [u8; 8] {
        *self.key.lock()
    }

    /// Says where the connection leads.
    pub(crate) fn connected_to(&self, peer: Peer) {
        self.peer.get_or_init(|| peer);
    }

    /// Where the connection leads.
    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.peer.get()
    }

    /// What the server has last reported of the session: at login, and before each answer when it has
    /// changed.
    pub(crate) fn role(&self) -> SessionAttrs {
        *self.role.lock()
    }

    /// Whether a row over the bound made us close the connection.
    pub(crate) fn refused_a_row(&self) -> bool {
        self.oversized.load(SeqCst)
    }

    /// Whether the last request started a COPY, which this API has no place for.
    pub(crate) fn is_copying(&self) -> bool {
        self.copying.load(SeqCst)
    }

    /// Whether, since it was last asked, a commit went on without the standbys it waited for: somebody's
    /// cancel cut the wait short.
    pub(crate) fn take_unconfirmed(&self) -> bool {
        self.unconfirmed.load(SeqCst) && self.unconfirmed.swap(false, SeqCst)
    }

    /// Whether, since it was last asked, prepared statements were given up by SQL.
    pub(crate) fn take_deallocated(&self) -> bool {
        self.deallocated.load(SeqCst) && self.deallocated.swap(false, SeqCst)
    }

    /// Bounds what is still received, in bytes: nobody wants it, and it costs time to take it apart.
    /// `None`: it is wanted again.
    pub(crate) fn bound(&self, bytes: Option<NonZeroU64>) {
        self.patience.store(bytes.map_or(0, NonZeroU64::get), SeqCst);
    }

    /// So many bytes came; `false` when they are more than was bound for.
    pub(crate) fn spend(&self, bytes: usize) -> bool {
        let bound = self.patience.load(SeqCst);
        if bound == 0 {
            return true;
        }
        let left = bound.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.patience.store(left.max(1), SeqCst);
        left > 0
    }

    /// A statement with this text is about to be prepared.
    pub(crate) fn expect_statement(&self, sql: &str) {
        let expected = Expected { text: Arc::from(sql.as_bytes()), name: None };
        self.statements.lock().expected = Some(expected);
    }

    /// The statement that was expected is prepared; its results come as text from now on, or as they
    /// are asked for. Returns its name, where it was seen.
    pub(crate) fn prepared(&self, as_text: bool) -> Option<Vec<u8>> {
        let mut statements = self.statements.lock();
        let name = statements.expected.take().and_then(|expected| expected.name);
        if as_text {
            match &name {
                Some(name) => drop(statements.as_text.insert(name.clone())),
                None => self.lost_a_statement.store(true, SeqCst),
            }
            self.any_text.store(true, SeqCst);
        }
        name
    }

    /// Whether any statement was ever to be sent as text: for most connections none is.
    pub(crate) fn sends_any_text(&self) -> bool {
        self.any_text.load(SeqCst)
    }

    pub(crate) fn sends_text(&self, name: &[u8]) -> bool {
        self.statements.lock().as_text.contains(name)
    }

    /// Whether results were to be sent as text and nobody saw the name of their statement.
    pub(crate) fn has_lost_a_statement(&self) -> bool {
        self.lost_a_statement.load(SeqCst)
    }

    pub(crate) fn refuse_row(&self) {
        self.oversized.store(true, SeqCst);
    }

    /// The connection has ended: nothing more will be answered.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.changed.notify_waiters();
    }

    /// The first message of a request goes to the socket.
    pub(crate) fn request_begins(&self, message: u8) {
        // What is said of the request before it must not be believed of this one; a Close says nothing.
        if message != b'C' {
            self.copying.store(false, SeqCst);
        }
        self.requests.lock().begin(message);
        self.sent.fetch_add(1, SeqCst);
    }

    /// A further message of it does.
    pub(crate) fn request_goes_on(&self, message: u8) {
        self.requests.lock().go_on(message);
    }

    /// A Bind was sent, of the statement with this name.
    pub(crate) fn binds(&self, name: Option<&[u8]>) {
        self.requests.lock().bind(name);
    }

    /// The text of the statement that is being prepared.
    pub(crate) fn expected(&self) -> Option<Arc<[u8]>> {
        self.statements.lock().expected.as_ref().map(|expected| Arc::clone(&expected.text))
    }

    /// A Parse of the expected text was sent. The last one counts: one before it can only be of a
    /// call that has been given up.
    pub(crate) fn parsed(&self, name: &[u8]) {
        if let Some(expected) = &mut self.statements.lock().expected {
            expected.name = Some(name.to_vec());
        }
    }

    /// The Close of a statement was sent. The driver never gives a name twice.
    pub(crate) fn closed(&self, name: &[u8]) {
        self.statements.lock().as_text.remove(name);
    }

    /// A message of the server's, its first bytes at least.
    pub(crate) fn received(&self, kind: u8, head: &[u8]) {
        match kind {
            b'Z' => {
                self.status.store(head.first().copied().unwrap_or(b'E'), SeqCst);
                self.requests.lock().answer();
                self.answers.fetch_add(1, SeqCst);
                self.changed.notify_waiters();
            }
            b'K' => {
                if let Some(key) = head.first_chunk::<8>() {
                    *self.key.lock() = *key;
                }
            }
            b'C' => {
                let text = head.split(|byte| *byte == 0).next().unwrap_or_default();
                let text = String::from_utf8_lossy(text);
                if let Some(exchange) = self.requests.lock().current() {
                    exchange.tag.clear();
                    exchange.tag.push_str(&text);
                }
                if text.starts_with("DEALLOCATE") || text == "DISCARD ALL" {
                    self.deallocated.store(true, SeqCst);
                }
                let mut tag = self.tag.lock();
                tag.clear();
                tag.push_str(&text);
            }
            b'2' => {
                if let Some(exchange) = self.requests.lock().current() {
                    exchange.bound = true;
                }
            }
            b'S' => self.reported(head),
            b'I' => self.tag.lock().clear(),
            b'N' if is_of_a_cut_wait(head) => self.unconfirmed.store(true, SeqCst),
            b'G' | b'H' | b'W' => self.copying.store(true, SeqCst),
            _ => {}
        }
    }

    /// A ParameterStatus: a name and a value, each ended by a zero byte.
    fn reported(&self, head: &[u8]) {
        let mut texts = head.split(|byte| *byte == 0);
        let (Some(name), Some(value)) = (texts.next(), texts.next()) else { return };
        let is_on = Some(value == b"on");
        match name {
            b"in_hot_standby" => self.role.lock().standby = is_on,
            b"default_transaction_read_only" => self.role.lock().read_only = is_on,
            _ => {}
        }
    }

    fn in_flight(&self) -> u64 {
        // The first answer is to the startup, which is no request. Loaded in this order, a request
        // that begins meanwhile can only hide behind a moment at which none was in pipeline.
        let sent = self.sent.load(SeqCst);
        (sent + 1).saturating_sub(self.answers.load(SeqCst))
    }
}

/// Whether a notice tells that the wait of a commit for synchronous standbys was cancelled: the commit is
/// a success all the same. The name of the server's own function is the one part that no language
/// changes and no statement can choose (protocol 3.0, "Error and Notice Message Fields").
fn is_of_a_cut_wait(notice: &[u8]) -> bool {
    let mut fields = notice.split(|byte| *byte == 0);
    fields.any(|field| field == b"RSyncRepWaitForLSN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_said_of_its_own_request_alone() {
        let wire = ProtocolState::default();
        wire.request_begins(b'Q');
        wire.received(b'H', b"");
        assert!(wire.is_copying());
        wire.received(b'Z', b"I");
        assert!(wire.is_copying(), "whoever asked may ask only now");
        wire.request_begins(b'Q');
        assert!(!wire.is_copying(), "a write that is lost on this connection is no COPY");
    }

    #[test]
    fn what_nobody_wants_is_bounded() {
        let wire = ProtocolState::default();
        assert!(wire.spend(usize::MAX), "nothing is bounded");
        wire.bound(NonZeroU64::new(100));
        assert!(wire.spend(60) && !wire.spend(60) && !wire.spend(60));
        wire.bound(None);
        assert!(wire.spend(60));
    }

    #[test]
    fn a_commit_whose_wait_was_cut_short_is_told_of_once() {
        let wire = ProtocolState::default();
        wire.received(b'N', b"SWARNING\0C01000\0MRSyncRepWaitForLSN\0Rexec_stmt_raise\0\0");
        assert!(!wire.take_unconfirmed(), "anybody may say it");
        wire.received(b'N', b"SWARNUNG\0C01000\0Mabgebrochen\0Fsyncrep.c\0RSyncRepWaitForLSN\0\0");
        assert!(wire.take_unconfirmed());
        assert!(!wire.take_unconfirmed(), "the next caller has nothing to do with it");
    }

    #[test]
    fn what_the_server_reports_of_the_session_is_known() {
        let wire = ProtocolState::default();
        assert_eq!(wire.role(), SessionAttrs::default());
        wire.received(b'S', b"in_hot_standby\0off\0");
        wire.received(b'S', b"default_transaction_read_only\0off\0");
        wire.received(b'S', b"TimeZone\0UTC\0");
        assert_eq!(wire.role(), SessionAttrs { standby: Some(false), read_only: Some(false) });
        wire.received(b'S', b"default_transaction_read_only\0on\0");
        assert_eq!(wire.role(), SessionAttrs { standby: Some(false), read_only: Some(true) });
    }

    #[test]
    fn each_request_has_one_answer_whatever_it_says() {
        let wire = ProtocolState::default();
        assert!(!wire.is_idle(), "the startup is not over");
        wire.received(b'Z', b"I");
        assert!(wire.is_idle());
        wire.request_begins(b'Q');
        wire.request_begins(b'Q');
        wire.received(b'E', b"SERROR");
        wire.received(b'Z', b"I");
        assert!(!wire.is_idle(), "the second is queued");
        wire.received(b'Z', b"E");
        assert!(!wire.is_idle() && wire.in_transaction());
        wire.request_begins(b'Q');
        wire.received(b'Z', b"I");
        assert!(wire.is_idle());
    }
}
