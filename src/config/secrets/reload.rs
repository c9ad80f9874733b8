//! Reads the target of a database again: the files that it refers to change while the server runs.

use std::sync::Arc;

use super::super::database_target::{PostgresTarget, Target, TargetSource};
use super::super::entries::Leaves;
use super::super::libpq;
use super::super::problem::{Problem, Problems};
use super::super::schema::sections::DATABASES;
use super::super::section_reader::SectionReader;
use super::super::source::Environment;
use super::super::target_resolution;
use super::interpolation::Resolver;

/// Gives the target of a database the leaves that it was read from.
pub(crate) fn attach(
    target: &mut Target,
    database: &str,
    leaves: &Leaves,
    environment: &Arc<Environment>,
) {
    let Target::Postgres(target) = target else { return };
    let leaves = leaves.values().filter(|leaf| match &leaf.path[..] {
        [section, name, key, ..] => {
            section == DATABASES && name == database && ["url", "tls"].contains(&key.as_str())
        }
        _ => false,
    });
    target.source = Some(Arc::new(TargetSource {
        database: database.to_owned(),
        leaves: leaves.cloned().collect(),
        environment: Arc::clone(environment),
    }));
}

impl PostgresTarget {
    /// Reads the same target from the files as they are now, with its warnings. Blocks.
    ///
    /// # Errors
    /// All problems; no secret is in them.
    pub fn reread(&self) -> Result<(Self, Vec<String>), Problems> {
        let Some(written) = &self.source else { return Ok((self.clone(), Vec::new())) };
        let environment = &*written.environment;
        let resolver = Resolver::new(environment);
        let mut problems = Vec::new();
        let leaves = written.leaves.iter();
        let entries =
            leaves.map(|leaf| (leaf.path.clone(), resolver.resolve(leaf, &mut problems))).collect();
        let mut reader = SectionReader::new(&entries);
        reader.enter_database(&written.database);
        let fallback = if reader.entry(target_resolution::URL).is_none() {
            libpq::from_variables(environment, &mut problems)
        } else {
            None
        };
        let target = target_resolution::read(&mut reader, environment, fallback);
        problems.extend(reader.problems);
        Problems::check(problems)?;
        match target {
            Some(Target::Postgres(target)) => {
                Ok((Self { source: self.source.clone(), ..*target }, reader.warnings))
            }
            Some(Target::Sqlite(_)) | None => {
                let key = format!("{DATABASES}.{}.url", written.database);
                Err(Problem::new(key, "this is no longer a URL of PostgreSQL").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path as FilePath;

    use super::*;
    use crate::config::{Flag, Inputs, Secret, load};

    fn loaded(pairs: &[(&str, &str)], variables: &[(&str, &str)]) -> PostgresTarget {
        let mut inputs = Inputs::new(Environment::of(variables));
        inputs.flags = pairs.iter().map(|(key, value)| Flag::new("-", *key, *value)).collect();
        let config = load(&inputs).unwrap().config;
        match &config.databases["main"].target {
            Target::Postgres(target) => (**target).clone(),
            Target::Sqlite(target) => panic!("{target:?}"),
        }
    }

    fn password(target: &PostgresTarget) -> Option<&str> {
        target.servers[0].password.as_ref().map(Secret::expose)
    }

    /// Puts a secret into place as Kubernetes does: a directory of its own, and a symlink that is
    /// replaced.
    fn swap(directory: &FilePath, version: &str, text: &str) {
        let own = directory.join(version);
        std::fs::create_dir(&own).unwrap();
        std::fs::write(own.join("secret"), text).unwrap();
        symlink(&own, directory.join("next")).unwrap();
        std::fs::rename(directory.join("next"), directory.join("current")).unwrap();
    }

    #[test]
    fn a_secret_of_a_file_is_read_again_and_nothing_bad_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("current/secret").display().to_string();
        swap(directory.path(), "1", "one\n");
        let url = format!("postgres://me:${{file:{path}}}@db/shop");
        let target = loaded(&[("databases.main.url", &url)], &[]);
        assert_eq!(password(&target), Some("one"));
        swap(directory.path(), "2", "tw@/o\n");
        let (again, _) = target.reread().unwrap();
        assert_eq!(password(&again), Some("tw@/o"));
        swap(directory.path(), "3", "hunter2\0");
        let problems = again.reread().unwrap_err().to_string();
        assert!(!problems.contains("hunter2") && problems.contains("zero byte"), "{problems}");
        std::fs::remove_file(directory.path().join("current")).unwrap();
        let problems = again.reread().unwrap_err().to_string();
        assert!(problems.contains("does not exist"), "{problems}");
    }

    #[test]
    fn a_whole_url_and_the_password_file_are_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let (url, passwords) = (directory.path().join("url"), directory.path().join("pgpass"));
        let write = |path: &FilePath, text: &str| std::fs::write(path, text).unwrap();
        write(&url, "postgres://me:one@db/shop");
        let target = loaded(&[("databases.main.url_file", url.to_str().unwrap())], &[]);
        write(&url, "postgres://you:two@db/shop");
        let (again, _) = target.reread().unwrap();
        assert_eq!((again.user.as_str(), password(&again)), ("you", Some("two")));
        write(&url, "sqlite:shop.db");
        assert!(target.reread().is_err());

        write(&passwords, "a:*:*:me:one\nb:*:*:me:two\n");
        std::fs::set_permissions(&passwords, std::fs::Permissions::from_mode(0o600)).unwrap();
        let variables =
            [("PGHOST", "a,b"), ("PGUSER", "me"), ("PGPASSFILE", passwords.to_str().unwrap())];
        let target = loaded(&[], &variables);
        let each = |target: &PostgresTarget| -> Vec<String> {
            let shown = |secret: &Option<Secret>| secret.as_ref().unwrap().expose().to_owned();
            target.servers.iter().map(|server| shown(&server.password)).collect()
        };
        assert_eq!(each(&target), ["one", "two"]);
        write(&passwords, "*:*:*:me:three\n");
        assert_eq!(each(&target.reread().unwrap().0), ["three", "three"]);
    }
}
