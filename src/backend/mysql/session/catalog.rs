//! The tables behind the names in statements, as the database's catalogs describe them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use crate::sql::MysqlTable;

/// The tables that are remembered, at most.
const CAPACITY: usize = 4096;
/// The questions about each table.
const QUESTIONS: usize = 3;
/// The condition for a default that may run code: it has a parenthesis or a variable, and is none of these functions.
const RUNS_CODE: &str = "column_default REGEXP '[(@]' AND column_default NOT REGEXP \
                         '^(current_timestamp|curdate|curtime|uuid)[(][0-9]*[)]$'";

/// The engines that are known to have no transactions. Of any other but InnoDB it is not known.
const WITHOUT_TRANSACTIONS: [&str; 7] =
    ["MyISAM", "MRG_MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE", "CONNECT"];

/// The facts of a table, or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableFacts {
    /// To read or write it runs no code of anybody's, but for triggers.
    pub(crate) is_harmless: bool,
    /// A statement that fails is undone.
    pub(crate) is_transactional: bool,
    /// To write to it may run a trigger, or a default with an effect: MariaDB's may set a variable.
    pub(crate) may_have_triggers: bool,
}

impl TableFacts {
    /// A table of which nothing is known.
    const UNKNOWN: Self =
        Self { is_harmless: false, is_transactional: false, may_have_triggers: true };

    /// No table.
    const NONE: Self = Self { is_harmless: true, is_transactional: true, may_have_triggers: false };

    fn and(self, other: Self) -> Self {
        Self {
            is_harmless: self.is_harmless && other.is_harmless,
            is_transactional: self.is_transactional && other.is_transactional,
            may_have_triggers: self.may_have_triggers || other.may_have_triggers,
        }
    }

    /// Reads the answers to [`questions`].
    fn read(answers: &[Vec<Vec<Option<String>>>]) -> Self {
        let [tables, triggers, privileges] = answers else { return Self::UNKNOWN };
        let count = |rows: &Vec<Vec<Option<String>>>| -> Option<u64> {
            value(rows.first()?, 0)?.parse().ok()
        };
        // Names may differ in their case alone, so that there are several.
        let facts = tables.iter().map(|row| {
            let kind = value(row, 0).unwrap_or_default();
            let engine = value(row, 1).unwrap_or_default();
            let is_table =
                matches!(kind.as_str(), "BASE TABLE" | "SYSTEM VERSIONED" | "SYSTEM VIEW");
            // Beside variables, a column that is computed as it is read reaches nothing of the session.
            let sets_variables = value(row, 2).as_deref() != Some("0");
            Self {
                is_harmless: is_table && !sets_variables,
                is_transactional: kind != "SYSTEM VIEW" && engine.eq_ignore_ascii_case("InnoDB"),
                may_have_triggers: false,
            }
        });
        let Some(facts) = facts.reduce(Self::and) else { return Self::UNKNOWN };
        // Triggers are hidden from a user without the privilege.
        let sees_triggers = count(privileges).is_some_and(|count| count > 0);
        Self { may_have_triggers: !sees_triggers || count(triggers) != Some(0), ..facts }
    }
}

fn value(row: &[Option<String>], at: usize) -> Option<String> {
    row.get(at).cloned().flatten()
}

/// Reads the engine of a table from the answers to [`questions`], if it is known to have no transactions.
fn engine_without_transactions(answers: &[Vec<Vec<Option<String>>>]) -> Option<Arc<str>> {
    let [tables, ..] = answers else { return None };
    let engines = tables.iter().map(|row| value(row, 1));
    let engines = engines
        .map(|engine| WITHOUT_TRANSACTIONS.iter().find(|known| engine.as_deref() == Some(**known)));
    let engines: Option<Vec<_>> = engines.collect();
    engines?.first().map(|engine| Arc::from(**engine))
}

/// A table that was asked for.
#[derive(Debug, Clone)]
struct KnownTable {
    since: Instant,
    facts: TableFacts,
    engine_without_transactions: Option<Arc<str>>,
}

/// The tables of one database that are known.
#[derive(Debug)]
pub(crate) struct Catalog {
    tables: Cache<MysqlTable, KnownTable>,
    ttl: Duration,
}

impl Catalog {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { tables: Cache::new(CAPACITY), ttl }
    }

    fn get(&self, table: &MysqlTable) -> Option<TableFacts> {
        let known = self.tables.get(table)?;
        (known.since.elapsed() < self.ttl).then_some(known.facts)
    }

    /// The tables among these that have to be asked for.
    pub(crate) fn unknown<'a>(&self, tables: &'a [MysqlTable]) -> Vec<&'a MysqlTable> {
        tables.iter().filter(|table| self.get(table).is_none()).collect()
    }

    /// Remembers the answers about tables.
    pub(crate) fn learn(&self, tables: &[&MysqlTable], answers: &[Vec<Vec<Option<String>>>]) {
        let now = Instant::now();
        for (table, answers) in tables.iter().zip(answers.chunks(QUESTIONS)) {
            let known = KnownTable {
                since: now,
                facts: TableFacts::read(answers),
                engine_without_transactions: engine_without_transactions(answers),
            };
            self.tables.insert((*table).clone(), known);
        }
    }

    /// The facts of all tables together.
    pub(crate) fn known(&self, tables: &[MysqlTable]) -> TableFacts {
        let facts = tables.iter().map(|table| {
            let known = self.tables.get(table).map(|known| known.facts);
            known.unwrap_or(TableFacts::UNKNOWN)
        });
        facts.fold(TableFacts::NONE, TableFacts::and)
    }

    /// The engine of a table that is known to have no transactions.
    pub(crate) fn engine_without_transactions(&self, table: &MysqlTable) -> Option<Arc<str>> {
        self.tables.get(table)?.engine_without_transactions
    }

    pub(crate) fn forget(&self) {
        self.tables.clear();
    }
}

/// The questions about a table: what it is, its triggers and defaults that run code, and whether its user sees triggers.
pub(crate) fn questions(table: &MysqlTable) -> [String; QUESTIONS] {
    let schema = table.schema.as_deref().map_or_else(|| "DATABASE()".to_owned(), literal);
    let name = literal(&table.name);
    let columns = |which: &str| {
        format!(
            "(SELECT COUNT(*) FROM information_schema.columns \
             WHERE table_schema = {schema} AND table_name = {name} AND {which})"
        )
    };
    let grants = |view: &str, more: &str| {
        format!(
            "(SELECT COUNT(*) FROM information_schema.{view} \
             WHERE REPLACE(grantee, '''', '') = CURRENT_USER() AND privilege_type = 'TRIGGER'{more})"
        )
    };
    [
        format!(
            "SELECT table_type, engine, {} FROM information_schema.tables \
             WHERE table_schema = {schema} AND table_name = {name}",
            columns("generation_expression LIKE '%@%'"),
        ),
        format!(
            "SELECT COUNT(*) + {} FROM information_schema.triggers \
             WHERE event_object_schema = {schema} AND event_object_table = {name}",
            columns(RUNS_CODE),
        ),
        format!(
            "SELECT {} + {} + {}",
            grants("user_privileges", ""),
            grants("schema_privileges", &format!(" AND table_schema = {schema}")),
            grants(
                "table_privileges",
                &format!(" AND table_schema = {schema} AND table_name = {name}")
            ),
        ),
    ]
}

/// A text as a literal that no setting reads in another way.
pub(crate) fn literal(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("_utf8mb4 0x{digits}")
}
