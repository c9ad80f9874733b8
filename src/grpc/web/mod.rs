//! Connect and gRPC-Web, translated at the edge: a request becomes one of gRPC, which goes the way of all others, and its
//! answer is translated back. Knows no service and no dispatch.

pub(crate) mod answer_body;
mod answer_error;
mod answer_form;
mod connect_error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed_translation;
mod get_query;
mod json_check;
mod json_reader;
mod json_shapes;
mod json_writer;
pub(crate) mod page_origins;
pub(crate) mod plain_answer;
pub(crate) mod web_answer;
pub(crate) mod web_body;
pub(crate) mod web_format;
pub(crate) mod web_request;
pub(crate) mod web_schema;
