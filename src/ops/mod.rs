//! HTTP for operators: `/livez`, `/readyz`, `/metrics`, `/status` and `/history` for programs, and at `/` a page that shows them.

mod caller_status;
mod history;
mod host_check;
mod http;
mod server_status;
mod status_json;
mod status_page;
mod token_check;

pub(crate) use history::History;
pub(crate) use http::serve;
pub(crate) use server_status::{Readiness, Status};
