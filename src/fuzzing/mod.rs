//! The doors for fuzzing: a function for each thing that reads bytes of strangers.
//!
//! They exist with the feature `fuzzing` alone, for the package in `fuzz/`. Each takes arbitrary bytes and panics where a promise is
//! broken, or returns what a text was taken for, to compare with PostgreSQL's own parser.

mod analyzed_text;
mod configuration_text;
mod control_frames;
mod presented_credentials;

pub use crate::backend::arrow_input::fuzzed_streams::decode_arrow;
pub use crate::backend::mysql::fuzz::decode_packets;
pub use crate::backend::postgres::fuzz::{
    decode_cells, encode_parameter, redact_error, tap_streams,
};
pub use crate::grpc::WebTranslation;
pub use analyzed_text::{AnalyzedText, ClassifiedAs, analyze_text, split_text};
pub use configuration_text::{load_configuration, load_url};
pub use control_frames::guard_frames;
pub use presented_credentials::{CheckedToken, KeyDocument, read_token_file};
