//! What the wire says of a connection: everything the driver hides and the lease must know.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The state of one connection, as its bytes tell it.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Transaction status of the last ReadyForQuery: `I`, `T` or `E`.
    status: AtomicU8,
    requests: AtomicU64,
    answers: AtomicU64,
    answered: Notify,
    oversized: AtomicBool,
    copying: AtomicBool,
    key: Mutex<[u8; 8]>,
    tag: Mutex<String>,
    statements: Mutex<Statements>,
    any_text: AtomicBool,
}

/// Which prepared statements have their results sent as text.
#[derive(Debug, Default)]
struct Statements {
    by_text: HashMap<u64, Vec<u8>>,
    as_text: HashSet<Vec<u8>>,
}

impl Wire {
    /// Whether the last answer left the session outside a transaction.
    pub(super) fn is_idle(&self) -> bool {
        self.status.load(SeqCst) == b'I' && self.in_flight() == 0
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.status.load(SeqCst) != b'I'
    }

    /// Waits, without a round trip, until all that was sent is answered.
    pub(super) async fn quiesce(&self) {
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            answered.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            answered.await;
        }
    }

    /// The last command tag, as in `INSERT 0 5`.
    pub(super) fn tag(&self) -> String {
        self.tag.lock().clone()
    }

    pub(super) fn key(&self) -> [u8; 8] {
        *self.key.lock()
    }

    /// Whether a row over the bound made us close the connection.
    pub(super) fn refused_a_row(&self) -> bool {
        self.oversized.load(SeqCst)
    }

    /// Whether the server started a COPY, which this API has no place for.
    pub(super) fn is_copying(&self) -> bool {
        self.copying.load(SeqCst)
    }

    /// From now on the results of the statement prepared last with this text come as text.
    pub(super) fn send_as_text(&self, sql: &str) {
        let mut statements = self.statements.lock();
        if let Some(name) = statements.by_text.get(&hash(sql.as_bytes())).cloned() {
            statements.as_text.insert(name);
            self.any_text.store(true, SeqCst);
        }
    }

    pub(super) fn sends_text(&self, name: &[u8]) -> bool {
        self.any_text.load(SeqCst) && self.statements.lock().as_text.contains(name)
    }

    pub(super) fn refuse_row(&self) {
        self.oversized.store(true, SeqCst);
    }

    /// A message of ours was handed to the socket.
    pub(super) fn sent(&self, kind: u8, head: &[u8]) {
        match kind {
            b'S' | b'Q' => {
                self.requests.fetch_add(1, SeqCst);
            }
            b'C' if head.first() == Some(&b'S') => {
                let name = text(head.get(1..).unwrap_or_default()).to_vec();
                let mut statements = self.statements.lock();
                statements.as_text.remove(&name);
                statements.by_text.retain(|_, each| *each != name);
            }
            _ => {}
        }
    }

    /// A Parse message of ours: its statement's name and the hash of its text.
    pub(super) fn parsed(&self, name: Vec<u8>, text: u64) {
        self.statements.lock().by_text.insert(text, name);
    }

    /// A message of the server's, its first bytes at least.
    pub(super) fn received(&self, kind: u8, head: &[u8]) {
        match kind {
            b'Z' => {
                self.status.store(head.first().copied().unwrap_or(b'E'), SeqCst);
                self.answers.fetch_add(1, SeqCst);
                self.answered.notify_waiters();
            }
            b'K' => {
                if let Some(key) = head.first_chunk::<8>() {
                    *self.key.lock() = *key;
                }
            }
            b'C' => {
                let mut tag = self.tag.lock();
                tag.clear();
                tag.push_str(&String::from_utf8_lossy(text(head)));
            }
            b'I' => self.tag.lock().clear(),
            b'G' | b'H' | b'W' => self.copying.store(true, SeqCst),
            _ => {}
        }
    }

    fn in_flight(&self) -> u64 {
        // The first ReadyForQuery answers the startup, which is no request.
        (self.requests.load(SeqCst) + 1).saturating_sub(self.answers.load(SeqCst))
    }
}

/// The hash by which a Parse message is found again.
pub(super) fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

fn text(body: &[u8]) -> &[u8] {
    body.split(|byte| *byte == 0).next().unwrap_or_default()
}
