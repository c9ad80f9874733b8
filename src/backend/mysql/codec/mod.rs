//! The conversion between the protocol's values and those of `rowgate.v1`.

pub(crate) mod column_types;
pub(crate) mod parameters;
pub(crate) mod row_decoder;
mod temporal;
mod wire_types;
