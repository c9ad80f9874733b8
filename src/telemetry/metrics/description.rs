//! The name, unit and description of a metric.

/// A metric, as OTLP and docs/METRICS.md describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Its name in OTLP.
    pub name: &'static str,
    /// Its unit, in UCUM.
    pub unit: &'static str,
    /// Its description for people.
    pub help: &'static str,
}

impl Description {
    pub(crate) const fn new(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, unit, help }
    }
}
