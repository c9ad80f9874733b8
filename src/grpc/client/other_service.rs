//! The service that is found where Rowgate's gRPC was expected.
//!
//! After a failure of the transport, the address is asked in other protocols: a wrong port is the usual cause, and
//! "broken pipe" does not tell it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Address;
use super::call_error::CallError;
use crate::error::Outcome;

/// The limit on one question and its answer.
const QUESTION_TIMEOUT: Duration = Duration::from_millis(500);

/// The part of an answer that is read, in bytes.
const ANSWER: usize = 1024;

/// The part of an unknown answer that is shown, in characters.
const SHOWN: usize = 40;

/// The preface of HTTP/2 with empty SETTINGS (RFC 9113, 3.4), which a server answers with its own.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The type of a SETTINGS frame, behind its length of three bytes.
const SETTINGS: (usize, u8) = (3, 4);

const HTTP1: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2) with one cipher suite: a server continues, or answers with an alert.
const TLS: &[u8] = b"\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x03\
    rowgaterowgaterowgaterowgaterowg\0\0\x02\xc0\x2f\x01\0";

/// PostgreSQL's SSLRequest, which is answered with one letter.
const POSTGRES: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

/// A service that is not Rowgate's gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OtherService {
    /// The connection is refused.
    Nothing,
    Operators,
    Http,
    Tls,
    Postgres,
    /// It begins its answer with this text.
    Unknown(String),
    Silent,
}

/// Names the service at the address in an error of the transport. Nothing was run by a service of another kind.
pub(crate) async fn explain(address: &Address, error: CallError) -> CallError {
    if address.is_encrypted() {
        return explain_tls(address, error).await;
    }
    let Some(service) = find(address).await else { return error };
    let hint = match service {
        OtherService::Nothing => "Start a server with `rowgate serve`, or name one with --address.",
        OtherService::Tls => {
            "Write https:// in --address, or name the server's authority with --ca."
        }
        OtherService::Operators
        | OtherService::Http
        | OtherService::Postgres
        | OtherService::Unknown(_)
        | OtherService::Silent => {
            "Name the address that `rowgate serve` prints as gRPC with --address."
        }
    };
    let what = service.describe();
    let cause = &error.message;
    let message = match service {
        OtherService::Nothing => format!("{cause}: {what}"),
        OtherService::Silent => format!("{address} is {what}: {cause}"),
        OtherService::Operators
        | OtherService::Http
        | OtherService::Tls
        | OtherService::Postgres
        | OtherService::Unknown(_) => format!("{address} is not Rowgate's gRPC but {what}"),
    };
    // A server that is gone, or does not answer any more, may have run the call.
    let is_known = !matches!(service, OtherService::Nothing | OtherService::Silent);
    let outcome = if is_known { Outcome::NotApplied } else { error.outcome };
    CallError::new("UNAVAILABLE", message, outcome).with_hint(hint)
}

/// The same for a server that is called over TLS: what speaks no TLS is found, and otherwise the error says why.
async fn explain_tls(address: &Address, error: CallError) -> CallError {
    let cause = &error.message;
    match ask(address, HTTP2).await {
        Err(refused) if refused.kind() == std::io::ErrorKind::ConnectionRefused => {
            let message = format!("{cause}: {}", OtherService::Nothing.describe());
            CallError::new("UNAVAILABLE", message, error.outcome)
                .with_hint("Start a server with `rowgate serve`, or name one with --address.")
        }
        Ok(answer) if is_http2(&answer) => {
            let message = format!("{address} does not speak TLS: {cause}");
            CallError::new("UNAVAILABLE", message, Outcome::NotApplied)
                .with_hint("Without TLS, write http:// in --address and leave out --ca.")
        }
        Ok(_) | Err(_) => {
            let hint = "Name the authority that signed the server's certificate with --ca, and the host by a name in \
                        that certificate. A server may ask for --cert and --cert-key.";
            error.with_hint(hint)
        }
    }
}

/// True for the first frame of HTTP/2.
fn is_http2(answer: &[u8]) -> bool {
    answer.get(SETTINGS.0) == Some(&SETTINGS.1) && answer.first() == Some(&0)
}

impl OtherService {
    fn describe(&self) -> String {
        match self {
            Self::Nothing => "nothing listens there".to_owned(),
            Self::Operators => "Rowgate's port for operators".to_owned(),
            Self::Http => "a server that speaks HTTP/1.1 alone".to_owned(),
            Self::Tls => "a server that expects TLS".to_owned(),
            Self::Postgres => "PostgreSQL, or a pooler before it".to_owned(),
            Self::Unknown(text) => format!("a server that answers \"{text}\""),
            Self::Silent => "a server that does not answer".to_owned(),
        }
    }

    fn of_answer(answer: &[u8]) -> Option<Self> {
        let (&first, _) = answer.split_first()?;
        let is_handshake = matches!(first, 0x15 | 0x16) && answer.get(1) == Some(&3);
        let text = String::from_utf8_lossy(answer);
        Some(if is_handshake || text.contains("HTTPS port") {
            Self::Tls
        } else if text.contains("\"ready\":") && text.contains("\"reasons\":") {
            Self::Operators
        } else if text.starts_with("HTTP/1.") {
            Self::Http
        } else {
            let printable = |c: &char| !c.is_control() && *c != char::REPLACEMENT_CHARACTER;
            Self::Unknown(text.trim().chars().filter(printable).take(SHOWN).collect())
        })
    }
}

/// Returns the service at an address; `None` if it speaks HTTP/2, or cannot be reached.
async fn find(address: &Address) -> Option<OtherService> {
    let answer = match ask(address, HTTP2).await {
        Ok(answer) => answer,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Some(OtherService::Nothing);
        }
        Err(_unreachable) => return None,
    };
    if is_http2(&answer) {
        return None;
    }
    let first = OtherService::of_answer(&answer);
    if let Some(OtherService::Tls | OtherService::Unknown(_)) = first {
        return first;
    }
    let in_http = OtherService::of_answer(&ask(address, HTTP1).await.unwrap_or_default());
    if in_http.is_some() || first.is_some() {
        return in_http.or(first);
    }
    let in_tls = OtherService::of_answer(&ask(address, TLS).await.unwrap_or_default());
    if in_tls.is_some() {
        return in_tls;
    }
    let letter = ask(address, POSTGRES).await.unwrap_or_default();
    let is_postgres = matches!(letter.as_slice(), [b'S' | b'N', ..]);
    Some(if is_postgres { OtherService::Postgres } else { OtherService::Silent })
}

/// Sends a question on a connection of its own, and returns the start of the answer; nothing if there is none in time.
async fn ask(address: &Address, question: &[u8]) -> std::io::Result<Vec<u8>> {
    // Of a socket's path nobody is mistaken.
    let place = address.host_and_port().ok_or(std::io::ErrorKind::Unsupported)?;
    let connect = TcpStream::connect(place);
    let mut stream = timeout(QUESTION_TIMEOUT, connect).await??;
    let mut answer = Vec::new();
    let talk = async {
        stream.write_all(question).await?;
        while answer.len() < ANSWER && stream.read_buf(&mut answer).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A lost connection ends the answer, too.
    drop(timeout(QUESTION_TIMEOUT, talk).await);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A service that answers what starts like a question, and closes the connection otherwise.
    async fn service(question: &'static [u8], answer: &'static [u8]) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        drop(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut read = [0; 256];
                let length = stream.read(&mut read).await.unwrap_or(0);
                if read[..length].starts_with(question) {
                    drop(stream.write_all(answer).await);
                }
            }
        }));
        address
    }

    #[tokio::test]
    async fn a_service_is_known_by_its_answer() {
        use OtherService::{Http, Operators, Postgres, Silent, Tls, Unknown};
        let ready = b"HTTP/1.1 200 OK\r\n\r\n{\"ready\":true,\"reasons\":[]}";
        let cases: [(&[u8], &[u8], Option<OtherService>); 9] = [
            (b"PRI", b"\0\0\0\x04\0\0\0\0\0", None),
            (b"GET /readyz", ready, Some(Operators)),
            (b"GET", b"HTTP/1.1 404 Not Found\r\n\r\n", Some(Http)),
            (b"PRI", b"HTTP/1.1 400 Bad Request\r\n\r\n", Some(Http)),
            (b"", b"HTTP/1.1 400 B\r\n\r\nplain HTTP request was sent to HTTPS port", Some(Tls)),
            (b"PRI", b"\x15\x03\x03\0\x02\x02\x0a", Some(Tls)),
            (b"\x16\x03", b"\x16\x03\x03\0\x02", Some(Tls)),
            (b"\0\0\0\x08", b"N", Some(Postgres)),
            (b"", b"SSH-2.0-x\x1b\r\n", Some(Unknown("SSH-2.0-x".to_owned()))),
        ];
        for (question, answer, expected) in cases {
            assert_eq!(find(&service(question, answer).await).await, expected, "{question:?}");
        }
        assert_eq!(find(&service(b"nothing", b"").await).await, Some(Silent));
    }

    #[tokio::test]
    async fn only_a_service_of_another_kind_has_certainly_run_nothing() {
        let lost = || CallError::new("UNKNOWN", "broken pipe", Outcome::Unknown);
        let error = explain(&service(b"\0\0\0\x08", b"S").await, lost()).await;
        assert_eq!(error.outcome, Outcome::NotApplied);
        assert!(
            error.message.ends_with(" is not Rowgate's gRPC but PostgreSQL, or a pooler before it")
        );
        let error = explain(&service(b"nothing", b"").await, lost()).await;
        assert_eq!(error.outcome, Outcome::Unknown);
        assert!(
            error.message.ends_with("is a server that does not answer: broken pipe"),
            "{error}"
        );
        let of_server = explain(&service(b"PRI", b"\0\0\0\x04\0\0\0\0\0").await, lost()).await;
        assert_eq!(of_server, lost());
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = explain(&free.to_string().parse().unwrap(), lost()).await;
        assert_eq!(
            (error.message.as_str(), error.outcome),
            ("broken pipe: nothing listens there", Outcome::Unknown)
        );
    }
}
