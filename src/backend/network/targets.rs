//! The configured targets, as far as a login needs them.

use super::login::LoginTarget;
use crate::config::{MysqlTarget, PostgresTarget, Problems, Server, Tls};

impl LoginTarget for PostgresTarget {
    fn servers(&self) -> &[Server] {
        &self.servers
    }

    fn is_balanced(&self) -> bool {
        self.balance
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn tls(&self) -> &Tls {
        &self.tls
    }

    fn reread(&self) -> Result<(Self, Vec<String>), Problems> {
        Self::reread(self)
    }

    fn is_same_database(&self, other: &Self) -> bool {
        let rest = |target: &Self| {
            let Self { dbname, application_name, session, balance, channel_binding, .. } = target;
            let choices = (*session, *balance, *channel_binding);
            (choices, dbname.clone(), application_name.clone())
        };
        rest(self) == rest(other)
    }
}

impl LoginTarget for MysqlTarget {
    fn servers(&self) -> &[Server] {
        &self.servers
    }

    fn is_balanced(&self) -> bool {
        self.balance
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn tls(&self) -> &Tls {
        &self.tls
    }

    fn reread(&self) -> Result<(Self, Vec<String>), Problems> {
        Self::reread(self)
    }

    fn is_same_database(&self, other: &Self) -> bool {
        let rest = |target: &Self| (target.session, target.balance, target.dbname.clone());
        rest(self) == rest(other)
    }
}
