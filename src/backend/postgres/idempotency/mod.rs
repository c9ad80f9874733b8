//! Idempotency keys: the table that holds them, and its installation.

pub(crate) mod key_table;
pub(crate) mod key_table_install;
