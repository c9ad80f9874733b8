//! The client side of TLS to a server: libpq's modes on rustls.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::config::{PemFile, Tls, TlsMode};
use crate::error::{Error, ErrorKind, Result};

/// Returns the configuration of a TLS client for a mode other than `disable`.
pub(crate) fn client_config(tls: &Tls) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("the list of protocol versions", error))?;
    let algorithms = provider.signature_verification_algorithms;
    let verifier: Arc<dyn ServerCertVerifier> = match tls.mode {
        TlsMode::Disable | TlsMode::Require => Arc::new(Verifier { algorithms, chain: None }),
        TlsMode::VerifyCa => Arc::new(Verifier { algorithms, chain: Some(chain(tls, &provider)?) }),
        TlsMode::VerifyFull => chain(tls, &provider)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| unusable("tls.cert and tls.key", error)),
        (None, _) | (_, None) => Ok(builder.with_no_client_auth()),
    }
}

fn chain(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    let source = if let Some(file) = &tls.ca {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| unusable("tls.ca", error))?;
        }
        file.path.display().to_string()
    } else {
        // Certificates that cannot be parsed are skipped.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        "the system's list of authorities".to_owned()
    };
    // Fails if there is no certificate at all.
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| unusable(&source, error))
}

fn certificates(file: &PemFile) -> Result<Vec<CertificateDer<'static>>> {
    file.certificates().map_err(|error| unusable(&file.path.display().to_string(), error))
}

fn private_key(file: &PemFile) -> Result<PrivateKeyDer<'static>> {
    file.private_key().map_err(|error| unusable(&file.path.display().to_string(), error))
}

fn unusable(what: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::BackendMisconfigured, format!("{what} cannot be used for TLS"))
        .with_cause(cause)
}

/// The verifier of `require`, which only checks that the server has its certificate's key, and of
/// `verify-ca`, which checks the chain but not the name.
#[derive(Debug)]
struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is checked last, so the chain is valid.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_of_authorities_is_an_error_that_names_it() {
        let ca = PemFile { path: "ca.crt".into(), pem: crate::config::Secret::new("no PEM") };
        for mode in [TlsMode::VerifyCa, TlsMode::VerifyFull] {
            let tls = Tls { mode, ca: Some(ca.clone()), cert: None, key: None };
            let error = client_config(&tls).expect_err("no server could be verified");
            assert_eq!(error.kind(), ErrorKind::BackendMisconfigured);
            assert_eq!(error.message(), "ca.crt cannot be used for TLS");
            assert!(std::error::Error::source(&error).is_some());
        }
    }
}
