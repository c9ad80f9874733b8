//! The analysis of a statement's text, cached by the text.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::class::{StatementClass, Uses};
use super::classify::{MAX_TEXT_BYTES, classify_text};
use super::client_copy::copies_with_client;
use super::custom_setting_names::CustomSettings;
use super::mysql::MysqlStatement;
use super::plan_lifetime::PlanLifetime;
use super::scanner::{Dialect, first_word};
use super::session_state::{SessionState, session_state};
use super::summary::summary;
use super::transaction_control::transaction_control;

/// The facts known of a statement from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Analysis {
    /// The keywords of transaction control that the statement starts with, upper case: `BEGIN`,
    /// `PREPARE TRANSACTION`.
    pub transaction_control: Option<&'static str>,
    /// True if it may be a COPY to or from the client.
    pub client_copy: bool,
    /// More facts of a statement of MySQL or MariaDB; `None` of another.
    pub mysql: Option<Arc<MysqlStatement>>,
    /// The effect on the session that it has; not of SQLite, whose own authorizer decides.
    pub session_state: Option<SessionState>,
    /// The class, as far as the parser understood all of it. Always [`StatementClass::Other`] for
    /// SQLite, which decides by itself whether a statement only reads.
    pub class: StatementClass,
    /// The command that it starts with, one of a finite set: `SELECT`, `INSERT`, else `OTHER`.
    pub command: &'static str,
    /// The time for which it keeps its meaning once it is prepared. SQLite looks after that by itself.
    pub lifetime: PlanLifetime,
    /// True if its text names PostgreSQL's list of prepared statements.
    pub lists_statements: bool,
    /// The custom settings that it may set; only of PostgreSQL.
    pub custom_settings: CustomSettings,
    /// Its first words for people to read, without literals.
    pub summary: Arc<str>,
}

impl Analysis {
    /// The bytes that it takes in a cache beyond its own size, roughly.
    pub(crate) fn weight(&self) -> usize {
        let settings = match &self.custom_settings {
            CustomSettings::Named(names) => names.len(),
            CustomSettings::None | CustomSettings::Any => 0,
        };
        let mysql = self.mysql.as_ref().map_or(0, |facts| facts.weight());
        self.summary.len() + self.class.weight() + settings + mysql
    }

    /// The analysis of a statement that only changes this relation.
    pub(crate) fn of_change(relation: String) -> Self {
        let uses = Uses { relations: vec![relation], ..Uses::default() };
        Self { class: StatementClass::Change(uses), ..Self::unknown() }
    }

    /// The analysis of a statement of which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self {
            transaction_control: None,
            client_copy: false,
            mysql: None,
            session_state: None,
            class: StatementClass::Other,
            command: OTHER,
            lifetime: PlanLifetime::Moment,
            lists_statements: false,
            custom_settings: CustomSettings::None,
            summary: "".into(),
        }
    }
}

/// A cache of analyses.
#[derive(Debug)]
pub(crate) struct Analyzer {
    pub(crate) dialect: Dialect,
    cache: Cache<Box<str>, Arc<Analysis>, Weight>,
}

impl Analyzer {
    /// An analyzer whose cache holds at most `cache_bytes`, the texts and their analyses together.
    pub(crate) fn new(dialect: Dialect, cache_bytes: u64) -> Self {
        let entries = usize::try_from(cache_bytes / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX);
        Self { dialect, cache: Cache::with_weighter(entries, cache_bytes, Weight) }
    }

    /// Analyzes `sql`.
    ///
    /// A cached text costs one look-up and no allocation. SQLite's texts, and those too long to be parsed, are
    /// not cached: to find their first keyword costs less than to hash them.
    pub(crate) fn analyze(&self, sql: &str) -> Arc<Analysis> {
        if self.dialect == Dialect::Sqlite || sql.len() > MAX_TEXT_BYTES {
            return Arc::new(self.read(sql));
        }
        if let Some(cached) = self.cache.get(sql) {
            return cached;
        }
        let analysis = Arc::new(self.read(sql));
        self.cache.insert(sql.into(), Arc::clone(&analysis));
        analysis
    }

    fn read(&self, sql: &str) -> Analysis {
        let mysql = (self.dialect == Dialect::Mysql).then(|| Arc::new(MysqlStatement::of(sql)));
        let transaction_control = match &mysql {
            Some(facts) => facts.transaction_control(),
            None => transaction_control(sql, self.dialect),
        };
        let session_state = match self.dialect {
            Dialect::Postgres => session_state(sql),
            Dialect::Mysql => mysql.as_ref().and_then(|facts| facts.session_state),
            Dialect::Sqlite => None,
        };
        let class = match self.dialect {
            Dialect::Postgres if transaction_control.is_none() => classify_text(sql),
            Dialect::Postgres | Dialect::Sqlite | Dialect::Mysql => StatementClass::Other,
        };
        let lifetime = match self.dialect {
            Dialect::Postgres => PlanLifetime::of(sql),
            Dialect::Sqlite | Dialect::Mysql => PlanLifetime::Kept,
        };
        let custom_settings = match self.dialect {
            Dialect::Postgres => CustomSettings::of(sql),
            Dialect::Sqlite | Dialect::Mysql => CustomSettings::None,
        };
        Analysis {
            transaction_control,
            mysql,
            client_copy: self.dialect == Dialect::Postgres && copies_with_client(sql),
            session_state,
            class,
            command: command(sql, self.dialect),
            lifetime,
            lists_statements: lists_statements(sql),
            custom_settings,
            summary: summary(sql, self.dialect).into(),
        }
    }

    /// The present weight of the cache.
    #[cfg(test)]
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cache.weight()
    }
}

/// The commands that are distinguished.
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

/// Returns true if a text names the view of prepared statements, or the function behind it.
fn lists_statements(sql: &str) -> bool {
    const FUNCTION: &[u8] = b"pg_prepared_statement";
    sql.as_bytes().windows(FUNCTION.len()).any(|part| part.eq_ignore_ascii_case(FUNCTION))
}

/// The assumed weight of a cache entry, from which the number of entries is estimated.
const TYPICAL_ENTRY_BYTES: u64 = 768;

/// The weight of an entry beyond its text and names: the analysis, and the cache's own tables.
const ENTRY_BYTES: usize = 256;

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Box<str>, Arc<Analysis>> for Weight {
    fn weight(&self, sql: &Box<str>, analysis: &Arc<Analysis>) -> u64 {
        let bytes = ENTRY_BYTES + sql.len() + analysis.weight();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}
