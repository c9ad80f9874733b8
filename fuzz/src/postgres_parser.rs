//! PostgreSQL's own parser.

#![expect(unsafe_code, reason = "it is a library in C")]

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use serde_json::Value;

/// `PgQueryParseResult` of pg_query.h.
#[repr(C)]
struct ParseResult {
    parse_tree: *mut c_char,
    stderr_buffer: *mut c_char,
    error: *mut ParseError,
}

/// `PgQueryError`, of which nothing is read.
#[repr(C)]
struct ParseError {
    _fields: [u8; 0],
}

unsafe extern "C" {
    fn pg_query_parse(input: *const c_char) -> ParseResult;
    fn pg_query_free_parse_result(result: ParseResult);
}

/// The answer of PostgreSQL to a text.
pub(crate) enum Parsed {
    /// The trees of its statements.
    Statements(Vec<Value>),
    /// It is refused.
    Refused,
    /// Its trees are deeper than this check reads.
    TooDeep,
}

/// Parses a text.
pub(crate) fn parse(sql: &str) -> Parsed {
    // A text ends at a zero byte in its protocol.
    let Ok(text) = CString::new(sql) else { return Parsed::Refused };
    // SAFETY: the text ends with a zero byte and outlives the call; the result is freed once, and only after its last use.
    let (tree, is_refused) = unsafe {
        let result = pg_query_parse(text.as_ptr());
        let is_refused = !ptr::eq(result.error, ptr::null());
        let tree = (!result.parse_tree.is_null() && !is_refused)
            .then(|| CStr::from_ptr(result.parse_tree).to_string_lossy().into_owned());
        pg_query_free_parse_result(result);
        (tree, is_refused)
    };
    if is_refused {
        return Parsed::Refused;
    }
    let tree = tree.and_then(|tree| serde_json::from_str::<Value>(&tree).ok());
    let Some(Value::Object(mut tree)) = tree else { return Parsed::TooDeep };
    match tree.remove("stmts") {
        Some(Value::Array(statements)) => Parsed::Statements(statements),
        _ => Parsed::Statements(Vec::new()),
    }
}
