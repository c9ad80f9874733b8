//! The token of a commit, which outlives its connection: the server, the connection there, and the mark.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Error, ErrorKind, Result};

/// The seconds by which two readings of a server's start may differ.
const CLOCK_ERROR: u64 = 2;

/// The token of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitToken {
    /// The name that the server has for itself.
    pub(crate) server: String,
    /// The second of the server's start, and that of the commit by this process's clock.
    pub(crate) started: u64,
    pub(crate) time: u64,
    /// The number of the connection on the server.
    pub(crate) thread: u64,
    pub(crate) mark: [u8; 32],
}

impl CommitToken {
    /// The token as callers get it.
    pub(crate) fn print(&self) -> String {
        let Self { server, started, time, thread, mark } = self;
        let server = URL_SAFE_NO_PAD.encode(server);
        let mark = URL_SAFE_NO_PAD.encode(mark);
        format!("my1.{server}.{started}.{time}.{thread}.{mark}")
    }

    /// Reads a token, as [`CommitToken::print`] returns it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Self::read(text).ok_or_else(|| {
            let description = "this is no token of this database";
            Error::field(ErrorKind::InvalidParameter, "transaction_token", description)
        })
    }

    fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.strip_prefix("my1.")?.split('.').collect();
        let [server, started, time, thread, mark] = parts[..] else { return None };
        let server = String::from_utf8(URL_SAFE_NO_PAD.decode(server).ok()?).ok()?;
        Some(Self {
            server,
            started: started.parse().ok()?,
            time: time.parse().ok()?,
            thread: thread.parse().ok()?,
            mark: URL_SAFE_NO_PAD.decode(mark).ok()?.try_into().ok()?,
        })
    }

    /// Returns true if it is of the server of this name, and that has not been started anew.
    pub(crate) fn is_of(&self, server: &str, started: u64) -> bool {
        !server.is_empty() && self.server == server && self.started.abs_diff(started) <= CLOCK_ERROR
    }

    /// Returns true if its mark may have been deleted, as marks are after the retention of keys.
    pub(crate) fn is_older_than(&self, retention: Duration) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // A part is left to clocks that disagree.
        now.abs_diff(self.time) >= retention.as_secs() / 10 * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_printed() {
        let token = CommitToken {
            server: "VgtJo0IIComEcknQ52J20T1/xBw=".to_owned(),
            started: 1_764_400_000,
            time: 1_764_400_100,
            thread: 41,
            mark: [7; 32],
        };
        assert_eq!(CommitToken::parse(&token.print()).expect("it is one"), token);
        assert!(token.is_of(&token.server, token.started + 1));
        assert!(!token.is_of(&token.server, token.started + 60) && !token.is_of("", token.started));
        for wrong in ["", "my1.", "my1.a.1.2.3", "pg1-1-2-3-4-5", "my1.a.1.2.3.b", "my1.a.x.2.3.b"]
        {
            let error = CommitToken::parse(wrong).expect_err(wrong);
            assert_eq!(error.kind(), ErrorKind::InvalidParameter, "{wrong}");
        }
    }
}
