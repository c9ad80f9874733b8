//! What a statement is called: `INSERT`, `CREATE TABLE`.

/// The command of one statement that SQLite accepted; empty when the text holds none.
///
/// A query that starts with WITH is named after what follows its common table expressions; REPLACE
/// is an INSERT, VALUES a SELECT.
pub(crate) fn command(sql: &str) -> String {
    let mut words = Words { rest: sql, depth: 0 };
    let Some(first) = words.next() else { return String::new() };
    match first.to_ascii_uppercase().as_str() {
        "WITH" => words.find_map(verb).unwrap_or("SELECT").to_owned(),
        word @ ("CREATE" | "DROP" | "ALTER") => {
            let adjective = ["TEMP", "TEMPORARY", "UNIQUE", "VIRTUAL"];
            let object = words
                .map(str::to_ascii_uppercase)
                .find(|word| !adjective.contains(&word.as_str()))
                .unwrap_or_default();
            format!("{word} {object}").trim_end().to_owned()
        }
        word => verb(first).unwrap_or(word).to_owned(),
    }
}

/// Whether `sqlite3_changes` counts what the command did.
pub(crate) fn counts_changes(command: &str) -> bool {
    matches!(command, "INSERT" | "UPDATE" | "DELETE")
}

/// Whether a command is one that writes, so that its statement need not ask a reader first.
///
/// SQLite itself decides; but it compiles some of these (ALTER, CREATE) against the schema that the
/// connection remembers, and a reader's may be out of date.
pub(crate) fn writes(command: &str) -> bool {
    counts_changes(command)
        || matches!(command, "REINDEX" | "ANALYZE" | "VACUUM")
        || ["CREATE ", "DROP ", "ALTER "].iter().any(|start| command.starts_with(start))
}

fn verb(word: &str) -> Option<&'static str> {
    let verbs = [
        ("SELECT", "SELECT"),
        ("VALUES", "SELECT"),
        ("INSERT", "INSERT"),
        ("REPLACE", "INSERT"),
        ("UPDATE", "UPDATE"),
        ("DELETE", "DELETE"),
    ];
    verbs.iter().find(|(verb, _)| word.eq_ignore_ascii_case(verb)).map(|(_, name)| *name)
}

/// The bare words of a statement outside parentheses.
struct Words<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let first = self.rest.chars().next()?;
            let length = token_length(self.rest, first);
            let (token, rest) = self.rest.split_at(length);
            self.rest = rest;
            match first {
                '(' => self.depth += 1,
                ')' => self.depth = self.depth.saturating_sub(1),
                _ if self.depth == 0 && is_word_start(first) => return Some(token),
                _ => {}
            }
        }
    }
}

/// The bytes of the token that `text` starts with; an unterminated one reaches to the end.
fn token_length(text: &str, first: char) -> usize {
    let through = |close: &str| text[1..].find(close).map_or(text.len(), |at| 1 + at + close.len());
    match first {
        '\'' | '"' | '`' => quoted_length(text, first),
        '[' => through("]"),
        '-' if text.starts_with("--") => through("\n"),
        '/' if text.starts_with("/*") => {
            text[2..].find("*/").map_or(text.len(), |at| 2 + at + "*/".len())
        }
        // Numbers and parameters are taken whole, or their letters would look like words.
        _ if is_word_start(first) || first.is_ascii_digit() || "$:@?#".contains(first) => {
            let after = first.len_utf8();
            text[after..].find(|c| !is_word_part(c)).map_or(text.len(), |at| after + at)
        }
        _ => first.len_utf8(),
    }
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(found) = text[at..].find(quote) {
        at += found + 1;
        if !text[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    text.len()
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn is_word_part(c: char) -> bool {
    is_word_start(c) || c.is_ascii_digit() || c == '$'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_statement_has_its_database_name() {
        let cases = [
            ("", ""),
            (" ;; -- nothing", ""),
            ("/* select */", ""),
            ("select 1", "SELECT"),
            ("-- insert\n/* update */ Select 1", "SELECT"),
            (";values (1)", "SELECT"),
            ("insert into t values (1)", "INSERT"),
            ("replace into t values (1)", "INSERT"),
            ("with a as (select 1) select * from a", "SELECT"),
            ("with recursive a(x) as (select 'delete'), b as (select 1) delete from t", "DELETE"),
            (
                "with \"update\" as (select 1), [delete] as (values (2)) insert into t select 1",
                "INSERT",
            ),
            ("create table t (a)", "CREATE TABLE"),
            ("create unique index i on t (a)", "CREATE INDEX"),
            ("create virtual table t using fts5(a)", "CREATE TABLE"),
            ("drop view if exists v", "DROP VIEW"),
            ("alter table t rename to u", "ALTER TABLE"),
            ("explain query plan select 1", "EXPLAIN"),
            ("vacuum", "VACUUM"),
            ("pragma user_version = 3", "PRAGMA"),
        ];
        for (sql, expected) in cases {
            assert_eq!(command(sql), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_command(sql in ".*") {
            let _name = command(&sql);
            let _name = command(&format!("with {sql}"));
        }
    }
}
