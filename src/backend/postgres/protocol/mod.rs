//! The wire protocol as seen between the driver and the server.

pub(crate) mod backend;
pub(crate) mod framing;
pub(crate) mod frontend;
pub(crate) mod requests;
pub(crate) mod session_attrs;
pub(crate) mod state;
pub(crate) mod tap;
#[cfg(test)]
pub(crate) mod tests;
