//! The ways in which a server may authenticate the login (protocol 3.0, Authentication…): a server that asks for
//! the password itself gets it, whoever it is, so each way must be allowed.

use std::fmt;

use crate::backend::network::ServerAddress;
use crate::config::AuthMethod;

/// The ways that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AllowedAuth([bool; 4]);

impl AllowedAuth {
    pub(crate) const ALL: Self = Self([true; 4]);

    pub(crate) fn of(methods: &[AuthMethod]) -> Self {
        let mut allowed = [false; 4];
        for method in methods {
            allowed[*method as usize] = true;
        }
        Self(allowed)
    }

    /// The ways in which the server at an address may authenticate the login; `written` is the configured list.
    pub(crate) fn at(address: &ServerAddress, written: Option<&[AuthMethod]>) -> Self {
        match (written, address) {
            (Some(methods), _) => Self::of(methods),
            (None, ServerAddress::Tcp(address, _)) if !address.ip().is_loopback() => {
                Self::of(&[AuthMethod::ScramSha256, AuthMethod::None])
            }
            (None, _) => Self::ALL,
        }
    }

    fn permits(self, method: AuthMethod) -> bool {
        self.0[method as usize]
    }
}

/// The guard of one login.
#[derive(Debug)]
pub(crate) struct AuthGuard {
    allowed: AllowedAuth,
    has_asked: bool,
    refused: Option<AuthMethod>,
}

impl AuthGuard {
    pub(crate) fn new(allowed: AllowedAuth) -> Self {
        Self { allowed, has_asked: false, refused: None }
    }

    /// Takes the body of a message for authentication.
    pub(crate) fn received(&mut self, body: &[u8]) {
        let Some((kind, _)) = body.split_first_chunk() else { return };
        let method = match u32::from_be_bytes(*kind) {
            // AuthenticationOk
            0 if self.has_asked => return,
            0 => AuthMethod::None,
            3 => AuthMethod::Password,
            5 => AuthMethod::Md5,
            // AuthenticationSASL and what follows it; the driver knows none but SCRAM-SHA-256.
            10..=12 => AuthMethod::ScramSha256,
            // The driver knows no other.
            _ => return,
        };
        self.has_asked = true;
        if !self.allowed.permits(method) {
            self.refused = Some(method);
        }
    }

    /// The error of a way that is not allowed, once the server has asked for it.
    pub(crate) fn check(&self) -> Result<(), AuthRefused> {
        self.refused.map_or(Ok(()), |method| Err(AuthRefused(method)))
    }
}

/// The error of a server that asks for a way that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuthRefused(AuthMethod);

impl fmt::Display for AuthRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asks = match self.0 {
            AuthMethod::None => "the server asks for no authentication",
            AuthMethod::Password => "the server asks for the password in clear text",
            AuthMethod::Md5 => "the server asks for the password's MD5 hash",
            AuthMethod::ScramSha256 => "the server asks for SCRAM-SHA-256",
        };
        write!(f, "{asks}, which require_auth does not allow")
    }
}

impl std::error::Error for AuthRefused {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of a login with these requests, the last one of AuthenticationOk.
    fn login(allowed: &[AuthMethod], requests: &[u32]) -> Result<(), AuthRefused> {
        let mut guard = AuthGuard::new(AllowedAuth::of(allowed));
        for kind in requests {
            guard.received(&kind.to_be_bytes());
        }
        guard.check()
    }

    #[test]
    fn beyond_loopback_the_password_is_given_by_scram_alone() {
        let at = |address: &str| {
            let address = address.parse().expect("it is an address");
            AllowedAuth::at(&ServerAddress::Tcp(address, "db".to_owned()), None)
        };
        for local in ["127.0.0.1:5432", "[::1]:5432"] {
            assert_eq!(at(local), AllowedAuth::ALL);
        }
        for remote in ["10.0.0.7:5432", "[fd00::7]:5432"] {
            assert_eq!(at(remote), AllowedAuth::of(&[AuthMethod::ScramSha256, AuthMethod::None]));
        }
    }

    #[test]
    fn a_server_may_ask_for_what_is_allowed_only() {
        use AuthMethod::{Md5, None, Password, ScramSha256};
        let scram = [ScramSha256];
        assert_eq!(login(&scram, &[10, 11, 12, 0]), Ok(()));
        for (requests, refused) in [
            (&[3, 0][..], Password),
            (&[5, 0], Md5),
            (&[0], None),
            // It begins well, and asks for the password then.
            (&[10, 11, 3], Password),
        ] {
            assert_eq!(login(&scram, requests), Err(AuthRefused(refused)));
        }
        assert_eq!(login(&[ScramSha256, None], &[0]), Ok(()));
        assert_eq!(login(&[Password], &[3, 0]), Ok(()));
        assert!(login(&[Password], &[10]).is_err());
    }
}
