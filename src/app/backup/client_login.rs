//! The login of a program: a directory for its secrets that only this account can read.
//!
//! A password is never on a command line, which every account of the machine can read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::partial_file::cannot;
use crate::config::{Environment, PemFile, Tls, TlsMode};
use crate::error::Result;

/// The characters of a line of PEM.
const LINE: usize = 64;

/// A directory of mode 0700, removed when it is dropped.
#[derive(Debug)]
pub(super) struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    /// Creates it where temporary files are.
    pub(super) fn create(environment: &Environment) -> Result<Self> {
        let parent = Path::new(environment.get("TMPDIR").unwrap_or("/tmp"));
        let id = std::process::id();
        let path = parent.join(format!("rowgate-{id}-{:016x}", fastrand::u64(..)));
        let created = DirBuilder::new().mode(0o700).create(&path);
        created.map_err(|error| cannot("create", &path, error))?;
        Ok(Self(path))
    }

    /// Writes a file of mode 0600; returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        created
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| cannot("write", &path, error))?;
        Ok(path)
    }

    /// The path of a file that does not exist: a program that looks for one by itself finds nothing there.
    pub(super) fn nothing(&self) -> PathBuf {
        self.0.join("none")
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The files of TLS as a program takes them.
pub(super) struct TlsFiles {
    /// The authorities; `None` if the certificate of the server is not verified.
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

impl TlsFiles {
    /// Writes the files. Those of the configuration may be texts, or readable by more than programs take.
    pub(super) fn write(tls: &Tls, directory: &PrivateDirectory) -> Result<Self> {
        let write = |name: &str, file: &Option<PemFile>| {
            let text = file.as_ref().map(|file| file.pem.expose());
            text.map(|text| directory.write(name, text)).transpose()
        };
        let ca = match tls.mode {
            TlsMode::Disable | TlsMode::Require => None,
            TlsMode::VerifyCa | TlsMode::VerifyFull if tls.ca.is_none() => {
                Some(directory.write("ca.pem", &authorities_of_the_system())?)
            }
            TlsMode::VerifyCa | TlsMode::VerifyFull => write("ca.pem", &tls.ca)?,
        };
        Ok(Self { ca, cert: write("cert.pem", &tls.cert)?, key: write("key.pem", &tls.key)? })
    }
}

/// The authorities that this process trusts by itself: where a program looks for them is another question.
fn authorities_of_the_system() -> String {
    let mut text = String::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(&certificate);
        for line in encoded.as_bytes().chunks(LINE) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_in_files_of_the_owner_and_are_gone_behind_the_run() {
        let parent = tempfile::tempdir().unwrap();
        let environment = Environment::of(&[("TMPDIR", parent.path().to_str().unwrap())]);
        let directory = PrivateDirectory::create(&environment).unwrap();
        let path = directory.write("password", "s3cret").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(!directory.nothing().exists());
        drop(directory);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
