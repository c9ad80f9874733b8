//! A copy into a table of a database that has no COPY: its data is parsed here, and inserted by prepared statements. Headers are
//! read here for all databases.

mod field_values;
mod header_reader;
mod insert_writer;
mod record_parser;

pub(crate) use header_reader::HeaderReader;
pub(crate) use insert_writer::InsertWriter;
