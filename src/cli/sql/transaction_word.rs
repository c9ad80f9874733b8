//! Transaction control that is typed as SQL.

use crate::sql::{Dialect, Scanner, TokenKind, is_among};
use crate::value::proto::{AccessMode, IsolationLevel, TransactionOptions};

/// A command of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TransactionWord {
    Begin(TransactionOptions),
    Commit(Next),
    Rollback(Next),
    RollbackTo(String),
    Release(String),
    Savepoint(String),
}

/// The sequel of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// `AND CHAIN`: another transaction with the same options.
    Transaction,
}

/// Reads a statement that controls a transaction; `None` for any other, and for control that the server explains.
///
/// # Errors
/// Control that is not understood to its end, as text for people.
pub(super) fn transaction_word(
    sql: &str,
    dialect: Dialect,
) -> Option<Result<TransactionWord, String>> {
    let tokens: Vec<_> = Scanner::new(sql, dialect).collect();
    // The database alone knows what is code in it.
    if tokens.iter().any(|token| token.is_optional) {
        return None;
    }
    let words: Vec<_> = tokens.iter().map(|token| Word::of(token.kind, token.text)).collect();
    let mut words = Words { words: &words };
    let is_start = words.take("START");
    let read = if is_start && words.take("TRANSACTION") || !is_start && words.take("BEGIN") {
        words.begin(dialect).map(TransactionWord::Begin)
    } else if is_start {
        return None;
    } else if words.take("COMMIT END") {
        words.end().map(TransactionWord::Commit)
    } else if words.take("ROLLBACK") || dialect == Dialect::Postgres && words.take("ABORT") {
        words.rollback()
    } else if words.take("SAVEPOINT") {
        words.name().map(TransactionWord::Savepoint)
    } else if words.take("RELEASE") {
        words.take("SAVEPOINT");
        words.name().map(TransactionWord::Release)
    } else {
        return None;
    };
    let is_prepared = words.next_is("PREPARED");
    if is_prepared {
        return None;
    }
    let whole = read.filter(|_| words.words.is_empty());
    Some(whole.ok_or_else(|| {
        let why = match words.words.first() {
            Some(word) => format!("transaction control is not understood from {:?} on", word.text),
            None => "transaction control lacks a word at its end".to_owned(),
        };
        format!("{why}\n  hint: {}", form_of(sql, dialect))
    }))
}

/// Returns true for a statement that begins a transaction, or was meant to.
pub(super) fn is_begin(sql: &str, dialect: Dialect) -> bool {
    let first = Scanner::new(sql, dialect).next();
    first.is_some_and(|token| is_among(token.text, "BEGIN START"))
}

/// The forms of a statement that are understood, as a sentence.
fn form_of(sql: &str, dialect: Dialect) -> &'static str {
    if !is_begin(sql, dialect) {
        return "Write COMMIT or ROLLBACK, with AND CHAIN or without; SAVEPOINT NAME, ROLLBACK TO NAME, or RELEASE NAME.";
    }
    match dialect {
        Dialect::Postgres => {
            "Write BEGIN, or behind it ISOLATION LEVEL READ COMMITTED, REPEATABLE READ or SERIALIZABLE; READ ONLY or \
             READ WRITE; DEFERRABLE."
        }
        Dialect::Sqlite => {
            "Write BEGIN, or behind it DEFERRED, IMMEDIATE or EXCLUSIVE; ISOLATION LEVEL READ COMMITTED, REPEATABLE \
             READ or SERIALIZABLE; READ ONLY or READ WRITE."
        }
        Dialect::Mysql => {
            "Write BEGIN, or behind it ISOLATION LEVEL READ COMMITTED, REPEATABLE READ or SERIALIZABLE; READ ONLY or \
             READ WRITE."
        }
    }
}

/// A token: a name, or a word that may be a keyword.
#[derive(Debug)]
struct Word {
    text: String,
    is_keyword: bool,
    is_name: bool,
}

impl Word {
    fn of(kind: TokenKind, text: &str) -> Self {
        let is_keyword = kind == TokenKind::Word;
        let text = match kind {
            // As the databases compare names without quotes.
            TokenKind::Word => text.to_lowercase(),
            TokenKind::QuotedName => without_quotes(text),
            TokenKind::String
            | TokenKind::EscapeString
            | TokenKind::DollarString
            | TokenKind::Number
            | TokenKind::Parameter
            | TokenKind::Symbol
            | TokenKind::Unterminated(_) => text.to_owned(),
        };
        Self { text, is_keyword, is_name: is_keyword || kind == TokenKind::QuotedName }
    }
}

/// The name within quotes, those inside of it no longer doubled.
fn without_quotes(text: &str) -> String {
    let quote = &text[..1];
    let inside = text.get(1..text.len() - 1).unwrap_or_default();
    inside.replace(&quote.repeat(2), quote)
}

/// The words that are not read yet.
struct Words<'a> {
    words: &'a [Word],
}

impl Words<'_> {
    fn next_is(&self, any: &str) -> bool {
        self.words.first().is_some_and(|word| word.is_keyword && is_among(&word.text, any))
    }

    /// Takes the next word if it is one of these.
    fn take(&mut self, any: &str) -> bool {
        let is_next = self.next_is(any);
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }

    fn name(&mut self) -> Option<String> {
        let (name, rest) = self.words.split_first()?;
        self.words = if name.is_name { rest } else { self.words };
        name.is_name.then(|| name.text.clone())
    }

    /// The options behind BEGIN.
    fn begin(&mut self, dialect: Dialect) -> Option<TransactionOptions> {
        let mut options = TransactionOptions::default();
        match dialect {
            // The server's own way to begin is IMMEDIATE, which each of these allows.
            Dialect::Sqlite => {
                self.take("DEFERRED IMMEDIATE EXCLUSIVE");
                self.take("TRANSACTION")
            }
            Dialect::Postgres => self.take("WORK TRANSACTION"),
            Dialect::Mysql => self.take("WORK"),
        };
        while !self.words.is_empty() {
            self.mode(dialect, &mut options)?;
            if let Some(comma) = self.words.first().filter(|word| word.text == ",") {
                debug_assert!(!comma.is_name, "a comma is a symbol");
                self.words = &self.words[1..];
            }
        }
        Some(options)
    }

    /// One mode of a transaction.
    fn mode(&mut self, dialect: Dialect, options: &mut TransactionOptions) -> Option<()> {
        let is_postgres = dialect == Dialect::Postgres;
        if self.take("READ") {
            let mode = if self.take("ONLY") {
                AccessMode::ReadOnly
            } else {
                self.take("WRITE").then_some(AccessMode::ReadWrite)?
            };
            options.access_mode = mode.into();
        } else if self.take("ISOLATION") {
            // MySQL itself has it in SET TRANSACTION alone.
            let level = self.take("LEVEL").then(|| self.level(dialect))??;
            options.isolation_level = level.into();
        } else if is_postgres && self.take("DEFERRABLE") {
            options.deferrable = true;
        } else if is_postgres && self.take("NOT") {
            return self.take("DEFERRABLE").then_some(());
        } else {
            return None;
        }
        Some(())
    }

    fn level(&mut self, dialect: Dialect) -> Option<IsolationLevel> {
        if self.take("SERIALIZABLE") {
            return Some(IsolationLevel::Serializable);
        }
        if self.take("REPEATABLE") {
            return self.take("READ").then_some(IsolationLevel::RepeatableRead);
        }
        // In PostgreSQL, READ UNCOMMITTED is READ COMMITTED; in SQLite, each level is SERIALIZABLE.
        let is_read = self.take("READ");
        let is_committed =
            self.take("COMMITTED") || dialect != Dialect::Mysql && self.take("UNCOMMITTED");
        (is_read && is_committed).then_some(IsolationLevel::ReadCommitted)
    }

    /// The words behind COMMIT, and behind ROLLBACK of a whole transaction.
    fn end(&mut self) -> Option<Next> {
        self.take("WORK TRANSACTION");
        if !self.take("AND") {
            return Some(Next::Nothing);
        }
        let next = if self.take("NO") { Next::Nothing } else { Next::Transaction };
        self.take("CHAIN").then_some(next)
    }

    fn rollback(&mut self) -> Option<TransactionWord> {
        let next = self.end()?;
        if !self.take("TO") {
            return Some(TransactionWord::Rollback(next));
        }
        self.take("SAVEPOINT");
        self.name().map(TransactionWord::RollbackTo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(sql: &str, dialect: Dialect) -> Option<Result<TransactionWord, String>> {
        transaction_word(sql, dialect)
    }

    fn begun(isolation: IsolationLevel, access: AccessMode, deferrable: bool) -> TransactionWord {
        TransactionWord::Begin(TransactionOptions {
            isolation_level: isolation.into(),
            access_mode: access.into(),
            deferrable,
            ..TransactionOptions::default()
        })
    }

    #[test]
    fn control_becomes_commands() {
        use Dialect::{Mysql, Postgres, Sqlite};
        let plain = || begun(IsolationLevel::Unspecified, AccessMode::Unspecified, false);
        let name = |name: &str| name.to_owned();
        for (sql, dialect, expected) in [
            ("BEGIN", Postgres, plain()),
            ("-- a\nbegin work", Postgres, plain()),
            ("start transaction", Mysql, plain()),
            ("begin immediate transaction", Sqlite, plain()),
            (
                "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY DEFERRABLE",
                Postgres,
                begun(IsolationLevel::Serializable, AccessMode::ReadOnly, true),
            ),
            (
                "start transaction isolation level repeatable read read write not deferrable",
                Postgres,
                begun(IsolationLevel::RepeatableRead, AccessMode::ReadWrite, false),
            ),
            (
                "start transaction read only",
                Mysql,
                begun(IsolationLevel::Unspecified, AccessMode::ReadOnly, false),
            ),
            (
                "begin isolation level read committed",
                Mysql,
                begun(IsolationLevel::ReadCommitted, AccessMode::Unspecified, false),
            ),
            (
                "begin immediate read only",
                Sqlite,
                begun(IsolationLevel::Unspecified, AccessMode::ReadOnly, false),
            ),
            (
                "start transaction isolation level serializable, read only",
                Sqlite,
                begun(IsolationLevel::Serializable, AccessMode::ReadOnly, false),
            ),
            ("commit", Postgres, TransactionWord::Commit(Next::Nothing)),
            ("END TRANSACTION", Sqlite, TransactionWord::Commit(Next::Nothing)),
            ("commit and chain", Postgres, TransactionWord::Commit(Next::Transaction)),
            ("commit and no chain", Postgres, TransactionWord::Commit(Next::Nothing)),
            ("abort", Postgres, TransactionWord::Rollback(Next::Nothing)),
            ("rollback work and chain", Postgres, TransactionWord::Rollback(Next::Transaction)),
            ("rollback to savepoint A", Postgres, TransactionWord::RollbackTo(name("a"))),
            ("rollback transaction to a", Sqlite, TransactionWord::RollbackTo(name("a"))),
            ("savepoint \"A\"\"b\"", Postgres, TransactionWord::Savepoint(name("A\"b"))),
            ("savepoint `A`", Mysql, TransactionWord::Savepoint(name("A"))),
            ("release savepoint a", Postgres, TransactionWord::Release(name("a"))),
            ("release a", Sqlite, TransactionWord::Release(name("a"))),
        ] {
            assert_eq!(word(sql, dialect), Some(Ok(expected)), "{sql}");
        }
    }

    #[test]
    fn what_is_not_understood_is_never_run_as_something_else() {
        use Dialect::{Mysql, Postgres, Sqlite};
        for (sql, dialect) in [
            ("begin isolation level", Postgres),
            ("begin isolation level chaos", Postgres),
            ("begin read", Postgres),
            ("begin x", Sqlite),
            ("begin deferrable", Sqlite),
            ("start transaction with consistent snapshot", Mysql),
            ("begin isolation level read uncommitted", Mysql),
            ("commit x", Postgres),
            ("commit and", Postgres),
            ("rollback to", Postgres),
            ("rollback to 1", Postgres),
            ("rollback to a b", Postgres),
            ("savepoint", Postgres),
            ("release 'a'", Postgres),
        ] {
            let word = word(sql, dialect);
            let is_told = matches!(&word, Some(Err(why)) if why.contains("\n  hint: Write "));
            assert!(is_told, "{sql}: {word:?}");
        }
    }

    #[test]
    fn other_statements_go_to_the_server() {
        use Dialect::{Mysql, Postgres, Sqlite};
        for (sql, dialect) in [
            ("/*!50003 commit */", Mysql),
            ("begin /*M! work */", Mysql),
            ("select 1", Postgres),
            ("set transaction read only", Postgres),
            ("prepare transaction 'a'", Postgres),
            ("commit prepared 'a'", Postgres),
            ("rollback prepared 'a'", Postgres),
            ("start", Postgres),
            ("abort", Sqlite),
            ("\"begin\"", Postgres),
            ("", Postgres),
        ] {
            assert_eq!(word(sql, dialect), None, "{sql}");
        }
    }
}
