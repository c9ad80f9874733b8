//! Rows in bulk: what only PostgreSQL has, the command, and a million rows.

mod postgres_copies;
