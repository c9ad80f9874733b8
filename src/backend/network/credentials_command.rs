//! Credentials that a command prints: short-lived tokens of cloud providers, without the SDK of any.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::config::{CredentialsCommandSettings, Secret};
use crate::error::{Error, ErrorKind, Result};

/// The time before their end at which credentials are renewed, unless that is more than half of the time that they
/// are good for: a login must not meet their end.
const MARGIN: Duration = Duration::from_secs(60);
/// The least time between two runs: a command that fails, or whose credentials are rejected, is not run in a loop.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The most bytes of a command's output, and of its errors.
const MAX_OUTPUT: usize = 64 << 10;
/// The most characters of its errors that are logged.
const MAX_ERRORS: usize = 200;

/// The credentials that a command has printed.
#[derive(Debug)]
pub(super) struct GivenCredentials {
    pub(super) user: Option<String>,
    pub(super) password: Secret,
    /// The moment from which they are renewed, and their end; `None` for those without one.
    lifetime: Option<Lifetime>,
}

#[derive(Debug, Clone, Copy)]
struct Lifetime {
    renewal: SystemTime,
    end: SystemTime,
}

/// The output of a command.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    user: Option<String>,
    password: String,
    /// RFC 3339.
    expires: Option<String>,
}

impl GivenCredentials {
    fn parse(output: &[u8], now: SystemTime) -> Result<Self> {
        // The message of the parser may quote the output.
        let malformed = || {
            failed(
                "its output is not {\"user\": …, \"password\": …, \"expires\": \"2026-01-31T12:00:00Z\"}",
            )
        };
        let Output { user, password, expires } =
            serde_json::from_slice(output).map_err(|_error| malformed())?;
        let end = expires.map(|text| humantime::parse_rfc3339(&text)).transpose();
        let lifetime = end.map_err(|_error| malformed())?.map(|end| {
            let left = end.duration_since(now).unwrap_or_default();
            Lifetime { renewal: end - MARGIN.min(left / 2), end }
        });
        if lifetime.is_some_and(|lifetime| lifetime.end <= now) {
            return Err(failed("its credentials have expired already"));
        }
        Ok(Self { user, password: Secret::new(password), lifetime })
    }

    fn is_due(&self, now: SystemTime) -> bool {
        self.lifetime.is_some_and(|lifetime| lifetime.renewal <= now)
    }

    fn has_expired(&self, now: SystemTime) -> bool {
        self.lifetime.is_some_and(|lifetime| lifetime.end <= now)
    }
}

/// The command of one database, and the credentials that it printed last.
pub(super) struct CredentialsCommand {
    database: String,
    settings: CredentialsCommandSettings,
    given: Mutex<Option<Arc<GivenCredentials>>>,
    /// The moment of the last run; held while it runs, so that one run serves all who wait.
    last_run: tokio::sync::Mutex<Option<Instant>>,
}

impl CredentialsCommand {
    /// Makes the command of a database; `None` when none is configured.
    pub(super) fn new(database: &str, settings: &CredentialsCommandSettings) -> Option<Self> {
        (!settings.command.is_empty()).then(|| Self {
            database: database.to_owned(),
            settings: settings.clone(),
            given: Mutex::default(),
            last_run: tokio::sync::Mutex::default(),
        })
    }

    /// The credentials that were printed last.
    pub(super) fn latest(&self) -> Option<Arc<GivenCredentials>> {
        self.given.lock().clone()
    }

    /// Returns credentials that are good now. While the command fails, those before serve to their end.
    pub(super) async fn fresh(&self) -> Result<Arc<GivenCredentials>> {
        if let Some(given) = self.latest().filter(|given| !given.is_due(SystemTime::now())) {
            return Ok(given);
        }
        self.renew(|given| given.is_due(SystemTime::now())).await
    }

    /// Returns other credentials than those that were rejected.
    pub(super) async fn renewed(
        &self,
        rejected: &Arc<GivenCredentials>,
    ) -> Result<Arc<GivenCredentials>> {
        self.renew(|given| std::ptr::eq(given, Arc::as_ptr(rejected))).await
    }

    /// Runs the command, unless another task has while this one waited, or it was run a moment ago.
    async fn renew(
        &self,
        is_stale: impl Fn(&GivenCredentials) -> bool,
    ) -> Result<Arc<GivenCredentials>> {
        let mut last_run = self.last_run.lock().await;
        if let Some(given) = self.latest().filter(|given| !is_stale(given)) {
            return Ok(given);
        }
        let has_just_run = last_run.is_some_and(|last| last.elapsed() < MIN_INTERVAL);
        let ran =
            if has_just_run { Err(failed("it was run a moment ago")) } else { self.run().await };
        if !has_just_run {
            *last_run = Some(Instant::now());
        }
        let database = &self.database;
        match ran {
            Ok(given) => {
                tracing::info!(database, "credentials taken from the command");
                let given = Arc::new(given);
                *self.given.lock() = Some(Arc::clone(&given));
                Ok(given)
            }
            Err(error) => {
                if !has_just_run {
                    tracing::warn!(database, error = error.message(), "credentials not renewed");
                }
                let before = self.latest();
                before.filter(|given| !given.has_expired(SystemTime::now())).ok_or(error)
            }
        }
    }

    async fn run(&self) -> Result<GivenCredentials> {
        let [program, arguments @ ..] = self.settings.command.as_slice() else {
            return Err(failed("it is empty"));
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = command.spawn();
        let child = started.map_err(|error| failed(&format!("it cannot be started: {error}")))?;
        // Dropping it kills the process.
        let ended = tokio::time::timeout(self.settings.timeout, read_to_end(child)).await;
        let ended = ended.map_err(|_elapsed| failed("it did not end in time"))?;
        let (status, output, errors) =
            ended.map_err(|error| failed(&format!("its output cannot be read: {error}")))?;
        if output.len() > MAX_OUTPUT {
            return Err(failed("its output is longer than 64 KiB"));
        }
        if !status.success() {
            let errors = String::from_utf8_lossy(&errors);
            let errors: String = errors.split_whitespace().collect::<Vec<_>>().join(" ");
            let errors: String = errors.chars().take(MAX_ERRORS).collect();
            return Err(failed(&format!("{status}: {errors}")));
        }
        GivenCredentials::parse(&output, SystemTime::now())
    }
}

/// Reads the output and the errors of a process up to its end; of each at most a little more than is allowed, behind which
/// the process finds its pipe closed.
async fn read_to_end(mut child: Child) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let output = read_some(child.stdout.take());
    let errors = read_some(child.stderr.take());
    let (output, errors) = tokio::try_join!(output, errors)?;
    Ok((child.wait().await?, output, errors))
}

async fn read_some(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let most = u64::try_from(MAX_OUTPUT).unwrap_or(u64::MAX) + 1;
        pipe.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn failed(why: &str) -> Error {
    Error::new(ErrorKind::DatabaseUnavailable, format!("credentials.command failed: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn parse(output: &str) -> Result<GivenCredentials> {
        GivenCredentials::parse(output.as_bytes(), at(1000))
    }

    #[test]
    fn credentials_are_renewed_before_their_end() {
        let given =
            parse(r#"{"password": "p", "expires": "1970-01-01T00:33:20Z"}"#).expect("it is one");
        assert_eq!(given.password, Secret::new("p"));
        for (moment, is_due, has_expired) in
            [(1000, false, false), (1939, false, false), (1940, true, false), (2000, true, true)]
        {
            let (due, expired) = (given.is_due(at(moment)), given.has_expired(at(moment)));
            assert_eq!((due, expired), (is_due, has_expired), "{moment}");
        }
        let short = parse(r#"{"password": "p", "expires": "1970-01-01T00:16:50Z"}"#).expect("10 s");
        assert!(!short.is_due(at(1004)) && short.is_due(at(1005)));
        let forever = parse(r#"{"user": "u", "password": "p"}"#).expect("it has no end");
        assert!(!forever.is_due(at(u64::MAX >> 2)) && forever.user.as_deref() == Some("u"));
    }

    #[test]
    fn malformed_output_is_not_quoted() {
        for output in [
            "",
            "secret",
            r#"{"password": 5}"#,
            r#"{"user": "secret"}"#,
            r#"{"password": "secret", "expires": "soon"}"#,
            r#"{"password": "secret", "expires": "1970-01-01T00:16:40Z"}"#,
            r#"{"password": "secret", "extra": 1}"#,
        ] {
            let error = parse(output).expect_err(output);
            assert!(!error.message().contains("secret"), "{}", error.message());
        }
    }

    #[tokio::test]
    async fn one_run_serves_all_who_wait_and_a_failure_keeps_what_is_good() {
        let directory = tempfile::tempdir().expect("there is room");
        let runs = directory.path().join("runs");
        let script = |end: &str| {
            let runs = runs.display();
            format!(
                "echo x >> {runs}; test -e {runs}.broken && exit 3; echo '{{\"password\": \"p\"{end}}}'"
            )
        };
        let command = |end: &str| {
            let command = ["sh", "-c", &script(end)].map(str::to_owned).to_vec();
            let timeout = Duration::from_secs(20);
            let settings = CredentialsCommandSettings { command, timeout };
            CredentialsCommand::new("main", &settings).expect("there is a command")
        };
        let count = || std::fs::read_to_string(&runs).map_or(0, |text| text.lines().count());
        let forever = command("");
        let all = futures_util::future::join_all((0..10).map(|_| forever.fresh())).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(count(), 1);
        // Rejected a moment later: it is not run in a loop, and these are all there are.
        let given = forever.latest().expect("it ran");
        let again = forever.renewed(&given).await.expect("they have no end");
        assert!(Arc::ptr_eq(&given, &again) && count() == 1);
        std::fs::write(format!("{}.broken", runs.display()), "").expect("there is room");
        let error = command("").fresh().await.expect_err("it fails");
        assert!(error.message().contains("exit status: 3"), "{}", error.message());
    }
}
