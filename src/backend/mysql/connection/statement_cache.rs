//! The statements that one connection keeps prepared, the least recently used evicted first.

use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::result_shape::ResultShape;
use crate::backend::definitions::StatementRules;

/// The part of the memory for prepared statements that one text may take.
const LONGEST_PART: usize = 256;
/// The memory of a statement beside its text and columns, in bytes.
const STATEMENT_BYTES: usize = 256;
const COLUMN_BYTES: usize = 160;

/// A prepared statement.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Its number on the connection.
    pub(crate) id: u32,
    /// The shape of its last result: most statements have the same each time.
    pub(crate) shape: Mutex<Option<Arc<ResultShape>>>,
    /// The number of columns, as it was prepared; 0 for one that returns no rows.
    pub(crate) columns: usize,
    /// It is closed after its run, as it is not kept.
    pub(crate) is_passing: bool,
}

impl Prepared {
    fn weight(&self, sql: &str) -> usize {
        STATEMENT_BYTES + 2 * sql.len() + self.columns * COLUMN_BYTES
    }
}

/// The prepared statements of one connection by their texts.
pub(crate) struct StatementCache {
    statements: LruCache<String, Arc<Prepared>>,
    bytes: usize,
    max_bytes: usize,
}

impl StatementCache {
    pub(crate) fn new(rules: &StatementRules) -> Self {
        let statements = LruCache::new(rules.capacity);
        Self { statements, bytes: 0, max_bytes: rules.max_bytes }
    }

    /// Returns a statement, which is the most recently used one from now on.
    pub(crate) fn get(&mut self, sql: &str) -> Option<Arc<Prepared>> {
        self.statements.get(sql).cloned()
    }

    /// Returns true for a text that is short enough to be kept.
    pub(crate) fn takes(&self, sql: &str) -> bool {
        sql.len() <= self.max_bytes / LONGEST_PART
    }

    /// Keeps a statement; returns the numbers of those that were evicted for it.
    pub(crate) fn keep(&mut self, sql: &str, prepared: &Arc<Prepared>) -> Vec<u32> {
        let mut evicted = Vec::new();
        self.bytes += prepared.weight(sql);
        if let Some((sql, old)) = self.statements.push(sql.to_owned(), Arc::clone(prepared)) {
            self.bytes -= old.weight(&sql);
            evicted.push(old.id);
        }
        while self.bytes > self.max_bytes
            && self.statements.len() > 1
            && let Some((sql, old)) = self.statements.pop_lru()
        {
            self.bytes -= old.weight(&sql);
            evicted.push(old.id);
        }
        evicted
    }

    /// Forgets a statement; returns its number.
    pub(crate) fn remove(&mut self, sql: &str) -> Option<u32> {
        let prepared = self.statements.pop(sql)?;
        self.bytes -= prepared.weight(sql);
        Some(prepared.id)
    }

    /// Forgets all statements; returns their numbers.
    pub(crate) fn clear(&mut self) -> Vec<u32> {
        let ids = self.statements.iter().map(|(_, prepared)| prepared.id).collect();
        self.statements.clear();
        self.bytes = 0;
        ids
    }
}
