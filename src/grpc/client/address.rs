//! The address of a server.

use std::fmt;
use std::str::FromStr;

/// The address of a server: `http://host:port`; the scheme may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(http::Uri);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri =
            full.parse().map_err(|error| format!("{error}; write it as http://127.0.0.1:50051"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err("this client does not speak TLS yet; use http://".to_owned());
            }
            Some(_) | None => return Err("the scheme must be http://".to_owned()),
        }
        if uri.port().is_none() {
            return Err(format!("it needs a port, as in {full}:50051"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("it must end after the port".to_owned());
        }
        Ok(Self(uri))
    }
}

impl Address {
    pub(crate) fn uri(&self) -> &http::Uri {
        &self.0
    }

    /// The host and the port, as a socket is opened to.
    pub(crate) fn host_and_port(&self) -> &str {
        self.0.authority().map_or("", http::uri::Authority::as_str)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_string().trim_end_matches('/'))
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
