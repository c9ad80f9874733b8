//! Logs: their destination, their format, and the events that no filter may let through.

use std::fmt;
use std::io::IsTerminal as _;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::traces::TARGET;
use crate::config::{LogFormat, Telemetry};
use crate::printable::{EscapingWriter, Notation};

/// A failure to start telemetry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitError {
    /// The log filter is invalid: the filter, and the reason.
    Filter(String, String),
    /// Logging was started before.
    AlreadyStarted,
    /// Nothing can be exported by OTLP as configured: the reason.
    Export(String),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(filter, why) => write!(f, "log filter {filter:?} is invalid: {why}"),
            Self::AlreadyStarted => f.write_str("logging was started twice"),
            Self::Export(why) => {
                write!(f, "telemetry export cannot be set up from OTEL_EXPORTER_OTLP_*: {why}")
            }
        }
    }
}

impl std::error::Error for InitError {}

/// Starts logging to standard error, for the whole process, and exports spans with a tracer.
pub(crate) fn start(settings: &Telemetry, spans: Option<SdkTracer>) -> Result<(), InitError> {
    let terminal = std::io::stderr().is_terminal();
    let automatic = if terminal { LogFormat::Text } else { LogFormat::Json };
    let format = settings.log_format.unwrap_or(automatic);
    let lines = lines_layer(format, &settings.log_filter, Colours(terminal), std::io::stderr)?;
    // One list: an absent optional layer would enable spans that nothing takes.
    let layers: Vec<Boxed> = [lines].into_iter().chain(spans.map(spans_layer)).collect();
    Registry::default().with(layers).try_init().map_err(|_other| InitError::AlreadyStarted)
}

fn filter(text: &str) -> Result<EnvFilter, InitError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::ERROR.into())
        .parse(text)
        .map_err(|error| InitError::Filter(text.to_owned(), error.to_string()))
}

/// The use of colours, where NO_COLOR allows them.
#[derive(Clone, Copy)]
struct Colours(bool);

/// Makes writers that escape what must not reach a terminal or a log.
struct Escaping<M>(M, Notation);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Escaping<M> {
    type Writer = EscapingWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter::new(self.0.make_writer(), self.1)
    }
}

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

fn lines_layer(
    format: LogFormat,
    filter_text: &str,
    colours: Colours,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Result<Boxed, InitError> {
    // Both filters need a level hint, or every span of every library is checked at each call.
    let harmless = filter_fn(is_harmless as fn(&Metadata<'_>) -> bool);
    let harmless = harmless.with_max_level_hint(LevelFilter::TRACE);
    let filter = filter(filter_text)?.and(harmless);
    // Callers choose tags and names.
    let writer = Escaping(
        writer,
        match format {
            LogFormat::Json => Notation::Json,
            LogFormat::Text if colours.0 => Notation::ColouredText,
            LogFormat::Text => Notation::Text,
        },
    );
    let mut layer = layer().with_writer(writer);
    if !colours.0 {
        layer = layer.with_ansi(false);
    }
    Ok(match format {
        LogFormat::Text => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

fn spans_layer(tracer: SdkTracer) -> Boxed {
    let ours = filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET);
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(ours.with_max_level_hint(LevelFilter::ERROR))
        .boxed()
}

/// Returns true if an event may be logged: the PostgreSQL driver logs SQL and parameters at debug, and notices at
/// info, and the spans of calls are for traces.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target != TARGET
        && (*metadata.level() <= tracing::Level::WARN || !target.starts_with("tokio_postgres"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::{debug, info, warn};

    use super::*;
    use crate::printable::is_printable;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = lines_layer(format, filter, Colours(false), move || writer.clone()).unwrap();
        let subscriber = Registry::default().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(lines.0.lock().clone()).unwrap()
    }

    #[test]
    fn no_filter_lets_the_driver_write_statements() {
        for filter in ["trace", "tokio_postgres=trace", "info,tokio_postgres::query=debug"] {
            let log = logged(LogFormat::Text, filter, || {
                debug!(target: "tokio_postgres::query", "executing statement with parameters");
                info!(target: "tokio_postgres::connection", "NOTICE: a row");
                warn!(target: "tokio_postgres", "a warning");
            });
            assert!(!log.contains("executing") && !log.contains("NOTICE"), "{filter}: {log}");
            assert!(log.contains("a warning"), "{filter}: {log}");
        }
    }

    #[test]
    fn a_filter_chooses_levels_by_target() {
        let log = logged(LogFormat::Text, "warn,rowgate::pool=debug", || {
            debug!(target: "rowgate::pool", "connection opened");
            info!(target: "rowgate::grpc", "call done");
        });
        assert!(log.contains("connection opened") && !log.contains("call done"), "{log}");
    }

    #[test]
    fn json_lines_hold_fields_beside_the_message() {
        let log = logged(LogFormat::Json, "info", || info!(pool = "main", "connection opened"));
        let line: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!(line["pool"], "main");
        assert_eq!(line["message"], "connection opened");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_without_a_terminal_has_no_colours() {
        let log = logged(LogFormat::Text, "info", || info!("ready"));
        assert!(log.contains("ready") && !log.contains('\u{1b}'), "{log:?}");
    }

    #[test]
    fn fields_cannot_control_a_terminal_or_hide_text() {
        let tag = "a\u{1b}[2J\u{9b}1m\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}b";
        for format in [LogFormat::Json, LogFormat::Text] {
            let log = logged(format, "info", || info!(tag, name = %tag, debug = ?tag, "{tag}"));
            assert!(log.trim_end().chars().all(is_printable), "{log:?}");
        }
        let log = logged(LogFormat::Json, "info", || info!(tag, "called"));
        let line: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!(line["tag"], tag);
    }

    #[test]
    fn an_invalid_filter_is_an_error_that_quotes_it() {
        let error = filter("rowgate=loud").unwrap_err();
        assert!(error.to_string().starts_with("log filter \"rowgate=loud\" is invalid: "));
    }
}
