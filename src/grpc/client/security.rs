//! The security of a connection: the authorities that are trusted, and what the client shows of itself.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

/// The security of a connection and of its calls. The default shows nothing, and trusts the system's authorities.
#[derive(Clone, Default)]
pub(crate) struct Security {
    bearer: Bearer,
    authorities: Option<Certificate>,
    identity: Option<Identity>,
}

impl Security {
    /// Sends a token with every call.
    pub(crate) fn with_token(mut self, token: &str) -> Result<Self, String> {
        // The value is never quoted.
        let value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
        let is_one_word = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let mut value = value.ok().filter(|_| is_one_word).ok_or("it is no token")?;
        value.set_sensitive(true);
        self.bearer = Bearer(Some(value));
        Ok(self)
    }

    /// Trusts these authorities, certificates in PEM, instead of the system's.
    pub(crate) fn with_authorities(mut self, pem: &[u8]) -> Result<Self, String> {
        check_certificates(pem)?;
        self.authorities = Some(Certificate::from_pem(pem));
        Ok(self)
    }

    /// Shows this certificate to a server that asks; both are in PEM.
    pub(crate) fn with_certificate(
        mut self,
        certificate: &[u8],
        key: &[u8],
    ) -> Result<Self, String> {
        check_certificates(certificate)?;
        PrivateKeyDer::from_pem_slice(key)
            .map_err(|_malformed| "its key is no private key in PEM")?;
        self.identity = Some(Identity::from_pem(certificate, key));
        Ok(self)
    }

    pub(super) fn bearer(&self) -> Bearer {
        self.bearer.clone()
    }

    /// The settings of TLS.
    pub(super) fn tls(&self) -> ClientTlsConfig {
        let tls = match &self.authorities {
            Some(authorities) => ClientTlsConfig::new().ca_certificate(authorities.clone()),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match &self.identity {
            Some(identity) => tls.identity(identity.clone()),
            None => tls,
        }
    }
}

fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(()),
        Ok(_) | Err(_) => Err("it has no certificate in PEM".to_owned()),
    }
}

/// The token of all calls, if there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    /// Returns true if calls carry a token.
    pub(super) fn has_token(&self) -> bool {
        self.0.is_some()
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_refused_and_no_token_is_shown() {
        for wrong in ["", "a b", "a\nb", "a\0", "ü", "Bearer rg_a_b"] {
            assert!(Security::default().with_token(wrong).is_err(), "{wrong:?}");
        }
        let shown =
            Security::default().with_token("rg_id_secret").map(|it| format!("{:?}", it.bearer()));
        assert_eq!(shown.map(|shown| shown.contains("secret")), Ok(false));
    }

    #[test]
    fn files_without_a_certificate_or_a_key_are_refused() {
        for pem in ["", "no PEM", "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n"] {
            let security = Security::default;
            assert!(security().with_authorities(pem.as_bytes()).is_err(), "{pem}");
            assert!(security().with_certificate(pem.as_bytes(), b"").is_err(), "{pem}");
        }
    }
}
