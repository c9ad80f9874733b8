//! A finding about a file of migrations: why nothing may run, and what to do.

use std::fmt;

/// A finding about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, and the line where one is to blame: `V2__orders.sql:7`.
    pub(crate) place: String,
    pub(crate) why: String,
    /// The remedy, on one or several lines.
    pub(crate) instead: String,
}

impl Finding {
    pub(crate) fn new(
        place: impl Into<String>,
        why: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), why: why.into(), instead: instead.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)?;
        self.instead.lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}
