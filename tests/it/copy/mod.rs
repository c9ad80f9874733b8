//! Rows in bulk: what only PostgreSQL or MariaDB has, the command, and a million rows.

mod arrow_copies;
mod copy_command;
mod mariadb_copies;
mod million_rows;
mod postgres_copies;
mod round_trips;
