//! What a statement is, read from its text.
//!
//! Two readers with opposite duties. The lexer *refuses*: it finds transaction control at the start
//! of a statement, whatever comments stand before it. The parser *admits*: a statement that it
//! understands whole, and that has the shape of a read or of plain data modification, may be treated
//! as such once a backend has checked its functions and tables. What does not parse is a write that
//! may leave anything behind. This is convenience, never safety: the database and the lease guard.

mod analysis;
mod classify;
mod parser;
mod partial_commit;
mod plan_invalidation;
mod split;
mod summary;
mod tokens;
mod transaction_control;

pub use analysis::{Analysis, Analyzer, Dialect, StatementClass, Uses};
pub use partial_commit::is_whole;
pub use plan_invalidation::redefines;
pub use split::{Piece, Unclosed, statements};

#[cfg(test)]
mod tests;
