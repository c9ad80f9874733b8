//! Support for tests of the layers above the backends.

pub(crate) mod scripted;
