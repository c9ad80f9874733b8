//! The end of a credential, which ends the calls that it let in.

use tokio::sync::watch;

use crate::error::{Error, ErrorKind};

/// The error of a call whose caller's credential was revoked, or has expired, meanwhile.
pub(crate) fn revoked_error() -> Error {
    let message = "the credential of this caller was revoked or has expired";
    Error::new(ErrorKind::Unauthenticated, message)
}

/// A credential that may be revoked, or that expires, while its calls run.
#[derive(Debug)]
pub(crate) struct Revocation(watch::Sender<bool>);

impl Default for Revocation {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Revocation {
    pub(crate) fn revoke(&self) {
        self.0.send_replace(true);
    }

    /// Returns once it is revoked.
    pub(crate) fn revoked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut revoked = self.0.subscribe();
        async move {
            if revoked.wait_for(|revoked| *revoked).await.is_err() {
                // Nobody can revoke it any more.
                std::future::pending::<()>().await;
            }
        }
    }
}
