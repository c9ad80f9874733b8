//! The variables of OpenTelemetry that its SDK does not read by itself, or that decide if it is used.
//!
//! A value that cannot be used gets a warning and is ignored, as OpenTelemetry's "Environment Variable
//! Specification" demands: the variables are set for all programs of a platform, and a value that another
//! program supports must not prevent this one from starting.

use super::source::Environment;

/// The default share of calls that begin a trace.
const RATIO: f64 = 0.01;

/// The port of OTLP over gRPC.
const GRPC_PORT: &str = ":4317";

/// Traces and metrics by OTLP, as `OTEL_*` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Otel {
    /// `OTEL_SDK_DISABLED`: neither traces nor metrics, for OTLP and `/metrics` alike.
    pub disabled: bool,
    /// The protocol of traces; `None`: they are not sent.
    pub traces: Option<Protocol>,
    /// The protocol of metrics; `None`: they are not sent. `/metrics` does not depend on it.
    pub metrics: Option<Protocol>,
    /// The choice of calls that are traced.
    pub sampler: Sampler,
    /// `OTEL_PROPAGATORS` has `tracecontext`: a caller's trace is continued.
    pub trace_context: bool,
    /// `OTEL_PROPAGATORS` has `baggage`.
    pub baggage: bool,
}

/// A protocol of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    Http,
}

/// The choice of calls that are traced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Follow the caller's decision, if it sends one.
    pub parent_based: bool,
    /// The share of the others, from 0 to 1.
    pub ratio: f64,
}

impl Default for Otel {
    fn default() -> Self {
        Self {
            disabled: false,
            traces: None,
            metrics: None,
            sampler: Sampler { parent_based: true, ratio: RATIO },
            trace_context: true,
            baggage: true,
        }
    }
}

/// Reads the variables. Values that cannot be used are described in `warnings`.
pub(crate) fn read(environment: &Environment, warnings: &mut Vec<String>) -> Otel {
    let mut reader = VariableReader { environment, warnings };
    let known = "tracecontext, baggage and none are supported";
    let names = ["tracecontext", "baggage", "none"];
    let propagators = reader.names("OTEL_PROPAGATORS", &names, known);
    let propagates = |name| propagators.as_ref().is_none_or(|names| names.contains(&name));
    let otel = Otel {
        trace_context: propagates("tracecontext"),
        baggage: propagates("baggage"),
        ..Otel::default()
    };
    let boolean = |value: &str| value.to_ascii_lowercase().parse().ok();
    if reader.parse("OTEL_SDK_DISABLED", "write true or false", boolean) == Some(true) {
        // By the specification it has no effect on propagators.
        return Otel { disabled: true, ..otel };
    }
    Otel {
        traces: reader.exported("TRACES", &["otlp", "none"]),
        // For Prometheus they are served at `/metrics`.
        metrics: reader.exported("METRICS", &["otlp", "none", "prometheus"]),
        sampler: reader.sampler(),
        ..otel
    }
}

/// Returns true if OTLP can be sent to an endpoint. For gRPC an authority is enough.
fn is_endpoint(endpoint: &str, protocol: Protocol) -> bool {
    let Ok(uri) = endpoint.parse::<http::Uri>() else { return false };
    let scheme = uri.scheme_str();
    let is_known = matches!(scheme, Some("http" | "https"));
    uri.authority().is_some() && (is_known || (scheme.is_none() && protocol == Protocol::Grpc))
}

struct VariableReader<'a> {
    environment: &'a Environment,
    warnings: &'a mut Vec<String>,
}

impl<'a> VariableReader<'a> {
    /// Returns a value, without surrounding space; an empty one is none.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.environment.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Returns the name of a signal's own variable if it is set, otherwise of that of all signals.
    fn variable(&self, signal: &str, setting: &str) -> String {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_{setting}");
        if self.get(&own).is_some() { own } else { format!("OTEL_EXPORTER_OTLP_{setting}") }
    }

    /// Parses a value, and reports one that cannot be used.
    fn parse<T>(
        &mut self,
        name: &str,
        known: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(name)?;
        let parsed = parse(value);
        if parsed.is_none() {
            self.ignored(name, value, known);
        }
        parsed
    }

    /// Returns a list of names, and reports those that are not known.
    fn names(&mut self, variable: &str, names: &[&str], known: &str) -> Option<Vec<&'a str>> {
        let found: Vec<_> = self.get(variable)?.split(',').map(str::trim).collect();
        for unknown in found.iter().filter(|name| !names.contains(name)) {
            self.ignored(variable, unknown, known);
        }
        Some(found)
    }

    fn ignored(&mut self, name: &str, value: &str, known: &str) {
        self.warn(format!("{name}: {value:?} is not supported and was ignored: {known}"));
    }

    /// Adds a warning once: traces and metrics share many variables.
    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Returns the protocol of a signal. Without an endpoint or exporter it is not sent.
    fn exported(&mut self, signal: &str, exporters: &[&str]) -> Option<Protocol> {
        let exporter = format!("OTEL_{signal}_EXPORTER");
        let names = self.names(&exporter, exporters, "otlp and none are supported");
        let name = self.variable(signal, "ENDPOINT");
        let endpoint = self.get(&name);
        let is_wanted = match names {
            Some(names) => names.contains(&"otlp") && !names.contains(&"none"),
            None => endpoint.is_some(),
        };
        if !is_wanted {
            return None;
        }
        let protocol = self.protocol(signal, endpoint.unwrap_or_default());
        if endpoint.is_none_or(|endpoint| is_endpoint(endpoint, protocol)) {
            return Some(protocol);
        }
        // Without its value, which may contain a password.
        let what = signal.to_ascii_lowercase();
        self.warn(format!(
            "{name}: this is not a URL, and {what} are not sent: write http://host:port or https://host:port"
        ));
        None
    }

    fn protocol(&mut self, signal: &str, endpoint: &str) -> Protocol {
        let name = self.variable(signal, "PROTOCOL");
        if self.get(&name).is_none() && endpoint.trim_end_matches('/').ends_with(GRPC_PORT) {
            self.warn(format!(
                "{endpoint} has the port of OTLP over gRPC, but the protocol is OTLP over HTTP: set {name}=grpc for \
                 gRPC"
            ));
        }
        let known = "grpc and http/protobuf are supported";
        let protocol = self.parse(&name, known, |value| match value {
            "grpc" => Some(Protocol::Grpc),
            "http/protobuf" => Some(Protocol::Http),
            _ => None,
        });
        protocol.unwrap_or(Protocol::Http)
    }

    fn sampler(&mut self) -> Sampler {
        let share = |value: &str| value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        let ratio = self.parse("OTEL_TRACES_SAMPLER_ARG", "write a number from 0 to 1", share);
        let name = "OTEL_TRACES_SAMPLER";
        let default = Otel::default().sampler;
        if self.get(name).is_none() {
            return Sampler { ratio: ratio.unwrap_or(RATIO), ..default };
        }
        let known = "always_on, always_off, traceidratio, and parentbased_ before any of them are supported";
        let sampler = self.parse(name, known, |value| {
            let root = value.strip_prefix("parentbased_");
            let parent_based = root.is_some();
            let ratio = match root.unwrap_or(value) {
                "always_on" => 1.0,
                "always_off" => 0.0,
                "traceidratio" => ratio.unwrap_or(if parent_based { RATIO } else { 1.0 }),
                _ => return None,
            };
            Some(Sampler { parent_based, ratio })
        });
        sampler.unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> (Otel, Vec<String>) {
        let mut warnings = Vec::new();
        (read(&Environment::of(variables), &mut warnings), warnings)
    }

    #[test]
    fn nothing_is_sent_where_nobody_may_listen() {
        assert_eq!(of(&[]), (Otel::default(), Vec::new()));
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let sent = |variables: &[(&str, &str)]| {
            let (otel, warnings) = of(variables);
            assert_eq!(warnings, Vec::<String>::new(), "{variables:?}");
            (otel.traces.is_some(), otel.metrics.is_some())
        };
        for (variables, expected) in [
            (vec![endpoint], (true, true)),
            (vec![endpoint, ("OTEL_METRICS_EXPORTER", "none")], (true, false)),
            (vec![endpoint, ("OTEL_METRICS_EXPORTER", "prometheus")], (true, false)),
            (vec![endpoint, ("OTEL_TRACES_EXPORTER", "")], (true, true)),
            (vec![endpoint, ("OTEL_SDK_DISABLED", "True")], (false, false)),
            (vec![("OTEL_TRACES_EXPORTER", "otlp")], (true, false)),
            (vec![("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://x")], (false, true)),
        ] {
            assert_eq!(sent(&variables), expected, "{variables:?}");
        }
    }

    #[test]
    fn an_endpoint_that_is_none_keeps_nothing_from_starting() {
        let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        for (wrong, protocol) in [
            ("foo", "http/protobuf"),
            ("127.0.0.1:4318", "http/protobuf"),
            ("http://", "grpc"),
            ("ftp://x", "grpc"),
        ] {
            let (otel, warnings) = of(&[
                (traces, wrong),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ]);
            assert_eq!((otel.traces, otel.metrics.is_some()), (None, true), "{wrong}");
            let quoted = warnings[0].contains(&format!("{wrong:?}"));
            assert!(warnings[0].starts_with(traces) && !quoted, "{warnings:?}");
        }
    }

    #[test]
    fn the_protocol_of_a_signal_goes_before_that_of_all() {
        let (otel, warnings) = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
        ]);
        assert_eq!((otel.traces, otel.metrics), (Some(Protocol::Grpc), Some(Protocol::Http)));
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn samplers_have_the_names_of_the_specification() {
        let arg = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
        for (variables, parent_based, ratio) in [
            (vec![], true, 0.01),
            (vec![arg], true, 0.25),
            (vec![("OTEL_TRACES_SAMPLER", "traceidratio"), arg], false, 0.25),
            (vec![("OTEL_TRACES_SAMPLER", "traceidratio")], false, 1.0),
            (vec![("OTEL_TRACES_SAMPLER", "always_on"), arg], false, 1.0),
            (vec![("OTEL_TRACES_SAMPLER", "parentbased_always_off")], true, 0.0),
        ] {
            let (otel, warnings) = of(&variables);
            assert_eq!(otel.sampler, Sampler { parent_based, ratio }, "{variables:?}");
            assert_eq!(warnings, Vec::<String>::new(), "{variables:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_and_passed_over() {
        for (variable, value) in [
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_PROPAGATORS", "tracecontext,b3"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_SDK_DISABLED", "yes"),
        ] {
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
            let (otel, warnings) = of(&[(variable, value), endpoint]);
            assert!(warnings[0].starts_with(variable), "{warnings:?}");
            assert!(otel.trace_context && otel.sampler == Otel::default().sampler, "{otel:?}");
        }
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317/");
        let (otel, warnings) = of(&[endpoint]);
        assert_eq!((otel.traces, warnings.len()), (Some(Protocol::Http), 1), "{warnings:?}");
        assert!(warnings[0].contains("OTEL_EXPORTER_OTLP_PROTOCOL=grpc"), "{warnings:?}");
    }
}
