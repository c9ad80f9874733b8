//! The keys as documents: all of them are written from the declarations in `schema/`.

pub(crate) mod example_file;
pub(crate) mod json_schema;
pub(crate) mod key_tables;
