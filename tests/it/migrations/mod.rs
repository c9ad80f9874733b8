//! `rowgate migrate`, `rowgate schema` and `rowgate reset`, on PostgreSQL, on MariaDB or MySQL, and on SQLite.

mod admin_urls;
mod crashes;
mod executable_comments;
mod interruptions;
mod ledgers;
mod migrators;
mod refusals;
mod remarks;
mod resets;
mod runs;
mod schemas;
mod single_statements;
mod texts;

use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::Backend;
use crate::harness::mariadb::Mariadb;
use crate::harness::postgres::Postgres;
use crate::harness::server::{rowgate, run};

const PATIENCE: Duration = Duration::from_secs(20);

/// All backends.
const BACKENDS: [Backend; 3] = [Backend::Postgres, Backend::Mariadb, Backend::Sqlite];

/// A directory with a configuration and files of migrations, and the database that they are for.
struct Project {
    directory: TempDir,
    backend: Backend,
    postgres: Option<Postgres>,
    mariadb: Option<Mariadb>,
}

/// The end of a command.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Returns what it printed; fails the test if it failed.
    #[track_caller]
    fn fine(self) -> String {
        assert_eq!(self.status, Some(0), "{self:?}");
        self.out
    }

    /// Returns its error; fails the test unless it ended with status 1.
    #[track_caller]
    fn refused(self) -> String {
        assert_eq!(self.status, Some(1), "{self:?}");
        self.err
    }
}

impl Project {
    fn start(backend: Backend) -> Self {
        let mut project = Self {
            directory: tempfile::tempdir().expect("a directory can be made"),
            backend,
            postgres: None,
            mariadb: None,
        };
        match backend {
            Backend::Postgres => project.postgres = Some(Postgres::start()),
            Backend::Mariadb => project.mariadb = Some(Mariadb::start()),
            Backend::Sqlite => {}
        }
        project.configure("");
        fs::create_dir(project.path().join("migrations")).expect("it is ours");
        project
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn url(&self) -> String {
        match (&self.postgres, &self.mariadb) {
            // Without a proof of the password, which takes a debug build long.
            (Some(postgres), _) => postgres.socket_url(),
            (None, Some(mariadb)) => mariadb.url(),
            (None, None) => "sqlite:main.db".to_owned(),
        }
    }

    /// Writes the configuration, with these lines for the database, too.
    fn configure(&self, more: &str) {
        let text = format!("[databases.main]\nurl = \"{}\"\n{more}\n", self.url());
        fs::write(self.path().join("rowgate.toml"), text).expect("it is ours");
    }

    /// Writes a file of migrations.
    fn file(&self, name: &str, text: &str) {
        fs::write(self.path().join("migrations").join(name), text).expect("it is ours");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path().join("migrations").join(name)).expect("it was there");
    }

    /// Runs a command.
    fn command(&self, arguments: &[&str]) -> Ended {
        Ended::of(run(self.path(), arguments, &[]))
    }

    fn migrate(&self, arguments: &[&str]) -> Ended {
        self.command(&[&["migrate"], arguments].concat())
    }

    /// Starts a migrator.
    fn spawn_up(&self) -> Child {
        let mut command = rowgate(self.path());
        command.args(["migrate", "up"]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary was built")
    }

    /// Returns the values of the first column, with a space between them.
    #[track_caller]
    fn values(&self, sql: &str) -> String {
        match (&self.postgres, &self.mariadb) {
            (Some(postgres), _) => postgres.psql(sql).replace('\n', " "),
            (None, Some(mariadb)) => mariadb.sql(sql).replace('\n', " "),
            (None, None) => {
                let connection = self.sqlite();
                let mut statement = connection.prepare(sql).expect("it is SQL");
                let value = |row: &rusqlite::Row<'_>| {
                    row.get::<_, i64>(0)
                        .map(|number| number.to_string())
                        .or_else(|_text| row.get(0))
                };
                let rows = statement.query_map([], value).expect("it runs");
                let rows: Result<Vec<_>, _> = rows.collect();
                rows.expect("each has a value").join(" ")
            }
        }
    }

    /// Runs a statement as its owner does.
    #[track_caller]
    fn execute(&self, sql: &str) {
        match self.backend {
            Backend::Sqlite => self.sqlite().execute_batch(sql).expect("it runs"),
            Backend::Postgres | Backend::Mariadb => drop(self.values(sql)),
        }
    }

    fn sqlite(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.path().join("main.db")).expect("a file");
        connection.busy_timeout(PATIENCE).expect("it is a number");
        connection
    }

    /// The names of the tables that begin with `t`, sorted.
    fn tables(&self) -> String {
        self.values(match self.backend {
            Backend::Postgres => {
                "select tablename from pg_tables where schemaname = 'public' and tablename like 't%' order by 1"
            }
            Backend::Mariadb => {
                "select table_name from information_schema.tables where table_schema = 'test' \
                 and table_name like 't%' order by 1"
            }
            Backend::Sqlite => {
                "select name from sqlite_schema where type = 'table' and name like 't%' order by 1"
            }
        })
    }

    /// The states of the files as `status` shows them.
    fn states(&self) -> Vec<String> {
        let table = self.migrate(&["status"]).fine();
        let cells = |line: &str| {
            let cells: Vec<_> =
                line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            format!("{} {}", cells[0], cells[2])
        };
        table.lines().skip(1).map(cells).collect()
    }
}
