//! The statements that leave nothing behind in their session, and the tables that they name.
//!
//! A token scan, not a parser: it follows the places in which a table can stand, and gives up at what it does not know.

use super::builtin_functions::{
    is_builtin, is_of_session, may_precede_parenthesis, needs_cast, needs_comparison,
};
use super::table_name::MysqlTable;
use super::tokens::{Kind, Token};

/// The commands that may be plain.
const COMMANDS: [&str; 7] = ["SELECT", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE"];

/// Words behind which, in a list of tables, another clause begins.
const CLAUSES: [&str; 17] = [
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "SET",
    "RETURNING",
    "WINDOW",
    "FOR",
    "LOCK",
    "VALUES",
    "VALUE",
    "SELECT",
    "PROCEDURE",
];

/// Words between a command and its table.
const MODIFIERS: [&str; 8] =
    ["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "QUICK", "INTO", "LATERAL", "FROM"];

/// The words of a query's start.
const QUERIES: [&str; 4] = ["SELECT", "WITH", "VALUES", "TABLE"];

/// The state within one pair of parentheses.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// A table stands next.
    expects_table: bool,
    /// A comma is followed by a table.
    in_tables: bool,
    /// It is a query, or the statement itself: FROM is followed by tables.
    is_query: bool,
}

struct Scan<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    levels: Vec<Level>,
    tables: Vec<MysqlTable>,
    /// The names of the common table expressions of the statement as a whole, or of the query that an INSERT takes its
    /// rows from.
    expressions: Vec<String>,
    /// The number of tables before them, which they do not hide.
    tables_before: usize,
    /// The command of the statement was seen.
    has_command: bool,
}

/// Returns the tables of a plain statement; `None` for one that may leave something behind.
pub(super) fn tables(tokens: &[Token<'_>], command: &str) -> Option<Vec<MysqlTable>> {
    if !COMMANDS.contains(&command) {
        return None;
    }
    let top = Level { is_query: true, ..Level::default() };
    let mut scan = Scan {
        tokens,
        at: 0,
        levels: vec![top],
        tables: Vec::new(),
        expressions: Vec::new(),
        tables_before: 0,
        has_command: false,
    };
    while scan.at < tokens.len() {
        scan.step(command)?;
    }
    let Scan { tables, expressions, tables_before, levels, .. } = scan;
    let is_whole = levels.len() == 1 && !levels[0].expects_table;
    // The name of an expression is taken for it only where no table can be meant.
    let is_hidden = |table: &MysqlTable| {
        table.schema.is_none()
            && expressions.iter().any(|name| name.eq_ignore_ascii_case(&table.name))
    };
    let named = tables.into_iter().enumerate();
    let shown = named.filter(|(at, table)| *at < tables_before || !is_hidden(table));
    let mut tables: Vec<MysqlTable> = shown.map(|(_, table)| table).collect();
    tables.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    tables.dedup();
    is_whole.then_some(tables)
}

/// Returns true if a function may be called that is not built in: it may write.
pub(super) fn calls_unknown(tokens: &[Token<'_>]) -> bool {
    let is_call = |(at, token): (usize, &Token<'_>)| {
        let next = tokens.get(at + 1);
        if next.is_none_or(|next| next.kind != Kind::Symbol('(')) {
            return false;
        }
        match token.kind {
            Kind::QuotedName(_) => true,
            Kind::Word(word) => {
                let upper = word.to_ascii_uppercase();
                let is_qualified = at > 0 && tokens[at - 1].kind == Kind::Symbol('.');
                let is_adjacent = next.is_some_and(|next| next.start == token.end);
                let is_known = may_precede_parenthesis(&upper)
                    || needs_cast(&upper)
                    || needs_comparison(&upper)
                    || upper == "AGAINST"
                    || is_adjacent && (is_builtin(&upper) || is_of_session(&upper));
                is_qualified || !is_known
            }
            Kind::String | Kind::Parameter(_) | Kind::Variable | Kind::Hint | Kind::Symbol(_) => {
                false
            }
        }
    };
    tokens.iter().enumerate().any(is_call)
}

impl Scan<'_> {
    fn kind(&self, ahead: usize) -> Option<Kind<'_>> {
        self.tokens.get(self.at + ahead).map(|token| token.kind)
    }

    fn is_word(&self, ahead: usize, words: &[&str]) -> bool {
        matches!(self.kind(ahead), Some(Kind::Word(word)) if words.iter().any(|it| it.eq_ignore_ascii_case(word)))
    }

    fn is_symbol(&self, ahead: usize, symbol: char) -> bool {
        self.kind(ahead) == Some(Kind::Symbol(symbol))
    }

    fn level(&mut self) -> Option<&mut Level> {
        self.levels.last_mut()
    }

    /// Takes the next token; `None` if the statement is not plain.
    fn step(&mut self, command: &str) -> Option<()> {
        if self.levels.last()?.expects_table {
            return self.table();
        }
        match self.kind(0)? {
            Kind::Variable | Kind::Hint => return None,
            Kind::Symbol('(') => {
                let is_query = self.is_word(1, &QUERIES);
                self.levels.push(Level { is_query, ..Level::default() });
            }
            Kind::Symbol(')') => {
                self.levels.pop();
                self.levels.last()?;
            }
            Kind::Symbol(',') => {
                let level = self.level()?;
                level.expects_table = level.in_tables;
            }
            // An assignment to a variable, and the end of another statement.
            Kind::Symbol(':' | ';') => return None,
            Kind::Word(_) => return self.word(command),
            // A name in quotes is a column, or not known.
            Kind::QuotedName(_) if self.is_symbol(1, '(') => return None,
            Kind::QuotedName(_) | Kind::String | Kind::Parameter(_) | Kind::Symbol(_) => {}
        }
        self.at += 1;
        Some(())
    }

    fn word(&mut self, command: &str) -> Option<()> {
        let Some(Kind::Word(word)) = self.kind(0) else { return None };
        let upper = word.to_ascii_uppercase();
        let is_qualified = self.at > 0 && self.tokens[self.at - 1].kind == Kind::Symbol('.');
        if is_qualified {
            // A column, or a function of a schema.
            return (!self.is_symbol(1, '(')).then(|| self.at += 1);
        }
        let is_top = self.levels.len() == 1;
        match upper.as_str() {
            "WITH" if is_top && self.may_begin_query(command) => return self.expressions(),
            // One of a subquery has a scope that is not followed here.
            "WITH" if self.levels.last()?.is_query && !is_rollup(self.tokens, self.at) => {
                return None;
            }
            "NEXT" | "PREVIOUS" if self.is_word(1, &["VALUE"]) => return None,
            "INTO" | "PROCEDURE" => return None,
            "FROM" if self.levels.last()?.is_query => self.begin_tables()?,
            "JOIN" | "STRAIGHT_JOIN" if self.levels.last()?.in_tables => self.begin_tables()?,
            "USING" if command == "DELETE" && is_top && !self.is_symbol(1, '(') => {
                self.begin_tables()?;
            }
            _ if is_top && !self.has_command && upper == command => {
                self.has_command = true;
                match command {
                    "INSERT" | "REPLACE" | "UPDATE" | "TABLE" => self.begin_tables()?,
                    _ => {}
                }
            }
            "TABLE" if self.levels.last()?.is_query => self.begin_tables()?,
            _ if CLAUSES.contains(&upper.as_str()) => {
                let level = self.level()?;
                level.in_tables = false;
                if upper == "SELECT" {
                    level.is_query = true;
                }
            }
            _ => {}
        }
        if self.is_symbol(1, '(') && !self.levels.last()?.expects_table {
            self.check_call(&upper)?;
        }
        self.at += 1;
        Some(())
    }

    fn begin_tables(&mut self) -> Option<()> {
        let level = self.level()?;
        level.expects_table = true;
        level.in_tables = true;
        Some(())
    }

    /// Checks a word before a parenthesis: it is a keyword, or a function that leaves nothing behind.
    fn check_call(&self, upper: &str) -> Option<()> {
        let is_adjacent = self.tokens[self.at].end == self.tokens.get(self.at + 1)?.start;
        let before =
            self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map(|token| token.kind);
        let is_known = may_precede_parenthesis(upper)
            // With a blank between, some names are not those of the functions.
            || is_builtin(upper) && is_adjacent
            || needs_cast(upper)
                && matches!(before, Some(Kind::Word(word)) if word.eq_ignore_ascii_case("AS"))
            || needs_comparison(upper) && matches!(before, Some(Kind::Symbol('=' | '<' | '>')))
            || upper == "AGAINST" && before == Some(Kind::Symbol(')'));
        is_known.then_some(())
    }

    /// Takes the name of a table, or the parenthesis before one.
    fn table(&mut self) -> Option<()> {
        if self.is_word(0, &MODIFIERS) {
            self.at += 1;
            return Some(());
        }
        if self.is_symbol(0, '(') {
            self.level()?.expects_table = false;
            let is_query = self.is_word(1, &QUERIES);
            let inner = Level { expects_table: !is_query, in_tables: !is_query, is_query };
            self.levels.push(inner);
            self.at += 1;
            return Some(());
        }
        let first = self.name(0)?;
        let (schema, name, length) =
            if self.is_symbol(1, '.') { (Some(first), self.name(2)?, 3) } else { (None, first, 1) };
        self.at += length;
        let is_dual = schema.is_none() && name.eq_ignore_ascii_case("DUAL");
        let is_insert = self.levels.len() == 1
            && self.tokens.iter().any(|token| {
                matches!(token.kind, Kind::Word(word)
                    if word.eq_ignore_ascii_case("INSERT") || word.eq_ignore_ascii_case("REPLACE"))
            });
        // Only the columns of an INSERT stand in parentheses behind a table.
        if self.is_symbol(0, '(') && !is_insert {
            return None;
        }
        if !is_dual {
            self.tables.push(MysqlTable { schema, name });
        }
        self.level()?.expects_table = false;
        Some(())
    }

    /// The name at a place.
    fn name(&self, ahead: usize) -> Option<String> {
        match self.kind(ahead)? {
            Kind::Word(word) => Some(word.to_owned()),
            Kind::QuotedName(name) => Some(name.replace("``", "`")),
            Kind::String | Kind::Parameter(_) | Kind::Variable | Kind::Hint | Kind::Symbol(_) => {
                None
            }
        }
    }

    /// Returns true if common table expressions here are those of the whole statement, or of all rows of an INSERT.
    fn may_begin_query(&self, command: &str) -> bool {
        let is_of_insert = matches!(command, "INSERT" | "REPLACE")
            && self.levels.len() == 1
            && self.expressions.is_empty();
        !self.has_command || is_of_insert
    }

    /// Takes the heads of common table expressions: `WITH [RECURSIVE] name [(columns)] AS (`. The queries in them are
    /// scanned like any other.
    fn expressions(&mut self) -> Option<()> {
        self.tables_before = self.tables.len();
        if let Some(top) = self.levels.first_mut() {
            top.in_tables = false;
        }
        self.at += 1;
        if self.is_word(0, &["RECURSIVE"]) {
            self.at += 1;
        }
        loop {
            let name = self.name(0)?;
            self.expressions.push(name);
            self.at += 1;
            if self.is_symbol(0, '(') {
                self.skip_columns()?;
            }
            if !self.is_word(0, &["AS"]) || !self.is_symbol(1, '(') {
                return None;
            }
            self.at += 1;
            self.query_in_parentheses()?;
            if !self.is_symbol(0, ',') {
                return Some(());
            }
            self.at += 1;
        }
    }

    fn skip_columns(&mut self) -> Option<()> {
        while !self.is_symbol(0, ')') {
            match self.kind(0)? {
                Kind::Word(_) | Kind::QuotedName(_) | Kind::Symbol('(' | ',') => {}
                Kind::String
                | Kind::Parameter(_)
                | Kind::Variable
                | Kind::Hint
                | Kind::Symbol(_) => return None,
            }
            self.at += 1;
        }
        self.at += 1;
        Some(())
    }

    /// Scans a query in parentheses up to their end.
    fn query_in_parentheses(&mut self) -> Option<()> {
        let depth = self.levels.len();
        self.levels.push(Level { is_query: true, ..Level::default() });
        self.at += 1;
        while self.levels.len() > depth {
            self.step("SELECT")?;
        }
        Some(())
    }
}

/// Returns true for `WITH ROLLUP`.
fn is_rollup(tokens: &[Token<'_>], at: usize) -> bool {
    tokens.get(at + 1).is_some_and(
        |next| matches!(next.kind, Kind::Word(word) if word.eq_ignore_ascii_case("ROLLUP")),
    )
}
