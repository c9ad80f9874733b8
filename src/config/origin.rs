//! Reading again what a database's secrets are kept in: files change while the server runs.

use std::fmt;
use std::sync::Arc;

use super::database::{PostgresTarget, Target};
use super::libpq;
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::reference::Resolver;
use super::source::Environment;
use super::target::{self, Written};
use super::tree::{Leaf, Path};
use super::{Config, keys};

/// What a database's `url` and `tls.*` were read from; reads them again.
#[derive(Clone, Default)]
pub struct Origin(Option<Arc<Section>>);

/// A section of the configuration as it was written: values that refer to files are not followed yet.
struct Section {
    prefix: String,
    leaves: Vec<(Leaf, bool)>,
    environment: Arc<Environment>,
}

/// Leaves by their key, and whether each was given as `KEY_FILE`.
pub(crate) type Leaves = std::collections::BTreeMap<Path, (Leaf, bool)>;

impl fmt::Debug for Origin {
    // It leads to secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin")
    }
}

/// Lets each database of a configuration find what it was read from.
pub(crate) fn attach(config: &mut Config, leaves: &Leaves, environment: &Environment) {
    let environment = Arc::new(environment.clone());
    for (name, database) in &mut config.databases {
        let Target::Postgres(target) = &mut database.target else { continue };
        let own = |path: &Path| match &path[..] {
            [section, database, key, ..] => {
                section == keys::DATABASES && database == name && ["url", "tls"].contains(&&**key)
            }
            _ => false,
        };
        let leaves = leaves.iter().filter(|(path, _)| own(path)).map(|(_, leaf)| leaf.clone());
        target.origin = Origin(Some(Arc::new(Section {
            prefix: format!("{}.{name}.", keys::DATABASES),
            leaves: leaves.collect(),
            environment: Arc::clone(&environment),
        })));
    }
}

impl PostgresTarget {
    /// The same database as the files say now, and what is suspicious about that. Reads files: blocks.
    ///
    /// # Errors
    /// What is wrong with them; no secret is in it.
    pub fn reread(&self) -> Result<(Self, Vec<String>), Problems> {
        let Some(section) = &self.origin.0 else { return Ok((self.clone(), Vec::new())) };
        let (mut target, warnings) = section.read()?;
        target.origin = self.origin.clone();
        Ok((target, warnings))
    }
}

impl Section {
    fn read(&self) -> Result<(PostgresTarget, Vec<String>), Problems> {
        let environment = &*self.environment;
        let resolver = Resolver::new(environment);
        let mut problems = Vec::new();
        let leaves = self.leaves.iter().cloned();
        let entries = leaves
            .map(|(leaf, is_file)| {
                (leaf.path.clone(), resolver.resolve_either(leaf, is_file, &mut problems))
            })
            .collect();
        let mut reader = Reader::new(&entries);
        reader.enter(self.prefix.clone());
        let otherwise = match reader.entry(&keys::URL) {
            Some(_) => None,
            None => libpq::from_variables(environment, &mut problems).map(Written::by_variables),
        };
        let target = target::read(&mut reader, environment, otherwise);
        problems.extend(reader.problems);
        Problems::check(problems)?;
        match target {
            Some(Target::Postgres(target)) => Ok((*target, reader.warnings)),
            Some(Target::Sqlite(_)) | None => {
                let key = format!("{}{}", self.prefix, keys::URL.name);
                Err(Problem::new(key, "this is no URL of PostgreSQL any more").into())
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
