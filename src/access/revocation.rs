//! The end of a credential, which ends the calls that it let in.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::error::{Error, ErrorKind};

/// The longest time between two looks at the clock, which may be set, or have run on while the machine slept.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The error of a call whose caller's credential was revoked, or has expired, meanwhile.
pub(crate) fn revoked_error() -> Error {
    let message = "the credential of this caller was revoked or has expired";
    Error::new(ErrorKind::Unauthenticated, message)
}

/// A credential that may be revoked, or that expires, while its calls run. Its clones are revoked together.
#[derive(Debug, Clone)]
pub(crate) struct Revocation {
    revoked: Arc<watch::Sender<bool>>,
    expires: Option<SystemTime>,
}

impl Default for Revocation {
    fn default() -> Self {
        Self { revoked: Arc::new(watch::Sender::new(false)), expires: None }
    }
}

impl Revocation {
    /// The same, which besides expires by itself.
    pub(crate) fn expiring(&self, expires: SystemTime) -> Self {
        Self { revoked: Arc::clone(&self.revoked), expires: Some(expires) }
    }

    pub(crate) fn revoke(&self) {
        self.revoked.send_replace(true);
    }

    /// Returns once it is revoked or has expired.
    pub(crate) fn revoked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut revoked = self.revoked.subscribe();
        let expires = self.expires;
        async move {
            let revoked = async {
                if revoked.wait_for(|revoked| *revoked).await.is_err() {
                    // Nobody can revoke it any more.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = revoked => {}
                () = expired(expires) => {}
            }
        }
    }
}

async fn expired(expires: Option<SystemTime>) {
    let Some(expires) = expires else { return std::future::pending().await };
    // An error is a time that has passed.
    while let Ok(left) = expires.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_INTERVAL)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_expires_ends_by_itself_and_the_rest_when_it_is_revoked() {
        let key = Revocation::default();
        let now = SystemTime::now();
        key.expiring(now).revoked().await;
        key.expiring(now + Duration::from_millis(20)).revoked().await;
        assert!(now.elapsed().is_ok_and(|passed| passed >= Duration::from_millis(20)));
        let token = key.expiring(now + Duration::from_secs(u32::MAX.into()));
        let mut revoked = std::pin::pin!(token.revoked());
        assert!(futures_util::poll!(&mut revoked).is_pending());
        key.revoke();
        revoked.await;
        // A call that comes later ends as well.
        token.revoked().await;
    }
}
