//! `telemetry.*`: logs. Traces and metrics are configured by `OTEL_*`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::otel::Otel;
use super::section::*;

section! {
    /// Logs. Traces and metrics are configured by the variables of OpenTelemetry, `OTEL_*`.
    #[derive(Debug, Clone)]
    pub struct Telemetry in "telemetry" (reader, otel: Otel) {
        /// The format of log lines.
        log_format: Option<LogFormat> = OneOf(&["text", "json"]),
            "`text` on a terminal, otherwise `json`" => None;
        /// The log lines to write: a level, or levels by module, as in `"info,rowgate::pool=debug"`.
        /// `RUST_LOG` overrides it.
        log_filter: String = LogFilter, "info";
        /// The run time from which a statement is logged, with its caller, tag and waiting time, without
        /// its literals. `"0s"` turns this off.
        slow_query: Duration = Duration("0s", "1h"), "1s";
    }
    and {
        /// `OTEL_*`
        otel: Otel = otel;
    }
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
