//! Authorities and the certificates that they sign, by `openssl`.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// The configuration of `openssl ca`.
const AUTHORITY: &str = "\
[ca]\ndefault_ca = authority\n[authority]\ndatabase = index\nserial = serial\nnew_certs_dir = .\n\
certificate = ca.crt\nprivate_key = ca.key\ndefault_md = sha256\npolicy = any\nunique_subject = no\n\
default_crl_days = 1\n\
crlnumber = number\ncrl_extensions = list\n[list]\nauthorityKeyIdentifier = keyid\n[any]\ncommonName = supplied\n";

/// Certificates that are good for a day: an authority, a server called `localhost`, a client.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn make() -> Self {
        let certificates = Self(tempfile::tempdir().expect("a directory can be made"));
        certificates.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \
             -subj /CN=authority -keyout ca.key -out ca.crt",
        );
        for (name, text) in
            [("ca.cnf", AUTHORITY), ("index", ""), ("serial", "1000\n"), ("number", "01\n")]
        {
            certificates.write(name, text);
        }
        for (name, subject) in [("server", "localhost"), ("client", "postgres")] {
            certificates.issue(name, subject, &format!("DNS:{subject}"));
        }
        certificates
    }

    /// Makes `NAME.key` and `NAME.crt`, with these alternative names.
    pub(crate) fn issue(&self, name: &str, subject: &str, names: &str) {
        self.request(name, subject, names);
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 \
             -extfile extension -out {name}.crt"
        ));
    }

    /// Makes one that has expired.
    pub(crate) fn issue_expired(&self, name: &str, names: &str) {
        self.request(name, name, names);
        self.openssl(&format!(
            "ca -config ca.cnf -batch -notext -in {name}.csr -out {name}.crt -extfile extension \
             -startdate 20200101000000Z -enddate 20200102000000Z"
        ));
    }

    fn request(&self, name: &str, subject: &str, names: &str) {
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={subject} \
             -keyout {name}.key -out {name}.csr"
        ));
        self.write("extension", &format!("subjectAltName={names}\n"));
    }

    /// Makes `crl.pem`, which lists what was revoked.
    pub(crate) fn list_revoked(&self, revoked: &[&str]) {
        for name in revoked {
            self.openssl(&format!("ca -config ca.cnf -revoke {name}.crt"));
        }
        self.openssl("ca -config ca.cnf -gencrl -out crl.pem");
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("it is ours");
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        let output = command.output().expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// The configuration of a client that trusts this authority, and shows the certificate of a name.
    pub(crate) fn client(&self, shown: Option<&str>) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are some")
            .with_root_certificates(self.roots());
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key")));
                let key = key.expect("it was made");
                builder.with_client_auth_cert(self.chain(name), key).expect("they match")
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// The authority.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        for certificate in self.chain("ca") {
            roots.add(certificate).expect("it is an authority");
        }
        roots
    }

    fn chain(&self, name: &str) -> Vec<CertificateDer<'static>> {
        let chain = CertificateDer::pem_file_iter(self.path(&format!("{name}.crt")));
        chain.expect("it was made").collect::<Result<_, _>>().expect("it is PEM")
    }
}
