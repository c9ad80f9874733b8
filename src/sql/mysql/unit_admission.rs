//! The command of a statement, and the units that it may run in.
//!
//! MySQL commits the open transaction for most statements that are no data modification, even when they fail, and tells
//! nobody ("Statements That Cause an Implicit Commit"). So a unit takes what is known not to.

use super::admission_kind::UnitAdmission::{
    self, Admitted, ImplicitCommit, SessionStatement, TransactionControl,
};
use super::admission_kind::{CONTROL, START};
use super::definition::{Definition, PLAIN_COMMANDS};
use super::set_variables;
use super::tokens::{Kind, Token};

/// The facts that the first words of a statement tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leading {
    pub(crate) unit: UnitAdmission,
    pub(crate) reads: bool,
    pub(crate) command: &'static str,
    /// The command with its kind of object.
    pub(crate) tag: &'static str,
    pub(crate) definition: Definition,
}

/// The commands whose kind of object belongs to their name.
const TAGS: [&str; 27] = [
    "CREATE TABLE",
    "CREATE INDEX",
    "CREATE VIEW",
    "CREATE PROCEDURE",
    "CREATE FUNCTION",
    "CREATE TRIGGER",
    "CREATE EVENT",
    "CREATE DATABASE",
    "CREATE SCHEMA",
    "CREATE USER",
    "CREATE ROLE",
    "CREATE SEQUENCE",
    "DROP TABLE",
    "DROP INDEX",
    "DROP VIEW",
    "DROP PROCEDURE",
    "DROP FUNCTION",
    "DROP TRIGGER",
    "DROP EVENT",
    "DROP DATABASE",
    "DROP SCHEMA",
    "DROP USER",
    "DROP ROLE",
    "DROP SEQUENCE",
    "ALTER TABLE",
    "LOCK TABLES",
    "TRUNCATE TABLE",
];

/// The commands that are told apart otherwise.
const OTHER_COMMANDS: [&str; 39] = [
    "WITH",
    "CALL",
    "SHOW",
    "EXPLAIN",
    "DESCRIBE",
    "DESC",
    "SET",
    "CREATE",
    "DROP",
    "ALTER",
    "RENAME",
    "TRUNCATE",
    "GRANT",
    "REVOKE",
    "ANALYZE",
    "CHECK",
    "OPTIMIZE",
    "REPAIR",
    "FLUSH",
    "RESET",
    "LOCK",
    "UNLOCK",
    "USE",
    "LOAD",
    "HANDLER",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "KILL",
    "INSTALL",
    "UNINSTALL",
    "CACHE",
    "CHANGE",
    "STOP",
    "PURGE",
    "HELP",
    "IMPORT",
    "SIGNAL",
    "BACKUP",
];

/// The command of a statement that is none of them.
pub(super) const OTHER: &str = "OTHER";

impl Leading {
    /// Reads the first words.
    pub(crate) fn of(tokens: &[Token<'_>], has_executable_comment: bool, sql: &str) -> Self {
        // To all but the commands that take them, hints are comments.
        let tokens: Vec<_> =
            tokens.iter().filter(|token| token.kind != Kind::Hint).copied().collect();
        if let Some((assignments, statement)) = set_variables::set_statement(&tokens) {
            let inner = Self::of(statement, has_executable_comment, sql);
            let mut leading = Self::behind_settings(assignments, inner, sql);
            if has_executable_comment {
                // FOR itself may be in one.
                let refused = TransactionControl("an executable comment");
                let control = tokens.iter().map(text).find_map(control_word);
                leading.unit = control.map_or(refused, TransactionControl);
            }
            return leading;
        }
        let words: Vec<&str> = tokens.iter().take(8).map(text).collect();
        let command = main_command(&tokens);
        let unit = if command == "SET" {
            set_variables::unit(&tokens, sql)
        } else {
            unit(&words, command)
        };
        let mut leading = Self {
            unit,
            reads: reads(&tokens, &words, command),
            command,
            tag: tag(&words, command),
            definition: Definition::of(&tokens, command, has_executable_comment),
        };
        if has_executable_comment {
            leading.unit = unit_of_all_readings(&tokens, leading.unit, sql);
            leading.reads = false;
        }
        leading
    }

    /// The facts of MariaDB's `SET STATEMENT … FOR`: those of the statement behind it, whose variables are set for its time.
    fn behind_settings(assignments: &[Token<'_>], inner: Self, sql: &str) -> Self {
        let are_harmless = set_variables::are_harmless(assignments, sql);
        let is_unknown = inner.unit == Admitted && !are_harmless;
        let unit = if is_unknown { UnitAdmission::UnknownVariable } else { inner.unit };
        Self { unit, reads: false, command: "SET", tag: "SET STATEMENT", ..inner }
    }
}

/// The text of a token that is a word; else nothing that could be taken for one.
fn text<'a>(token: &Token<'a>) -> &'a str {
    match token.kind {
        Kind::Word(word) => word,
        Kind::Symbol('(') => "(",
        Kind::Variable => "@",
        Kind::QuotedName(_) | Kind::String | Kind::Parameter(_) | Kind::Hint | Kind::Symbol(_) => {
            ""
        }
    }
}

/// The name of a command, if it is known.
fn known(word: &str) -> Option<&'static str> {
    let all = PLAIN_COMMANDS.iter().chain(&CONTROL).chain(&OTHER_COMMANDS);
    all.copied().find(|name| name.eq_ignore_ascii_case(word))
}

/// The command: the first word, or behind common table expressions the one that they are for.
fn main_command(tokens: &[Token<'_>]) -> &'static str {
    let mut depth = 0_usize;
    let first = tokens.iter().find(|token| token.kind != Kind::Symbol('('));
    let Some(Kind::Word(first)) = first.map(|token| token.kind) else { return OTHER };
    let Some(command) = known(first) else { return OTHER };
    if command != "WITH" {
        return command;
    }
    for token in tokens {
        match token.kind {
            Kind::Symbol('(') => depth += 1,
            Kind::Symbol(')') => depth = depth.saturating_sub(1),
            Kind::Word(word) if depth == 0 => {
                let main = ["SELECT", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE"];
                if let Some(main) = main.iter().find(|name| name.eq_ignore_ascii_case(word)) {
                    return main;
                }
            }
            Kind::Word(_)
            | Kind::QuotedName(_)
            | Kind::String
            | Kind::Parameter(_)
            | Kind::Variable
            | Kind::Hint
            | Kind::Symbol(_) => {}
        }
    }
    // The query itself is in parentheses.
    "SELECT"
}

/// The command with its kind of object, if that belongs to its name: the first that is named.
fn tag(words: &[&str], command: &'static str) -> &'static str {
    let named = words.iter().skip(1).find_map(|word| {
        TAGS.iter().copied().find(|tag| {
            let object = tag.strip_prefix(command).and_then(|object| object.strip_prefix(' '));
            object.is_some_and(|object| object.eq_ignore_ascii_case(word))
        })
    });
    match named {
        Some(tag) => tag,
        None if command == OTHER => "",
        None => command,
    }
}

fn is(word: Option<&&str>, name: &str) -> bool {
    word.is_some_and(|word| word.eq_ignore_ascii_case(name))
}

fn unit(words: &[&str], command: &'static str) -> UnitAdmission {
    match command {
        "SELECT" | "VALUES" | "TABLE" | "INSERT" | "REPLACE" | "UPDATE" | "DELETE" | "DO"
        | "CALL" | "SHOW" => Admitted,
        // What ANALYZE runs is what it would be alone, but for DDL, which it does not take.
        "EXPLAIN" | "DESCRIBE" | "DESC" => Admitted,
        "CREATE" => temporary(words, command, &["OR", "REPLACE"]),
        "DROP" => temporary(words, command, &[]),
        "START" => TransactionControl(START),
        "BEGIN" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "XA" | "END" => {
            TransactionControl(command)
        }
        // These run a text that nobody has read.
        "PREPARE" | "EXECUTE" | "DEALLOCATE" => TransactionControl(command),
        "USE" | "HANDLER" => SessionStatement(command),
        OTHER => TransactionControl("a statement that is not known"),
        _ => ImplicitCommit(command),
    }
}

/// Admits `CREATE TEMPORARY TABLE` and `DROP TEMPORARY TABLE`.
fn temporary(words: &[&str], command: &'static str, skipped: &[&str]) -> UnitAdmission {
    let mut rest = &words[1.min(words.len())..];
    if !skipped.is_empty()
        && rest.len() >= 2
        && skipped.iter().zip(rest).all(|(skip, word)| skip.eq_ignore_ascii_case(word))
    {
        rest = &rest[2..];
    }
    if is(rest.first(), "TEMPORARY") && is(rest.get(1), "TABLE") {
        Admitted
    } else {
        ImplicitCommit(command)
    }
}

/// The admission of a statement with executable comments: of each in front of the first word that stands outside, any
/// may be code. Behind simple commands nothing that a comment holds changes the command.
fn unit_of_all_readings(tokens: &[Token<'_>], as_code: UnitAdmission, sql: &str) -> UnitAdmission {
    if as_code.control().is_some() {
        return as_code;
    }
    let refused = TransactionControl("an executable comment");
    let outside = tokens.iter().position(|token| !token.is_optional);
    let outside_is_missing = outside.is_none();
    let outside = outside.unwrap_or(tokens.len().saturating_sub(1));
    let is_simple = |token: &Token<'_>| {
        // A text that is all comment may be none.
        let word = if token.is_optional && outside_is_missing { "" } else { text(token) };
        PLAIN_COMMANDS.iter().any(|name| name.eq_ignore_ascii_case(word))
    };
    let all = tokens.iter().take(outside + 1);
    if as_code == Admitted && all.clone().all(is_simple) {
        return Admitted;
    }
    // The server runs all of a comment or nothing: so the first word is one behind a border of a comment.
    let is_behind_border = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        before.is_none_or(|before| {
            !before.is_optional || sql[before.end..tokens[at].start].contains("*/")
        })
    };
    let first_words = all.enumerate().filter(|(at, _)| is_behind_border(*at));
    let control = first_words.map(|(_, token)| text(token)).find_map(control_word);
    control.map_or(refused, TransactionControl)
}

fn control_word(word: &str) -> Option<&'static str> {
    CONTROL.iter().copied().find(|control| control.eq_ignore_ascii_case(word))
}

fn reads(tokens: &[Token<'_>], words: &[&str], command: &str) -> bool {
    let has = |name: &str| {
        tokens
            .iter()
            .any(|token| matches!(token.kind, Kind::Word(word) if word.eq_ignore_ascii_case(name)))
    };
    match command {
        // INTO writes a file or a variable; FOR UPDATE, FOR SHARE and LOCK IN SHARE MODE lock rows.
        "SELECT" | "VALUES" | "TABLE" => {
            !["INTO", "UPDATE", "LOCK", "SHARE", "PROCEDURE", "GET_LOCK"].into_iter().any(has)
        }
        "SHOW" => true,
        "EXPLAIN" | "DESCRIBE" | "DESC" => {
            !words.iter().any(|word| word.eq_ignore_ascii_case("ANALYZE"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::MysqlStatement;

    #[test]
    fn a_hint_is_a_comment_to_commands_that_take_none() {
        for (sql, is_admitted) in [
            ("/*+ x */ select 1", true),
            ("/*+ x */ commit", false),
            ("create /*+ x */ temporary table t (a int)", true),
            ("create /*+ temporary table */ table t (a int)", false),
            ("/*+ x */ drop table t", false),
        ] {
            let unit = MysqlStatement::of(sql).unit;
            assert_eq!(unit == super::Admitted, is_admitted, "{sql}: {unit:?}");
        }
        let hinted = "explain /*+ a *//*+ a *//*+ a *//*+ a *//*+ a *//*+ a *//*+ a */ analyze";
        assert!(!MysqlStatement::of(&format!("{hinted} delete from t")).reads);
    }

    #[test]
    fn a_body_in_executable_comments_controls_no_transaction() {
        let body = "/*!50003 create*/ /*!50017 definer=`a`@`b`*/ /*!50003 trigger g before insert on t \
                    for each row begin set new.a = 1; end */";
        for (sql, expected) in [
            (body, None),
            (
                "/*!50106 create*/ /*!50106 event e on schedule every 1 day do begin select 1; end */",
                None,
            ),
            ("/*!50003 create trigger g */ /*!50003 begin */", Some("BEGIN")),
            ("/*!50003 create trigger g */ commit", Some("COMMIT")),
            ("/*!50003 select 1 */ /* a */ /*!50003 rollback */", Some("ROLLBACK")),
            ("/*!50003 commit */", Some("COMMIT")),
        ] {
            let facts = MysqlStatement::of(sql);
            assert_eq!(facts.transaction_control(), expected, "{sql}");
            assert_ne!(facts.unit, super::Admitted, "{sql}");
        }
    }

    #[test]
    fn a_lock_by_name_is_no_read() {
        assert!(!MysqlStatement::of("select get_lock('a', 1)").reads);
        assert!(MysqlStatement::of("select 'get_lock'").reads);
    }
}
