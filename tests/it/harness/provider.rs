//! An identity provider: keys, the tokens that they sign, and an https server of the keys.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::private_server::free_port;

/// The issuer of all tokens.
pub(crate) const ISSUER: &str = "https://provider.test";
/// The audience for which they are.
pub(crate) const AUDIENCE: &str = "rowgate";

/// A key that signs tokens with ES256.
pub(crate) struct SigningKey {
    kid: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    /// Makes one.
    pub(crate) fn new(kid: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pkcs8 = pkcs8.expect("there are random numbers");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        Self { kid: kid.to_owned(), pair: pair.expect("it is a key") }
    }

    /// Returns a token of a subject that is good for so long.
    pub(crate) fn token(&self, subject: &str, lifetime: Duration) -> String {
        let exp = (SystemTime::now() + lifetime).duration_since(UNIX_EPOCH).expect("it is later");
        self.token_of(&claims(subject, exp.as_secs()))
    }

    /// Returns a token of claims.
    pub(crate) fn token_of(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        let signature = signature.expect("it is signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn jwk(&self) -> Value {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = self.pair.public_key().as_ref();
        let (x, y) = (part(&point[1..33]), part(&point[33..]));
        json!({"kid": self.kid, "kty": "EC", "crv": "P-256", "use": "sig", "x": x, "y": y})
    }
}

/// The claims of a subject until a time in seconds since 1970.
pub(crate) fn claims(subject: &str, exp: u64) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": exp})
}

/// The document of keys.
pub(crate) fn jwks(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// The answer of the server of keys.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A document.
    Keys(String),
    /// A status line and headers, without a body.
    Head(String),
    /// None, while the connection stays open.
    Silence,
}

/// A server of keys on this machine, which knows `/keys` only.
pub(crate) struct KeyServer {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<AtomicUsize>,
    directory: TempDir,
}

impl KeyServer {
    /// Starts one on a free port.
    pub(crate) fn start(answer: Answer) -> Self {
        let server = Self::absent(answer);
        server.appear();
        server
    }

    /// Makes one that does not listen yet.
    pub(crate) fn absent(answer: Answer) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-nodes", "-days", "1", "-subj", "/CN=provider"]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
        command.args(["-keyout", "key.pem", "-out", "cert.pem"]).current_dir(directory.path());
        let output = command.output().expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Self { address, answer: Arc::new(Mutex::new(answer)), requests: Arc::default(), directory }
    }

    /// Begins to listen.
    pub(crate) fn appear(&self) {
        let listener = TcpListener::bind(self.address).expect("the port is free");
        let path = |name: &str| self.directory.path().join(name);
        let chain = CertificateDer::pem_file_iter(path("cert.pem")).expect("it was made");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("it is PEM");
        let key = PrivateKeyDer::from_pem_file(path("key.pem")).expect("it was made");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("there are some")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let config = Arc::new(config.expect("they match"));
        let answer = Arc::clone(&self.answer);
        let requests = Arc::clone(&self.requests);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.expect("it is accepted");
                let connection = ServerConnection::new(Arc::clone(&config)).expect("it is good");
                // A failed handshake is the client's to report.
                if let Ok(left) = serve(StreamOwned::new(connection, stream), &answer, &requests) {
                    open.extend(left);
                }
            }
        });
    }

    /// Answers in another way from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// The URL of the keys.
    pub(crate) fn url(&self) -> String {
        format!("https://{}/keys", self.address)
    }

    /// The file of its certificate, which is its authority too.
    pub(crate) fn ca(&self) -> String {
        self.directory.path().join("cert.pem").display().to_string()
    }
}

type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// Serves one request; returns the connection if it stays open.
fn serve(
    stream: TlsStream,
    answer: &Mutex<Answer>,
    requests: &AtomicUsize,
) -> std::io::Result<Option<TlsStream>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    requests.fetch_add(1, SeqCst);
    let is_for_keys = line.starts_with("GET /keys ");
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let mut stream = reader.into_inner();
    let text = match answer.lock().clone() {
        Answer::Silence => return Ok(Some(stream)),
        Answer::Head(head) if is_for_keys => format!("{head}\r\ncontent-length: 0\r\n\r\n"),
        Answer::Keys(keys) if is_for_keys => {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len())
        }
        Answer::Head(_) | Answer::Keys(_) => "HTTP/1.1 404 Not Found\r\n\r\n".to_owned(),
    };
    stream.write_all(text.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(None)
}
