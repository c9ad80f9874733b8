//! Connections of HTTP/2 and HTTP/1.1, and calls, below the services.

mod bodies;
mod client_presence;
pub(crate) mod connection_settings;
pub(crate) mod dispatch;
pub(crate) mod entry;
pub(crate) mod frame_guard;
pub(crate) mod gate;
pub(crate) mod listener_tls;
pub(crate) mod preface;
mod refusal;
mod serve;
pub(crate) mod status_recorder;
pub(crate) mod transport;
pub(crate) mod unary;
pub(crate) mod unread;
mod write_guard;
