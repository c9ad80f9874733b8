//! Rows that come as an Arrow IPC stream, for a copy into a table.
//!
//! One message of the stream is in memory at a time: a record batch, whose rows are handed out in small parts. What a stranger
//! has written is checked before the library decodes it, as that panics over some defects. Knows no database.

mod arrow_types;
mod buffer_widths;
mod cell_values;
mod digits_text;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed_streams;
mod input_rows;
mod message_check;
mod message_frames;
#[cfg(test)]
mod tests;
mod times_text;

pub(crate) use input_rows::{ArrowInput, InputPart};
