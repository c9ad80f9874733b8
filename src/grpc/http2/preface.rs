//! Accepted connections, from the acceptor to the HTTP/2 preface.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::AsyncReadExt as _;

use super::listener_tls::{ListenerTls, certificate_names};
use super::transport::{AcceptedStream, ClientSocket, ClientStream};
use crate::grpc::request_context::Peer;

/// The first bytes of every client (HTTP/2, 3.4). Before them no limit of HTTP/2 applies.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The time for a preface that is on its way when the server drains.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

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

/// A connection whose client speaks HTTP/2.
pub(crate) struct Http2Connection {
    /// The socket, which first repeats the preface for hyper.
    pub(crate) stream: ClientStream,
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

impl Http2Connection {
    /// Makes the handshake of TLS, if there is one, and reads the preface of a connection; `None` when the client sends
    /// anything else, or nothing in time.
    pub(crate) async fn open(
        stream: AcceptedStream,
        tls: Option<Arc<ListenerTls>>,
        preface_timeout: Duration,
        drain: impl Future<Output = ()>,
    ) -> Option<Self> {
        let drain_timeout = async {
            drain.await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        tokio::select! {
            opened = tokio::time::timeout(preface_timeout, Self::greet(stream, tls)) => opened.ok()?,
            () = drain_timeout => None,
        }
    }

    async fn greet(stream: AcceptedStream, tls: Option<Arc<ListenerTls>>) -> Option<Self> {
        let mut stream = stream.register().ok()?;
        let mut peer = peer(&stream.socket);
        let mut certificate = None;
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
            let chain = encrypted.get_ref().1.peer_certificates().map(<[_]>::to_vec);
            certificate = chain.map(|chain| ClientCertificate { chain, tls });
            stream = ClientSocket::Tls(Box::new(encrypted)).into();
        }
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await.ok()?;
        stream.replay = PREFACE;
        (preface == *PREFACE).then_some(Self { stream, peer, certificate })
    }
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
