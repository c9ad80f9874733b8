//! The words that may stand where the cursor is.

use std::collections::BTreeSet;

use super::keywords::{all_words, first_words, is_reserved};
use crate::sql::{Dialect, Scanner, TokenKind, is_among};

/// The most words that are offered.
const MAX_OFFERED: usize = 500;

/// Words behind which a table stands.
const BEFORE_TABLE: &str = "DESCRIBE FROM INTO JOIN TABLE TRUNCATE UPDATE VIEW";

/// Words that end a list of tables.
const BEHIND_TABLES: &str = "\
    GROUP HAVING LIMIT ON ORDER RETURNING SELECT SET UNION USING VALUES WHERE";

/// The names in a database.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) tables: Vec<TableName>,
}

/// A table or view.
#[derive(Debug, Default)]
pub(super) struct TableName {
    /// Empty where there are no schemas.
    pub(super) schema: String,
    pub(super) name: String,
    /// True if it is found without its schema.
    pub(super) is_visible: bool,
    pub(super) columns: Vec<String>,
}

impl TableName {
    /// Returns true for a catalog.
    fn is_of_system(&self) -> bool {
        matches!(&*self.schema, "pg_catalog" | "information_schema")
    }
}

/// The place of the cursor in a statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    /// The text from the beginning of the statement to the cursor.
    pub(super) before: &'a str,
    /// The text behind the cursor.
    pub(super) behind: &'a str,
}

/// Returns the length of the word before the cursor, in bytes, and what may take its place.
pub(super) fn complete(
    cursor: Cursor<'_>,
    names: &Names,
    dialect: Dialect,
) -> (usize, Vec<String>) {
    let Some(typed) = Typed::read(cursor.before, dialect) else { return (0, Vec::new()) };
    let mut found = Found { typed: &typed, dialect, words: BTreeSet::new() };
    let tokens = &typed.before;
    let whole = format!("{}{}", cursor.before, cursor.behind);
    if let [.., (_, qualifier), (TokenKind::Symbol, ".")] = tokens.as_slice() {
        found.of_qualifier(&name_of(qualifier), &used_tables(&whole, dialect), names);
    } else if expects_table(tokens) {
        found.tables(names);
        if found.words.is_empty() && !typed.word.is_empty() {
            found.keywords(all_words(dialect));
        }
    } else if tokens.is_empty() {
        found.keywords(first_words(dialect));
    } else {
        let used = used_tables(&whole, dialect);
        let columns = |table: &&TableName| match used.as_slice() {
            [] => !table.is_of_system(),
            used => used.iter().any(|used| used.is(table)),
        };
        if !(used.is_empty() && typed.word.is_empty()) {
            names.tables.iter().filter(columns).for_each(|table| found.columns(table));
        }
        found.aliases(&used);
        if !typed.word.is_empty() {
            found.tables(names);
            found.keywords(all_words(dialect));
        }
    }
    (typed.length, found.words.into_iter().take(MAX_OFFERED).collect())
}

/// The text before the cursor.
struct Typed<'a> {
    /// The tokens before the word.
    before: Vec<(TokenKind, &'a str)>,
    /// The word that the cursor stands behind, without a quote before it; empty behind a blank.
    word: &'a str,
    /// Its quote.
    quote: Option<char>,
    /// The length of both.
    length: usize,
}

impl<'a> Typed<'a> {
    /// Reads the text; `None` within a string or a comment.
    fn read(text: &'a str, dialect: Dialect) -> Option<Self> {
        let mut before: Vec<_> = Scanner::new(text, dialect)
            .map(|token| (token.kind, token.text, token.start + token.text.len()))
            .collect();
        let last = before.last().copied().filter(|(_, _, end)| *end == text.len());
        let (word, quote) = match last {
            Some((TokenKind::Word, word, _)) => (word, None),
            Some((TokenKind::Unterminated(_), rest, _)) => {
                let quote = rest.chars().next().filter(|c| "\"`".contains(*c))?;
                (rest.strip_prefix(quote)?, Some(quote))
            }
            Some(_) | None => ("", None),
        };
        let length = word.len() + quote.map_or(0, char::len_utf8);
        if length > 0 {
            before.pop();
        } else if is_in_line_comment(text, before.last().map_or(0, |(_, _, end)| *end)) {
            return None;
        }
        let before = before.into_iter().map(|(kind, text, _)| (kind, text)).collect();
        Some(Self { before, word, quote, length })
    }
}

/// Returns true if the text behind the last token ends in a comment that the end of its line ends.
fn is_in_line_comment(text: &str, from: usize) -> bool {
    let rest = text.get(from..).unwrap_or_default();
    rest.rsplit('\n').next().is_some_and(|line| line.contains("--") || line.contains("/*"))
        && !rest.trim_end().ends_with("*/")
}

/// Returns true if a table may stand behind the tokens.
fn expects_table(tokens: &[(TokenKind, &str)]) -> bool {
    match tokens.last() {
        Some((TokenKind::Word, word)) => is_among(word, BEFORE_TABLE),
        Some((TokenKind::Symbol, ",")) => {
            let words = tokens.iter().rev().filter(|(kind, _)| *kind == TokenKind::Word);
            let mut clauses = words
                .filter(|(_, word)| is_among(word, BEFORE_TABLE) || is_among(word, BEHIND_TABLES));
            clauses.next().is_some_and(|(_, word)| is_among(word, "FROM JOIN TABLE TRUNCATE"))
        }
        Some(_) | None => false,
    }
}

/// A table that a statement uses.
#[derive(Debug, Default, PartialEq, Eq)]
struct UsedTable {
    schema: Option<String>,
    name: String,
    alias: Option<String>,
}

impl UsedTable {
    fn is(&self, table: &TableName) -> bool {
        self.name.eq_ignore_ascii_case(&table.name)
            && match &self.schema {
                Some(schema) => schema.eq_ignore_ascii_case(&table.schema),
                None => table.is_visible,
            }
    }

    /// Returns true for the name by which the statement calls its columns.
    fn is_called(&self, name: &str) -> bool {
        let called = self.alias.as_deref().unwrap_or(&self.name);
        called.eq_ignore_ascii_case(name)
    }
}

/// The tables of a statement, with their aliases.
fn used_tables(sql: &str, dialect: Dialect) -> Vec<UsedTable> {
    let tokens: Vec<_> = Scanner::new(sql, dialect).map(|token| (token.kind, token.text)).collect();
    let mut used = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at += 1;
        if !expects_table(&tokens[..at]) {
            continue;
        }
        let Some(mut table) =
            name_at(&tokens, at).map(|name| UsedTable { name, ..UsedTable::default() })
        else {
            continue;
        };
        at += 1;
        if matches!(tokens.get(at), Some((_, "."))) {
            let Some(name) = name_at(&tokens, at + 1) else { continue };
            table.schema = Some(std::mem::replace(&mut table.name, name));
            at += 2;
        }
        let skipped = usize::from(tokens.get(at).is_some_and(|(_, word)| is_among(word, "AS")));
        table.alias = name_at(&tokens, at + skipped);
        at += if table.alias.is_some() { skipped } else { 0 };
        used.push(table);
    }
    used
}

/// The name at a place, unless it is a keyword.
fn name_at(tokens: &[(TokenKind, &str)], at: usize) -> Option<String> {
    let (kind, text) = tokens.get(at)?;
    let is_keyword = is_reserved(text) || is_among(text, BEHIND_TABLES);
    let is_name = *kind == TokenKind::QuotedName || *kind == TokenKind::Word && !is_keyword;
    is_name.then(|| name_of(text))
}

/// A name without its quotes.
fn name_of(text: &str) -> String {
    let quotes = ['"', '`', '[', ']'];
    text.trim_matches(quotes).replace("\"\"", "\"")
}

/// The words that were found.
struct Found<'a> {
    typed: &'a Typed<'a>,
    dialect: Dialect,
    words: BTreeSet<String>,
}

impl Found<'_> {
    fn fits(&self, name: &str) -> bool {
        // A quoted name of PostgreSQL is exact.
        if self.dialect == Dialect::Postgres && self.typed.quote.is_some() {
            return name.starts_with(self.typed.word);
        }
        let start = name.get(..self.typed.word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(self.typed.word))
    }

    fn name(&mut self, name: &str) {
        if self.fits(name) {
            self.words.insert(self.written(name));
        }
    }

    fn columns(&mut self, table: &TableName) {
        table.columns.iter().for_each(|column| self.name(column));
    }

    fn aliases(&mut self, used: &[UsedTable]) {
        used.iter().filter_map(|table| table.alias.as_deref()).for_each(|alias| self.name(alias));
    }

    /// Tables that are found without their schema, and schemas.
    fn tables(&mut self, names: &Names) {
        for table in &names.tables {
            if table.is_of_system() && self.typed.word.is_empty() {
                continue;
            }
            if table.is_visible {
                self.name(&table.name);
            }
            if !table.schema.is_empty() && self.fits(&table.schema) {
                self.words.insert(format!("{}.", self.written(&table.schema)));
            }
        }
    }

    /// The columns of a table or alias, or the tables of a schema.
    fn of_qualifier(&mut self, qualifier: &str, used: &[UsedTable], names: &Names) {
        let called = used.iter().find(|table| table.is_called(qualifier));
        for table in &names.tables {
            let is_asked = match called {
                Some(called) => called.is(table),
                None => table.is_visible && table.name.eq_ignore_ascii_case(qualifier),
            };
            if is_asked {
                self.columns(table);
            }
            if table.schema.eq_ignore_ascii_case(qualifier) {
                self.name(&table.name);
            }
        }
    }

    /// Keywords, in the case in which the word was begun.
    fn keywords(&mut self, words: impl Iterator<Item = &'static str>) {
        if self.typed.quote.is_some() {
            return;
        }
        let is_upper = self.typed.word.starts_with(|c: char| c.is_ascii_uppercase());
        for word in words.filter(|word| self.fits(word)).collect::<Vec<_>>() {
            self.words.insert(if is_upper { word.to_owned() } else { word.to_ascii_lowercase() });
        }
    }

    /// The name as it is written in a statement.
    fn written(&self, name: &str) -> String {
        let is_lower = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
        let is_plain = |c: char| match self.dialect {
            Dialect::Postgres => is_lower(c),
            Dialect::Sqlite | Dialect::Mysql => is_lower(c) || c.is_ascii_uppercase(),
        };
        let needs_quotes = name.starts_with(|c: char| c.is_ascii_digit())
            || !name.chars().all(is_plain)
            || is_reserved(name);
        if !needs_quotes && self.typed.quote.is_none() {
            return name.to_owned();
        }
        let usual = if self.dialect == Dialect::Mysql { '`' } else { '"' };
        let quote = self.typed.quote.unwrap_or(usual).to_string();
        format!("{quote}{}{quote}", name.replace(&*quote, &quote.repeat(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let table = |schema: &str, name: &str, is_visible, columns: &[&str]| TableName {
            schema: schema.to_owned(),
            name: name.to_owned(),
            is_visible,
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
        };
        Names {
            tables: vec![
                table("public", "orders", true, &["id", "state", "Order Date"]),
                table("public", "order_items", true, &["id", "order_id", "sku"]),
                table("sales", "targets", false, &["region", "cents"]),
                table("pg_catalog", "pg_class", true, &["oid", "relname"]),
            ],
        }
    }

    /// The words for a text, in which `|` is the cursor.
    fn words(text: &str, dialect: Dialect) -> (usize, Vec<String>) {
        let (before, behind) = text.split_once('|').unwrap();
        complete(Cursor { before, behind }, &names(), dialect)
    }

    fn offered(text: &str) -> Vec<String> {
        words(text, Dialect::Postgres).1
    }

    #[test]
    fn tables_follow_the_words_before_tables() {
        for text in [
            "select * from ord|",
            "select * from a, ord|",
            "select * from a join ord|",
            "insert into ord|",
            "update ord|",
            "select 1\nfrom ORD|",
        ] {
            let words = offered(text);
            assert!(words.starts_with(&["order_items".to_owned()]), "{text}: {words:?}");
            assert!(words.contains(&"orders".to_owned()), "{text}: {words:?}");
        }
        let all = offered("select * from |");
        assert!(
            all.contains(&"orders".to_owned()) && all.contains(&"sales.".to_owned()),
            "{all:?}"
        );
        assert!(!all.contains(&"targets".to_owned()) && !all.contains(&"pg_class".to_owned()));
        assert_eq!(offered("select * from pg_cl|"), ["pg_class"]);
        assert_eq!(offered("select * from sales.|"), ["targets"]);
    }

    #[test]
    fn columns_are_those_of_the_tables_of_the_statement() {
        assert_eq!(offered("select sk| from order_items"), ["sku"]);
        assert_eq!(offered("select reg| from orders"), Vec::<String>::new());
        assert_eq!(offered("select reg|"), ["region"]);
        assert_eq!(offered("select reln|"), Vec::<String>::new());
        assert_eq!(offered("select reln| from pg_class"), ["relname"]);
        assert_eq!(offered("select * from orders where |"), ["\"Order Date\"", "id", "state"]);
        assert_eq!(offered("select * from orders o where o.st|"), ["state"]);
        assert_eq!(offered("select i.s| from orders as o join order_items i"), ["sku"]);
        assert_eq!(offered("select t.| from sales.targets t"), ["cents", "region"]);
        assert_eq!(offered("select orders.st| from orders"), ["state"]);
    }

    #[test]
    fn keywords_are_written_as_they_were_begun() {
        assert_eq!(offered("sel|"), ["select"]);
        assert_eq!(offered("SEL|"), ["SELECT"]);
        assert_eq!(offered("select 1 whe|"), ["when", "where"]);
        assert!(offered("|").contains(&"begin".to_owned()));
        assert_eq!(words("pra|", Dialect::Sqlite).1, ["pragma"]);
        assert_eq!(words("pra|", Dialect::Postgres).1, Vec::<String>::new());
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        let quoted = vec!["\"Order Date\"".to_owned()];
        assert_eq!(words("select \"Or| from orders", Dialect::Postgres), (3, quoted));
        assert_eq!(
            words("select * from orders where \"Or|", Dialect::Postgres).1,
            ["\"Order Date\""]
        );
        let mysql = words("select * from orders where Ord|", Dialect::Mysql).1;
        assert!(mysql.contains(&"`Order Date`".to_owned()), "{mysql:?}");
    }

    #[test]
    fn nothing_is_completed_in_strings_and_comments() {
        for text in ["select 'ord|", "select -- ord|", "select /* ord|", "-- |", "select $$ord|"] {
            assert_eq!(offered(text), Vec::<String>::new(), "{text}");
        }
    }
}
