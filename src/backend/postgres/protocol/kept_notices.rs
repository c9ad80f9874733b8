//! The notices and warnings of a server, for the operator who runs its statements.

use parking_lot::Mutex;
use tokio_postgres::error::DbError;

/// The most notices that are kept of a statement.
const MOST: usize = 100;

/// The notices that were not taken yet.
#[derive(Debug, Default)]
pub(crate) struct KeptNotices(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    texts: Vec<String>,
    /// The number of those beyond the most.
    more: u64,
}

impl KeptNotices {
    /// Keeps a notice, unless there are too many.
    pub(crate) fn keep(&self, notice: &DbError) {
        let mut kept = self.0.lock();
        if kept.texts.len() >= MOST {
            kept.more = kept.more.saturating_add(1);
            return;
        }
        let mut text = format!("{}: {}", notice.severity(), notice.message());
        for (name, part) in [("detail", notice.detail()), ("hint", notice.hint())] {
            text.extend(part.map(|part| format!("\n  {name}: {part}")));
        }
        kept.texts.push(text);
    }

    /// Takes them, and a line that tells how many more there were.
    pub(crate) fn take(&self) -> Vec<String> {
        let Kept { mut texts, more } = std::mem::take(&mut *self.0.lock());
        if more > 0 {
            texts.push(format!("{more} more notices are not shown"));
        }
        texts
    }
}
