//! The encryption of the listener for services: rustls with ring. Its files are read again when they change.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use super::transport::ServedVersions;
use crate::config::{ClientAuth, GrpcTls, GrpcWeb, PemFile};
use crate::error::{Error, ErrorKind, Result};
use crate::last_read::LastRead;

/// The protocols as ALPN names them (RFC 9113, 3.2; RFC 7301, 6).
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The time between two looks at the certificate of an open connection, which may expire. A change of the files counts at once.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// The hint for a private key.
const KEY: &str = "Write the path of the certificate's private key as PEM, not encrypted: PKCS #8, PKCS #1 or SEC 1.";
/// The hint for a private key that is another certificate's.
const OTHER_KEY: &str = "Write the path of the private key with which grpc.tls.cert was made. Where the file of the certificate \
    has several, the server's own is the first.";
/// The hint for everything else.
const PEM: &str = "Write the path of a PEM file that has it.";

/// The encryption of a listener.
#[derive(Debug)]
pub(crate) struct ListenerTls {
    in_force: watch::Sender<InForce>,
    last: LastRead<GrpcTls>,
    settings: GrpcTls,
    versions: ServedVersions,
}

/// The configuration of new connections, and the check of clients' certificates, which open ones must pass, too.
#[derive(Debug, Clone)]
struct InForce {
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl ListenerTls {
    /// Makes the encryption of a listener; `None` without a certificate.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn new(settings: &GrpcTls, web: &GrpcWeb) -> Result<Option<Arc<Self>>> {
        let versions = if web.enabled { ServedVersions::All } else { ServedVersions::Http2 };
        let Some(in_force) = InForce::new(settings, versions)? else { return Ok(None) };
        let last = LastRead::default();
        last.changed(Ok(settings.clone()))?;
        let in_force = watch::Sender::new(in_force);
        Ok(Some(Arc::new(Self { in_force, last, settings: settings.clone(), versions })))
    }

    /// Reads the files again, and uses them for new connections if they have changed. Returns true if so. Blocks.
    ///
    /// # Errors
    /// A file has changed and cannot be used: those before are in force. It is told once for each change.
    pub(crate) fn reload(&self) -> Result<bool> {
        let read = self.settings.reread();
        let read =
            read.map_err(|problems| Error::new(ErrorKind::InvalidOption, problems.to_string()));
        let Some(settings) = self.last.changed(read)? else { return Ok(false) };
        if let Some(new) = InForce::new(&settings, self.versions)? {
            self.in_force.send_replace(new);
        }
        Ok(true)
    }

    /// Makes the handshake of a connection.
    ///
    /// # Errors
    /// The client speaks no TLS, or no version of HTTP above it that is served, or its certificate is refused. It was sent
    /// an alert.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.in_force.borrow().config);
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        // A client that offers other protocols was refused already; one that offers none is not.
        if is_http2_agreed(&stream) || self.versions == ServedVersions::All {
            return Ok(stream);
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "the client does not offer h2 (ALPN)"))
    }

    /// Waits until the certificate of an open connection's client is accepted no more, and returns why: it has expired, or
    /// it or its authority was revoked or taken out of the files.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn client_refused(&self, chain: &[CertificateDer<'_>]) -> rustls::Error {
        let mut in_force = self.in_force.subscribe();
        loop {
            let clients = in_force.borrow_and_update().clients.clone();
            if let Some((clients, (certificate, between))) = clients.zip(chain.split_first())
                && let Err(error) =
                    clients.verify_client_cert(certificate, between, UnixTime::now())
            {
                return error;
            }
            tokio::select! {
                // The sender lives as long as this encryption.
                _changed = in_force.changed() => {}
                () = tokio::time::sleep(EXPIRY_INTERVAL) => {}
            }
        }
    }
}

/// Returns true if HTTP/2 was agreed upon; one that offers nothing speaks HTTP/1.1.
pub(crate) fn is_http2_agreed(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// The names in the certificate of a client, which was verified: URIs and DNS names of its subjectAltName.
pub(crate) fn certificate_names(stream: &TlsStream<TcpStream>) -> Arc<[String]> {
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    certificate.map(names).unwrap_or_default()
}

fn names(certificate: &CertificateDer<'_>) -> Arc<[String]> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Arc::default() };
    // A URI has a scheme: one without could pass for a DNS name.
    let uris = certificate.valid_uri_names().filter(|uri| uri.contains(':'));
    uris.chain(certificate.valid_dns_names()).map(str::to_owned).collect()
}

impl InForce {
    /// Makes it of files that were read; `None` without a certificate.
    fn new(tls: &GrpcTls, versions: ServedVersions) -> Result<Option<Self>> {
        let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else { return Ok(None) };
        let provider = Arc::new(ring::default_provider());
        let clients = client_verifier(tls, Arc::clone(&provider))?;
        let mut config = server_config((cert, key), clients.clone(), provider)?;
        config.alpn_protocols = match versions {
            ServedVersions::Http2 => vec![HTTP2.to_vec()],
            ServedVersions::All => vec![HTTP2.to_vec(), HTTP1.to_vec()],
        };
        Ok(Some(Self { config: Arc::new(config), clients }))
    }
}

/// The configuration of rustls.
fn server_config(
    (cert, key): (&PemFile, &PemFile),
    clients: Option<Arc<dyn ClientCertVerifier>>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            Error::new(ErrorKind::Internal, "TLS has no versions").with_cause(error)
        })?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = cert.certificates().map_err(|error| unusable("cert", cert, PEM, error))?;
    let private_key = key.private_key().map_err(|error| unusable("key", key, KEY, error))?;
    let mut config = builder
        .with_single_cert(chain, private_key)
        .map_err(|error| unusable_pair(cert, key, error))?;
    // A resumed session would not be checked again: its certificate may have expired. Clients of gRPC keep their
    // connections, and gain nothing from it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The error of a certificate and a private key, each of which was read.
fn unusable_pair(cert: &PemFile, key: &PemFile, cause: rustls::Error) -> Error {
    if cause != rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
        return unusable("key", key, KEY, cause);
    }
    let named = |file: &PemFile| match file.path.display().to_string() {
        path if path.is_empty() => path,
        path => format!(" {path}"),
    };
    let message = format!(
        "grpc.tls.key{} cannot be used: it does not belong to the certificate grpc.tls.cert{}",
        named(key),
        named(cert),
    );
    Error::new(ErrorKind::InvalidOption, message).with_hint(OTHER_KEY)
}

fn client_verifier(
    tls: &GrpcTls,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>> {
    let GrpcTls { client_auth, client_ca: Some(ca), crl, .. } = tls else { return Ok(None) };
    if *client_auth == ClientAuth::Off {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for certificate in ca.certificates().map_err(|error| unusable("client_ca", ca, PEM, error))? {
        roots.add(certificate).map_err(|error| unusable("client_ca", ca, PEM, error))?;
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(crl) = crl {
        let lists = crl.all().map_err(|error| unusable("crl", crl, PEM, error))?;
        // Of the whole chain; a certificate of which no list tells is refused.
        verifier = verifier.with_crls(lists).enforce_revocation_expiration();
    }
    if *client_auth == ClientAuth::Optional {
        verifier = verifier.allow_unauthenticated();
    }
    let file = crl.as_ref().unwrap_or(ca);
    let verifier = verifier.build().map_err(|error| unusable("crl", file, PEM, error))?;
    Ok(Some(verifier))
}

fn unusable(
    key: &str,
    file: &PemFile,
    hint: &'static str,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    let path = file.path.display().to_string();
    let path = if path.is_empty() { path } else { format!(" {path}") };
    Error::new(ErrorKind::InvalidOption, format!("grpc.tls.{key}{path} cannot be used"))
        .with_cause(cause)
        .with_hint(hint)
}
