//! The ERR packet.

use super::length_encoded::PacketReader;

/// The first byte of an ERR packet.
const MARK: u8 = 0xFF;

/// The SQLSTATE of an error that came without one, as before the login.
const GENERAL: &str = "HY000";

/// An error as a server sent it. The message may quote rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) errno: u16,
    pub(crate) sqlstate: String,
    pub(crate) message: String,
}

impl ServerError {
    /// Reads a packet; `None` for one that is no ERR packet. Before the login it has no SQLSTATE.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let mut reader = PacketReader::new(packet);
        if reader.u8()? != MARK {
            return None;
        }
        let errno = reader.u16()?;
        let marked = reader.rest().strip_prefix(b"#").and_then(|rest| rest.split_at_checked(5));
        let state = |state: &[u8]| std::str::from_utf8(state).ok().map(str::to_owned);
        let (sqlstate, message) = match marked {
            Some((code, message)) if code.iter().all(u8::is_ascii_alphanumeric) => {
                (state(code), message)
            }
            _ => (None, reader.rest()),
        };
        Some(Self {
            errno,
            sqlstate: sqlstate.unwrap_or_else(|| GENERAL.to_owned()),
            message: String::from_utf8_lossy(message).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(packet: &[u8]) -> Option<(u16, String, String)> {
        ServerError::parse(packet).map(|error| (error.errno, error.sqlstate, error.message))
    }

    #[test]
    fn an_error_has_its_sqlstate_only_behind_the_login() {
        let of =
            |errno, state: &str, message: &str| Some((errno, state.to_owned(), message.to_owned()));
        assert_eq!(read(b"\xff\x7a\x04#42S02no table"), of(1146, "42S02", "no table"));
        assert_eq!(
            read(b"\xff\x10\x04Too many connections"),
            of(1040, "HY000", "Too many connections")
        );
        assert_eq!(read(b"\xff\x10\x04#420"), of(1040, "HY000", "#420"));
        assert_eq!(read(b"\xff\x10\x04#42\xff02x"), of(1040, "HY000", "#42\u{FFFD}02x"));
        assert_eq!(read(b"\xff\x10\x04#08004\xff"), of(1040, "08004", "\u{FFFD}"));
        assert_eq!(read(b"\xff\x10\x04"), of(1040, "HY000", ""));
        for packet in [&b""[..], b"\xff", b"\xff\x10", b"\x00\x10\x04#08004x"] {
            assert_eq!(read(packet), None, "{packet:?}");
        }
    }

    proptest! {
        #[test]
        fn any_packet_is_read_or_refused(packet in prop::collection::vec(any::<u8>(), 0..40)) {
            let marked: Vec<u8> = [MARK].into_iter().chain(packet.iter().copied()).collect();
            prop_assert_eq!(ServerError::parse(&marked).is_some(), packet.len() >= 2);
            prop_assert!(ServerError::parse(&packet).is_none_or(|_| packet[0] == MARK));
        }
    }
}
