//! HTTP/2 by hand: clients that do what no client library does.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::HeaderMap;
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Status;

use super::client::PATIENCE;

/// Kinds of frames (HTTP/2, 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

/// The path of the RPC that most tests use.
pub(crate) const QUERY: &str = "/rowgate.v1.DatabaseService/Query";

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Debug)]
pub(crate) struct Frame {
    /// One of the constants above.
    pub(crate) kind: u8,
    flags: u8,
    /// The stream that it belongs to.
    pub(crate) stream: u32,
    /// The payload.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// True for the last frame of its stream.
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The error code of a RST_STREAM.
    pub(crate) fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().expect("four bytes"))
    }
}

/// A connection without a library: nothing is sent on it but what the test sends.
pub(crate) struct Raw(TcpStream);

impl Raw {
    /// Connects and says what it speaks.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it accepts");
        stream.set_nodelay(true).expect("it is open");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it is open");
        let mut raw = Self(stream);
        raw.send(SETTINGS, 0, 0, &[]).await;
        raw
    }

    /// Sends a frame.
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let frame = encoded(kind, flags, stream, payload);
        self.0.write_all(&frame).await.expect("it is open");
    }

    /// Sends a frame `count` times, and returns once the server has closed the connection.
    pub(crate) async fn flood_to_the_end(
        &mut self,
        kind: u8,
        stream: u32,
        payload: &[u8],
        count: usize,
    ) {
        let frame = encoded(kind, 0, stream, payload);
        for _ in 0..count {
            if self.0.write_all(&frame).await.is_err() {
                return;
            }
        }
        while self.next().await.is_some() {}
    }

    /// Begins a call; its message follows.
    pub(crate) async fn begin(&mut self, stream: u32, path: &str, headers: &[(&str, &str)]) {
        let fixed = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "x"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        let mut block = BytesMut::new();
        for (name, value) in fixed.iter().chain(headers) {
            // Literals without indexing (HPACK, 6.2.2).
            block.put_u8(0);
            for text in [name, value] {
                block.put_u8(u8::try_from(text.len()).ok().filter(|n| *n < 127).expect("short"));
                block.put_slice(text.as_bytes());
            }
        }
        self.send(HEADERS, END_HEADERS, stream, &block).await;
    }

    /// Sends a call's only message.
    pub(crate) async fn message(&mut self, stream: u32, message: &impl Message) {
        self.send(DATA, END_STREAM, stream, &prefixed(message)).await;
    }

    /// Gives a call up.
    pub(crate) async fn reset(&mut self, stream: u32) {
        self.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await;
    }

    /// Sends a message of a call that more may follow.
    pub(crate) async fn part(&mut self, stream: u32, message: &impl Message) {
        self.send(DATA, 0, stream, &prefixed(message)).await;
    }

    /// Ends the caller's side of a call.
    pub(crate) async fn close(&mut self, stream: u32) {
        self.send(DATA, END_STREAM, stream, &[]).await;
    }

    /// Sends a PING.
    pub(crate) async fn ping(&mut self) {
        self.send(PING, 0, 0, &[7; 8]).await;
    }

    /// Answers a PING.
    pub(crate) async fn pong(&mut self, ping: &Frame) {
        self.send(PING, ACK, 0, &ping.payload).await;
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        tokio::time::timeout(PATIENCE, self.0.read_exact(&mut head))
            .await
            .expect("something comes")
            .ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length.try_into().expect("it fits")];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of a kind.
    pub(crate) async fn find(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection is open");
            if frame.kind == kind {
                return frame;
            }
        }
    }
}

/// A frame as HTTP/2 has it (RFC 9113, 4.1).
fn encoded(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_uint(payload.len().try_into().expect("it is short"), 3);
    frame.put_u8(kind);
    frame.put_u8(flags);
    frame.put_u32(stream);
    frame.put_slice(payload);
    frame
}

/// A message as gRPC sends it.
pub(crate) fn prefixed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.encoded_len().try_into().expect("it is short"));
    message.encode(&mut bytes).expect("a buffer grows");
    bytes.freeze()
}

/// A connection that leaves deadlines to the server: no timer of its own ends a call.
#[derive(Clone)]
pub(crate) struct Patient(SendRequest<Bytes>);

impl Patient {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        stream.set_nodelay(true).expect("it is open");
        let (connection, driver) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        tokio::spawn(driver);
        Self(connection)
    }

    /// Makes a call with `grpc-timeout` and says how it ended. With `ends` the caller closes its side.
    pub(crate) async fn status(
        &self,
        path: &'static str,
        timeout: Duration,
        messages: Vec<Bytes>,
        ends: bool,
    ) -> Status {
        let timeout = Some(format!("{}m", timeout.as_millis()));
        let call = Call { path, timeout, messages, ends };
        let connection = self.0.clone().ready().await.expect("it is open");
        let (_received, ends) = call.run(connection).await.expect("the server answers");
        Status::from_header_map(&ends).expect("a call ends with a status")
    }
}

impl Patient {
    /// Sends a query in another form of HTTP, and returns the status that HTTP has for it.
    pub(crate) async fn http_status(
        &self,
        method: &str,
        content_type: Option<&str>,
        message: Bytes,
    ) -> u16 {
        let mut connection = self.0.clone().ready().await.expect("it is open");
        let mut head = http::Request::builder()
            .method(method)
            .uri("http://x/rowgate.v1.DatabaseService/Query")
            .header("te", "trailers");
        if let Some(content_type) = content_type {
            head = head.header("content-type", content_type);
        }
        let head = head.body(()).expect("it is well formed");
        let (response, mut body) = connection.send_request(head, false).expect("it is open");
        body.send_data(message, true).expect("it is open");
        let response = response.await.expect("the server answers");
        let status = response.status().as_u16();
        assert_eq!(status == 405, response.headers().contains_key("allow"));
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            data.expect("it is whole");
        }
        status
    }

    /// Makes a call, and returns its answer as far as its headers: nothing of it is taken.
    pub(crate) async fn unread(&self, path: &str, message: Bytes) -> h2::RecvStream {
        let mut connection = self.0.clone().ready().await.expect("it is open");
        let head = http::Request::post(format!("http://x{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let head = head.body(()).expect("it is well formed");
        let (response, mut body) = connection.send_request(head, false).expect("it is open");
        body.send_data(message, true).expect("it is open");
        response.await.expect("the server answers").into_body()
    }
}

/// Takes an answer to its end, and returns its status.
pub(crate) async fn take(mut answer: h2::RecvStream) -> Status {
    while let Some(data) = answer.data().await {
        let size = data.expect("the connection is open").len();
        answer.flow_control().release_capacity(size).expect("it was received");
    }
    let trailers = answer.trailers().await.expect("the connection is open").expect("they come");
    Status::from_header_map(&trailers).expect("a call ends with a status")
}

pub(super) struct Call {
    pub(super) path: &'static str,
    pub(super) timeout: Option<String>,
    pub(super) messages: Vec<Bytes>,
    pub(super) ends: bool,
}

impl Call {
    /// Returns what was received, and the headers that ended it.
    pub(super) async fn run(
        self,
        mut connection: SendRequest<Bytes>,
    ) -> Result<(BytesMut, HeaderMap), h2::Error> {
        let mut head = http::Request::post(format!("http://x{}", self.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(timeout) = self.timeout {
            head = head.header("grpc-timeout", timeout);
        }
        let head = head.body(()).expect("it is well formed");
        let (response, mut body) = connection.send_request(head, false)?;
        for (left, message) in (0..self.messages.len()).rev().zip(self.messages) {
            body.send_data(message, self.ends && left == 0)?;
        }
        let response = response.await?;
        let headers = response.headers().clone();
        let mut incoming = response.into_body();
        let mut received = BytesMut::new();
        while let Some(data) = incoming.data().await {
            let data = data?;
            incoming.flow_control().release_capacity(data.len())?;
            received.extend_from_slice(&data);
        }
        let trailers = incoming.trailers().await?;
        // The caller's side is open until here.
        drop(body);
        Ok((received, trailers.unwrap_or(headers)))
    }
}
