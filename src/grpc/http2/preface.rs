//! Accepted connections, from the acceptor to the first bytes, which tell HTTP/2 from HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::AsyncReadExt as _;

use super::listener_tls::{ListenerTls, certificate_names, is_http2_agreed};
use super::transport::{
    AcceptedStream, ClientSocket, ClientStream, FIRST_BYTES, Replay, ServedVersions,
};
use crate::grpc::request_context::Peer;

/// The first bytes of every client (HTTP/2, 3.4). Before them no limit of HTTP/2 applies.
const PREFACE: &[u8; FIRST_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The time for a preface, or for the first head of a connection, that is on its way when the server drains.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub(crate) struct AcceptedConnection {
    /// The socket: non-blocking, without delay.
    pub(crate) stream: AcceptedStream,
    pub(crate) count: CountGuard,
}

/// One item in a count, until it is dropped.
#[derive(Debug)]
pub(crate) struct CountGuard(Arc<AtomicUsize>);

impl CountGuard {
    pub(crate) fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The version of HTTP that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpokenVersion {
    Http1,
    Http2,
}

/// A connection whose client speaks HTTP.
pub(crate) struct HttpConnection {
    /// The socket, which first repeats its first bytes for hyper.
    pub(crate) stream: ClientStream,
    pub(crate) version: SpokenVersion,
    pub(crate) peer: Peer,
    pub(crate) certificate: Option<ClientCertificate>,
}

/// The certificate of a connection's client, with those between it and an authority.
pub(crate) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    tls: Arc<ListenerTls>,
}

impl ClientCertificate {
    /// Waits until it is accepted no more, and returns why.
    pub(crate) async fn refused(self) -> rustls::Error {
        self.tls.client_refused(&self.chain).await
    }
}

impl HttpConnection {
    /// Makes the handshake of TLS, if there is one, and reads the first bytes of a connection; `None` when the client sends
    /// anything else, or nothing in time.
    pub(crate) async fn open(
        stream: AcceptedStream,
        tls: Option<Arc<ListenerTls>>,
        versions: ServedVersions,
        preface_timeout: Duration,
        drain: impl Future<Output = ()>,
    ) -> Option<Self> {
        let drain_timeout = async {
            drain.await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        tokio::select! {
            opened = tokio::time::timeout(preface_timeout, Self::greet(stream, tls, versions)) => opened.ok()?,
            () = drain_timeout => None,
        }
    }

    async fn greet(
        stream: AcceptedStream,
        tls: Option<Arc<ListenerTls>>,
        versions: ServedVersions,
    ) -> Option<Self> {
        let mut stream = stream.register().ok()?;
        let mut peer = peer(&stream.socket);
        let mut certificate = None;
        let mut agreed = None;
        if let Some(tls) = tls {
            // A Unix socket is never encrypted: the configuration allows one or the other.
            let ClientSocket::Tcp(plain) = stream.socket else { return None };
            // Boxed: only connections with TLS have room for it.
            let shaken = Box::pin(tls.accept(plain)).await;
            let encrypted = shaken.inspect_err(|error| {
                tracing::debug!(client = %peer.name, %error, "TLS handshake failed");
            });
            let encrypted = encrypted.ok()?;
            peer.certificate_names = certificate_names(&encrypted);
            let is_http2 = is_http2_agreed(&encrypted);
            agreed = Some(if is_http2 { SpokenVersion::Http2 } else { SpokenVersion::Http1 });
            let chain = encrypted.get_ref().1.peer_certificates().map(<[_]>::to_vec);
            certificate = chain.map(|chain| ClientCertificate { chain, tls });
            stream = ClientSocket::Tls(Box::new(encrypted)).into();
        }
        let mut first = [0; FIRST_BYTES];
        let mut length = 0;
        while length < FIRST_BYTES && first[..length] == PREFACE[..length] {
            match stream.read(&mut first[length..]).await.ok()? {
                0 => return None,
                read => length += read,
            }
        }
        let version = spoken(&first[..length])?;
        let is_served = version == SpokenVersion::Http2 || versions == ServedVersions::All;
        // Under TLS the client has said before what it will speak (RFC 9113, 3.2).
        let is_agreed = agreed.is_none_or(|agreed| agreed == version);
        stream.replay = Replay::new(first, length);
        (is_served && is_agreed).then_some(Self { stream, version, peer, certificate })
    }
}

/// Tells the version by the first bytes; `None` if no request of HTTP begins like this.
fn spoken(first: &[u8]) -> Option<SpokenVersion> {
    if first == PREFACE {
        return Some(SpokenVersion::Http2);
    }
    // The name of a method.
    first.first()?.is_ascii_uppercase().then_some(SpokenVersion::Http1)
}

fn peer(socket: &ClientSocket) -> Peer {
    match socket {
        ClientSocket::Tcp(stream) => Peer::new(stream.peer_addr().ok()),
        // The credentials of whoever has connected (SO_PEERCRED).
        ClientSocket::Unix(stream) => {
            Peer::on_socket(stream.peer_cred().ok().map(|user| user.uid()))
        }
        ClientSocket::Tls(stream) => Peer::new(stream.get_ref().0.peer_addr().ok()),
    }
}
