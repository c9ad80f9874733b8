//! Values that are kept outside the configuration: references to files and variables, encrypted values,
//! and reading them again while the server runs.

pub(crate) mod interpolation;
pub(crate) mod reload;
pub mod secret;
