//! The address of a listener: one of TCP, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The prefix of a socket's path.
const UNIX: &str = "unix:";

/// The longest path that the system takes: `sun_path` with its final zero, on macOS too.
const LONGEST_PATH: usize = 103;

/// The address of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ListenAddress {
    /// `127.0.0.1:50051`
    Tcp(SocketAddr),
    /// `unix:/run/rowgate/rowgate.sock`
    Unix(PathBuf),
}

impl ListenAddress {
    /// Returns the address, unless it is a Unix socket.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Returns true if only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.tcp().is_none_or(|address| address.ip().is_loopback())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some(path) = text.strip_prefix(UNIX) else {
            let has_port =
                text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let why = if has_port {
                "this is not an address: there is no IP address before the port"
            } else {
                "this is not an address with a port from 0 to 65535"
            };
            return text.parse().map(Self::Tcp).map_err(|_error| why.to_owned());
        };
        if path.len() > LONGEST_PATH {
            return Err(format!("the path is longer than {LONGEST_PATH} bytes"));
        }
        let path = PathBuf::from(path);
        if path.is_absolute() && path.file_name().is_some() {
            Ok(Self::Unix(path))
        } else {
            Err("this is not the absolute path of a socket".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_an_address_or_an_absolute_path() {
        let parsed = |text: &str| ListenAddress::try_from(text.to_owned());
        for text in ["127.0.0.1:50051", "[::1]:0", "unix:/run/rowgate.sock"] {
            let address = parsed(text).unwrap();
            assert_eq!(address.to_string(), text);
            assert!(address.is_local(), "{text}");
        }
        assert!(!parsed("0.0.0.0:1").unwrap().is_local());
        let long = format!("unix:/{}", "x".repeat(LONGEST_PATH));
        for (text, why) in [
            ("localhost:1", "no IP address"),
            ("50051", "with a port"),
            ("unix:rowgate.sock", "absolute"),
            ("unix:", "absolute"),
            ("unix:/", "absolute"),
            (&long, "longer"),
        ] {
            assert!(parsed(text).unwrap_err().contains(why), "{text}");
        }
    }
}
