//! Problems of a configuration: key, value, place, reason, and what to write instead.

use std::fmt;

/// One mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key; the file or variable when no single key is concerned.
    pub key: String,
    /// The value as it was written; never a secret.
    pub value: Option<String>,
    /// The file, variable or flag that the value came from.
    pub origin: Option<String>,
    /// The reason why it cannot be used.
    pub why: String,
    /// A sentence that says what to write instead.
    pub instead: Option<String>,
}

impl Problem {
    pub(crate) fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { key: key.into(), value: None, origin: None, why: why.into(), instead: None }
    }

    pub(crate) fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    pub(crate) fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    pub(crate) fn instead(mut self, instead: impl Into<String>) -> Self {
        self.instead = Some(instead.into());
        self
    }

    /// Names another key wherever it names this one.
    pub(crate) fn with_key(self, key: &str, other: &str) -> Self {
        let renamed = |text: String| text.replace(key, other);
        let Self { key, why, instead, .. } = self;
        Self { key: renamed(key), why: renamed(why), instead: instead.map(renamed), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, "  ({origin})")?;
        }
        write!(f, "\n    {}", self.why)?;
        if let Some(instead) = &self.instead {
            write!(f, "\n    {instead}")?;
        }
        Ok(())
    }
}

/// The reason why a value cannot be used; its key is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValueError {
    pub(crate) why: String,
    pub(crate) instead: Option<String>,
}

impl ValueError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), instead: None }
    }

    pub(crate) fn instead(mut self, instead: impl Into<String>) -> Self {
        self.instead = Some(instead.into());
        self
    }

    /// The problem of a key whose value this is.
    pub(crate) fn of(self, key: impl Into<String>) -> Problem {
        Problem { key: key.into(), value: None, origin: None, why: self.why, instead: self.instead }
    }
}

/// All problems of a configuration, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Returns an error unless there are no problems.
    pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 problem in the configuration")?,
            count => write!(f, "{count} problems in the configuration")?,
        }
        for problem in &self.0 {
            write!(f, "\n\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_where_why_and_what_to_write() {
        let problem = Problem::new("grpc.listen", "this is not an address")
            .value("\"here\"")
            .origin("rowgate.toml")
            .instead("Write an address and a port: \"127.0.0.1:50051\".");
        assert_eq!(
            Problems::from(problem).to_string(),
            "1 problem in the configuration\n\n  \
             grpc.listen = \"here\"  (rowgate.toml)\n    \
             this is not an address\n    \
             Write an address and a port: \"127.0.0.1:50051\"."
        );
    }

    #[test]
    fn no_problems_are_no_error() {
        assert_eq!(Problems::check(Vec::new()), Ok(()));
    }
}
