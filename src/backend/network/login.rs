//! The login of a database: user, passwords and TLS as they are now.

use std::sync::Arc;

use rustls::ClientConfig;

use super::credentials_command::GivenCredentials;
use super::tls::client_config;
use crate::config::{Problems, Secret, Server, Tls, TlsMode};
use crate::error::{Error, ErrorKind, Result};

/// The target of a backend: what a login needs of its configuration.
pub(crate) trait LoginTarget: Clone + Send + Sync + 'static {
    /// The servers in the written order, at least one.
    fn servers(&self) -> &[Server];

    /// Returns true if the servers are tried in random order.
    fn is_balanced(&self) -> bool;

    /// The user of every server.
    fn user(&self) -> &str;

    /// `tls.*`
    fn tls(&self) -> &Tls;

    /// Reads the same target from the files as they are now, with its warnings. Blocks.
    fn reread(&self) -> Result<(Self, Vec<String>), Problems>;

    /// Returns true if all is the same but the servers, which are compared apart, and what may differ between the
    /// connections of one pool: user, passwords, TLS.
    fn is_same_database(&self, other: &Self) -> bool;
}

/// Returns true if two targets have the same servers.
fn servers_match<T: LoginTarget>(one: &T, other: &T) -> bool {
    let pairs = one.servers().iter().zip(other.servers());
    one.servers().len() == other.servers().len() && pairs.into_iter().all(|(a, b)| a.is_at(b))
}

/// The login of one database.
pub(crate) struct Login<T> {
    pub(super) target: T,
    /// The credentials of a command; they are used instead of the target's own.
    pub(super) given: Option<Arc<GivenCredentials>>,
    /// The TLS configuration; `None` if TLS is disabled.
    tls: Option<Arc<ClientConfig>>,
}

impl<T: LoginTarget> Login<T> {
    pub(super) fn new(target: T, given: Option<Arc<GivenCredentials>>) -> Result<Self> {
        let is_encrypted = target.tls().mode != TlsMode::Disable;
        let tls = is_encrypted.then(|| client_config(target.tls())).transpose()?;
        Ok(Self { target, given, tls: tls.map(Arc::new) })
    }

    /// The user.
    pub(crate) fn user(&self) -> &str {
        let given = self.given.as_ref().and_then(|given| given.user.as_deref());
        given.unwrap_or_else(|| self.target.user())
    }

    /// The password for one of the servers, by its index.
    pub(crate) fn password(&self, server: usize) -> Option<&Secret> {
        match &self.given {
            Some(given) => Some(&given.password),
            None => self.target.servers()[server].password.as_ref(),
        }
    }

    /// The configuration of TLS; `None` if it is disabled.
    pub(crate) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    /// Reads the files again. Returns `None` if nothing has changed.
    pub(super) fn reread(&self) -> Result<Option<Self>> {
        let (target, warnings) =
            self.target.reread().map_err(|problems| unusable(&problems.to_string()))?;
        let is_same_mode = target.tls().mode == self.target.tls().mode;
        if !is_same_mode
            || !servers_match(&target, &self.target)
            || !target.is_same_database(&self.target)
        {
            return Err(unusable("the target of the connection has changed: restart to use it"));
        }
        let passwords = |target: &T| -> Vec<_> {
            target.servers().iter().map(|server| server.password.clone()).collect()
        };
        let before = passwords(&self.target);
        let now = passwords(&target);
        if before.iter().zip(&now).any(|(before, now)| before.is_some() && now.is_none()) {
            let warning = warnings.first().map_or("the password is missing", String::as_str);
            return Err(unusable(warning));
        }
        let is_same = before == now
            && target.user() == self.target.user()
            && target.tls() == self.target.tls();
        if is_same { Ok(None) } else { Self::new(target, self.given.clone()).map(Some) }
    }
}

/// Returns an error whose message is on one line, for the log.
fn unusable(why: &str) -> Error {
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    Error::new(ErrorKind::BackendMisconfigured, line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MysqlTarget, Target, load_from};

    fn login(url: &str) -> Login<MysqlTarget> {
        let config = load_from(&[("databases.main.url", url)]).expect("it is valid");
        let Target::Mysql(target) = &config.databases["main"].target else { panic!("not MySQL") };
        Login::new((**target).clone(), None).expect("no certificate is asked for")
    }

    #[test]
    fn a_login_is_made_anew_when_its_files_change_and_only_then() {
        let directory = tempfile::tempdir().expect("there is room");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("there is room");
            format!("${{file:{}}}", path.display())
        };
        let password = file("password", "one");
        let host = file("host", "127.0.0.1");
        let login = login(&format!("mysql://me:{password}@{host}:3307,[::1]/shop"));
        assert!(login.reread().expect("nothing is wrong").is_none());
        file("password", "two");
        let renewed = login.reread().expect("nothing is wrong").expect("it is another");
        for (login, expected) in [(&login, "one"), (&renewed, "two")] {
            assert_eq!(login.user(), "me");
            for server in [0, 1] {
                assert_eq!(login.password(server).map(Secret::expose), Some(expected));
            }
        }
        file("host", "127.0.0.2");
        let error = login.reread().map(drop).expect_err("other servers need another pool");
        assert!(error.message().contains("restart"), "{error}");
        file("host", "127.0.0.1");
        file("password", "");
        let error = login.reread().map(drop).expect_err("a password must not vanish");
        assert!(!error.message().contains("two"), "{error}");
    }

    #[test]
    fn a_login_has_tls_unless_it_is_disabled() {
        assert!(login("mysql://me@127.0.0.1/shop").tls().is_none());
        assert!(login("mysql://me@127.0.0.1/shop?ssl-mode=REQUIRED").tls().is_some());
    }
}
