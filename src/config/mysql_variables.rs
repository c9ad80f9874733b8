//! The environment of MySQL's own client: the variables that name a server, and the password.

use super::database_url::{DatabaseUrl, FoundUrl};
use super::mysql_url::MysqlUrl;
use super::problem::Problem;
use super::secrets::secret::Secret;
use super::source::Environment;
use super::url_parts;

const HOST: &str = "MYSQL_HOST";
const PORT: &str = "MYSQL_TCP_PORT";
const SOCKET: &str = "MYSQL_UNIX_PORT";
const PASSWORD: &str = "MYSQL_PWD";

/// Variables that MySQL's client does not read, but that look as if: images of its server take some of them.
const NOT_READ: [&str; 4] = ["MYSQL_DATABASE", "MYSQL_PASSWORD", "MYSQL_PORT", "MYSQL_USER"];

/// Returns true if the variables define a database.
fn define(environment: &Environment) -> bool {
    [HOST, SOCKET].iter().any(|name| environment.get(name).is_some())
}

/// Returns the database of the `MYSQL_*` variables, if they define one.
pub(crate) fn from_variables(
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Option<FoundUrl> {
    if !define(environment) {
        return None;
    }
    let host = environment.get(HOST);
    // As in the client: the socket is for this machine alone.
    let is_local = host.is_none_or(|host| host == "localhost");
    let socket = environment.get(SOCKET).filter(|_| is_local);
    let mut names = Vec::new();
    let mut url = if let Some(path) = socket {
        names.push(SOCKET);
        if !path.starts_with('/') {
            let problem = Problem::new(SOCKET, "this is not a path from the root");
            let problem = problem.value(path).origin("environment");
            problems.push(problem.instead("Write it from / on: /run/mysqld/mysqld.sock."));
        }
        MysqlUrl::of_socket(path)
    } else {
        names.push(HOST);
        let written = environment.get(PORT);
        names.extend(written.map(|_| PORT));
        let port = url_parts::port(written.unwrap_or_default()).unwrap_or_else(|error| {
            let problem = error.of(PORT).value(written.unwrap_or_default());
            problems.push(problem.origin("environment"));
            None
        });
        MysqlUrl::of_host(host.unwrap_or_default(), port)
    };
    if let Some(password) = environment.get(PASSWORD) {
        names.push(PASSWORD);
        url.password = Some(Secret::new(password));
    }
    Some(FoundUrl { url: DatabaseUrl::Mysql(Box::new(url)), origin: Some(names.join(", ")) })
}

/// Returns the warnings of variables that are not used, where they could define a database.
pub(crate) fn warnings(environment: &Environment, is_overridden: bool) -> Vec<String> {
    if !define(environment) {
        return Vec::new();
    }
    if is_overridden {
        return vec!["MYSQL_* is ignored: PG* defines the database main".to_owned()];
    }
    let unread = NOT_READ.iter().filter(|name| environment.get(name).is_some());
    unread
        .map(|name| {
            format!("{name} is ignored, as MySQL's own client does: write a URL (DATABASE_URL)")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_of(variables: &[(&str, &str)]) -> Option<String> {
        let mut problems = Vec::new();
        let found = from_variables(&Environment::of(variables), &mut problems)?;
        assert!(problems.is_empty(), "{problems:?}");
        Some(format!("{} of {}", found.url, found.origin.unwrap_or_default()))
    }

    #[test]
    fn variables_are_read_as_mysqls_own_client_reads_them() {
        for (variables, expected) in [
            (&[("MYSQL_HOST", "db")][..], Some("mysql://db/ of MYSQL_HOST")),
            (
                &[("MYSQL_HOST", "db"), ("MYSQL_TCP_PORT", "3307"), ("MYSQL_PWD", "hunter2")],
                Some("mysql://:******@db:3307/ of MYSQL_HOST, MYSQL_TCP_PORT, MYSQL_PWD"),
            ),
            (
                &[("MYSQL_UNIX_PORT", "/run/my.sock")],
                Some("mysql:///?socket=/run/my.sock of MYSQL_UNIX_PORT"),
            ),
            (
                &[
                    ("MYSQL_HOST", "localhost"),
                    ("MYSQL_UNIX_PORT", "/run/my.sock"),
                    ("MYSQL_TCP_PORT", "1"),
                ],
                Some("mysql:///?socket=/run/my.sock of MYSQL_UNIX_PORT"),
            ),
            // The socket is for this machine alone.
            (
                &[("MYSQL_HOST", "db"), ("MYSQL_UNIX_PORT", "/run/my.sock")],
                Some("mysql://db/ of MYSQL_HOST"),
            ),
            (&[("MYSQL_TCP_PORT", "3307"), ("MYSQL_PWD", "hunter2")], None),
            (&[("MYSQL_HOST", "")], None),
            (&[("MYSQL_USER", "me"), ("MYSQL_DATABASE", "shop")], None),
        ] {
            assert_eq!(url_of(variables).as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_wrong_port_or_path_is_a_problem_of_its_variable() {
        for (variables, key) in [
            ([("MYSQL_HOST", "db"), ("MYSQL_TCP_PORT", "x")], "MYSQL_TCP_PORT"),
            ([("MYSQL_HOST", "db"), ("MYSQL_TCP_PORT", "0")], "MYSQL_TCP_PORT"),
            ([("MYSQL_UNIX_PORT", "my.sock"), ("MYSQL_PWD", "hunter2")], "MYSQL_UNIX_PORT"),
        ] {
            let mut problems = Vec::new();
            from_variables(&Environment::of(&variables), &mut problems);
            assert_eq!(problems.len(), 1, "{variables:?}");
            assert_eq!(problems[0].key, key);
            assert!(!format!("{problems:?}").contains("hunter2"));
        }
    }

    #[test]
    fn variables_that_are_not_used_are_warned_of() {
        let environment = Environment::of(&[("MYSQL_HOST", "db"), ("MYSQL_USER", "me")]);
        let texts = warnings(&environment, false);
        assert!(texts.len() == 1 && texts[0].starts_with("MYSQL_USER is ignored"), "{texts:?}");
        assert!(warnings(&environment, true)[0].contains("PG* defines"), "{texts:?}");
        let environment = Environment::of(&[("MYSQL_USER", "me")]);
        assert_eq!(warnings(&environment, true), Vec::<String>::new());
    }
}
