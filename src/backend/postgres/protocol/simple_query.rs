//! The responses of the simple query protocol.

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// The rows among the responses to a script.
pub(crate) fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| {
        if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None }
    })
}

/// The first value of a script's first row.
pub(crate) fn first_value(messages: &[SimpleQueryMessage]) -> Option<String> {
    rows(messages).next().and_then(|row| row.get(0)).map(str::to_owned)
}
