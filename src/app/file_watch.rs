//! The watch over files that are read again when they change: tokens, certificates, keys of JSON Web Tokens.

use std::time::Duration;

use crate::error::Result;

/// The time between two looks. The files are read each time: their content tells a change, however it came about
/// (Kubernetes replaces a symlink, others the file or its content).
const INTERVAL: Duration = Duration::from_millis(250);

/// Watches until it is dropped. `reload` reads the files and returns true if what they have now is in force anew; it blocks.
/// Its error is logged: what was in force before still is.
pub(super) async fn run<F>(what: &'static str, reload: F)
where
    F: Fn() -> Result<bool> + Clone + Send + 'static,
{
    loop {
        tokio::time::sleep(INTERVAL).await;
        match tokio::task::spawn_blocking(reload.clone()).await {
            Ok(Ok(true)) => tracing::info!(what, "files read"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                let cause = error.cause();
                tracing::warn!(
                    what,
                    error = error.message(),
                    cause,
                    "files not read; what they had before is in force"
                );
            }
            Err(error) => tracing::error!(what, %error, "reading files panicked"),
        }
    }
}
