//! The commands that are sent to a server (MySQL protocol, "Command Phase").

/// A command without an answer of rows, or with one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command<'a> {
    /// A statement in text, whose rows come as text.
    Query(&'a str),
    Prepare(&'a str),
    /// A run of the prepared statement of this number, with the bytes of its parameters.
    Execute(u32, &'a [u8]),
    /// The end of a prepared statement, which is not answered.
    CloseStatement(u32),
    Ping,
    /// Ends the transaction and all state of the session, but not its schema.
    ResetConnection,
    /// Another default schema.
    InitDb(&'a str),
    /// The end of the connection, which is not answered.
    Quit,
}

impl Command<'_> {
    /// Writes the command into the body of its packet.
    pub(crate) fn write(self, body: &mut Vec<u8>) {
        match self {
            Self::Query(sql) => text(body, 0x03, sql),
            Self::Prepare(sql) => text(body, 0x16, sql),
            Self::Execute(id, parameters) => {
                body.push(0x17);
                body.extend(id.to_le_bytes());
                // No cursor, and one run.
                body.extend([0, 1, 0, 0, 0]);
                body.extend_from_slice(parameters);
            }
            Self::CloseStatement(id) => {
                body.push(0x19);
                body.extend(id.to_le_bytes());
            }
            Self::Ping => body.push(0x0E),
            Self::ResetConnection => body.push(0x1F),
            Self::InitDb(schema) => text(body, 0x02, schema),
            Self::Quit => body.push(0x01),
        }
    }
}

fn text(body: &mut Vec<u8>, command: u8, text: &str) {
    body.push(command);
    body.extend_from_slice(text.as_bytes());
}
