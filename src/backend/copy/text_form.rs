//! The form of data that is text.

use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    Csv,
    Text,
}

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
}

impl CopyText {
    pub(crate) const CSV: Self = Self {
        format: TextFormat::Csv,
        delimiter: b',',
        null: Cow::Borrowed(""),
        header: false,
        quote: b'"',
        escape: b'"',
    };
    pub(crate) const TEXT: Self = Self {
        format: TextFormat::Text,
        delimiter: b'\t',
        null: Cow::Borrowed("\\N"),
        header: false,
        quote: b'"',
        escape: b'"',
    };
}
