//! The run of one file.

use super::migration_error::{FailedStatement, MigrationError};
use super::migration_files::MigrationFile;
use super::migration_ledger::Ledger;
use super::migration_script::MigrationScript;
use super::script_parts::{ScriptMode, ScriptStatement};
use super::unfinished::{NextStatement, advice};
use crate::backend::AdminConnection;
use crate::error::{Error, ErrorKind, Outcome};
use crate::sql::{Dialect, Scanner, is_among};

/// A file that is about to run, on a connection of its own: nothing that one file sets is there for the next.
pub(crate) struct FileRun<'a> {
    pub(crate) file: &'a MigrationFile,
    pub(crate) script: &'a MigrationScript,
    pub(crate) ledger: &'a Ledger,
    pub(crate) connection: &'a mut dyn AdminConnection,
}

impl FileRun<'_> {
    /// Runs it.
    pub(crate) async fn run(&mut self) -> Result<(), MigrationError> {
        match self.script.mode {
            ScriptMode::OneTransaction => self.in_one_transaction().await,
            ScriptMode::EachAlone => self.each_alone().await,
        }
    }

    async fn in_one_transaction(&mut self) -> Result<(), MigrationError> {
        let begin = match self.connection.dialect() {
            // It has the lock from the start, so that no other process writes in between.
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres | Dialect::Mysql => "BEGIN",
        };
        self.connection.run(begin).await?;
        self.connection.run(&self.ledger.start(self.file)).await?;
        for statement in &self.script.statements {
            if let Err(error) = self.connection.run(&statement.sql).await {
                let advice = self.rolled_back(&error);
                return Err(self.failed(statement, error, advice));
            }
        }
        self.commit().await.map_err(|error| {
            let advice = if error.outcome() == Outcome::NotApplied {
                self.rolled_back(&error)
            } else {
                "The answer to its commit was lost: `rowgate migrate status` tells if it is applied."
                    .to_owned()
            };
            let end = ScriptStatement { sql: String::new(), first_line: 0, line: 0 };
            self.failed(&end, error, advice)
        })
    }

    async fn commit(&mut self) -> Result<(), Error> {
        if self.connection.dialect() == Dialect::Postgres {
            // The file may have taken another role, which may not write to the ledger.
            self.connection.run("RESET ROLE").await?;
        }
        let done = self.script.statements.len();
        self.connection.run(&self.ledger.finish(self.file.version, done)).await?;
        self.connection.run("COMMIT").await.map(drop)
    }

    async fn each_alone(&mut self) -> Result<(), MigrationError> {
        let Self { file, script, ledger, .. } = *self;
        self.connection.run(&ledger.start(file)).await?;
        let total = script.statements.len();
        for (done, statement) in script.statements.iter().enumerate() {
            if let Err(error) = self.connection.run(&statement.sql).await {
                let did_nothing = self.did_nothing(&error, statement);
                let advice = if done == 0 && did_nothing && self.forget().await {
                    "Nothing of the file was applied: mend it, and run this again.".to_owned()
                } else {
                    let begun = if did_nothing {
                        NextStatement::Untouched
                    } else {
                        NextStatement::MayHaveRun
                    };
                    advice(ledger, file.version, &script.statements, done, begun)
                };
                return Err(self.failed(statement, error, advice));
            }
            let done = done + 1;
            if done < total {
                let noted = self.connection.run(&ledger.progress(file.version, done)).await;
                noted.map_err(|error| self.not_noted(done, statement, error))?;
            }
        }
        let finished = self.note_end(total).await;
        let end = script.statements.last();
        finished.map_err(|error| match end {
            Some(statement) => self.not_noted(total, statement, error),
            None => error.into(),
        })
    }

    /// Notes that all statements are done, also where somebody has deleted the row meanwhile.
    async fn note_end(&mut self, total: usize) -> Result<(), Error> {
        let version = self.file.version;
        if self.connection.run(&self.ledger.find_row(version)).await?.is_empty() {
            self.connection.run(&self.ledger.start(self.file)).await?;
        }
        self.connection.run(&self.ledger.finish(version, total)).await.map(drop)
    }

    /// Removes the row of a file that did nothing; returns false where that is not possible.
    async fn forget(&mut self) -> bool {
        self.connection.run(&self.ledger.forget(self.file.version)).await.is_ok()
    }

    /// Returns true if a statement is known to have done nothing: the database has not even read it, or says that it
    /// has changed nothing yet.
    fn did_nothing(&self, error: &Error, statement: &ScriptStatement) -> bool {
        if error.reason() != "SYNTAX_ERROR" {
            return self.connection.dialect() == Dialect::Mysql
                && error.outcome() == Outcome::NotApplied;
        }
        let mut tokens = Scanner::new(&statement.sql, self.connection.dialect());
        // What runs other SQL may have failed in the middle of it.
        let runs_sql = tokens.next().is_none_or(|first| {
            is_among(first.text, "CALL EXECUTE DO BEGIN IF CASE FOR LOOP REPEAT WHILE")
        });
        let runs_sql = runs_sql || statement.sql.to_ascii_uppercase().contains("CONCURRENTLY");
        !runs_sql
    }

    /// The error of a statement that ran, and which the ledger does not know of.
    fn not_noted(&self, done: usize, statement: &ScriptStatement, error: Error) -> MigrationError {
        let before = done.saturating_sub(1);
        let version = self.file.version;
        let statements = &self.script.statements;
        let advice = advice(self.ledger, version, statements, before, NextStatement::MayHaveRun);
        let message = format!("the statement ran, but the ledger does not know: {error}");
        let error = Error::new(error.kind(), message).with_outcome(Outcome::Unknown);
        self.failed(statement, error, advice)
    }

    fn rolled_back(&self, error: &Error) -> String {
        let name = &self.file.name;
        let mut advice = format!("Nothing of {name} is applied: its transaction is rolled back.");
        let sqlstate = error.report().map_or("", |report| report.sqlstate.as_str());
        let says = |words: &str| error.message().contains(words);
        // ACTIVE_SQL_TRANSACTION, and SQLite's own words.
        if sqlstate == "25001" || says("within a transaction") || says("inside a transaction") {
            advice += "\nLet the file run without one: write `-- rowgate: no-transaction` as its first line, \
                and leave in it what cannot run in a transaction alone.";
        } else if error.kind() == ErrorKind::LockNotAvailable {
            advice += "\nRun it again when the table is less busy, or raise databases.NAME.lock_timeout for this command.";
        }
        advice
    }

    fn failed(&self, statement: &ScriptStatement, error: Error, advice: String) -> MigrationError {
        MigrationError::Failed(Box::new(FailedStatement {
            file: self.file.name.clone(),
            sql: statement.sql.clone(),
            first_line: statement.first_line,
            line: statement.line,
            error,
            advice,
        }))
    }
}
