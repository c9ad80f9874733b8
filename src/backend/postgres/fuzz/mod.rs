//! The doors for fuzzing to the codec, to the protocol and to error replies: each takes arbitrary bytes and panics where a
//! promise of the code behind it is broken.

mod cell_bytes;
pub(crate) mod cut_stream;
mod error_fields;
mod fuzzed_types;
mod sent_parameters;
mod tapped_streams;

pub use cell_bytes::decode_cells;
pub use error_fields::redact_error;
pub use sent_parameters::encode_parameter;
pub use tapped_streams::tap_streams;
