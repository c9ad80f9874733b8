//! The definitions that a statement changes.

use super::admission_kind::CONTROL;
use super::tokens::{Kind, Token};

/// The definitions that a statement changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Definition {
    /// It is known to leave them.
    #[default]
    Unchanged,
    /// One object's, which is found, and looked up for rights, before anything is changed.
    OfOne,
    /// It may change several, one after the other.
    OfSeveral,
}

/// The statements that modify or read data, and run no other.
pub(super) const PLAIN_COMMANDS: [&str; 8] =
    ["SELECT", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE", "DO"];

/// The commands that leave definitions, beside those for data and for transactions.
const LEAVES: [&str; 14] = [
    "SHOW",
    "EXPLAIN",
    "DESCRIBE",
    "DESC",
    "SET",
    "USE",
    "LOCK",
    "UNLOCK",
    "HANDLER",
    "KILL",
    "HELP",
    "DEALLOCATE",
    "WITH",
    "SIGNAL",
];

/// The statements that change one object, by grammar or because no comma names another one. Those with OR REPLACE, which
/// drop before they create, are none of them.
const OF_ONE: [(&str, &str); 22] = [
    ("CREATE", "TABLE"),
    ("CREATE", "INDEX"),
    ("CREATE", "VIEW"),
    ("CREATE", "PROCEDURE"),
    ("CREATE", "FUNCTION"),
    ("CREATE", "TRIGGER"),
    ("CREATE", "EVENT"),
    ("CREATE", "DATABASE"),
    ("CREATE", "SCHEMA"),
    ("CREATE", "SEQUENCE"),
    ("DROP", "TABLE"),
    ("DROP", "INDEX"),
    ("DROP", "VIEW"),
    ("DROP", "PROCEDURE"),
    ("DROP", "FUNCTION"),
    ("DROP", "TRIGGER"),
    ("DROP", "EVENT"),
    ("DROP", "SEQUENCE"),
    ("ALTER", "TABLE"),
    ("ALTER", "SEQUENCE"),
    ("TRUNCATE", "TABLE"),
    ("RENAME", "TABLE"),
];

/// The words between a command and its kind of object.
const BETWEEN: [&str; 6] = ["TEMPORARY", "UNIQUE", "FULLTEXT", "SPATIAL", "ONLINE", "IGNORE"];

impl Definition {
    /// Reads the tokens of a statement, without hints.
    pub(super) fn of(
        tokens: &[Token<'_>],
        command: &'static str,
        has_executable_comment: bool,
    ) -> Self {
        if PLAIN_COMMANDS.iter().chain(&LEAVES).chain(&CONTROL).any(|known| *known == command) {
            return Self::Unchanged;
        }
        if has_executable_comment {
            return Self::OfSeveral;
        }
        let mut words = tokens.iter().filter_map(word);
        let starts_with_it = words.next().is_some_and(|word| word.eq_ignore_ascii_case(command));
        let mut rest = words.skip_while(|word| is_one_of(word, &BETWEEN));
        let object = rest.next().unwrap_or_default();
        let is_known =
            OF_ONE.iter().any(|(name, kind)| *name == command && kind.eq_ignore_ascii_case(object));
        let copies = object.eq_ignore_ascii_case("TABLE")
            && command == "CREATE"
            && rest.any(|word| is_one_of(word, &["SELECT", "VALUES", "WITH", "TABLE"]));
        let has_comma = tokens.iter().any(|token| token.kind == Kind::Symbol(','));
        let names_several = has_comma && matches!(command, "DROP" | "RENAME");
        if starts_with_it && is_known && !copies && !names_several {
            Self::OfOne
        } else {
            Self::OfSeveral
        }
    }
}

/// The text of a word.
fn word<'a>(token: &Token<'a>) -> Option<&'a str> {
    match token.kind {
        Kind::Word(word) => Some(word),
        Kind::QuotedName(_)
        | Kind::String
        | Kind::Parameter(_)
        | Kind::Variable
        | Kind::Hint
        | Kind::Symbol(_) => None,
    }
}

fn is_one_of(word: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::super::MysqlStatement;
    use super::Definition::{OfOne, OfSeveral, Unchanged};

    #[test]
    fn a_statement_of_one_object_is_known_by_its_words() {
        for (sql, expected) in [
            ("create table t (a int, b int)", OfOne),
            ("create temporary table t (a int)", OfOne),
            ("create table `select` (a int)", OfOne),
            ("create or replace table t (a int)", OfSeveral),
            ("create table t select 1", OfSeveral),
            ("create table t as with x as (select 1) select * from x", OfSeveral),
            ("create unique index i on t (a, b)", OfOne),
            ("create view v as select 1", OfOne),
            ("create or replace view v as select 1", OfSeveral),
            ("create definer = x view v as select 1", OfSeveral),
            ("create user a, b", OfSeveral),
            ("drop table t", OfOne),
            ("drop table if exists t", OfOne),
            ("drop table t, u", OfSeveral),
            ("drop database d", OfSeveral),
            ("alter table t add a int, add b int", OfOne),
            ("alter table t /*!99999 , */ add a int", OfSeveral),
            ("rename table a to b", OfOne),
            ("rename table a to b, c to d", OfSeveral),
            ("truncate table t", OfOne),
            ("truncate t", OfSeveral),
            ("grant select on a to b", OfSeveral),
            ("analyze table t", OfSeveral),
            ("call p()", OfSeveral),
            ("set statement a = 1 for alter table t add b int", OfOne),
            ("set statement a = 1 for select 1", Unchanged),
            ("select 1", Unchanged),
            ("with x as (select 1) select * from x", Unchanged),
            ("/*!50000 set */ @a = 1", Unchanged),
        ] {
            assert_eq!(MysqlStatement::of(sql).definition, expected, "{sql}");
        }
    }
}
