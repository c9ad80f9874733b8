//! Values that are kept outside the configuration: references to files and variables, and encrypted
//! values.

pub(crate) mod interpolation;
pub mod secret;
