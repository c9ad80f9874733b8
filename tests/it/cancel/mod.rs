//! Statements that are stopped, and what else must not be.

mod commits;
mod frozen;
mod leave;
mod races;
