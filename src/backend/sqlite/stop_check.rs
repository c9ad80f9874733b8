//! The question of a long function if its statement must stop.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Error, Result, ffi};

/// The bytes that are compared between two looks at the deadline: some hundred microseconds.
const WORK_BETWEEN_CHECKS: usize = 1 << 18;

/// The question if the present statement must stop; each call brings its own.
#[derive(Clone, Default)]
pub(crate) struct StopCheck(Arc<Mutex<Option<MustStop>>>);

type MustStop = Box<dyn Fn() -> bool + Send>;

impl StopCheck {
    pub(crate) fn set(&self, must_stop: impl Fn() -> bool + Send + 'static) {
        *self.0.lock() = Some(Box::new(must_stop));
    }

    /// A count of the work of one function.
    pub(super) fn work(&self) -> WorkBudget<'_> {
        WorkBudget { stop: self, left: WORK_BETWEEN_CHECKS }
    }
}

/// The work of one function, which ends when the statement must stop.
pub(super) struct WorkBudget<'a> {
    stop: &'a StopCheck,
    left: usize,
}

impl WorkBudget<'_> {
    /// Counts bytes before they are compared.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<()> {
        if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
            return Ok(());
        }
        self.left = WORK_BETWEEN_CHECKS;
        if self.stop.0.lock().as_ref().is_some_and(|must_stop| must_stop()) {
            return Err(failure(ffi::SQLITE_INTERRUPT, None));
        }
        Ok(())
    }
}

pub(super) fn failure(code: i32, message: Option<&str>) -> Error {
    Error::SqliteFailure(ffi::Error::new(code), message.map(str::to_owned))
}
