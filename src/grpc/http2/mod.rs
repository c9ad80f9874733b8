//! HTTP/2 connections and calls, below the services.

pub(crate) mod body;
pub(crate) mod dispatch;
pub(crate) mod preface;
pub(crate) mod serve;
