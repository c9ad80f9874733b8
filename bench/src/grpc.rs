//! Calls of gRPC on HTTP/2 itself: framing, status, and nothing else.

use crate::{Result, fail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Uri};
use prost::Message;
use std::net::SocketAddr;

/// The bytes before a message: a flag and its length.
const PREFIX: usize = 5;

/// A method of the service, as a URI that is parsed once.
#[derive(Clone)]
pub struct Method(Uri);

impl Method {
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self(format!("http://rowgate/rowgate.v1.DatabaseService/{name}").parse()?))
    }
}

/// A connection. Its clones share it.
#[derive(Clone)]
pub struct Connection {
    requests: SendRequest<Bytes>,
    /// The header that proves the caller, if it has one.
    authorization: Option<HeaderValue>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let socket = tokio::net::TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let (requests, connection) = builder.handshake(socket).await?;
        tokio::task::spawn_local(connection);
        Ok(Self { requests, authorization: None })
    }

    /// The same connection of a caller with a token.
    pub fn with_token(self, token: &str) -> Result<Self> {
        let authorization = Some(HeaderValue::try_from(format!("Bearer {token}"))?);
        Ok(Self { authorization, ..self })
    }

    /// The answer to one message.
    pub async fn unary(&self, method: &Method, message: &impl Message) -> Result<Bytes> {
        let mut answers = self.send(method, frame(message), true).await?.1;
        let Some(answer) = answers.next().await? else { return fail("no answer") };
        match answers.next().await? {
            None => Ok(answer),
            Some(_) => fail("two answers to one call"),
        }
    }

    /// The answers to one message.
    pub async fn stream(&self, method: &Method, message: Bytes) -> Result<Answers> {
        Ok(self.send(method, message, true).await?.1)
    }

    /// A stream in both directions, begun with its first message.
    pub async fn talk(&self, method: &Method, first: &impl Message) -> Result<(Sender, Answers)> {
        let (sender, answers) = self.send(method, frame(first), false).await?;
        Ok((Sender(sender), answers))
    }

    async fn send(
        &self,
        method: &Method,
        message: Bytes,
        last: bool,
    ) -> Result<(SendStream<Bytes>, Answers)> {
        let mut request = Request::post(method.0.clone())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert("authorization", authorization.clone());
        }
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut sender) = requests.send_request(request, false)?;
        sender.send_data(message, last)?;
        Ok((sender, Answers { state: State::Head(response), data: BytesMut::new() }))
    }
}

/// The client's half of a stream.
pub struct Sender(SendStream<Bytes>);

impl Sender {
    pub fn send(&mut self, message: &impl Message) -> Result<()> {
        Ok(self.0.send_data(frame(message), false)?)
    }
}

/// The server's half of a call.
pub struct Answers {
    state: State,
    data: BytesMut,
}

enum State {
    Head(h2::client::ResponseFuture),
    Body(RecvStream),
    Ended,
}

impl Answers {
    /// The next message; none after the status, which is OK.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            match &mut self.state {
                State::Head(response) => {
                    let response = response.await?;
                    if response.headers().contains_key("grpc-status") {
                        status(response.headers())?;
                        self.state = State::Ended;
                    } else {
                        self.state = State::Body(response.into_body());
                    }
                }
                State::Body(body) => match body.data().await {
                    Some(data) => {
                        let data = data?;
                        body.flow_control().release_capacity(data.len())?;
                        self.data.extend_from_slice(&data);
                    }
                    None => {
                        let Some(trailers) = body.trailers().await? else {
                            return fail("no status");
                        };
                        status(&trailers)?;
                        self.state = State::Ended;
                    }
                },
                State::Ended if self.data.is_empty() => return Ok(None),
                State::Ended => return fail("half a message at the end"),
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let length = self.data.get(1..PREFIX)?.get_u32() as usize;
        if self.data.len() < PREFIX + length {
            return None;
        }
        self.data.advance(PREFIX);
        Some(self.data.split_to(length).freeze())
    }
}

/// The message behind its prefix.
pub fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("a request is far below 4 GiB"));
    message.encode(&mut frame).expect("the buffer grows");
    frame.freeze()
}

fn status(headers: &HeaderMap) -> Result<()> {
    match headers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        code => fail(format!(
            "a call failed: status {} {}",
            String::from_utf8_lossy(code.unwrap_or_default()),
            headers.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default(),
        )),
    }
}
