//! The keys of callers and their rights: `grpc.tls.*`, `access.*` and `callers.NAME.*`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::database_target::PemFile;
use super::super::secrets::secret::Secret;
use super::super::written::Written;
use super::claims_keys::CallerClaims;
use super::section::*;
use super::value_types::RPCS;

/// The check of clients' certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// None is asked for.
    Off,
    /// A client without one is served, and needs another identity.
    Optional,
    /// A client without one is refused.
    Required,
}

section! {
    /// The encryption of the listener for services: TLS 1.2 and 1.3. Without a certificate there is none.
    #[derive(Debug, Clone, PartialEq)]
    pub struct GrpcTls in "grpc.tls" (reader) {
        /// A PEM file with the server's certificate, and those between it and the authority.
        cert: Option<PemFile> = PemFile, "none" => None, REREAD;
        /// A PEM file with the private key of the certificate.
        key: Option<PemFile> = PemFile, "none" => None, REREAD;
        /// A PEM file with the authorities that sign clients' certificates.
        client_ca: Option<PemFile> = PemFile, "none" => None, REREAD;
        /// The check of clients' certificates: not asked for, checked where there is one, or required.
        client_auth: ClientAuth = OneOf(&["off", "optional", "required"]),
            "`required` with `client_ca`, otherwise `off`"
            => if client_ca.is_some() { ClientAuth::Required } else { ClientAuth::Off };
        /// A PEM file with the lists of revoked certificates, one of each authority. A certificate of which none tells, or
        /// an outdated one, is refused.
        crl: Option<PemFile> = PemFile, "none" => None, REREAD;
    }
    and {
        /// The same keys, to be read again.
        written: Written = reader.written();
    }
}

/// The calls that have a line of audit in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audit {
    /// None.
    Off,
    /// Those that were refused something.
    Denied,
    /// All but those of the health service.
    All,
}

section! {
    /// The identities of callers. Once a caller is configured, every call needs one, except for health.
    #[derive(Debug, Clone)]
    pub struct Access in "access" (reader) {
        /// The file of tokens, which `rowgate token new` makes. A change counts within a second, for open streams and
        /// transactions too.
        tokens: Option<String> = Text, "none" => None, REREAD;
        /// A key that binds transaction tokens (the error of an unknown outcome carries one) to the caller that gets them: it signs
        /// them with HMAC-SHA-256, and another caller's is refused. The same for all replicas. Without it whoever has a
        /// token learns that transaction's outcome.
        transaction_token_key: Option<Secret> = Secret(32), "none" => None;
        /// The key before, whose tokens are still accepted.
        previous_transaction_token_key: Option<Secret> = Secret(32), "none" => None;
        /// The calls that have a line `call audited` in the log, which says who called what, and if it was allowed: none, those
        /// that were refused, or all but those of the health service.
        audit: Audit = OneOf(&["off", "denied", "all"]), "denied";
        /// Refuse to start unless `rowgate config check` finds everything to be safe: connections that are encrypted and verified,
        /// roles without rights over their database server, files with secrets that others cannot read.
        strict: bool = Bool, "false";
    }
}

section! {
    /// JSON Web Tokens (RFC 7519) of an identity provider: RS256, ES256 or EdDSA, with `iss`, `aud`, `exp` and `sub`.
    #[derive(Debug, Clone)]
    pub struct Jwt in "access.jwt" (reader) {
        /// The provider's keys (JWKS): the path of a file, or an https URL. Without them there are no such tokens.
        keys: Option<String> = Text, "none" => None, REREAD;
        /// A PEM file with the authorities of the server of that URL.
        ca: Option<PemFile> = PemFile, "the system's" => None, REREAD;
        /// The issuer that tokens must have, `iss`.
        issuer: Option<String> = Text, "none" => None;
        /// The audiences of which tokens must have one, `aud`.
        audiences: Vec<String> = Names, "none" => Vec::new();
        /// The difference between the clocks of the provider and of this server that is allowed.
        leeway: Duration = Duration("0s", "5m"), "10s";
        /// The time after which keys of a URL are read again, so that removed ones go out of force. Those before serve
        /// while it fails.
        refresh_interval: Duration = Duration("1s", "24h"), "10m";
        /// The least time between two readings of a URL. A token with an unknown key, `kid`, causes one that is earlier
        /// than `refresh_interval`, never than this; so does a reading that failed.
        min_refresh_interval: Duration = Duration("1s", "1h"), "1m";
        /// The verified tokens that are remembered until they expire, and so cost no signature at each call.
        max_cached: usize = Integer(1, 1_000_000), "10000";
    }
}

section! {
    /// A caller, or a group of callers with the same rights. Everything is denied that is not allowed here.
    #[derive(Debug, Clone)]
    pub struct CallerSettings in "callers.NAME" (reader) {
        /// The subjects of its JSON Web Tokens, `sub`; `*` is any that no caller lists, of up to 255 printable ASCII
        /// characters: each is then told apart as `NAME/SUBJECT`. Its tokens of `access.tokens` name the caller themselves.
        subjects: Vec<String> = Names, "none" => Vec::new();
        /// The names in its client certificates (subjectAltName): a URI, as in SPIFFE, or a DNS name; compared as they
        /// are.
        certificates: Vec<String> = Names, "none" => Vec::new();
        /// The users (uid) that it is at the other end of a Unix socket.
        uids: Vec<u32> = Numbers, "none" => Vec::new();
        /// The databases that it may use. The first one is that of a request that names none. A role of a database is
        /// a database here: one with that role's login in its URL.
        databases: Vec<String> = Names, "none" => Vec::new();
        /// The methods that it may call, as in `["Query", "StreamQuery"]`; those of PoolService change or show pools.
        rpcs: Vec<String> = SomeOf(&RPCS), "none" => Vec::new();
        /// Show it the checkouts of all callers of its databases, and let it end them, and pause, resume, reconnect and resize
        /// their pools. The methods must be listed too.
        pool_admin: bool = Bool, "false";
        /// Refuse everything that is not READ_ONLY.
        read_only: bool = Bool, "true";
        /// The settings of PostgreSQL's that it may set for its own transactions, as in `settings_allowed` of its databases,
        /// which must list them too.
        settings: Vec<String> = SettingNames, "none" => Vec::new();
        /// Concurrent calls.
        max_calls: usize = Integer(1, 1_000_000), "1000";
        /// Calls a second; as many may come at once.
        max_rate: Option<u32> = Integer(1, 1_000_000), "unlimited" => None;
        /// Concurrent interactive transactions.
        max_transactions: usize = Integer(1, 1_000_000), "100";
        /// Concurrent connections on which it calls. A connection counts from its first call to its end.
        max_connections: usize = Integer(1, 1_000_000), "1000";
        /// The statements of a batch.
        max_batch: Option<usize> = Integer(1, 1_000_000), "as of the database" => None;
        /// The rows of a unary result.
        max_rows: Option<u64> = Integer(1, 1_000_000_000), "as of the database" => None;
        /// The longest deadline of a call.
        max_deadline: Option<Duration> = Duration("1ms", "24h"), "as of the database" => None;
    }
    and {
        /// `claims.*`
        claims: CallerClaims = CallerClaims::read(reader);
    }
}
