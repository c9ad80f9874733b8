//! The comparison of the files with the ledger: what is pending, and what must not go on.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::migration_files::{MigrationFile, MigrationFiles, normalized};
use super::migration_ledger::{Ledger, LedgerRow};
use super::unfinished::{advice_for_row, is_finished_by_hand};
use crate::sql::Dialect;

/// The state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    Applied,
    Pending,
    /// It is pending, and a later one ran already.
    OutOfOrder,
    /// It ran with another content.
    Changed,
    /// It ran, and is not there any more.
    Missing,
    /// It began, and did not end.
    Unfinished,
    /// It began, and a migrator is at work.
    Running,
}

impl FileState {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::OutOfOrder => "out of order",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Unfinished => "unfinished",
            Self::Running => "running",
        }
    }
}

/// A file, or the row of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    pub(crate) version: i64,
    pub(crate) name: String,
    pub(crate) state: FileState,
    /// The time of its end, or of its start if it has none; empty for one that never ran.
    pub(crate) when: String,
}

/// The comparison of all files with the ledger.
#[derive(Debug, Default)]
pub(crate) struct MigrationPlan {
    /// In the order of versions.
    pub(crate) files: Vec<PlannedFile>,
    /// The reasons for which nothing may run.
    pub(crate) findings: Vec<Finding>,
    /// Remarks that are no reason.
    pub(crate) notes: Vec<String>,
}

impl MigrationPlan {
    /// The plan of an empty database, in which every file is pending.
    pub(crate) fn of_nothing(files: &MigrationFiles) -> Self {
        let mut plan = Self { findings: files.findings.clone(), ..Self::default() };
        for file in &files.files {
            let planned = plan.not_run(file, 0);
            plan.files.push(planned);
        }
        plan
    }

    /// Compares; the findings of the files themselves come first.
    pub(crate) fn new(
        files: &MigrationFiles,
        rows: &[LedgerRow],
        ledger: &Ledger,
        dialect: Dialect,
    ) -> Self {
        let mut plan = Self { findings: files.findings.clone(), ..Self::default() };
        plan.notes = files.gaps();
        let mut by_version: BTreeMap<i64, (Option<&MigrationFile>, Option<&LedgerRow>)> =
            BTreeMap::new();
        for file in &files.files {
            by_version.entry(file.version).or_default().0.get_or_insert(file);
        }
        for row in rows {
            by_version.entry(row.version).or_default().1 = Some(row);
        }
        let last = rows.last().map_or(0, |row| row.version);
        for (version, found) in by_version {
            let planned = match found {
                (Some(file), None) => plan.not_run(file, last),
                (file, Some(row)) => {
                    let state = plan.compare(file, row, ledger, dialect);
                    let when = row.finished_at.as_ref().unwrap_or(&row.started_at).clone();
                    PlannedFile { version, name: row.name.clone(), state, when }
                }
                (None, None) => continue,
            };
            plan.files.push(planned);
        }
        plan
    }

    /// Returns true if a file began and did not end.
    pub(crate) fn has_unfinished(&self) -> bool {
        self.files.iter().any(|file| file.state == FileState::Unfinished)
    }

    /// Takes what did not end for what runs: the lock of migrators is held. No advice is given about it.
    pub(crate) fn at_work(mut self) -> Self {
        for file in &mut self.files {
            if file.state == FileState::Unfinished {
                file.state = FileState::Running;
                let start = format!("V{}__", file.version);
                self.findings.retain(|finding| !finding.place.starts_with(&start));
                let why = "a migrator is at work on it: the lock is held";
                let instead = "Wait for its end. The database may hold the lock for a while after a migrator has died.";
                self.findings.push(Finding::new(&file.name, why, instead));
            }
        }
        self
    }

    /// Returns the files to run, up to a version.
    pub(crate) fn pending<'a>(
        &self,
        files: &'a MigrationFiles,
        target: Option<i64>,
    ) -> Vec<&'a MigrationFile> {
        let is_pending = |file: &&MigrationFile| {
            target.is_none_or(|target| file.version <= target)
                && self
                    .files
                    .iter()
                    .any(|it| it.version == file.version && it.state == FileState::Pending)
        };
        files.files.iter().filter(is_pending).collect()
    }

    /// The last version that ran; 0 before the first.
    pub(crate) fn version(&self) -> i64 {
        let applied = self.files.iter().filter(|file| file.state == FileState::Applied);
        applied.map(|file| file.version).max().unwrap_or_default()
    }

    fn not_run(&mut self, file: &MigrationFile, last: i64) -> PlannedFile {
        let is_late = file.version < last;
        if is_late {
            let why = format!("it did not run, and version {last} ran already");
            let instead =
                "Give it a number above: what ran already may have been written without it.";
            self.findings.push(Finding::new(&file.name, why, instead));
        }
        PlannedFile {
            version: file.version,
            name: file.name.clone(),
            state: if is_late { FileState::OutOfOrder } else { FileState::Pending },
            when: String::new(),
        }
    }

    /// Compares a file with its row.
    fn compare(
        &mut self,
        file: Option<&MigrationFile>,
        row: &LedgerRow,
        ledger: &Ledger,
        dialect: Dialect,
    ) -> FileState {
        let name = file.map_or(&row.name, |file| &file.name);
        if row.finished_at.is_none() {
            let why = format!("it began at {} and did not end", row.started_at);
            let advice = advice_for_row(ledger, row, dialect);
            self.findings.push(Finding::new(name, why, advice));
            return FileState::Unfinished;
        }
        let Some(file) = file else {
            let why = format!("it ran at {}, and there is no such file", row.started_at);
            let instead = "Put it back as it was: the table rowgate_migrations has its content.";
            self.findings.push(Finding::new(name, why, instead));
            return FileState::Missing;
        };
        if file.checksum() != row.checksum && is_finished_by_hand(row, dialect) {
            self.notes.push(format!("{} was finished by hand, and is not what ran", file.name));
            return FileState::Applied;
        }
        if file.checksum() != row.checksum {
            let (line, why) = first_difference(&normalized(&row.content), &normalized(&file.text));
            let instead = "Put it back as it was, and write the change into a further file.";
            self.findings.push(Finding::new(format!("{}:{line}", file.name), why, instead));
            return FileState::Changed;
        }
        if file.name != row.name {
            self.notes.push(format!("{} ran under the name {}", file.name, row.name));
        }
        FileState::Applied
    }
}

/// The first line that differs between what ran and what is there, from 1, and both.
fn first_difference(ran: &str, is: &str) -> (usize, String) {
    let mut lines = [ran.split('\n'), is.split('\n')];
    let mut number = 0;
    loop {
        number += 1;
        let [before, now] = lines.each_mut().map(Iterator::next);
        let shown = |line: Option<&str>| match line {
            Some(line) => format!("`{line}`"),
            None => "nothing".to_owned(),
        };
        if before != now || before.is_none() {
            let [before, now] = [shown(before), shown(now)];
            return (number, format!("it was changed after it ran: {before} ran, here is {now}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: i64, text: &str) -> MigrationFile {
        MigrationFile { version, name: format!("V{version}__a.sql"), text: text.to_owned() }
    }

    fn row(version: i64, text: &str) -> LedgerRow {
        let MigrationFile { name, text: content, .. } = file(version, text);
        LedgerRow {
            version,
            name,
            checksum: file(version, text).checksum(),
            content,
            started_at: "2026-01-31T12:00:00Z".to_owned(),
            finished_at: Some("2026-01-31T12:00:01Z".to_owned()),
            done: 1,
        }
    }

    fn plan(files: &[MigrationFile], rows: &[LedgerRow]) -> MigrationPlan {
        let files = MigrationFiles { files: files.to_vec(), findings: Vec::new() };
        let ledger = Ledger::in_schema(Dialect::Postgres, "public");
        MigrationPlan::new(&files, rows, &ledger, Dialect::Postgres)
    }

    fn states(plan: &MigrationPlan) -> Vec<(i64, &'static str)> {
        plan.files.iter().map(|file| (file.version, file.state.word())).collect()
    }

    #[test]
    fn what_did_not_run_is_pending_up_to_the_target() {
        let files = [file(1, "a"), file(2, "b"), file(4, "c")];
        let compared = plan(&files, &[row(1, "a")]);
        assert_eq!(states(&compared), [(1, "applied"), (2, "pending"), (4, "pending")]);
        assert!(compared.findings.is_empty(), "{:?}", compared.findings);
        assert_eq!((compared.version(), compared.notes.len()), (1, 1));
        let files = MigrationFiles { files: files.to_vec(), findings: Vec::new() };
        for (target, expected) in [(None, 2), (Some(3), 1), (Some(1), 0), (Some(4), 2)] {
            assert_eq!(compared.pending(&files, target).len(), expected, "{target:?}");
        }
    }

    #[test]
    fn each_divergence_is_found_and_says_what_to_do() {
        let changed = plan(&[file(1, "a\nb\nd\n")], &[row(1, "a\nb\nc\n")]);
        assert_eq!(states(&changed), [(1, "changed")]);
        let text = changed.findings[0].to_string();
        assert!(
            text.starts_with("V1__a.sql:3: it was changed after it ran: `c` ran, here is `d`"),
            "{text}"
        );

        let missing = plan(&[file(2, "b")], &[row(1, "a"), row(2, "b")]);
        assert_eq!(states(&missing), [(1, "missing"), (2, "applied")]);
        assert!(missing.findings[0].to_string().contains("there is no such file"));

        let late = plan(&[file(1, "a"), file(2, "b")], &[row(2, "b")]);
        assert_eq!(states(&late), [(1, "out of order"), (2, "applied")]);
        assert!(late.findings[0].why.contains("version 2 ran already"), "{:?}", late.findings);
    }

    #[test]
    fn a_file_that_did_not_end_tells_its_statement_and_the_sql_to_run() {
        let text =
            "-- rowgate: no-transaction\ncreate table t (a int);\n\ncreate index i\n  on t (a);\n";
        let begun = LedgerRow { finished_at: None, ..row(3, text) };
        let unfinished = plan(&[file(3, text), file(4, "d")], &[begun]);
        assert_eq!(states(&unfinished), [(3, "unfinished"), (4, "pending")]);
        let text = unfinished.findings[0].to_string();
        for part in [
            "V3__a.sql: it began at 2026-01-31T12:00:00Z and did not end",
            "1 of its 2 statements are known to be done",
            "Statement 2 (line 4) may have run, in part or whole, or still run: create index i on t (a)",
            "DELETE FROM \"public\".rowgate_migrations WHERE version = 3;",
            "UPDATE \"public\".rowgate_migrations SET finished_at = pg_catalog.clock_timestamp() WHERE version = 3;",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_line_more_or_less_differs_too() {
        for (ran, is, expected) in [("a\n", "a\nb\n", 2), ("a\nb", "a", 2), ("a", "a\n", 2)] {
            assert_eq!(first_difference(ran, is).0, expected, "{ran:?} {is:?}");
        }
    }
}
