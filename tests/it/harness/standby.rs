//! Standbys, and what becomes of them.

use std::fs;

use super::postgres::{HBA, Postgres, tool};

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
        self.psql("select pg_reload_conf()");
    }

    /// Starts it as a standby of another, with a copy of its data; whatever it had is gone.
    pub(crate) fn follow(&mut self, primary: &Self) {
        assert!(self.keeper.is_none(), "it runs");
        let data = self.directory().join("data");
        fs::remove_dir_all(&data).unwrap_or_default();
        let mut command = self.user.command(tool("pg_basebackup"));
        command.arg("-D").arg(&data).arg("-h").arg(primary.directory());
        command.args(["-p", &primary.port().to_string(), "-U", "postgres"]);
        command.args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "--no-manifest"]);
        let output = command.output().expect("pg_basebackup runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.resume();
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
