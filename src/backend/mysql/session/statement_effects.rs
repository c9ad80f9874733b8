//! The effects of statements: what they may write, what they leave in their session, and what stays of them although they
//! are rolled back.

use std::sync::Arc;

use super::Session;
use super::catalog::TableFacts;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::{Definition, MysqlStatement, MysqlTable, UnitAdmission};

/// The commands that end no transaction, whatever they call: only a procedure can, and what is refused in a unit.
const NEVER_END: [&str; 13] = [
    "SELECT", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE", "DO", "SET", "SHOW",
    "EXPLAIN", "DESCRIBE", "DESC",
];

/// The effects of a statement, as far as its text and the catalogs tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, of which any may hold"
)]
pub(crate) struct StatementEffects {
    /// It leaves nothing behind in its session.
    pub(crate) is_plain: bool,
    /// It may write: by what it says, by a function that is not built in, or behind a view.
    pub(crate) may_write: bool,
    /// A part of what it writes may stay although it fails.
    pub(crate) is_divisible: bool,
    /// It is divisible by triggers alone: the warnings of its failure tell what it left.
    pub(crate) is_divisible_by_triggers: bool,
    /// It may end the transaction that it runs in.
    pub(crate) may_end_unit: bool,
    /// The table that it writes with the engine, if that is known to have no transactions.
    pub(crate) without_transactions: Option<Arc<str>>,
}

/// The facts of the tables of a statement: of all together, and of those that it may write.
#[derive(Debug, Clone, Copy)]
struct NamedTables {
    all: TableFacts,
    written: TableFacts,
}

impl Session {
    /// Returns the effects of a statement that is about to be prepared, and adds them to those of the session.
    pub(crate) async fn effects_of(&mut self, facts: &MysqlStatement) -> Result<StatementEffects> {
        self.check_hides_no_keys(facts)?;
        let tables = self.named_tables(facts).await?;
        let is_divisible = !self.work.forbids_writes && may_stay(facts, tables);
        let mut effects = StatementEffects {
            is_plain: false,
            may_write: !facts.reads || facts.calls_unknown,
            is_divisible,
            is_divisible_by_triggers: is_divisible && stays_by_triggers_alone(tables),
            may_end_unit: is_divisible && !NEVER_END.contains(&facts.command),
            without_transactions: self.without_transactions(facts),
        };
        // A temporary table of this session may have the name of another table. Its rows end with the session.
        if let Some(NamedTables { all, .. }) = tables.filter(|_| !self.checkin.is_touched) {
            effects.is_plain = all.is_harmless && (facts.reads || !all.may_have_triggers);
            // A view may call functions.
            effects.may_write |= !all.is_harmless;
            if effects.is_plain && facts.command == "SELECT" {
                // FOR UPDATE locks rows, and writes none.
                effects.may_write = false;
            }
        }
        self.checkin.is_touched |= !effects.is_plain;
        self.checkin.changes_definitions |= facts.definition != Definition::Unchanged;
        self.work.definition = facts.definition;
        self.work.has_temporary |= creates_temporary(facts);
        Ok(effects)
    }

    /// Fails for a temporary table with the name of the table of keys: to the session it would take its place.
    fn check_hides_no_keys(&self, facts: &MysqlStatement) -> Result<()> {
        let is_temporary = creates_temporary(facts);
        let Some(text) = facts.text.as_ref().ok().filter(|_| is_temporary) else { return Ok(()) };
        let name = self.database.keys.unquoted_name().to_lowercase();
        if !text.sql.to_lowercase().contains(&name) {
            return Ok(());
        }
        let message = "a temporary table cannot hide the table of idempotency keys";
        Err(Error::new(ErrorKind::InvalidStatement, message).with_hint("Give it another name."))
    }

    /// The facts of the tables of a statement; `None` if it may have others than those that it names.
    async fn named_tables(&mut self, facts: &MysqlStatement) -> Result<Option<NamedTables>> {
        let Some(named) = facts.tables.as_deref() else { return Ok(None) };
        let all = self.tables(named).await?;
        let target = facts.target.as_ref().map(std::slice::from_ref);
        let written = target.map_or(all, |target| self.database.catalog.known(target));
        Ok(Some(NamedTables { all, written }))
    }

    /// The facts of tables, all together.
    async fn tables(&mut self, tables: &[MysqlTable]) -> Result<TableFacts> {
        let database = Arc::clone(&self.database);
        let catalog = &database.catalog;
        let unknown = catalog.unknown(tables);
        if !unknown.is_empty() {
            let questions: Vec<String> =
                unknown.iter().flat_map(|table| super::catalog::questions(table)).collect();
            let answers = self.query_own(&questions).await?;
            catalog.learn(&unknown, &answers);
        }
        Ok(catalog.known(tables))
    }

    /// The table that a statement writes, with its engine, if that is known to have no transactions, and no temporary
    /// table of the caller's can have the name.
    fn without_transactions(&self, facts: &MysqlStatement) -> Option<Arc<str>> {
        let target = facts.target.as_ref().filter(|_| !self.work.has_temporary)?;
        let engine = self.database.catalog.engine_without_transactions(target)?;
        Some(format!("table \"{}\" (engine {engine})", target.name).into())
    }
}

fn creates_temporary(facts: &MysqlStatement) -> bool {
    facts.command == "CREATE" && facts.unit == UnitAdmission::Admitted
}

/// Returns true for a query; FOR UPDATE locks rows, and writes none.
fn is_query(facts: &MysqlStatement) -> bool {
    let is_query = matches!(facts.command, "SELECT" | "VALUES" | "TABLE");
    facts.reads && !facts.calls_unknown || is_query && facts.is_plain()
}

/// Returns true unless it is known that nothing of a statement stays when it is rolled back.
fn may_stay(facts: &MysqlStatement, tables: Option<NamedTables>) -> bool {
    let Some(NamedTables { all, written }) = tables else {
        return !is_query(facts) || names_tables(facts);
    };
    // A view may call functions, and they may write.
    let may_write = !written.is_transactional || written.may_have_triggers;
    !all.is_harmless || !is_query(facts) && may_write
}

/// Returns true if what stays of a statement can only be what triggers write.
fn stays_by_triggers_alone(tables: Option<NamedTables>) -> bool {
    tables.is_some_and(|tables| tables.all.is_harmless && tables.written.is_transactional)
}

/// Returns false if a query certainly names no table.
fn names_tables(facts: &MysqlStatement) -> bool {
    let sql = facts.text.as_ref().map(|text| text.sql.to_ascii_lowercase());
    sql.is_ok_and(|sql| sql.contains("from") || sql.contains("table"))
}
