//! Authenticated callers.

use std::sync::Arc;

use super::caller_limits::CallerLimits;
use super::claims::Claims;
use super::policy::Policy;
use super::revocation::Revocation;

/// The kind of what proves an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityKind {
    /// Nothing.
    None,
    Token,
    JsonWebToken,
    Certificate,
    /// A user of this machine, at the other end of a Unix socket.
    User,
}

impl IdentityKind {
    /// Its name in log lines.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::JsonWebToken => "jwt",
            Self::Certificate => "certificate",
            Self::User => "uid",
        }
    }
}

/// A caller that has proved who it is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The name of its section in the configuration, with a member's own name behind it where that stands for
    /// many: `shop`, `users/alice`. Empty where callers are not authenticated.
    pub(crate) name: Arc<str>,
    pub(crate) kind: IdentityKind,
    pub(crate) policy: Arc<Policy>,
    /// The limits, which all members of a group have together.
    pub(crate) limits: Arc<CallerLimits>,
    /// The end of what proved it.
    pub(crate) revocation: Arc<Revocation>,
    /// Its claims, for databases that take them. None where callers are not authenticated.
    pub(crate) claims: Option<Claims>,
}

impl Identity {
    /// Nobody: it has no right.
    pub(crate) fn nobody() -> Self {
        Self { policy: Arc::new(Policy::Nothing), ..Self::anybody() }
    }

    /// Anybody, where callers are not authenticated.
    pub(crate) fn anybody() -> Self {
        Self {
            name: Arc::default(),
            kind: IdentityKind::None,
            policy: Arc::new(Policy::Everything),
            limits: Arc::default(),
            revocation: Arc::default(),
            claims: None,
        }
    }
}
