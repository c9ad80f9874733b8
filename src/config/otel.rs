//! What the variables of OpenTelemetry say: those that its SDK does not read by itself, and those that
//! decide before it is asked.
//!
//! A value that cannot be used is warned of and passed over, as the specification of these variables has it
//! ("Environment Variable Specification", Parsing empty value; Enum value): they are set for all programs
//! of a platform at once, and what another one understands must not keep this one from starting.

use super::source::Environment;

/// The share of calls that begin a trace here, unless the variables say otherwise.
const RATIO: f64 = 0.01;

/// The port of OTLP over gRPC.
const GRPC_PORT: &str = ":4317";

/// Traces and metrics by OTLP, as `OTEL_*` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Otel {
    /// `OTEL_SDK_DISABLED`: nothing is traced or measured, for OTLP and `/metrics` alike.
    pub disabled: bool,
    /// How traces are sent; `None`: they are not.
    pub traces: Option<Protocol>,
    /// How metrics are sent; `None`: they are not, which leaves `/metrics` as it is.
    pub metrics: Option<Protocol>,
    /// Which calls are traced.
    pub sampler: Sampler,
    /// `OTEL_PROPAGATORS` has `tracecontext`: a caller's trace goes on.
    pub trace_context: bool,
    /// `OTEL_PROPAGATORS` has `baggage`.
    pub baggage: bool,
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    Http,
}

/// Which calls are traced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether a caller's own decision counts.
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

/// Reads the variables; what cannot be used is told in `warnings`.
pub(crate) fn read(environment: &Environment, warnings: &mut Vec<String>) -> Otel {
    let mut reader = Reader { environment, warnings };
    let (trace_context, baggage) = reader.propagators();
    if reader.is_true("OTEL_SDK_DISABLED") {
        // It has no effect on what a caller's trace is read with (Environment Variable Specification).
        return Otel { disabled: true, trace_context, baggage, ..Otel::default() };
    }
    Otel {
        disabled: false,
        traces: reader.exported("TRACES"),
        metrics: reader.exported("METRICS"),
        sampler: reader.sampler(),
        trace_context,
        baggage,
    }
}

/// Whether OTLP can be sent there. Over gRPC an authority alone will do.
fn is_endpoint(endpoint: &str, protocol: Protocol) -> bool {
    let Ok(uri) = endpoint.parse::<http::Uri>() else { return false };
    let scheme = uri.scheme_str();
    let is_known = matches!(scheme, Some("http" | "https"));
    uri.authority().is_some() && (is_known || (scheme.is_none() && protocol == Protocol::Grpc))
}

/// Where both signals go, where they have no endpoint of their own.
const COMMON_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

struct Reader<'a> {
    environment: &'a Environment,
    warnings: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    /// A value as it counts; the empty one is none.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.environment.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    fn ignored(&mut self, name: &str, value: &str, known: &str) {
        self.warn(format!("{name}: {value:?} is not known here and was ignored: {known}"));
    }

    /// Says it once: traces and metrics have many variables in common.
    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn is_true(&mut self, name: &str) -> bool {
        match self.get(name) {
            Some(value) if value.eq_ignore_ascii_case("true") => true,
            Some(value) if !value.eq_ignore_ascii_case("false") => {
                self.ignored(name, value, "write true or false");
                false
            }
            Some(_) | None => false,
        }
    }

    /// How one signal is sent. Without an endpoint and without a word it is not: nobody may listen.
    fn exported(&mut self, signal: &str) -> Option<Protocol> {
        let exporter = format!("OTEL_{signal}_EXPORTER");
        let names = self.get(&exporter).map(|names| names.split(',').map(str::trim));
        let mut asked = false;
        for name in names.clone().into_iter().flatten() {
            match name {
                "otlp" => asked = true,
                "none" => return None,
                // What `/metrics` is.
                "prometheus" if signal == "METRICS" => {}
                other => self.ignored(&exporter, other, "otlp and none are"),
            }
        }
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
        let endpoint = self.get(&own).or_else(|| self.get(COMMON_ENDPOINT));
        let wanted = asked || (names.is_none() && endpoint.is_some());
        if !wanted {
            return None;
        }
        let protocol = self.protocol(signal, endpoint.unwrap_or_default());
        if endpoint.is_none_or(|endpoint| is_endpoint(endpoint, protocol)) {
            return Some(protocol);
        }
        // Without its value: a user and a password may be in it.
        let name = if self.get(&own).is_some() { &own } else { COMMON_ENDPOINT };
        let what = signal.to_ascii_lowercase();
        self.warn(format!(
            "{name}: this is no URL, and {what} are not sent: write http://host:port or https://host:port"
        ));
        None
    }

    fn protocol(&mut self, signal: &str, endpoint: &str) -> Protocol {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL");
        let common = "OTEL_EXPORTER_OTLP_PROTOCOL";
        let name = if self.get(&own).is_some() { own.as_str() } else { common };
        match self.get(name) {
            Some("grpc") => return Protocol::Grpc,
            Some("http/protobuf") => {}
            Some(other) => self.ignored(name, other, "grpc and http/protobuf are"),
            None if endpoint.trim_end_matches('/').ends_with(GRPC_PORT) => {
                let warning = format!(
                    "{endpoint} has the port of OTLP over gRPC, and OTLP over HTTP is sent there: set {common}=grpc \
                     if that is meant"
                );
                self.warn(warning);
            }
            None => {}
        }
        Protocol::Http
    }

    fn sampler(&mut self) -> Sampler {
        let name = "OTEL_TRACES_SAMPLER";
        let ratio = self.ratio();
        let (parent_based, ratio) = match self.get(name) {
            None | Some("parentbased_traceidratio") => (true, ratio.unwrap_or(RATIO)),
            Some("traceidratio") => (false, ratio.unwrap_or(1.0)),
            Some("always_on") => (false, 1.0),
            Some("always_off") => (false, 0.0),
            Some("parentbased_always_on") => (true, 1.0),
            Some("parentbased_always_off") => (true, 0.0),
            Some(other) => {
                let known =
                    "always_on, always_off, traceidratio, and parentbased_ before any of them are";
                self.ignored(name, other, known);
                (true, RATIO)
            }
        };
        Sampler { parent_based, ratio }
    }

    fn ratio(&mut self) -> Option<f64> {
        let name = "OTEL_TRACES_SAMPLER_ARG";
        let value = self.get(name)?;
        let ratio = value.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        if ratio.is_none() {
            self.ignored(name, value, "write a number from 0 to 1");
        }
        ratio
    }

    fn propagators(&mut self) -> (bool, bool) {
        let name = "OTEL_PROPAGATORS";
        let Some(names) = self.get(name) else { return (true, true) };
        let (mut trace_context, mut baggage) = (false, false);
        for one in names.split(',').map(str::trim) {
            match one {
                "tracecontext" => trace_context = true,
                "baggage" => baggage = true,
                "none" => {}
                other => self.ignored(name, other, "tracecontext, baggage and none are"),
            }
        }
        (trace_context, baggage)
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
