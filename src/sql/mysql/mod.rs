//! The facts of a statement of MySQL or MariaDB, from its text.
//!
//! Each rule is closed: what it does not know by name is refused, or taken for a statement that leaves something
//! behind. Executable comments are read as code and as nothing, since the server decides by its version.

mod admission_kind;
mod builtin_functions;
mod definition;
mod plain;
mod session_statement;
mod set_variables;
mod table_name;
mod tokens;
mod unit_admission;

use tokens::{Kind, LexError, Token, Tokens};

use super::session_state::SessionState;

pub(crate) use admission_kind::UnitAdmission;
pub(crate) use definition::Definition;
pub(crate) use table_name::MysqlTable;

/// The text of a statement as it is sent: `?` for each parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MysqlText {
    pub(crate) sql: String,
    /// The number of the parameter at each `?`, from 1.
    pub(crate) order: Vec<u16>,
}

/// The facts of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MysqlStatement {
    /// The text that is sent, or the reason why none is.
    pub(crate) text: Result<MysqlText, Unsendable>,
    pub(crate) unit: UnitAdmission,
    /// The effect on the session that it has.
    pub(crate) session_state: Option<SessionState>,
    /// All tables that it names, if it is plain: it leaves nothing behind in its session if they do not.
    pub(crate) tables: Option<Vec<MysqlTable>>,
    /// The one table that it writes, where that is known.
    pub(crate) target: Option<MysqlTable>,
    /// It reads, as far as no function in it writes.
    pub(crate) reads: bool,
    /// A function may be called that is not built in.
    pub(crate) calls_unknown: bool,
    pub(crate) command: &'static str,
    /// The command with its kind of object, as in `CREATE TABLE`.
    pub(crate) tag: &'static str,
    pub(crate) definition: Definition,
}

/// The reason why a text is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unsendable {
    /// It cannot be read, or holds no statement.
    Invalid(String),
    /// It holds more than one statement; the second is on this line.
    Several { line: usize },
}

/// The most bytes of a text of which more is known than that it is a statement.
const MAX_PLAIN_BYTES: usize = 64 << 10;

impl MysqlStatement {
    /// Reads a text.
    pub(crate) fn of(sql: &str) -> Self {
        let tokens = match tokens::read(sql) {
            Ok(tokens) => tokens,
            Err(LexError { at, why }) => {
                let line = 1 + sql[..at.min(sql.len())].matches('\n').count();
                return Self::invalid(format!("{why} (line {line})"));
            }
        };
        let Tokens { tokens, has_executable_comment, start } = trimmed(tokens);
        if tokens.is_empty() {
            return Self::invalid("it holds no statement".to_owned());
        }
        let leading = unit_admission::Leading::of(&tokens, has_executable_comment, sql);
        if let Some(second) = second_statement(&tokens) {
            let line = 1 + sql[..second].matches('\n').count();
            let unit = leading.unit;
            return Self { unit, ..Self::unsendable(Unsendable::Several { line }) };
        }
        let is_readable = sql.len() <= MAX_PLAIN_BYTES && !has_executable_comment;
        let session_state = is_readable
            .then(|| session_statement::session_state(&tokens, leading.command, leading.unit, sql))
            .flatten();
        let named = is_readable.then(|| plain::tables(&tokens, leading.command)).flatten();
        let (tables, target) = named.map_or((None, None), |(all, target)| (Some(all), target));
        Self {
            text: Ok(translated(sql, start, &tokens)),
            unit: leading.unit,
            session_state,
            reads: leading.reads,
            calls_unknown: has_executable_comment || plain::calls_unknown(&tokens),
            command: leading.command,
            tag: leading.tag,
            definition: leading.definition,
            tables,
            target,
        }
    }

    /// Returns true if it leaves nothing behind in its session, if its tables do not.
    pub(crate) fn is_plain(&self) -> bool {
        self.tables.is_some()
    }

    /// The control of transactions that it starts with.
    pub(crate) fn transaction_control(&self) -> Option<&'static str> {
        self.unit.control()
    }

    fn invalid(why: String) -> Self {
        Self::unsendable(Unsendable::Invalid(why))
    }

    fn unsendable(why: Unsendable) -> Self {
        Self {
            text: Err(why),
            unit: UnitAdmission::TransactionControl("a text that cannot be read"),
            session_state: None,
            tables: None,
            target: None,
            reads: false,
            calls_unknown: true,
            command: unit_admission::OTHER,
            tag: "",
            definition: Definition::Unchanged,
        }
    }

    /// The bytes that it takes in a cache beyond its own size, roughly.
    pub(crate) fn weight(&self) -> usize {
        let text = self.text.as_ref().map_or(0, |text| text.sql.len() + 2 * text.order.len());
        let tables = self.tables.iter().flatten().chain(&self.target);
        let tables = tables.map(|table| 64 + table.name.len());
        128 + text + tables.sum::<usize>()
    }
}

/// The tokens without the semicolons at the start and the end.
fn trimmed(mut tokens: Tokens<'_>) -> Tokens<'_> {
    let empty = tokens.tokens.iter().take_while(|token| token.kind == Kind::Symbol(';')).count();
    tokens.start = tokens.tokens.drain(..empty).next_back().map_or(0, |last| last.end);
    while tokens.tokens.last().is_some_and(|last| last.kind == Kind::Symbol(';')) {
        tokens.tokens.pop();
    }
    tokens
}

/// The place behind a semicolon with more code behind it, unless it is the body of a routine.
fn second_statement(tokens: &[Token<'_>]) -> Option<usize> {
    let end = tokens.iter().position(|token| token.kind == Kind::Symbol(';'))?;
    let is_create = tokens.first().is_some_and(|first| is_word(first, "CREATE"));
    let routines = ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"];
    let has_body = is_create
        && tokens[..end].iter().any(|token| routines.iter().any(|word| is_word(token, word)));
    if has_body { None } else { tokens.get(end + 1).map(|token| token.start) }
}

fn is_word(token: &Token<'_>, word: &str) -> bool {
    matches!(token.kind, Kind::Word(text) if text.eq_ignore_ascii_case(word))
}

fn translated(sql: &str, start: usize, tokens: &[Token<'_>]) -> MysqlText {
    let end = tokens.last().map_or(sql.len(), |last| last.end);
    let mut text = String::with_capacity(end - start);
    let mut order = Vec::new();
    let mut at = start;
    for token in tokens {
        if let Kind::Parameter(number) = token.kind {
            text.push_str(&sql[at..token.start]);
            text.push('?');
            order.push(number);
            at = token.end;
        }
    }
    text.push_str(&sql[at..end]);
    // An executable comment ends behind the last token, and perhaps behind semicolons and comments.
    if tokens.last().is_some_and(|last| last.is_optional) {
        text.push_str(" */");
    }
    MysqlText { sql: text, order }
}

#[cfg(test)]
mod tests;
