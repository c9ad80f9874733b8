//! Rows in bulk: what only PostgreSQL has, the command, and a million rows.

mod copy_command;
mod million_rows;
mod postgres_copies;
