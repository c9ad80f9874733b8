//! Requests without gRPC, by hand, over HTTP/1.1 and HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The time for an answer.
const SOON: Duration = Duration::from_secs(20);

/// The path of Query.
pub(crate) const QUERY: &str = "/rowgate.v1.DatabaseService/Query";
/// The path of StreamQuery.
pub(crate) const STREAM_QUERY: &str = "/rowgate.v1.DatabaseService/StreamQuery";

/// The versions of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// A connection for each request.
    Http1,
    /// The same, without TLS and without asking first.
    Http2,
}

/// Both versions.
pub(crate) const BOTH: [HttpVersion; 2] = [HttpVersion::Http1, HttpVersion::Http2];

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct WebRequest {
    /// The method of HTTP.
    pub(crate) method: &'static str,
    /// The path, with the query.
    pub(crate) path: String,
    /// All headers but Host and those of the body's length.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body.
    pub(crate) body: Bytes,
}

impl WebRequest {
    /// A POST of a body of some type.
    pub(crate) fn post(path: &str, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { method: "POST", path: path.to_owned(), headers, body: body.into() }
    }

    /// A unary call with JSON.
    pub(crate) fn json(path: &str, message: &Value) -> Self {
        Self::post(path, "application/json", message.to_string())
    }

    /// A GET.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The request as HTTP/1.1 has it.
    pub(crate) fn encoded(&self) -> BytesMut {
        let Self { method, path, headers, body } = self;
        let mut encoded = BytesMut::new();
        encoded.put_slice(format!("{method} {path} HTTP/1.1\r\n").as_bytes());
        if !headers.iter().any(|(name, _)| *name == "host") {
            encoded.put_slice(b"host: 127.0.0.1\r\n");
        }
        for (name, value) in headers {
            encoded.put_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        encoded.put_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        encoded.put_slice(body);
        encoded
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(&self, version: HttpVersion, address: SocketAddr) -> WebAnswer {
        let answer = async {
            match version {
                HttpVersion::Http1 => {
                    let mut connection = Http1::connect(address).await;
                    connection.exchange(self).await.expect("the server answers")
                }
                HttpVersion::Http2 => self.send_http2(address).await,
            }
        };
        tokio::time::timeout(SOON, answer).await.expect("the server answers in time")
    }

    async fn send_http2(&self, address: SocketAddr) -> WebAnswer {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        let (connection, driver) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        tokio::spawn(driver);
        let mut connection = connection.ready().await.expect("it is open");
        let host = self.headers.iter().find(|(name, _)| *name == "host");
        let host = host.map_or("127.0.0.1", |(_, host)| host.as_str());
        let mut head =
            http::Request::builder().method(self.method).uri(format!("http://{host}{}", self.path));
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != "host") {
            head = head.header(*name, value);
        }
        let head = head.body(()).expect("it is well formed");
        // As clients send it: a GET ends with its head.
        let is_over = self.method == "GET" && self.body.is_empty();
        let (response, mut body) = connection.send_request(head, is_over).expect("it is open");
        if !is_over {
            // A server that answers at once may not take it.
            drop(body.send_data(self.body.clone(), true));
        }
        let (head, mut incoming) = response.await.expect("it answers").into_parts();
        let mut received = BytesMut::new();
        let mut is_whole = true;
        while let Some(data) = incoming.data().await {
            let Ok(data) = data else {
                is_whole = false;
                break;
            };
            incoming.flow_control().release_capacity(data.len()).expect("it was received");
            received.put_slice(&data);
        }
        let body = received.freeze();
        WebAnswer { status: head.status.as_u16(), headers: head.headers, body, is_whole }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct WebAnswer {
    /// The status of HTTP.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
    /// False if the connection ended before the body.
    pub(crate) is_whole: bool,
}

impl WebAnswer {
    /// A header's value; empty without one.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("it is ASCII"))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("it is UTF-8")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code and the reason of an error of Connect.
    pub(crate) fn failure(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        failure(&self.json())
    }

    /// The frames of a stream: their flags and contents.
    pub(crate) fn frames(&self) -> Vec<(u8, Bytes)> {
        frames(self.body.clone())
    }
}

/// The code and the reason in an error of Connect.
pub(crate) fn failure(error: &Value) -> (String, String) {
    let code = error["code"].as_str().unwrap_or_else(|| panic!("no code in {error}"));
    let details = error["details"].as_array().expect("they are a list");
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo");
    let info = &info.expect("each error has it")["debug"];
    assert_eq!(info["domain"], "rowgate", "{error}");
    assert!(info["metadata"]["outcome"].is_string(), "{error}");
    (code.to_owned(), info["reason"].as_str().expect("it is text").to_owned())
}

/// Splits frames, each a flag, a length and a content.
pub(crate) fn frames(mut body: Bytes) -> Vec<(u8, Bytes)> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let length = u32::from_be_bytes(body[1..5].try_into().expect("a prefix is whole"));
        let length = usize::try_from(length).expect("it fits");
        frames.push((body[0], body.slice(5..5 + length)));
        body = body.slice(5 + length..);
    }
    frames
}

/// A frame with its flags.
pub(crate) fn frame(flags: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![flags];
    frame.put_u32(content.len().try_into().expect("it is short"));
    frame.put_slice(content);
    frame
}

/// A message in a frame.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    frame(0, &message.encode_to_vec())
}

/// A connection of HTTP/1.1.
pub(crate) struct Http1<S = TcpStream> {
    /// The socket.
    pub(crate) stream: S,
    received: BytesMut,
}

impl Http1 {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        stream.set_nodelay(true).expect("it is open");
        Self::on(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    /// A connection over any stream.
    pub(crate) fn on(stream: S) -> Self {
        Self { stream, received: BytesMut::new() }
    }

    /// Sends a request, and receives its answer; `None` if the connection is closed before.
    pub(crate) async fn exchange(&mut self, request: &WebRequest) -> Option<WebAnswer> {
        // It may be closed before everything is sent, and an answer may have come.
        drop(self.stream.write_all(&request.encoded()).await);
        self.answer().await
    }

    /// Receives an answer; `None` if the connection is closed before.
    pub(crate) async fn answer(&mut self) -> Option<WebAnswer> {
        let (status, headers) = loop {
            let head = self.head().await?;
            if head.0 != 100 {
                break head;
            }
        };
        let mut answer = WebAnswer { status, headers, body: Bytes::new(), is_whole: true };
        let body = if answer.header("transfer-encoding") == "chunked" {
            self.chunks().await
        } else {
            let length = answer.header("content-length").parse().unwrap_or_default();
            self.take(length).await.ok_or(Bytes::new())
        };
        answer.is_whole = body.is_ok();
        answer.body = body.unwrap_or_else(|part| part);
        Some(answer)
    }

    /// Receives a head: the status and the headers.
    pub(crate) async fn head(&mut self) -> Option<(u16, HeaderMap)> {
        let end = loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.read().await?;
        };
        let head = self.received.split_to(end + 4);
        let text = std::str::from_utf8(&head).expect("a head is ASCII");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().expect("a status line").split(' ').nth(1).expect("a status");
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
            let name: HeaderName = name.parse().expect("it is a name");
            headers.append(name, HeaderValue::from_str(value).expect("it is a value"));
        }
        Some((status.parse().expect("it is a number"), headers))
    }

    /// Receives a chunk; `None` at the end of the connection, and an empty one at the end of the body.
    pub(crate) async fn chunk(&mut self) -> Option<Bytes> {
        let end = loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            self.read().await?;
        };
        let size = self.received.split_to(end + 2);
        let size = std::str::from_utf8(&size).expect("it is ASCII").trim();
        let size = usize::from_str_radix(size, 16).expect("it is a size");
        let chunk = self.take(size + 2).await?;
        Some(chunk.slice(..size))
    }

    async fn chunks(&mut self) -> Result<Bytes, Bytes> {
        let mut body = BytesMut::new();
        loop {
            match self.chunk().await {
                Some(chunk) if chunk.is_empty() => return Ok(body.freeze()),
                Some(chunk) => body.put_slice(&chunk),
                None => return Err(body.freeze()),
            }
        }
    }

    async fn take(&mut self, length: usize) -> Option<Bytes> {
        while self.received.len() < length {
            self.read().await?;
        }
        Some(self.received.split_to(length).freeze())
    }

    async fn read(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

impl WebAnswer {
    /// The reason of an error of Connect; `ok` without one.
    pub(crate) fn failure_or_ok(&self) -> String {
        if self.status == 200 { "ok".to_owned() } else { self.failure().1 }
    }
}
