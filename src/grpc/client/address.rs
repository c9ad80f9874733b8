//! The address of a server.

use std::fmt;
use std::str::FromStr;

/// The address of a server: `http://host:port`, the scheme may be left out; or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(http::Uri),
    /// The absolute path of a socket.
    Unix(String),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Both forms are usual in gRPC (its document on name resolution).
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            let is_absolute = path.starts_with('/');
            let why = "it needs the absolute path of a socket, as in unix:/run/rowgate.sock";
            return is_absolute.then(|| Self::Unix(path.to_owned())).ok_or_else(|| why.to_owned());
        }
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri =
            full.parse().map_err(|error| format!("{error}; write it as http://127.0.0.1:50051"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err("this client does not speak TLS yet; use http://".to_owned());
            }
            Some(_) | None => return Err("the scheme must be http:// or unix:".to_owned()),
        }
        if uri.port().is_none() {
            return Err(format!("it needs a port, as in {full}:50051"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("it must end after the port".to_owned());
        }
        Ok(Self::Tcp(uri))
    }
}

impl Address {
    /// The host and the port, as a socket is opened to; `None` for a Unix socket.
    pub(crate) fn host_and_port(&self) -> Option<&str> {
        match self {
            Self::Tcp(uri) => uri.authority().map(http::uri::Authority::as_str),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(uri) => write!(f, "{}", uri.to_string().trim_end_matches('/')),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain_http_with_a_port() {
        let cases = [
            ("127.0.0.1:50051", Ok("http://127.0.0.1:50051")),
            ("http://[::1]:1/", Ok("http://[::1]:1")),
            ("unix:/run/rowgate.sock", Ok("unix:/run/rowgate.sock")),
            ("unix:///run/rowgate.sock", Ok("unix:/run/rowgate.sock")),
            ("unix:rowgate.sock", Err("absolute")),
            ("unix://run/rowgate.sock", Err("absolute")),
            ("https://db:1", Err("TLS")),
            ("ftp://db:1", Err("http://")),
            ("db", Err("needs a port")),
            ("http://db:1/path", Err("end after the port")),
            ("", Err("")),
        ];
        for (text, expected) in cases {
            match (text.parse::<Address>(), expected) {
                (Ok(address), Ok(shown)) => assert_eq!(address.to_string(), shown),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (parsed, _) => panic!("{text}: {parsed:?}"),
            }
        }
    }
}
