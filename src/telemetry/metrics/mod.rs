//! One set of instruments, read by Prometheus at `/metrics` and sent by OTLP.
//!
//! Names, units and labels are those of OpenTelemetry's semantic conventions where there are any, else start with
//! `rowgate.`. Labels come from enums and from the configuration only, so that their number has a bound.

mod gauges;
mod instruments;

pub use gauges::described;
pub(crate) use gauges::{DatabaseGauges, observe};
pub use instruments::{Description, RECORDED};
pub(crate) use instruments::{Instruments, is_server_error};

/// The name of `db.client.connection.count` as the exporter makes it, and the one shown instead: Prometheus reserves
/// `_count` for histograms (Metric and label naming; `promtool check metrics`).
const EXPORTED_COUNT: &str = "db_client_connection_count";
const SHOWN_COUNT: &str = "db_client_connections";

/// Renders all metrics of a registry in Prometheus' text format.
pub(crate) fn render(registry: &prometheus::Registry) -> Result<String, prometheus::Error> {
    let mut families = registry.gather();
    for family in families.iter_mut().filter(|family| family.name() == EXPORTED_COUNT) {
        family.set_name(SHOWN_COUNT.to_owned());
    }
    let encoder = prometheus::TextEncoder::new();
    encoder.encode_to_string(&families)
}
