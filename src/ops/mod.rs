//! HTTP for operators: `/livez`, `/readyz`, `/metrics` and `/status` for programs, and at `/` a page that shows them.

mod http;
mod server_status;
mod status_json;
mod status_page;

pub(crate) use http::serve;
pub(crate) use server_status::{Readiness, Status};
