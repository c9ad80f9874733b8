//! The form of data that is text.

use std::borrow::Cow;

use crate::sql::Dialect;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    Csv,
    Text,
}

/// The mark that some programs write before a text in UTF-8, which is no part of it.
pub(crate) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The form of data that is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyText {
    pub(crate) format: TextFormat,
    /// A character of ASCII, as `quote` and `escape`.
    pub(crate) delimiter: u8,
    /// The text that stands for NULL.
    pub(crate) null: Cow<'static, str>,
    /// The first line has the names of the columns.
    pub(crate) header: bool,
    /// Of CSV, as `escape`.
    pub(crate) quote: u8,
    pub(crate) escape: u8,
    /// The source of rows that are written here, and not by the database.
    pub(crate) source: Option<TextSource>,
}

/// The source of rows that become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextSource {
    pub(crate) dialect: Dialect,
    /// A table, into which the text can be copied again: a value that would not be the same then is refused.
    pub(crate) is_table: bool,
}

impl CopyText {
    pub(crate) const CSV: Self = Self {
        format: TextFormat::Csv,
        delimiter: b',',
        null: Cow::Borrowed(""),
        header: false,
        quote: b'"',
        escape: b'"',
        source: None,
    };
    pub(crate) const TEXT: Self = Self {
        format: TextFormat::Text,
        delimiter: b'\t',
        null: Cow::Borrowed("\\N"),
        header: false,
        quote: b'"',
        escape: b'"',
        source: None,
    };
}
