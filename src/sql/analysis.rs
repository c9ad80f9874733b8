//! What is known of a statement's text, cached by the text.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::parser::{self, MAX_TEXT_BYTES};
use super::summary::summary;
use super::transaction_control::{first_word, transaction_control};

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL: nested comments, dollar quotes.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// What is known of a statement's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// The keywords of transaction control that the statement starts with, upper case: `BEGIN`,
    /// `PREPARE TRANSACTION`.
    pub transaction_control: Option<&'static str>,
    /// What the statement is, as far as the parser understood all of it. Always [`StatementClass::Other`] for
    /// SQLite, which says by itself whether a statement only reads.
    pub class: StatementClass,
    /// The command that it starts with, one of a finite set: `SELECT`, `INSERT`, else `OTHER`.
    pub command: &'static str,
    /// Its first words for people to read, without literals.
    pub summary: Arc<str>,
}

impl Analysis {
    /// What is said of a statement of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            transaction_control: None,
            class: StatementClass::Other,
            command: OTHER,
            summary: "".into(),
        }
    }
}

/// The class of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StatementClass {
    /// A query without locking clauses and without INTO.
    Read(Uses),
    /// INSERT, UPDATE, DELETE or MERGE; also a query with a locking clause or with one of these in a
    /// common table expression.
    Change(Uses),
    /// Anything else, and whatever was not understood.
    Other,
}

/// What a statement uses that can run code of somebody else's: all the ways in which a statement that
/// looks harmless can leave something behind in its session.
///
/// Operators and casts of ordinary spelling are not listed: a database in which somebody defined some for
/// types of their own is known by its catalogs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Uses {
    /// Function names, folded as PostgreSQL folds them, without `pg_catalog.`, other schemas kept as
    /// `schema.name`; sorted, each once.
    pub functions: Vec<String>,
    /// Names of columns that stand after a point, folded: `t.f` is read as `f(t)` where `t` has no such column,
    /// so a function of this name that takes a row may be called. Sorted, each once.
    pub attributes: Vec<String>,
    /// Relations as written, parts quoted where needed, so that `to_regclass` takes them; without
    /// the names of common table expressions; sorted, each once.
    pub relations: Vec<String>,
    /// Whether it uses an operator beyond SQL's ordinary ones, or casts to a type that is not a
    /// built-in one.
    pub exotic: bool,
}

/// Analyses statements and remembers what it found.
#[derive(Debug)]
pub struct Analyzer {
    dialect: Dialect,
    known: Cache<Box<str>, Arc<Analysis>, Weight>,
}

impl Analyzer {
    /// An analyzer whose memory holds at most `cache_bytes`, the texts and what is known of them together.
    #[must_use]
    pub fn new(dialect: Dialect, cache_bytes: u64) -> Self {
        let entries = usize::try_from(cache_bytes / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX);
        Self { dialect, known: Cache::with_weighter(entries, cache_bytes, Weight) }
    }

    /// What is known of `sql`.
    ///
    /// A text that was seen before costs one look-up and no allocation. A text too long to be parsed is not
    /// remembered: to find its first keyword costs less than to hash it.
    #[must_use]
    pub fn analyze(&self, sql: &str) -> Arc<Analysis> {
        if self.dialect == Dialect::Sqlite || sql.len() > MAX_TEXT_BYTES {
            return self.by_first_keyword(sql);
        }
        if let Some(known) = self.known.get(sql) {
            return known;
        }
        let transaction_control = transaction_control(sql, self.dialect);
        let class = if transaction_control.is_some() {
            StatementClass::Other
        } else {
            parser::classify_text(sql)
        };
        let summary = summary(sql, self.dialect).into();
        let command = command(sql, self.dialect);
        let analysis = Arc::new(Analysis { transaction_control, class, command, summary });
        self.known.insert(sql.into(), Arc::clone(&analysis));
        analysis
    }

    /// What the memory weighs now.
    #[cfg(test)]
    pub(crate) fn remembered_bytes(&self) -> u64 {
        self.known.weight()
    }

    fn by_first_keyword(&self, sql: &str) -> Arc<Analysis> {
        Arc::new(Analysis {
            transaction_control: transaction_control(sql, self.dialect),
            class: StatementClass::Other,
            command: command(sql, self.dialect),
            summary: summary(sql, self.dialect).into(),
        })
    }
}

/// The commands that are told apart.
const COMMANDS: [&str; 28] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE", "CALL", "COPY",
    "EXPLAIN", "CREATE", "ALTER", "DROP", "TRUNCATE", "SET", "SHOW", "DO", "LOCK", "ANALYZE",
    "VACUUM", "REINDEX", "REFRESH", "GRANT", "REVOKE", "NOTIFY", "PRAGMA", "REPLACE",
];

const OTHER: &str = "OTHER";

fn command(sql: &str, dialect: Dialect) -> &'static str {
    let first = first_word(sql, dialect);
    let known =
        first.and_then(|first| COMMANDS.iter().find(|known| known.eq_ignore_ascii_case(first)));
    known.copied().unwrap_or(OTHER)
}

/// What an entry of the cache is taken to weigh when its size is planned.
const TYPICAL_ENTRY_BYTES: u64 = 768;

/// What an entry weighs beyond its text and names: the analysis, and the cache's own tables.
const ENTRY_BYTES: usize = 256;

/// What a name weighs beyond its text.
const NAME_BYTES: usize = 40;

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Box<str>, Arc<Analysis>> for Weight {
    fn weight(&self, sql: &Box<str>, analysis: &Arc<Analysis>) -> u64 {
        let names = match &analysis.class {
            StatementClass::Read(uses) | StatementClass::Change(uses) => names_bytes(uses),
            StatementClass::Other => 0,
        };
        u64::try_from(ENTRY_BYTES + sql.len() + analysis.summary.len() + names).unwrap_or(u64::MAX)
    }
}

fn names_bytes(uses: &Uses) -> usize {
    let names = [&uses.functions, &uses.attributes, &uses.relations];
    names.into_iter().flatten().map(|name| NAME_BYTES + name.len()).sum()
}
