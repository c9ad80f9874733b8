//! One set of instruments, read by Prometheus at `/metrics` and sent by OTLP.
//!
//! Names, units and labels are those of OpenTelemetry's semantic conventions where there are any, else start with
//! `rowgate.`. Labels come from enums and from the configuration only, so that their number has a bound.

mod description;
mod gauges;
mod instruments;
mod prometheus_text;

pub use description::Description;
pub use gauges::described;
pub(crate) use gauges::{DatabaseGauges, Source, observe};
pub use instruments::RECORDED;
pub(crate) use instruments::{Instruments, is_server_error};
pub(crate) use prometheus_text::render;
