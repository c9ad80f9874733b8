//! HTTP/2 connections and calls, below the services.

mod bodies;
pub(crate) mod dispatch;
pub(crate) mod frame_guard;
pub(crate) mod gate;
pub(crate) mod listener_tls;
pub(crate) mod preface;
mod serve;
pub(crate) mod transport;
pub(crate) mod unary;
pub(crate) mod unread;
