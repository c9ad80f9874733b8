//! Callers: who gets in, and what each may do. Attacks are tables: what is tried, and what must come of it.

mod client_flags;
mod token_command;
