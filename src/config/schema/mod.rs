//! The keys of the configuration. Each is declared once, in one of the files `…_keys`.

pub(crate) mod database_keys;
pub(crate) mod grpc_keys;
pub(crate) mod key;
pub(crate) mod ops_keys;
pub(crate) mod section;
pub(crate) mod sections;
pub(crate) mod telemetry_keys;
pub(crate) mod value_types;
