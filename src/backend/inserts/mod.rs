//! A copy into a table of a database that has no COPY: its data is parsed here, and inserted by prepared statements.

mod field_values;
mod insert_writer;
mod record_parser;

pub(crate) use insert_writer::InsertWriter;
