//! Standbys, and what becomes of them.

use std::fs;

use super::postgres::{HBA, Postgres};

impl Postgres {
    /// A standby that follows a server which [admits](Postgres::admit_standbys) it.
    pub(crate) fn standby_of(primary: &Self) -> Self {
        let mut server = Self::bare();
        server.settings.clone_from(&primary.settings);
        server.follow(primary);
        server
    }

    /// Lets standbys copy this server, and lets them follow it.
    pub(crate) fn admit_standbys(&self) {
        self.put("pg_hba.conf", format!("local replication all trust\n{HBA}").as_bytes());
        self.reload();
    }

    /// Has it read its settings again; when this returns, whoever is connected has been told to.
    pub(crate) fn reload(&self) {
        self.psql("select pg_reload_conf()");
        // Whoever lets this session in has read them, and has told the others.
        self.psql("select 1");
    }

    /// Starts it as a standby of another, with a copy of its data; whatever it had is gone.
    pub(crate) fn follow(&mut self, primary: &Self) {
        assert!(self.keeper.is_none(), "it runs");
        fs::remove_dir_all(self.data()).unwrap_or_default();
        let label = self.copy_data(primary);
        for name in ["postmaster.pid", "postmaster.opts"] {
            fs::remove_file(self.data().join(name)).unwrap_or_default();
        }
        self.put("backup_label", label.as_bytes());
        self.put("standby.signal", b"");
        let altered = fs::read_to_string(self.data().join("postgresql.auto.conf"));
        let directory = primary.directory().display();
        let port = primary.port();
        let source = format!("primary_conninfo = 'host={directory} port={port} user=postgres'");
        let altered = altered.expect("every server has the file");
        self.put("postgresql.auto.conf", format!("{altered}\n{source}\n").as_bytes());
        self.resume();
    }

    /// Copies the data of a server that runs, and returns the label of the copy. It does without
    /// `pg_basebackup`, which not every package has, and which copies no server newer than itself.
    fn copy_data(&self, primary: &Self) -> String {
        let [start, stop] = if primary.major() < 15 {
            ["pg_start_backup('standby', true, false)", "pg_stop_backup(false)"]
        } else {
            ["pg_backup_start('standby', true)", "pg_backup_stop(false)"]
        };
        let from = primary.data();
        let to = self.data();
        let copy = format!("cp -R -p '{}' '{}' 2>/dev/null", from.display(), to.display());
        let script = format!("select null from {start};\n\\! {copy}\nselect labelfile from {stop}");
        primary.psql(&script).trim_start().to_owned() + "\n"
    }

    /// Makes a primary of a standby, and returns when it is one.
    pub(crate) fn promote(&self) {
        assert_eq!(self.psql("select pg_promote()"), "t");
        assert_eq!(self.psql("select pg_is_in_recovery()"), "f");
    }

    /// Connections of clients that are not this function's own.
    pub(crate) fn clients(&self) -> usize {
        let sql = "select count(*) from pg_stat_activity \
                   where backend_type = 'client backend' and pid <> pg_backend_pid()";
        self.psql(sql).parse().expect("a number")
    }
}
