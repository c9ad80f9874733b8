//! SQLite's functions that may take hours on values of megabytes, as ones that can be interrupted: nothing in
//! SQLite's own asks if the deadline has passed.
//!
//! They give what SQLite's own give, for any bytes. `LIKE` and `GLOB` are replaced where a thread cannot be given
//! up, on the connection that writes: the planner uses indexes for SQLite's own only.

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Result, ToSql, ffi};

use super::pattern::{Pattern, Syntax, continuations, is_continuation, read_character};
use super::stop_check::{StopCheck, WorkBudget, failure};

/// The longest pattern, as in SQLite.
const LONGEST_PATTERN: usize = 50_000;

/// The things that the functions of one connection share.
struct Shared {
    stop: StopCheck,
    /// The longest text or blob.
    max_length: usize,
    /// SQLite's own way of writing numbers, once one was written.
    numbers: Mutex<Option<Connection>>,
}

type Function = fn(&Shared, &Context<'_>) -> Result<Bytes>;

/// The functions of all connections: their names and counts of arguments.
const EVERYWHERE: [(&str, i32, Function); 6] = [
    ("instr", 2, instr),
    ("replace", 3, replace),
    ("trim", 2, |shared, context| trim(shared, context, &[End::Left, End::Right])),
    ("ltrim", 2, |shared, context| trim(shared, context, &[End::Left])),
    ("rtrim", 2, |shared, context| trim(shared, context, &[End::Right])),
    ("unhex", 2, unhex),
];

/// The patterns.
const PATTERNS: [(&str, i32, Function); 3] = [
    ("like", 2, |shared, context| matches(shared, context, Syntax::LIKE)),
    ("like", 3, like_escaped),
    ("glob", 2, |shared, context| matches(shared, context, Syntax::GLOB)),
];

/// The functions of a connection that are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// All but the patterns, of a connection whose thread can be given up.
    Most,
    All,
}

/// Replaces SQLite's functions on a connection.
pub(crate) fn replace_functions(
    connection: &Connection,
    replaced: Replaced,
    stop: &StopCheck,
    max_length: usize,
) -> Result<()> {
    let shared = Arc::new(Shared { stop: stop.clone(), max_length, numbers: Mutex::default() });
    let patterns: &[_] = if replaced == Replaced::All { &PATTERNS } else { &[] };
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    for (name, arguments, function) in EVERYWHERE.iter().chain(patterns) {
        let shared = Arc::clone(&shared);
        connection.create_scalar_function(*name, *arguments, flags, move |context| {
            function(&shared, context)
        })?;
    }
    Ok(())
}

/// A result of a function. Its text need not be UTF-8.
#[derive(Debug, PartialEq)]
enum Bytes {
    Null,
    Integer(i64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl ToSql for Bytes {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Integer(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text)),
            Self::Blob(blob) => ToSqlOutput::Borrowed(ValueRef::Blob(blob)),
        })
    }
}

impl Shared {
    /// An argument as text; `None` for NULL.
    fn text<'c>(&self, context: &'c Context<'_>, index: usize) -> Result<Option<Cow<'c, [u8]>>> {
        Ok(Some(match context.get_raw(index) {
            ValueRef::Null => return Ok(None),
            ValueRef::Integer(number) => number.to_string().into_bytes().into(),
            ValueRef::Real(number) => self.number(number)?.into(),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.into(),
        }))
    }

    fn number(&self, number: f64) -> Result<Vec<u8>> {
        let mut numbers = self.numbers.lock();
        let connection = match numbers.take() {
            Some(connection) => connection,
            None => Connection::open_in_memory()?,
        };
        let connection = numbers.insert(connection);
        let sql = "SELECT CAST(?1 AS TEXT)";
        connection.query_row(sql, [number], |row| Ok(row.get_ref(0)?.as_bytes()?.to_vec()))
    }
}

/// The text before a NUL, where SQLite's function takes it for the end.
fn before_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn instr(shared: &Shared, context: &Context<'_>) -> Result<Bytes> {
    let is_blob = |index| matches!(context.get_raw(index), ValueRef::Blob(_));
    let is_text = !(is_blob(0) && is_blob(1));
    let (Some(haystack), Some(needle)) = (shared.text(context, 0)?, shared.text(context, 1)?)
    else {
        return Ok(Bytes::Null);
    };
    let Some(first) = needle.first() else { return Ok(Bytes::Integer(1)) };
    let mut work = shared.stop.work();
    let mut position = 0;
    let last = haystack.len().checked_sub(needle.len());
    for (at, byte) in haystack.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
        // A character begins here.
        if !is_text || at == 0 || !is_continuation(*byte) {
            position += 1;
            work.spend(1)?;
            if byte == first {
                work.spend(needle.len())?;
                if haystack[at..].starts_with(&needle) {
                    return Ok(Bytes::Integer(position));
                }
            }
        }
    }
    Ok(Bytes::Integer(0))
}

fn replace(shared: &Shared, context: &Context<'_>) -> Result<Bytes> {
    let (Some(text), Some(pattern)) = (shared.text(context, 0)?, shared.text(context, 1)?) else {
        return Ok(Bytes::Null);
    };
    let Some(first) = pattern.first().filter(|first| **first != 0) else {
        return Ok(Bytes::Text(text.into_owned()));
    };
    let Some(replacement) = shared.text(context, 2)? else { return Ok(Bytes::Null) };
    let mut work = shared.stop.work();
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = &*text;
    while rest.len() >= pattern.len() {
        work.spend(if rest[0] == *first { pattern.len() } else { 1 })?;
        if let Some(behind) = rest.strip_prefix(&*pattern) {
            if replaced.len() + replacement.len() + behind.len() > shared.max_length {
                return Err(failure(ffi::SQLITE_TOOBIG, None));
            }
            replaced.extend_from_slice(&replacement);
            rest = behind;
        } else {
            replaced.push(rest[0]);
            rest = &rest[1..];
        }
    }
    replaced.extend_from_slice(rest);
    Ok(Bytes::Text(replaced))
}

/// An end of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

fn trim(shared: &Shared, context: &Context<'_>, ends: &[End]) -> Result<Bytes> {
    let (Some(text), Some(set)) = (shared.text(context, 0)?, shared.text(context, 1)?) else {
        return Ok(Bytes::Null);
    };
    let characters = characters(before_nul(&set));
    let mut work = shared.stop.work();
    let mut text = &*text;
    for end in ends {
        while let Some(length) = matching(text, &characters, *end, &mut work)? {
            text = match end {
                End::Left => &text[length..],
                End::Right => &text[..text.len() - length],
            };
        }
    }
    Ok(Bytes::Text(text.to_vec()))
}

/// The length of the first of the characters that the text has at its end.
fn matching(
    text: &[u8],
    characters: &[&[u8]],
    end: End,
    work: &mut WorkBudget<'_>,
) -> Result<Option<usize>> {
    for character in characters {
        work.spend(character.len())?;
        let matches = match end {
            End::Left => text.starts_with(character),
            End::Right => text.ends_with(character),
        };
        if matches && !text.is_empty() {
            return Ok(Some(character.len()));
        }
    }
    Ok(None)
}

/// The characters of a text, as SQLite finds them in any bytes.
fn characters(mut text: &[u8]) -> Vec<&[u8]> {
    let mut characters = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        let more = if *first < 0xc0 { 0 } else { continuations(rest) };
        let (character, behind) = text.split_at(1 + more);
        characters.push(character);
        text = behind;
    }
    characters
}

fn unhex(shared: &Shared, context: &Context<'_>) -> Result<Bytes> {
    let (Some(text), Some(ignored)) = (shared.text(context, 0)?, shared.text(context, 1)?) else {
        return Ok(Bytes::Null);
    };
    let mut work = shared.stop.work();
    let mut digits = before_nul(&text);
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    while let Some(first) = digits.first() {
        work.spend(1)?;
        if let Some(high) = hex_digit(*first) {
            let Some(low) = digits.get(1).and_then(|low| hex_digit(*low)) else {
                return Ok(Bytes::Null);
            };
            bytes.push(high << 4 | low);
            digits = &digits[2..];
        } else {
            let character = read_character(&mut digits);
            work.spend(ignored.len())?;
            let mut rest = &*ignored;
            let found =
                std::iter::from_fn(|| (!rest.is_empty()).then(|| read_character(&mut rest)))
                    .any(|other| other == character);
            if !found {
                return Ok(Bytes::Null);
            }
        }
    }
    Ok(Bytes::Blob(bytes))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn like_escaped(shared: &Shared, context: &Context<'_>) -> Result<Bytes> {
    let Some(escape) = shared.text(context, 2)? else { return Ok(Bytes::Null) };
    let mut escape = before_nul(&escape);
    let character = read_character(&mut escape);
    if character == 0 || !escape.is_empty() {
        let message = "ESCAPE expression must be a single character";
        return Err(failure(ffi::SQLITE_ERROR, Some(message)));
    }
    matches(shared, context, Syntax::LIKE.escaped_by(character))
}

/// Compares the second argument with the pattern, which is the first.
fn matches(shared: &Shared, context: &Context<'_>, syntax: Syntax) -> Result<Bytes> {
    let pattern = shared.text(context, 0)?;
    if pattern.as_ref().is_some_and(|pattern| pattern.len() > LONGEST_PATTERN) {
        let message = "LIKE or GLOB pattern too complex";
        return Err(failure(ffi::SQLITE_ERROR, Some(message)));
    }
    let (Some(pattern), Some(text)) = (pattern, shared.text(context, 1)?) else {
        return Ok(Bytes::Null);
    };
    let pattern = Pattern::read(before_nul(&pattern), syntax);
    let matches = pattern.matches(before_nul(&text), &mut shared.stop.work())?;
    Ok(Bytes::Integer(matches.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Arguments of all types: texts of few characters, bytes of any kind, and numbers.
    fn argument() -> impl Strategy<Value = Value> {
        let texts = "[abAB%_*?\\[\\]^\\- é日%a]{0,8}";
        let bytes = prop::collection::vec(
            prop::sample::select(vec![0, b'a', b'b', b'%', 0x80, 0xa9, 0xc3, 0xe2, 0xff, b'1']),
            0..8,
        );
        prop_oneof![
            8 => texts.prop_map(Value::Text),
            2 => bytes.prop_map(Value::Blob),
            1 => "[0-9a-fA-F ab]{0,6}".prop_map(Value::Text),
            1 => any::<i32>().prop_map(|number| Value::Integer(number.into())),
            1 => any::<f64>().prop_map(Value::Real),
            1 => Just(Value::Null),
        ]
    }

    fn answer(connection: &Connection, sql: &str, values: &[Value]) -> Result<String, String> {
        let values = rusqlite::params_from_iter(values);
        let read = |row: &rusqlite::Row<'_>| Ok(format!("{:?}", row.get_ref(0)?));
        connection.query_row(sql, values, read).map_err(|error| error.to_string())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn functions_answer_as_sqlites_own(values in [argument(), argument(), argument()]) {
            let own = Connection::open_in_memory().expect("memory");
            let ours = Connection::open_in_memory().expect("memory");
            replace_functions(&ours, Replaced::All, &StopCheck::default(), 1 << 20).expect("replaced");
            for (name, arguments, _) in EVERYWHERE.iter().chain(&PATTERNS) {
                let arguments = usize::try_from(*arguments).expect("few");
                let places = vec!["?"; arguments].join(", ");
                let sql = format!("SELECT {name}({places})");
                let values = &values[..arguments];
                prop_assert_eq!(answer(&ours, &sql, values), answer(&own, &sql, values), "{}", sql);
            }
        }
    }

    #[test]
    fn a_function_ends_when_its_statement_must_stop() {
        let connection = Connection::open_in_memory().expect("memory");
        let stop = StopCheck::default();
        replace_functions(&connection, Replaced::All, &stop, 1 << 24).expect("replaced");
        stop.set(|| true);
        for sql in [
            "SELECT instr(zeroblob(15000000), zeroblob(7000000) || x'01')",
            "SELECT replace(zeroblob(1) || printf('%.*c', 9000000, 'a'), printf('%.*c', 7000, 'a') || 'b', '')",
            "SELECT trim(printf('%.*c', 9000000, 'a'), printf('%.*c', 7000000, 'b') || 'a')",
            "SELECT unhex(printf('%.*c', 9000000, 'x'), printf('%.*c', 7000000, 'y') || 'x')",
            "SELECT printf('%.*c', 15000000, 'a') LIKE '%' || printf('%.*c', 49000, 'a') || 'b%'",
            "SELECT printf('%.*c', 15000000, 'a') GLOB '*' || printf('%.*c', 49000, 'a') || 'b*'",
            "SELECT printf('%.*c', 15000000, 'a') LIKE '%é' ESCAPE '!'",
        ] {
            let error = answer(&connection, sql, &[]).expect_err(sql);
            assert_eq!(error, "interrupted", "{sql}");
        }
    }
}
