//! The watch over the files of TLS: new connections use what they have now.

use std::sync::Arc;
use std::time::Duration;

use crate::grpc::ListenerTls;

/// The time between two looks. The files are read each time: their content tells a change, however it came about.
const INTERVAL: Duration = Duration::from_millis(500);

/// Watches until it is dropped. While a file cannot be used, those before are in force, and the reason is logged once for
/// each change.
pub(super) async fn run(tls: Arc<ListenerTls>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let again = Arc::clone(&tls);
        match tokio::task::spawn_blocking(move || again.reload()).await {
            Ok(Ok(true)) => tracing::info!("certificates read"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                let cause = error.cause();
                tracing::warn!(
                    error = error.message(),
                    cause,
                    "certificates not read; those before are in force"
                );
            }
            Err(error) => tracing::error!(%error, "reading certificates panicked"),
        }
    }
}
