//! The run of one file.

use super::migration_error::{FailedStatement, FailedStep, MigrationError};
use super::migration_files::MigrationFile;
use super::migration_ledger::Ledger;
use super::migration_script::MigrationScript;
use super::script_parts::{ScriptMode, ScriptStatement};
use super::unfinished::{NextStatement, advice};
use crate::backend::{AdminConnection, AdminRows, StatementFailure};
use crate::error::{Error, ErrorKind, Outcome};
use crate::sql::{Dialect, Scanner, is_among};

/// The hint about a text that is several statements to the database alone.
const SEVERAL: &str = "To the database it is several statements, as a setting of the file changes where strings end. Write each so \
    that it is one without that setting, as with E'…' for backslashes. Nothing of it has run.";

/// A file that is about to run, on a connection of its own: nothing that one file sets is there for the next.
pub(crate) struct FileRun<'a> {
    pub(crate) file: &'a MigrationFile,
    pub(crate) script: &'a MigrationScript,
    pub(crate) ledger: LedgerWriter<'a>,
    pub(crate) connection: &'a mut dyn AdminConnection,
    /// Takes what the database remarks on a statement.
    pub(crate) remarks: &'a mut dyn FnMut(&ScriptStatement, &str),
}

/// The ledger, with a connection that no file reaches: one that runs without a transaction may take another role, or lock tables.
pub(crate) struct LedgerWriter<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) connection: &'a mut dyn AdminConnection,
}

impl LedgerWriter<'_> {
    async fn run(&mut self, sql: &str) -> Result<AdminRows, Error> {
        self.connection.run(sql).await
    }

    /// Notes that all statements are done, also where somebody has deleted the row meanwhile.
    async fn note_end(&mut self, file: &MigrationFile, total: usize) -> Result<(), Error> {
        if self.run(&self.ledger.find_row(file.version)).await?.is_empty() {
            self.run(&self.ledger.start(file)).await?;
        }
        self.run(&self.ledger.finish(file.version, total)).await.map(drop)
    }
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
        let script = self.script;
        let begin = match self.connection.dialect() {
            // It has the lock from the start, so that no other process writes in between.
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres | Dialect::Mysql => "BEGIN",
        };
        self.connection.run(begin).await?;
        let before = self.connection.run(&self.ledger.ledger.finished()).await?;
        let started = self.connection.run(&self.ledger.ledger.start(self.file)).await;
        started.map_err(|error| self.not_started(error))?;
        for statement in &script.statements {
            if let Err(StatementFailure { error, .. }) = self.run_one(statement).await {
                let advice = self.rolled_back(&error);
                return Err(self.failed(statement, error, advice));
            }
            if !self.connection.in_transaction() {
                return Err(self.ended_transaction(statement));
            }
        }
        let committed = self.commit(before).await;
        if let Some(last) = script.statements.last() {
            // Deferred triggers run at the commit.
            self.pass_on(last);
        }
        committed.map_err(|error| {
            let advice = if error.outcome() == Outcome::NotApplied {
                self.rolled_back(&error)
            } else {
                "The answer to its commit was lost: `rowgate migrate status` tells if it is applied."
                    .to_owned()
            };
            self.failed_step(FailedStep::Commit, error, advice)
        })
    }

    /// Runs a statement of the file, and passes on what the database remarks on it.
    async fn run_one(&mut self, statement: &ScriptStatement) -> Result<(), StatementFailure> {
        let ran = self.connection.run_one(&statement.sql).await;
        self.pass_on(statement);
        ran.map_err(|mut failure| {
            if failure.error.reason() == "MULTIPLE_STATEMENTS" {
                failure.error = failure.error.with_hint(SEVERAL);
            }
            failure
        })
    }

    /// Passes on what the database remarks.
    fn pass_on(&mut self, statement: &ScriptStatement) {
        for remark in self.connection.take_remarks() {
            (self.remarks)(statement, &remark);
        }
    }

    /// The error of a statement that was no control of the transaction by its text, and has ended it.
    fn ended_transaction(&self, statement: &ScriptStatement) -> MigrationError {
        let name = &self.file.name;
        let message = "the statement has ended the transaction of the file";
        let error =
            Error::new(ErrorKind::TransactionControl, message).with_outcome(Outcome::Unknown);
        let advice = format!(
            "What {name} did up to it may be applied, and the ledger may have its row: look into the database."
        );
        self.failed(statement, error, advice)
    }

    async fn commit(&mut self, mut before: AdminRows) -> Result<(), Error> {
        if self.connection.dialect() == Dialect::Postgres {
            // The file may have taken another role, which may not write to the ledger.
            if self.file.text.to_ascii_lowercase().contains("authorization") {
                self.connection.run("RESET SESSION AUTHORIZATION").await?;
            }
            self.connection.run("RESET ROLE").await?;
        }
        let done = self.script.statements.len();
        let ledger = self.ledger.ledger;
        self.connection.run(&ledger.finish(self.file.version, done)).await?;
        let own = [self.file.version.to_string(), self.file.name.clone(), self.file.checksum()];
        before.push(own.map(Some).to_vec());
        if self.connection.run(&ledger.finished()).await? != before {
            let table = ledger.table();
            let message =
                format!("the file has changed {table}, the ledger, which is Rowgate's alone");
            return Err(Error::new(ErrorKind::FailedPrecondition, message)
                .with_hint("Remove the statement that does so, or the trigger."));
        }
        self.connection.run("COMMIT").await.map(drop)
    }

    async fn each_alone(&mut self) -> Result<(), MigrationError> {
        let Self { file, script, .. } = *self;
        let ledger = self.ledger.ledger;
        let before = self.ledger.run(&ledger.finished()).await?;
        let started = self.ledger.run(&ledger.start(file)).await;
        started.map_err(|error| self.not_started(error))?;
        let total = script.statements.len();
        for (done, statement) in script.statements.iter().enumerate() {
            if let Err(failure) = self.run_one(statement).await {
                return Err(self.failed_alone(statement, failure, done).await);
            }
            let done = done + 1;
            if done < total {
                let noted = self.ledger.run(&ledger.progress(file.version, done)).await;
                noted.map_err(|error| self.not_noted(done, statement, error))?;
            }
        }
        let finished = self.ledger.note_end(file, total).await;
        let end = script.statements.last();
        finished.map_err(|error| match end {
            Some(statement) => self.not_noted(total, statement, error),
            None => error.into(),
        })?;
        let after = self.ledger.run(&ledger.finished()).await?;
        if let Some(lost) = before.iter().find(|row| !after.contains(row)) {
            let lost = lost.get(1).cloned().flatten().unwrap_or_default();
            let message = format!("the file has removed or changed what the ledger knew of {lost}");
            let error = Error::new(ErrorKind::FailedPrecondition, message);
            let advice =
                format!("{} is applied. Write the rows of {} anew.", file.name, ledger.table());
            return Err(self.failed_step(FailedStep::Commit, error, advice));
        }
        Ok(())
    }

    /// The error of a statement of a file that runs one by one.
    async fn failed_alone(
        &mut self,
        statement: &ScriptStatement,
        StatementFailure { error, is_before_run }: StatementFailure,
        done: usize,
    ) -> MigrationError {
        let did_nothing = is_before_run || self.did_nothing(&error, statement);
        let advice = if done == 0 && did_nothing && self.forget().await {
            "Nothing of the file was applied: mend it, and run this again.".to_owned()
        } else {
            let begun =
                if did_nothing { NextStatement::Untouched } else { NextStatement::MayHaveRun };
            advice(self.ledger.ledger, self.file.version, &self.script.statements, done, begun)
        };
        self.failed(statement, error, advice)
    }

    /// Removes the row of a file that did nothing; returns false where that is not possible.
    async fn forget(&mut self) -> bool {
        self.ledger.run(&self.ledger.ledger.forget(self.file.version)).await.is_ok()
    }

    /// Returns true if MySQL is known to have done nothing for a statement: it has not even read it, or says that it has changed
    /// nothing yet.
    fn did_nothing(&self, error: &Error, statement: &ScriptStatement) -> bool {
        if self.connection.dialect() != Dialect::Mysql {
            return false;
        }
        if error.reason() != "SYNTAX_ERROR" {
            return error.outcome() == Outcome::NotApplied;
        }
        // What runs other SQL may have failed in the middle of it.
        !Scanner::new(&statement.sql, Dialect::Mysql).next().is_none_or(|first| {
            is_among(first.text, "CALL EXECUTE DO BEGIN IF CASE FOR LOOP REPEAT WHILE SET")
        })
    }

    /// The error of a statement that ran, and which the ledger does not know of.
    fn not_noted(&self, done: usize, statement: &ScriptStatement, error: Error) -> MigrationError {
        let before = done.saturating_sub(1);
        let version = self.file.version;
        let statements = &self.script.statements;
        let ledger = self.ledger.ledger;
        let advice = advice(ledger, version, statements, before, NextStatement::MayHaveRun);
        let message = format!("the statement ran, but the ledger does not know: {error}");
        let error = Error::new(error.kind(), message).with_outcome(Outcome::Unknown);
        self.failed(statement, error, advice)
    }

    /// The error of a file that the ledger does not take: nothing has run.
    fn not_started(&self, error: Error) -> MigrationError {
        if error.kind() == ErrorKind::Cancelled {
            return error.into();
        }
        let advice = format!("Nothing of {} has run.", self.file.name);
        self.failed_step(FailedStep::Start, error, advice)
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
            step: FailedStep::Statement,
            sql: statement.sql.clone(),
            first_line: statement.first_line,
            line: statement.line,
            error,
            advice,
        }))
    }

    fn failed_step(&self, step: FailedStep, error: Error, advice: String) -> MigrationError {
        MigrationError::Failed(Box::new(FailedStatement {
            file: self.file.name.clone(),
            step,
            sql: String::new(),
            first_line: 0,
            line: 0,
            error,
            advice,
        }))
    }
}
