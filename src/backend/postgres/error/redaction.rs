//! Redaction: the parts of a database's error that callers may see.
//!
//! With [`ErrorDetails::Safe`] no data of rows and no literal of a statement is disclosed: neither the
//! DETAIL (`Key (email)=(…) already exists.`) nor the quoted parts of messages. PostgreSQL quotes names
//! and values alike and escapes nothing inside, so a value may itself contain quotes: all text between
//! the first and the last quote is removed, except in errors that are known to quote names only.
//!
//! A translated message is known by its form: languages quote as they like (`»x«`, `「x」`, or not at all), so what is not
//! known to hold names only is replaced by the name of its SQLSTATE.

use super::error_reply::ErrorReply;
use super::sqlstate_names;
use crate::config::ErrorDetails;

/// The most bytes of a message, a hint or a detail: proxies drop responses with longer trailers.
const TEXT_LIMIT: usize = 1024;
/// The most bytes of a name: four times PostgreSQL's own limit, which a RAISE may exceed.
pub(crate) const NAME_LIMIT: usize = 256;

const ELLIPSIS: &str = "…";

pub(crate) fn message(reply: &ErrorReply<'_>, details: ErrorDetails) -> String {
    text(reply, reply.message, details).unwrap_or_else(|| condition_text(reply.code))
}

pub(crate) fn hint(reply: &ErrorReply<'_>, details: ErrorDetails) -> Option<String> {
    reply.hint.and_then(|hint| text(reply, hint, details))
}

/// Returns the DETAIL if it may be disclosed.
pub(crate) fn detail(reply: &ErrorReply<'_>, details: ErrorDetails) -> String {
    match details {
        ErrorDetails::Safe => String::new(),
        ErrorDetails::Full => shortened(reply.detail.unwrap_or_default(), TEXT_LIMIT),
    }
}

/// Returns the text, cut at a character's boundary to at most `limit` bytes.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", &text[..end])
}

/// Returns the part of a text that may be disclosed; `None` where that is not known.
fn text(reply: &ErrorReply<'_>, text: &str, details: ErrorDetails) -> Option<String> {
    if details == ErrorDetails::Full || quotes_no_data(reply, text) {
        return Some(shortened(text, TEXT_LIMIT));
    }
    if !reply.is_raised() && is_translated(reply, text) {
        return None;
    }
    let text = redacted(text);
    let is_about_data = reply.code.starts_with("22") && !reply.is_raised();
    let text = if is_about_data { without_numbers(&text) } else { text };
    Some(shortened(&text, TEXT_LIMIT))
}

/// Returns the name of a SQLSTATE in words.
fn condition_text(code: &str) -> String {
    match sqlstate_names::condition(code) {
        Some(name) => name.to_ascii_lowercase().replace('_', " "),
        None => "the database reports an error of its own".to_owned(),
    }
}

/// Returns true unless a text is certainly the server's English one: that is ASCII outside its double quotes, and its
/// severity is not translated. A language that leaves the severity as it is does not quote like English.
fn is_translated(reply: &ErrorReply<'_>, text: &str) -> bool {
    let is_local = !reply.local_severity.is_empty() && reply.local_severity != reply.severity;
    is_local || !text.split('"').step_by(2).all(str::is_ascii)
}

/// Removes the numbers of a message about data, which are not quoted (`invalid byte sequence: 0xe4`), except behind
/// a parenthesis, as in `character varying(5)`.
fn without_numbers(text: &str) -> String {
    let mut public = String::with_capacity(text.len());
    let mut before = ' ';
    let mut is_number = false;
    for c in text.chars() {
        let begins =
            c.is_ascii_digit() && !before.is_alphanumeric() && !matches!(before, '(' | '_');
        if begins {
            public.push_str(ELLIPSIS);
        }
        is_number = begins || (is_number && c.is_alphanumeric());
        if !is_number {
            public.push(c);
        }
        before = c;
    }
    public
}

/// Returns true if all quoted parts of a text are names of the schema or words of SQL.
fn quotes_no_data(reply: &ErrorReply<'_>, text: &str) -> bool {
    // The text of a RAISE is chosen by the database's own code.
    if reply.is_raised() {
        return false;
    }
    match (reply.code, reply.code.get(..2).unwrap_or_default()) {
        ("42601", _) => {
            !is_translated(reply, text)
                && quoted_range(text)
                    .is_none_or(|(start, end)| is_public_token(reply, &text[start..end]))
        }
        // A translated one quotes names, too, but says less than the condition to who does not speak it.
        (_, "23") => !is_translated(reply, text),
        // A name in the statement's text has a position. Without one it may come from a row, as in
        // `email::regclass`: it must at least look like a name.
        (_, "42") if reply.position.is_some() => !is_translated(reply, text),
        (_, "0A" | "25" | "26" | "2B" | "34" | "3B" | "3D" | "3F" | "40" | "42" | "55") => {
            !is_translated(reply, text) && quotes_identifiers(text)
        }
        (_, _) => false,
    }
}

/// Returns true if the token of a syntax error cannot be part of a literal. An unbalanced quote turns
/// a literal's words into tokens, so a word is public only where no quote precedes it.
fn is_public_token(reply: &ErrorReply<'_>, token: &str) -> bool {
    if token.bytes().all(|byte| byte.is_ascii_punctuation() && !matches!(byte, b'\'' | b'"' | b'$'))
    {
        return true;
    }
    if KEYWORDS.split(' ').any(|keyword| keyword.eq_ignore_ascii_case(token)) {
        return true;
    }
    let starts_word = token.starts_with(|c: char| c.is_alphabetic() || c == '_');
    starts_word && is_identifier(token) && !follows_quote(reply)
}

fn follows_quote(reply: &ErrorReply<'_>) -> bool {
    let Some(before) = reply.position.and_then(|position| usize::try_from(position).ok()) else {
        return true;
    };
    match reply.sql {
        Some(sql) => sql.chars().take(before).any(|c| matches!(c, '\'' | '$')),
        None => before > 1,
    }
}

/// Returns true if the quotes are paired and enclose only identifiers.
fn quotes_identifiers(text: &str) -> bool {
    text.matches('"').count().is_multiple_of(2)
        && text.split('"').skip(1).step_by(2).all(is_identifier)
}

fn is_identifier(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '[' | ']');
    !text.is_empty() && text.len() <= NAME_LIMIT && text.chars().all(allowed)
}

fn redacted(text: &str) -> String {
    match quoted_range(text) {
        None => text.to_owned(),
        Some((start, end)) => format!("{}{ELLIPSIS}{}", &text[..start], &text[end..]),
    }
}

/// Quotes of any language, which open in one and close in another. The text of a RAISE may hold them.
const QUOTES: [char; 18] = [
    '"', '«', '»', '„', '“', '”', '‟', '‹', '›', '「', '」', '『', '』', '＂', '〝', '〞', '〟',
    '`',
];

/// Quotes that are apostrophes inside a word.
const APOSTROPHES: [char; 4] = ['\'', '‘', '’', '‚'];

/// Returns the bounds of the text between the first quote and the last, in any language; up to the end when the last
/// is missing.
fn quoted_range(text: &str) -> Option<(usize, usize)> {
    let mut before = ' ';
    let (open, quote) = text.char_indices().find(|(_, c)| {
        // An apostrophe inside a word is not a quote: "can't".
        let opens = QUOTES.contains(c) || (APOSTROPHES.contains(c) && !before.is_alphanumeric());
        before = *c;
        opens
    })?;
    let start = open + quote.len_utf8();
    let close = text[start..].rfind(|c| QUOTES.contains(&c) || APOSTROPHES.contains(&c));
    Some((start, close.map_or(text.len(), |close| start + close)))
}

/// The key words that a syntax error may name, as they are never data.
const KEYWORDS: &str = "\
    ALL ALTER ANALYZE AND ANY AS ASC BEGIN BETWEEN BY CASE CAST CHECK COLUMN COMMIT CONFLICT \
    CONSTRAINT CREATE CROSS DEFAULT DELETE DESC DISTINCT DO DROP ELSE END EXCEPT EXISTS \
    EXPLAIN FALSE FETCH FOR FOREIGN FROM FULL FUNCTION GRANT GROUP HAVING IF ILIKE IN INDEX \
    INNER INSERT INTERSECT INTO IS JOIN KEY LATERAL LEFT LIKE LIMIT MERGE NATURAL NOT NULL \
    OFFSET ON OR ORDER OUTER OVER PARTITION PRIMARY REFERENCES RETURNING RIGHT ROLLBACK ROW \
    ROWS SELECT SET SOME TABLE THEN TO TRUE UNION UNIQUE UPDATE USING VALUES VIEW WHEN WHERE \
    WINDOW WITH";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn safe(code: &str, text: &str) -> String {
        message(&ErrorReply { code, message: text, ..ErrorReply::default() }, ErrorDetails::Safe)
    }

    #[test]
    fn quoted_data_is_removed() {
        let cases = [
            (
                "22P02",
                r#"invalid input syntax for type integer: "4 eggs""#,
                r#"invalid input syntax for type integer: "…""#,
            ),
            (
                "22P02",
                r#"invalid input syntax for type uuid: "a"b" c"#,
                r#"invalid input syntax for type uuid: "…" c"#,
            ),
            ("22P02", r#"unexpected end: "abc"#, r#"unexpected end: "…"#),
            (
                "22003",
                r#"value "9999999999" is out of range for type integer"#,
                r#"value "…" is out of range for type integer"#,
            ),
            ("22007", r#"invalid value "no" for "YYYY""#, r#"invalid value "…""#),
            ("22012", "division by zero", "division by zero"),
            ("22P02", "syntaxe en entrée invalide : « secret »", "invalid text representation"),
            ("22P02", "ungültige Eingabe: »secret«", "invalid text representation"),
            ("42P01", "Relation »secret« existiert nicht", "undefined table"),
            ("42601", "Syntaxfehler bei »secret«", "syntax error"),
            ("ZZ001", "das ist »secret«", "the database reports an error of its own"),
            (
                "22021",
                "invalid byte sequence for encoding \"UTF8\": 0xe4 0x62",
                "invalid byte sequence for encoding \"…\": … …",
            ),
            (
                "22001",
                "value too long for type character varying(5)",
                "value too long for type character varying(5)",
            ),
            (
                "22026",
                "bit string length 5 does not match type bit(3)",
                "bit string length … does not match type bit(3)",
            ),
            ("P0001", r#"no funds on "bob's" account"#, r#"no funds on "…" account"#),
            ("XX000", "can't parse 'secret' here", "can't parse '…' here"),
            ("XX000", r#"unexpected "secret""#, r#"unexpected "…""#),
            (
                "28P01",
                r#"password authentication failed for user "app""#,
                r#"password authentication failed for user "…""#,
            ),
        ];
        for (code, text, public) in cases {
            assert_eq!(safe(code, text), public);
        }
    }

    #[test]
    fn a_translated_message_is_known_by_its_severity() {
        let reply = ErrorReply {
            code: "22023",
            severity: "ERROR",
            local_severity: "FEHLER",
            message: "Wert secret ist kein Name",
            hint: Some("Nimm secret."),
            ..ErrorReply::default()
        };
        assert_eq!(message(&reply, ErrorDetails::Safe), "invalid parameter value");
        assert_eq!(hint(&reply, ErrorDetails::Safe), None);
        assert_eq!(message(&reply, ErrorDetails::Full), reply.message);
        let names = ErrorReply { code: "23505", message: "Schlüssel »t_pkey«", ..reply };
        assert_eq!(message(&names, ErrorDetails::Safe), "unique violation");
        let raised = ErrorReply {
            routine: Some("exec_stmt_raise"),
            message: "das Konto »secret« ist leer",
            ..reply
        };
        assert_eq!(message(&raised, ErrorDetails::Safe), "das Konto »…« ist leer");
    }

    #[test]
    fn names_are_kept() {
        let kept = [
            ("23505", r#"duplicate key value violates unique constraint "users email""#),
            ("23502", r#"null value in column "a" of relation "t" violates not-null constraint"#),
            ("42P01", r#"relation "nope" does not exist"#),
            ("42883", "function nope(unknown) does not exist"),
            ("3F000", r#"schema "nope" does not exist"#),
            ("55000", r#"currval of sequence "s" is not yet defined in this session"#),
            ("25001", "VACUUM cannot run inside a transaction block"),
        ];
        for (code, text) in kept {
            assert_eq!(safe(code, text), text);
        }
        let positioned = ErrorReply {
            code: "42703",
            message: r#"column "first name" does not exist"#,
            position: Some(8),
            ..ErrorReply::default()
        };
        assert_eq!(message(&positioned, ErrorDetails::Safe), positioned.message);
    }

    #[test]
    fn a_name_that_may_come_from_a_row_must_look_like_one() {
        let leaked = r#"relation "bob@example.com" does not exist"#;
        assert_eq!(safe("42P01", leaked), r#"relation "…" does not exist"#);
        let odd = r#"relation "a"b" does not exist"#;
        assert_eq!(safe("42P01", odd), r#"relation "…" does not exist"#);
        let raised = ErrorReply {
            code: "23505",
            message: r#"taken: "bob""#,
            routine: Some("exec_stmt_raise"),
            ..ErrorReply::default()
        };
        assert_eq!(message(&raised, ErrorDetails::Safe), r#"taken: "…""#);
    }

    #[test]
    fn a_syntax_error_names_its_token_unless_it_may_be_a_literal() {
        let near = |token: &str, sql: Option<&str>, position| {
            let text = format!("syntax error at or near \"{token}\"");
            let reply = ErrorReply {
                code: "42601",
                message: &text,
                sql,
                position,
                ..ErrorReply::default()
            };
            message(&reply, ErrorDetails::Safe) == text
        };
        assert!(near("FROM", None, Some(9)));
        assert!(near("from", None, None));
        assert!(near(")", None, Some(9)));
        assert!(near("selct", None, Some(1)));
        assert!(near("form", Some("select * form t where a = 'x'"), Some(10)));
        assert!(!near("form", None, Some(10)));
        assert!(!near("Brien", Some("select 'O'Brien'"), Some(11)));
        assert!(!near("'secret'", Some("select 1 'secret'"), Some(10)));
        assert!(!near("42", Some("select a 42"), Some(10)));
        assert!(!near("$$secret$$", Some("select a $$secret$$"), Some(10)));
        let unterminated = r#"unterminated quoted string at or near "'my "secret""#;
        assert_eq!(safe("42601", unterminated), r#"unterminated quoted string at or near "…""#);
        assert_eq!(safe("42601", "syntax error at end of input"), "syntax error at end of input");
    }

    #[test]
    fn details_and_hints_follow_the_configuration() {
        let reply = ErrorReply {
            code: "22P02",
            message: r#"bad "secret""#,
            detail: Some("Key (a)=(secret)"),
            hint: Some(r#"Try "secret" again."#),
            ..ErrorReply::default()
        };
        assert_eq!(detail(&reply, ErrorDetails::Safe), "");
        assert_eq!(hint(&reply, ErrorDetails::Safe).as_deref(), Some(r#"Try "…" again."#));
        assert_eq!(detail(&reply, ErrorDetails::Full), "Key (a)=(secret)");
        assert_eq!(hint(&reply, ErrorDetails::Full).as_deref(), reply.hint);
        assert_eq!(message(&reply, ErrorDetails::Full), reply.message);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(shortened("abc", 3), "abc");
        let cut = shortened(&"é".repeat(600), TEXT_LIMIT);
        assert!(cut.len() <= TEXT_LIMIT && cut.len() > TEXT_LIMIT - 4);
        assert!(cut.ends_with("é…"));
    }

    proptest! {
        #[test]
        fn no_quoted_secret_survives_a_data_error(before in "[a-z ]{0,9}", around in "[\"' a-z]{0,9}") {
            let text = format!("{before}: \"{around}SECRET{around}\" of type integer");
            prop_assert!(!safe("22P02", &text).contains("SECRET"));
        }

        #[test]
        fn any_message_is_public_within_its_limit(code in "[0-9A-Z]{5}", text in "(?s).{0,2000}") {
            prop_assert!(safe(&code, &text).len() <= TEXT_LIMIT);
        }
    }
}
