//! The fields of an error reply, and what they say about the connection and its statements.

use tokio_postgres::error::{DbError, ErrorPosition, Severity};

/// The fields of an error reply that are used; the driver's type cannot be constructed in a test.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ErrorReply<'a> {
    pub(crate) code: &'a str,
    pub(crate) severity: &'a str,
    /// The severity in the server's language.
    pub(crate) local_severity: &'a str,
    /// Tells whether the server closes the connection after the reply.
    pub(crate) is_fatal: bool,
    pub(crate) message: &'a str,
    pub(crate) detail: Option<&'a str>,
    pub(crate) hint: Option<&'a str>,
    /// The position in the caller's text, in characters from 1.
    pub(crate) position: Option<u32>,
    /// The caller's text.
    pub(crate) sql: Option<&'a str>,
    pub(crate) context: Option<&'a str>,
    pub(crate) routine: Option<&'a str>,
    pub(crate) constraint: Option<&'a str>,
    pub(crate) schema: Option<&'a str>,
    pub(crate) table: Option<&'a str>,
    pub(crate) column: Option<&'a str>,
    pub(crate) data_type: Option<&'a str>,
}

impl<'a> ErrorReply<'a> {
    pub(crate) fn new(error: &'a DbError) -> Self {
        let severities =
            [(Severity::Error, "ERROR"), (Severity::Fatal, "FATAL"), (Severity::Panic, "PANIC")];
        let severity = severities.iter().find(|(each, _)| Some(*each) == error.parsed_severity());
        Self {
            code: error.code().code(),
            // The other field of the protocol is in the server's language.
            severity: severity.map_or(error.severity(), |(_, name)| name),
            local_severity: error.severity(),
            is_fatal: matches!(severity, Some((Severity::Fatal | Severity::Panic, _))),
            message: error.message(),
            detail: error.detail(),
            hint: error.hint(),
            position: error.position().and_then(|position| match position {
                ErrorPosition::Original(position) => Some(*position),
                // In the body of a function, which the caller may not even know.
                ErrorPosition::Internal { .. } => None,
            }),
            sql: None,
            context: error.where_(),
            routine: error.routine(),
            constraint: error.constraint(),
            schema: error.schema(),
            table: error.table(),
            column: error.column(),
            data_type: error.datatype(),
        }
    }

    /// Returns true if a table changed under a prepared statement.
    pub(crate) fn is_stale_plan(&self) -> bool {
        // The message may be translated; the C function's name is not.
        self.code == "0A000"
            && (self.routine == Some("RevalidateCachedQuery")
                || self.message == "cached plan must not change result type")
    }

    /// Returns true if a statement refers to something that is gone or was altered.
    fn is_stale_reference(&self) -> bool {
        // The messages of internal errors are not translated; other messages are, the C functions' names not.
        let internal = ["cache lookup failed for ", "could not open relation with OID "];
        let routines = ["CheckVarSlotCompatibility", "ExecEvalWholeRowVar", "tupledesc_match"];
        match self.code {
            "XX000" => internal.iter().any(|start| self.message.starts_with(start)),
            "42703" | "42804" => self.routine.is_some_and(|name| routines.contains(&name)),
            _ => false,
        }
    }

    /// Returns true if the database's own code raised the error, with a text of its choice.
    pub(crate) fn is_raised(&self) -> bool {
        self.routine == Some("exec_stmt_raise")
    }

    /// Returns the index of the parameter that could not be read, which the last line of the context
    /// names: `unnamed portal parameter $2`, or `portal "p1" parameter $2 = '…'`.
    ///
    /// The line is known by its form, as its words are translated: `unbenanntes Portal Parameter $2`.
    pub(crate) fn parameter(&self) -> Option<usize> {
        let line = self.context?.lines().next_back()?;
        let (portal, number) = line.split_once(" $").or_else(|| {
            // Spanish omits the sign.
            line.strip_prefix("portal sin nombre, parámetro ").map(|number| ("", number))
        })?;
        // Other contexts quote a statement, or list all parameters after a colon.
        if portal.contains(['"', '\'', '(', ':', '«', '»', '「'])
            && !portal.starts_with("portal \"")
        {
            return None;
        }
        let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<usize>().ok()?.checked_sub(1)
    }
}

/// Returns true if the server closes the connection after the error: it is a FATAL or PANIC.
pub(crate) fn ends_connection(error: &DbError) -> bool {
    ErrorReply::new(error).is_fatal
}

/// Returns true if an administrator ended the session before the statement began: 57P01 as a reply
/// means that nothing was applied.
pub(crate) fn is_terminated(error: &DbError) -> bool {
    ends_connection(error) && error.code().code() == "57P01"
}

/// Returns true if a table changed under a prepared statement, which has not run and must be prepared
/// anew.
pub(crate) fn is_stale_plan(error: &DbError) -> bool {
    ErrorReply::new(error).is_stale_plan()
}

/// Returns true if a statement refers to something that is gone or was altered: a type, a function, a
/// column. If it was prepared before, it must be prepared anew.
pub(crate) fn is_stale_reference(error: &DbError) -> bool {
    ErrorReply::new(error).is_stale_reference()
}

/// Returns true if a statement does not fit the definitions, by its text or by the types that its
/// parameters had when it was prepared.
pub(crate) fn is_misfit(error: &DbError) -> bool {
    let code = error.code().code();
    code == "XX000" || code.starts_with("42")
}

/// Returns true if a prepared statement does not exist, or already exists, and its name satisfies
/// `is_known`. A caller's own EXECUTE, or a function's error, may say the same of other statements.
pub(crate) fn is_lost_statement(error: &DbError, is_known: impl Fn(&str) -> bool) -> bool {
    // The message may be translated; the name and the server's own function are not.
    let routines = ["FetchPreparedStatement", "StorePreparedStatement"];
    let mut words = error.message().split(|c: char| !c.is_ascii_alphanumeric());
    matches!(error.code().code(), "26000" | "42P05")
        && error.routine().is_none_or(|routine| routines.contains(&routine))
        && words.any(|word| is_driver_name(word) && is_known(word))
}

/// Returns true if the driver gives such names to statements: an `s` and a number.
fn is_driver_name(word: &str) -> bool {
    let number = word.strip_prefix('s').unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}
