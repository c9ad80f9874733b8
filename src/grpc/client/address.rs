//! The address of a server.

use std::fmt;
use std::str::FromStr;

/// The address of a server: `http://host:port`, the scheme may be left out; `https://host:port` for TLS; or `unix:/path`.
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
            Some("http" | "https") => {}
            Some(_) | None => {
                return Err("the scheme must be http://, https:// or unix:".to_owned());
            }
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

    /// True for a server that is called over TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        match self {
            Self::Tcp(uri) => uri.scheme_str() == Some("https"),
            Self::Unix(_) => false,
        }
    }

    /// The same server, called over TLS. A Unix socket stays as it is.
    pub(crate) fn encrypted(&self) -> Self {
        let Some(authority) = self.host_and_port() else { return self.clone() };
        let uri = http::Uri::builder()
            .scheme(http::uri::Scheme::HTTPS)
            .authority(authority)
            .path_and_query("/")
            .build();
        uri.map_or_else(|_invalid| self.clone(), Self::Tcp)
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
    fn addresses_are_http_with_a_port() {
        let cases = [
            ("127.0.0.1:50051", Ok("http://127.0.0.1:50051")),
            ("http://[::1]:1/", Ok("http://[::1]:1")),
            ("unix:/run/rowgate.sock", Ok("unix:/run/rowgate.sock")),
            ("unix:///run/rowgate.sock", Ok("unix:/run/rowgate.sock")),
            ("unix:rowgate.sock", Err("absolute")),
            ("unix://run/rowgate.sock", Err("absolute")),
            ("https://db:1", Ok("https://db:1")),
            ("ftp://db:1", Err("http://")),
            ("db", Err("needs a port")),
            ("http://db:1/path", Err("end after the port")),
            ("", Err("")),
        ];
        for (text, expected) in cases {
            match (text.parse::<Address>(), expected) {
                (Ok(address), Ok(shown)) => {
                    assert_eq!(address.to_string(), shown);
                    assert_eq!(address.is_encrypted(), shown.starts_with("https"));
                    let over_tls = shown.replace("http:", "https:");
                    assert_eq!(address.encrypted().to_string(), over_tls);
                }
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (parsed, _) => panic!("{text}: {parsed:?}"),
            }
        }
    }
}
