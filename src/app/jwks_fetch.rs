//! One reading of the keys of JSON Web Tokens from an https URL.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use hyper::body::{Body as _, Incoming};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::PemFile;
use crate::error::{Error, ErrorKind, Result};

/// The largest document.
pub(super) const MAX_JWKS_BYTES: usize = 1 << 20;

/// The time for all of it: name, connection, handshake, headers and body.
const TIMEOUT: Duration = Duration::from_secs(5);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads the document at a URL. Redirects are not followed: they could lead anywhere.
///
/// # Errors
/// There is none within 5 s, the server's certificate is not signed by an authority, the status is not 200, or the
/// document is larger than 1 MiB.
pub(super) async fn fetch(url: &Uri, ca: Option<&PemFile>) -> Result<Vec<u8>> {
    let document = tokio::time::timeout(TIMEOUT, get(url, ca)).await;
    document.map_err(Failure::from).and_then(|document| document).map_err(|cause| {
        let host = url.host().unwrap_or_default();
        let message = format!("cannot read the keys of JSON Web Tokens from {host}");
        Error::new(ErrorKind::InvalidOption, message).with_cause(cause)
    })
}

async fn get(url: &Uri, ca: Option<&PemFile>) -> Result<Vec<u8>, Failure> {
    let ca = ca.cloned();
    let tls = tokio::task::spawn_blocking(move || client_config(ca)).await??;
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    // Nothing of it outlives one reading.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let request = Request::get(url)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .body(String::new())?;
    let response = client.request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the status of the response is {}", response.status()).into());
    }
    collect(response.into_body()).await
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, Failure> {
    let mut document = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if document.len() + data.len() > MAX_JWKS_BYTES {
            return Err("the document has more than 1 MiB".into());
        }
        document.extend_from_slice(&data);
    }
    Ok(document)
}

/// Reads the authorities as they are now. Blocks.
fn client_config(ca: Option<PemFile>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    if let Some(known) = ca {
        let file = PemFile::read(&known.path).unwrap_or(known);
        for certificate in CertificateDer::pem_slice_iter(file.pem.expose().as_bytes()) {
            roots.add(certificate?)?;
        }
    } else {
        // Certificates that cannot be parsed are skipped.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
