//! The classification of PostgreSQL's statements by a parser and an allow-list.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "allow-lists: whatever is not on one is refused"
)]

mod changes;
mod expressions;
mod functions;
pub(crate) mod names;
mod parser;
pub(crate) mod parser_tokens;
mod queries;
mod tables;
mod types;
pub(crate) mod walk;

pub(crate) use parser::{MAX_TEXT_BYTES, classify_text};
