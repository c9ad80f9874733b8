//! The statements that one connection keeps prepared, the least recently used evicted first.

use std::sync::Arc;

use lru::LruCache;

use super::prepared::Prepared;
use crate::backend::definitions::StatementRules;
use crate::sql::PlanLifetime;

/// The part of the memory for prepared statements that one text may take. Callers send megabytes; to prepare a long
/// text again costs little beside sending it.
const LONGEST_PART: usize = 256;

/// The prepared statements of one connection by their texts, behind the settings that give them another meaning.
pub(crate) struct PreparedCache {
    statements: LruCache<String, Arc<Prepared>>,
    /// The sum of their weights.
    bytes: usize,
    max_bytes: usize,
}

impl PreparedCache {
    pub(crate) fn new(rules: &StatementRules) -> Self {
        let statements = LruCache::new(rules.capacity);
        Self { statements, bytes: 0, max_bytes: rules.max_bytes }
    }

    /// Returns a statement, which is the most recently used one from now on.
    pub(crate) fn get(&mut self, sql: &str) -> Option<&Arc<Prepared>> {
        self.statements.get(sql)
    }

    /// Returns a statement, and does not count as a use.
    pub(crate) fn peek(&self, sql: &str) -> Option<&Arc<Prepared>> {
        self.statements.peek(sql)
    }

    /// Returns all statements.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Prepared>> {
        self.statements.iter().map(|(_, prepared)| prepared)
    }

    /// Returns true for a text that may be kept: it is short, and its meaning stays.
    pub(crate) fn takes(&self, sql: &str) -> bool {
        sql.len() <= self.max_bytes / LONGEST_PART && PlanLifetime::of(sql) == PlanLifetime::Kept
    }

    /// Keeps a statement, and evicts those that were not used for the longest time.
    pub(crate) fn keep(&mut self, sql: &str, prepared: &Arc<Prepared>) {
        self.bytes += prepared.weight(sql);
        if let Some((sql, evicted)) = self.statements.push(sql.to_owned(), Arc::clone(prepared)) {
            self.bytes -= evicted.weight(&sql);
        }
        while self.bytes > self.max_bytes
            && let Some((sql, prepared)) = self.statements.pop_lru()
        {
            self.bytes -= prepared.weight(&sql);
        }
    }

    pub(crate) fn remove(&mut self, sql: &str) {
        if let Some(prepared) = self.statements.pop(sql) {
            self.bytes -= prepared.weight(sql);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.statements.clear();
        self.bytes = 0;
    }
}
