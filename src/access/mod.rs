//! The callers: who they are, and what each may do.
//!
//! Knows no transport and no database. [`Authenticator`] turns what a call presents into an [`Identity`]; its
//! [`Policy`] is asked by whoever does the work.

mod authenticator;
mod identity;
mod limits;
mod policy;
mod revocation;
mod token;
mod token_file;

pub(crate) use authenticator::{Authenticator, Presented};
pub(crate) use identity::Identity;
pub(crate) use limits::CallPermit;
pub(crate) use policy::Policy;
pub(crate) use revocation::revoked_error;
pub use token::new_token;
pub use token_file::{TokenEntry, TokenFile};
