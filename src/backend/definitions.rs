//! The definitions of a database, as far as prepared statements depend on them, and how long they stand.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::config::Database;

/// The generation of a database's definitions: its tables, types, functions and so on.
#[derive(Debug, Default)]
pub(crate) struct Definitions(AtomicU64);

impl Definitions {
    /// Starts another generation: a statement that may have changed definitions has ended.
    pub(crate) fn change(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn generation(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

/// The rules for keeping prepared statements on all connections of a database.
#[derive(Debug, Clone)]
pub(crate) struct StatementRules {
    /// The number of statements that each connection keeps.
    pub(crate) capacity: NonZeroUsize,
    /// The bytes that they take at most: a statement may have 1,664 columns.
    pub(crate) max_bytes: usize,
    /// The age at which they are prepared anew: what changes past this process is not told.
    pub(crate) ttl: Duration,
    pub(crate) definitions: Arc<Definitions>,
}

impl StatementRules {
    /// The rules of a configured database.
    pub(crate) fn new(config: &Database) -> Self {
        Self {
            capacity: config.statement_cache,
            max_bytes: config.statement_cache_size,
            ttl: config.statement_ttl,
            definitions: Arc::default(),
        }
    }
}

/// The generation and the time of what a connection knows of the definitions.
#[derive(Debug)]
pub(crate) struct KnownDefinitions {
    generation: u64,
    since: Instant,
}

impl KnownDefinitions {
    /// Those of now.
    pub(crate) fn new(rules: &StatementRules) -> Self {
        Self { generation: rules.definitions.generation(), since: Instant::now() }
    }

    /// Returns true if they may have changed.
    pub(crate) fn are_stale(&self, rules: &StatementRules) -> bool {
        self.generation != rules.definitions.generation() || self.since.elapsed() >= rules.ttl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_stale_after_a_change_and_at_its_age() {
        let definitions = Arc::<Definitions>::default();
        let rules = |seconds| StatementRules {
            capacity: NonZeroUsize::MIN,
            max_bytes: 1 << 20,
            ttl: Duration::from_secs(seconds),
            definitions: Arc::clone(&definitions),
        };
        let known = KnownDefinitions::new(&rules(3600));
        assert!(!known.are_stale(&rules(3600)) && known.are_stale(&rules(0)));
        definitions.change();
        assert!(known.are_stale(&rules(3600)));
        assert!(!KnownDefinitions::new(&rules(3600)).are_stale(&rules(3600)));
    }
}
