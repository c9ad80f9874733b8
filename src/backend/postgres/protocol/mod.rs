//! The wire protocol between the driver and the server, as the stream under the driver sees it.

pub(crate) mod auth_guard;
pub(crate) mod backend;
mod bind_formats;
mod driver_queries;
pub(crate) mod framing;
pub(crate) mod frontend;
pub(crate) mod kept_notices;
mod long_reports;
pub(crate) mod notifications;
pub(crate) mod own_copies;
pub(crate) mod protocol_state;
pub(crate) mod renaming;
pub(crate) mod requests;
mod rewrite;
pub(crate) mod session_attrs;
pub(crate) mod simple_query;
pub(crate) mod statement_names;
pub(crate) mod tap;
#[cfg(test)]
mod tests;
pub(crate) mod text_results;
