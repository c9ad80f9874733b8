//! The login: the capabilities of the connection, its encryption, and the proof of the password.

use std::sync::Arc;

use mysql_common::auth::plugins::{AuthProc, ChallengeResponsePlugin, Context, Response};
use mysql_common::constants::{CapabilityFlags, MariadbCapabilities};
use mysql_common::packets::{AuthPlugin, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::greeting::{Flavor, Greeting, Welcome};
use super::packet_stream::{ByteStream, PacketStream, StreamFailure};
use super::server_error::ServerError;

/// The capabilities that are asked for, where the server has them. Never LOCAL_FILES, MULTI_STATEMENTS or COMPRESS.
const WANTED: [CapabilityFlags; 13] = [
    CapabilityFlags::CLIENT_PROTOCOL_41,
    CapabilityFlags::CLIENT_LONG_PASSWORD,
    CapabilityFlags::CLIENT_LONG_FLAG,
    CapabilityFlags::CLIENT_TRANSACTIONS,
    CapabilityFlags::CLIENT_SECURE_CONNECTION,
    CapabilityFlags::CLIENT_MULTI_RESULTS,
    CapabilityFlags::CLIENT_PS_MULTI_RESULTS,
    CapabilityFlags::CLIENT_PLUGIN_AUTH,
    CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA,
    CapabilityFlags::CLIENT_CONNECT_ATTRS,
    CapabilityFlags::CLIENT_DEPRECATE_EOF,
    CapabilityFlags::CLIENT_FOUND_ROWS,
    CapabilityFlags::CLIENT_SESSION_TRACK,
];

/// The capabilities without which a connection cannot be used.
const NEEDED: [CapabilityFlags; 5] = [
    CapabilityFlags::CLIENT_PROTOCOL_41,
    CapabilityFlags::CLIENT_SECURE_CONNECTION,
    CapabilityFlags::CLIENT_PLUGIN_AUTH,
    CapabilityFlags::CLIENT_DEPRECATE_EOF,
    CapabilityFlags::CLIENT_SESSION_TRACK,
];

/// The most bytes of a packet, as the client tells the server, which does not heed it.
const MAX_PACKET: u32 = 1 << 30;

/// The encryption of a connection, and the name that the server's certificate must have.
pub(crate) struct Encryption {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

/// The user, and how the connection is to be made.
pub(crate) struct LoginRequest<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) database: Option<&'a str>,
    pub(crate) encryption: Option<Encryption>,
    /// It is a unix socket: nobody is in between.
    pub(crate) is_local: bool,
    /// The names and values by which the server lists the connection.
    pub(crate) attributes: &'a [(&'static str, String)],
}

/// A failed login.
#[derive(Debug)]
pub(crate) enum LoginFailure {
    Stream(StreamFailure),
    /// The server said no.
    Refused(ServerError),
    /// The server cannot do what is needed, or asks for the password in a way that is not allowed.
    Unsuitable(String),
}

impl From<StreamFailure> for LoginFailure {
    fn from(failure: StreamFailure) -> Self {
        Self::Stream(failure)
    }
}

impl From<std::io::Error> for LoginFailure {
    fn from(error: std::io::Error) -> Self {
        Self::Stream(error.into())
    }
}

/// A connection whose login is done.
pub(crate) struct LoggedIn {
    pub(crate) packets: PacketStream,
    pub(crate) greeting: Greeting,
    /// Columns are described with MariaDB's extended types.
    pub(crate) has_extended_types: bool,
}

/// Greets the server, encrypts the connection if asked to, and logs in.
pub(crate) async fn log_in(
    stream: Box<dyn ByteStream>,
    max_packet: usize,
    request: LoginRequest<'_>,
) -> Result<LoggedIn, LoginFailure> {
    let mut packets = PacketStream::new(stream, max_packet);
    let greeting = match Welcome::parse(&packets.packet().await?)? {
        Welcome::Greeting(greeting) => *greeting,
        Welcome::Refused(error) => return Err(LoginFailure::Refused(error)),
    };
    check(&greeting)?;
    if request.encryption.is_some() && !greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL)
    {
        let text = "the server has no TLS; set tls.mode = \"disable\" to connect without";
        return Err(LoginFailure::Unsuitable(text.to_owned()));
    }
    let capabilities = capabilities(&greeting, &request);
    let mariadb_capabilities =
        greeting.mariadb_capabilities & MariadbCapabilities::MARIADB_CLIENT_EXTENDED_METADATA;
    let is_encrypted = request.encryption.is_some();
    let mut sequence = packets.sequence.wrapping_add(1);
    if let Some(encryption) = &request.encryption {
        let ssl = SslRequest::new(capabilities, MAX_PACKET, UTF8MB4)
            .with_mariadb_capabilities(mariadb_capabilities);
        packets.queue(sequence, |body| ssl.serialize(body));
        packets.send().await?;
        sequence = sequence.wrapping_add(1);
        let stream = packets.into_stream()?;
        let connector = TlsConnector::from(Arc::clone(&encryption.config));
        let encrypted = connector.connect(encryption.server_name.clone(), stream).await?;
        packets = PacketStream::new(Box::new(encrypted), max_packet);
    }
    let mut proof = PasswordProof::new(&greeting, &request, is_encrypted)?;
    let first = proof.answer(&greeting.nonce)?;
    let response = HandshakeResponse::new(
        Some(first.unwrap_or_default()),
        (8, 0, 0),
        Some(request.user.as_bytes()),
        request.database.map(str::as_bytes),
        Some(AuthPlugin::from_bytes(&proof.plugin)),
        capabilities,
        Some(
            request
                .attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        ),
        MAX_PACKET,
    )
    .with_mariadb_ext_capabilities(mariadb_capabilities);
    packets.queue(sequence, |body| response.serialize(body));
    finish(&mut packets, proof).await?;
    let has_extended_types = !mariadb_capabilities.is_empty();
    Ok(LoggedIn { packets, greeting, has_extended_types })
}

/// The number of the collation `utf8mb4_general_ci`, which all versions know.
const UTF8MB4: u8 = 45;

/// Checks that the server can do what is needed.
fn check(greeting: &Greeting) -> Result<(), LoginFailure> {
    let version = &greeting.version;
    if !version.is_supported() {
        let oldest = match version.flavor {
            Flavor::MariaDb => "MariaDB 10.6",
            Flavor::MySql => "MySQL 8.0.22",
        };
        let text = format!("the server is {version}, and {oldest} is the oldest that is supported");
        return Err(LoginFailure::Unsuitable(text));
    }
    match NEEDED.iter().find(|flag| !greeting.capabilities.contains(**flag)) {
        None => Ok(()),
        Some(missing) => {
            let text =
                format!("the server, or a proxy before it, lacks the capability {missing:?}");
            Err(LoginFailure::Unsuitable(text))
        }
    }
}

fn capabilities(greeting: &Greeting, request: &LoginRequest<'_>) -> CapabilityFlags {
    let mut wanted = WANTED.iter().fold(CapabilityFlags::empty(), |all, one| all | *one);
    if request.encryption.is_some() {
        wanted |= CapabilityFlags::CLIENT_SSL;
    }
    if request.database.is_some() {
        wanted |= CapabilityFlags::CLIENT_CONNECT_WITH_DB;
    }
    // A MariaDB server that leaves it out takes its own capabilities in the bytes behind.
    wanted & greeting.capabilities
}

/// Exchanges proofs until the server takes or refuses the login.
async fn finish(
    packets: &mut PacketStream,
    mut proof: PasswordProof<'_>,
) -> Result<(), LoginFailure> {
    loop {
        let packet = packets.packet().await?;
        let answer = match packet.split_first() {
            Some((0x00, _)) => {
                return Ok(());
            }
            Some((0xFF, _)) => {
                let error = ServerError::parse(&packet);
                let error = error.ok_or(StreamFailure::Malformed("the refusal of the login"))?;
                return Err(LoginFailure::Refused(error));
            }
            Some((0xFE, rest)) => {
                let (plugin, nonce) = split_at_nul(rest);
                proof.change_plugin(plugin, nonce)?;
                proof.answer(nonce.strip_suffix(&[0]).unwrap_or(nonce))?
            }
            Some((0x01, challenge)) => proof.answer(challenge)?,
            Some(_) | None => return Err(StreamFailure::Malformed("the login").into()),
        };
        if let Some(answer) = answer {
            let sequence = packets.sequence.wrapping_add(1);
            packets.queue(sequence, |body| body.extend_from_slice(&answer));
        }
    }
}

fn split_at_nul(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

/// The proof of a password, in the way that the server asks for.
struct PasswordProof<'a> {
    plugin: Vec<u8>,
    procedure: AuthProc,
    password: &'a str,
    nonce: Vec<u8>,
    is_encrypted: bool,
    is_local: bool,
}

impl<'a> PasswordProof<'a> {
    fn new(
        greeting: &Greeting,
        request: &LoginRequest<'a>,
        is_encrypted: bool,
    ) -> Result<Self, LoginFailure> {
        let mut plugin = greeting.auth_plugin.clone();
        if procedure(&plugin).is_err() {
            // The default of the server need not be the user's: it asks for another then.
            plugin = b"mysql_native_password".to_vec();
        }
        Ok(Self {
            procedure: procedure(&plugin)?,
            plugin,
            password: request.password,
            nonce: greeting.nonce.clone(),
            is_encrypted,
            is_local: request.is_local,
        })
    }

    fn change_plugin(&mut self, plugin: &[u8], nonce: &[u8]) -> Result<(), LoginFailure> {
        self.procedure = procedure(plugin)?;
        self.plugin = plugin.to_vec();
        self.nonce = nonce.strip_suffix(&[0]).unwrap_or(nonce).to_vec();
        Ok(())
    }

    /// The answer to a challenge; `None` if the server expects none.
    fn answer(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, LoginFailure> {
        let context = PasswordContext {
            password: self.password.as_bytes(),
            nonce: &self.nonce,
            is_encrypted: self.is_encrypted,
            is_local: self.is_local,
        };
        match self.procedure.run(context, challenge) {
            Ok(Response::Next { packet } | Response::Last { packet }) => Ok(packet),
            Err(error) => {
                let plugin = String::from_utf8_lossy(&self.plugin);
                let text = format!("the authentication by {plugin} cannot go on: {error}");
                Err(LoginFailure::Unsuitable(text))
            }
        }
    }
}

/// The procedure of a plugin; passwords in plain text and by the hash of before 4.1 are refused.
fn procedure(plugin: &[u8]) -> Result<AuthProc, LoginFailure> {
    let known = AuthPlugin::from_bytes(plugin);
    let is_refused = matches!(known, AuthPlugin::MysqlClearPassword | AuthPlugin::MysqlOldPassword);
    known.init().ok().filter(|_| !is_refused).ok_or_else(|| {
        let name = String::from_utf8_lossy(plugin);
        let text = format!(
            "the user is authenticated by {name}, and only caching_sha2_password, sha256_password, \
             mysql_native_password and client_ed25519 are supported"
        );
        LoginFailure::Unsuitable(text)
    })
}

struct PasswordContext<'a> {
    password: &'a [u8],
    nonce: &'a [u8],
    is_encrypted: bool,
    is_local: bool,
}

impl Context for PasswordContext<'_> {
    fn pass(&self) -> &[u8] {
        self.password
    }

    fn is_ipc_transport(&self) -> bool {
        self.is_local
    }

    fn is_tls_transport(&self) -> bool {
        self.is_encrypted
    }

    fn scramble(&self) -> &[u8] {
        self.nonce
    }

    fn server_key_pem(&self) -> Option<&[u8]> {
        None
    }
}
