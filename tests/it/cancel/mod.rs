//! Statements that are stopped, and what else must not be.

mod commits;
pub(crate) mod frozen;
pub(crate) mod leave;
mod races;
