//! The number of tasks of a process.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

/// The tasks of all runtimes of a process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks(Arc<OnceLock<Vec<Handle>>>);

impl Tasks {
    /// Sets the runtimes, once.
    pub(crate) fn watch(&self, runtimes: Vec<Handle>) {
        self.0.set(runtimes).unwrap_or_default();
    }

    pub(crate) fn alive(&self) -> usize {
        let runtimes = self.0.get().into_iter().flatten();
        runtimes.map(|runtime| runtime.metrics().num_alive_tasks()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_count_until_they_have_ended() {
        let tasks = Tasks::default();
        assert_eq!(tasks.alive(), 0);
        tasks.watch(vec![Handle::current()]);
        let waits = tokio::spawn(std::future::pending::<()>());
        assert_eq!(tasks.alive(), 1);
        waits.abort();
        assert!(waits.await.is_err());
        assert_eq!(tasks.alive(), 0);
    }
}
