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

/// Words behind which, in a list of tables, another clause begins. All are reserved by both servers, as what could be an
/// alias or a column may be followed by a table.
const CLAUSES: [&str; 13] = [
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "SET",
    "FOR",
    "LOCK",
    "VALUES",
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
    /// rows from, as far as they are known here.
    expressions: Vec<String>,
    /// The command of the statement was seen.
    has_command: bool,
}

/// Returns the tables of a plain statement, and the one that it writes, where that is known; `None` for a statement that
/// may leave something behind.
pub(super) fn tables(
    tokens: &[Token<'_>],
    command: &str,
) -> Option<(Vec<MysqlTable>, Option<MysqlTable>)> {
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
        has_command: false,
    };
    while scan.at < tokens.len() {
        scan.step(command)?;
    }
    let Scan { mut tables, levels, .. } = scan;
    let is_whole = levels.len() == 1 && !levels[0].expects_table;
    // What an INSERT reads stands behind what it writes.
    let is_first = matches!(command, "INSERT" | "REPLACE")
        && matches!(tokens.first().map(|token| token.kind), Some(Kind::Word(word)) if word.eq_ignore_ascii_case(command));
    let first = if is_first { tables.first().cloned() } else { None };
    tables.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    tables.dedup();
    let is_only = matches!(command, "UPDATE" | "DELETE") && tables.len() == 1;
    let target = if is_only { tables.first().cloned() } else { first };
    is_whole.then_some((tables, target))
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
        if self.is_behind_point() {
            if !self.is_qualified() && !word.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
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
            "JOIN" => return None,
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
            "TABLE" => self.begin_tables()?,
            _ if CLAUSES.contains(&upper.as_str()) => self.end_tables(&upper, command)?,
            _ => {}
        }
        if self.is_symbol(1, '(') && !self.levels.last()?.expects_table {
            self.check_call(&upper)?;
        }
        self.at += 1;
        Some(())
    }

    fn is_behind_point(&self) -> bool {
        self.at > 0 && self.tokens[self.at - 1].kind == Kind::Symbol('.')
    }

    /// Returns true if the point behind which a word stands follows a name. `1.` is a number.
    fn is_qualified(&self) -> bool {
        let before = self.at.checked_sub(2).and_then(|at| self.tokens.get(at));
        match before.map(|token| token.kind) {
            Some(Kind::Word(word)) => !word.starts_with(|c: char| c.is_ascii_digit()),
            Some(Kind::QuotedName(_)) => true,
            Some(
                Kind::String | Kind::Parameter(_) | Kind::Variable | Kind::Hint | Kind::Symbol(_),
            )
            | None => false,
        }
    }

    /// Leaves the list of tables at a word that begins another clause.
    fn end_tables(&mut self, upper: &str, command: &str) -> Option<()> {
        let is_insert = self.levels.len() == 1 && matches!(command, "INSERT" | "REPLACE");
        let has_query = || {
            self.tokens[..self.at].iter().any(
                |token| matches!(token.kind, Kind::Word(word) if word.eq_ignore_ascii_case("SELECT")),
            )
        };
        let in_tables = self.levels.last()?.in_tables;
        // The rows of an INSERT. Elsewhere it is a function, behind which tables may follow.
        if upper == "VALUES" && in_tables && (!is_insert || has_query()) {
            return None;
        }
        // `USE INDEX FOR JOIN (…)` and `FOR SYSTEM_TIME` do not end it.
        if upper == "FOR" && in_tables && !self.is_word(1, &["UPDATE", "SHARE"]) {
            return None;
        }
        let level = self.level()?;
        level.in_tables = false;
        level.is_query |= upper == "SELECT";
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
        let is_expression = schema.is_none() && self.expressions.contains(&name);
        if !is_dual && !is_expression {
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
        if let Some(top) = self.levels.first_mut() {
            top.in_tables = false;
        }
        self.at += 1;
        let is_recursive = self.is_word(0, &["RECURSIVE"]);
        self.at += usize::from(is_recursive);
        loop {
            let name = self.name(0)?;
            // In its own query the name is that of a table, unless it is recursive.
            if is_recursive {
                self.expressions.push(name.clone());
            }
            self.at += 1;
            if self.is_symbol(0, '(') {
                self.skip_columns()?;
            }
            if !self.is_word(0, &["AS"]) || !self.is_symbol(1, '(') {
                return None;
            }
            self.at += 1;
            self.query_in_parentheses()?;
            self.expressions.push(name);
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

#[cfg(test)]
mod tests {
    use super::super::MysqlStatement;

    fn named(sql: &str) -> Option<Vec<String>> {
        let facts = MysqlStatement::of(sql);
        facts.tables.map(|tables| tables.into_iter().map(|table| table.name).collect())
    }

    #[test]
    fn no_table_is_missed_behind_a_word_that_may_be_a_name() {
        for sql in [
            "select * from a x join b y on value = 1, t",
            "select * from a join b on a.x = returning, t",
            "select * from a intersect, t",
            "select * from a window, t",
            "select * from ((select 1) union table t) x",
            "select ((select 1) union table t)",
            "select * from (select 1 union select 2) x, t",
            "with t as (select * from t) select * from t",
            "with x as (select * from t), t as (select 1) select * from x",
            "with T as (select 1) select * from t",
            "with x as (table t) select * from x",
            "select * from a union (select * from t)",
        ] {
            let found = named(sql);
            assert!(found.is_some_and(|tables| tables.contains(&"t".to_owned())), "{sql}");
        }
    }

    #[test]
    fn a_list_of_tables_that_is_not_certain_makes_a_statement_not_plain() {
        for sql in [
            "select 1. from t",
            "select 1.from t",
            "select * from a where b = 1. union select * from t",
            "select 'x'.from t",
            "select * from a use index for join (i), t",
            "select * from a force index for order by (i) join t",
            "select * from a for system_time as of now(), t",
            "select * from a join b on values(x) = 1, t",
            "insert into a select * from b join c on values(x) = 1, t",
            "select * from a where join t",
        ] {
            assert_eq!(named(sql), None, "{sql}");
        }
        for (sql, expected) in [
            ("select 1.5, .5, a.b, a.`b`.c from t", vec!["t"]),
            ("select * from t for share", vec!["t"]),
            ("with x as (select 1), y as (select * from x) select * from y", vec![]),
            ("with recursive x as (select 1 union select * from x) table x", vec![]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(named(sql), Some(expected), "{sql}");
        }
    }
}
