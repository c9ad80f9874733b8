//! The watch over the keys of JSON Web Tokens: a file that changes, or a URL that is read again.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use tokio::time::Instant;

use super::file_watch;
use super::jwks_fetch::{self, MAX_JWKS_BYTES};
use crate::access::{Authenticator, JwtVerifier, KeySet};
use crate::config::Jwt;
use crate::error::{Error, ErrorKind, Result};
use crate::last_read::LastRead;

/// The watch over the keys of a verifier.
pub(super) struct JwksWatch {
    verifier: Arc<JwtVerifier>,
    settings: Jwt,
    source: JwksSource,
}

enum JwksSource {
    File(Arc<JwksFile>),
    Url(Uri),
}

/// A file of keys.
struct JwksFile {
    path: PathBuf,
    last: LastRead<Vec<u8>>,
}

impl JwksFile {
    /// Reads the file again, and puts its keys in force if it has changed. Returns true if so. Blocks.
    fn reload(&self, verifier: &JwtVerifier) -> Result<bool> {
        let Some(content) = self.last.changed(read(&self.path))? else { return Ok(false) };
        put_in_force(verifier, &content, &self.path.display().to_string())?;
        Ok(true)
    }
}

impl JwksWatch {
    /// Makes the watch of an authenticator that verifies such tokens. A file is read at once, a URL later: a provider
    /// that is unreachable does not prevent the start. Blocks.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn new(authenticator: &Authenticator, settings: &Jwt) -> Result<Option<Self>> {
        let Some((verifier, keys)) = authenticator.jwt().zip(settings.keys.as_deref()) else {
            return Ok(None);
        };
        let source = match keys.parse::<Uri>() {
            Ok(url) if url.scheme().is_some() => JwksSource::Url(url),
            Ok(_) | Err(_) => {
                let file = JwksFile { path: PathBuf::from(keys), last: LastRead::default() };
                file.reload(verifier)?;
                JwksSource::File(Arc::new(file))
            }
        };
        let verifier = Arc::clone(verifier);
        Ok(Some(Self { verifier, settings: settings.clone(), source }))
    }

    /// Watches until it is dropped. While the source cannot be used, the keys before are in force, and the reason is
    /// logged.
    pub(super) async fn run(self) {
        let Self { verifier, settings, source } = self;
        match source {
            JwksSource::File(file) => {
                file_watch::run("keys of JSON Web Tokens", move || file.reload(&verifier)).await;
            }
            JwksSource::Url(url) => watch_url(&verifier, &url, &settings).await,
        }
    }
}

async fn watch_url(verifier: &JwtVerifier, url: &Uri, settings: &Jwt) {
    let name = format!("{}{}", url.authority().map_or("", |it| it.as_str()), url.path());
    loop {
        let began = Instant::now();
        let read = jwks_fetch::fetch(url, settings.ca.as_ref()).await;
        let read = read.and_then(|content| put_in_force(verifier, &content, &name));
        let read = read.inspect_err(warn);
        tokio::time::sleep_until(began + settings.min_refresh_interval).await;
        if read.is_ok() {
            tokio::select! {
                () = verifier.unknown_key() => {}
                () = tokio::time::sleep_until(began + settings.refresh_interval) => {}
            }
        }
    }
}

/// Reads the configured keys once; returns their number and source. `None` where there are no such tokens.
///
/// # Errors
/// The source cannot be read or used, or has no key that can be.
pub(super) async fn check(settings: &Jwt) -> Option<Result<String>> {
    let keys = settings.keys.as_deref()?;
    let content = match keys.parse::<Uri>() {
        Ok(url) if url.scheme().is_some() => jwks_fetch::fetch(&url, settings.ca.as_ref()).await,
        Ok(_) | Err(_) => read(Path::new(keys)),
    };
    Some(content.and_then(|content| {
        let found = parse(&content, keys)?;
        if found.len() == 0 {
            let reason = found.ignored.first().map(|(_, reason)| *reason).unwrap_or_default();
            let message =
                format!("{keys} has no key of JSON Web Tokens that can be used: {reason}");
            return Err(Error::new(ErrorKind::InvalidOption, message));
        }
        Ok(format!("keys of JSON Web Tokens in {keys}: {}", found.len()))
    }))
}

fn parse(content: &[u8], source: &str) -> Result<KeySet> {
    KeySet::parse(content).map_err(|reason| {
        let message = format!("the keys of JSON Web Tokens of {source} cannot be used: {reason}");
        Error::new(ErrorKind::InvalidOption, message)
    })
}

fn put_in_force(verifier: &JwtVerifier, content: &[u8], source: &str) -> Result<()> {
    let keys = parse(content, source)?;
    for (number, reason) in &keys.ignored {
        tracing::debug!(source, number, reason, "key of JSON Web Tokens ignored");
    }
    let used = keys.len();
    let ignored = keys.ignored.len();
    // The reason of the first one.
    let reason = keys.ignored.first().map(|(_, reason)| *reason);
    if verifier.replace_keys(keys) {
        tracing::info!(source, keys = used, ignored, reason, "keys of JSON Web Tokens read");
    }
    if used == 0 {
        tracing::warn!(source, ignored, reason, "no key of JSON Web Tokens; nobody gets in by one");
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |why: &dyn std::fmt::Display| {
        let path = path.display();
        let message = format!("cannot read the keys of JSON Web Tokens in {path}: {why}");
        Error::new(ErrorKind::InvalidOption, message)
    };
    let mut content = Vec::new();
    let most = u64::try_from(MAX_JWKS_BYTES).unwrap_or(u64::MAX);
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut content))
        .map_err(|error| failed(&error))?;
    if content.len() > MAX_JWKS_BYTES {
        return Err(failed(&"it has more than 1 MiB"));
    }
    Ok(content)
}

fn warn(error: &Error) {
    let cause = error.cause();
    tracing::warn!(
        error = error.message(),
        cause,
        "keys of JSON Web Tokens not read; those before are in force"
    );
}
