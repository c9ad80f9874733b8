//! The callers: who they are, and what each may do.
//!
//! Knows no transport and no database. [`Authenticator`] turns what a call presents into an [`Identity`]; its
//! [`Policy`] is asked by whoever does the work.

mod access_token;
mod authenticator;
mod caller_limits;
mod claims;
mod identity;
mod jwks;
mod jwt;
mod policy;
mod revocation;
mod token_file;
mod transaction_tokens;

pub use access_token::new_token;
pub(crate) use access_token::{TokenHash, are_equal, hash};
pub(crate) use authenticator::{Authenticator, CallerState, Presented};
pub(crate) use caller_limits::{CallPermit, ConnectionCallers};
pub(crate) use identity::Identity;
pub(crate) use jwks::KeySet;
pub(crate) use jwt::JwtVerifier;
pub(crate) use policy::Policy;
pub(crate) use revocation::revoked_error;
pub use token_file::{TokenEntry, TokenFile};
pub(crate) use transaction_tokens::TransactionTokens;
