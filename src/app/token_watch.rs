//! The watch over the file of tokens: a change counts within a second, and ends the calls of tokens that are gone.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::access::Authenticator;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(250);

/// The state of a file by which a change is noticed: Kubernetes replaces a symlink, others the file or its content.
#[derive(Debug, PartialEq, Eq)]
struct FileState {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl FileState {
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
        })
    }
}

/// Watches until it is dropped. While the file cannot be used, the tokens before are in force, and the reason is logged
/// once for each change.
pub(super) async fn run(authenticator: Arc<Authenticator>) {
    let Some(path) = authenticator.token_path().map(Path::to_path_buf) else { return };
    let mut known = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        authenticator.revoke_expired(SystemTime::now());
        let state = FileState::of(&path);
        if state == known {
            continue;
        }
        known = state;
        let again = Arc::clone(&authenticator);
        // Read anew even if it was read at the start: a change in between is not missed.
        match tokio::task::spawn_blocking(move || again.reload_tokens()).await {
            Ok(Ok(())) => tracing::info!(path = %path.display(), "tokens read"),
            Ok(Err(error)) => {
                let cause = error.cause();
                tracing::warn!(
                    error = error.message(),
                    cause,
                    "tokens not read; those before are in force"
                );
            }
            Err(error) => tracing::error!(%error, "reading tokens panicked"),
        }
    }
}
