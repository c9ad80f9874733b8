//! Metrics in Prometheus' text format.

use std::borrow::Cow;

/// The name of `db.client.connection.count` as the exporter makes it, and the one shown instead: Prometheus reserves
/// `_count` for histograms (Metric and label naming; `promtool check metrics`).
const EXPORTED_COUNT: &str = "db_client_connection_count";
const SHOWN_COUNT: &str = "db_client_connections";

/// Renders all metrics of a registry.
pub(crate) fn render(registry: &prometheus::Registry) -> Result<String, Cow<'static, str>> {
    let mut families = registry.gather();
    for family in families.iter_mut().filter(|family| family.name() == EXPORTED_COUNT) {
        family.set_name(SHOWN_COUNT.to_owned());
    }
    let encoder = prometheus::TextEncoder::new();
    encoder.encode_to_string(&families).map_err(|error| Cow::Owned(error.to_string()))
}
