//! Callers: who gets in, and what each may do. Attacks are tables: what is tried, and what must come of it.

mod audit_lines;
mod client_flags;
mod limits_of_callers;
mod own_databases;
mod own_methods;
mod own_work;
mod reading_alone;
mod refusals_in_the_log;
mod revoked_tokens;
mod rights_of_methods;
mod token_command;
mod without_identity;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use rowgate::access::{TokenEntry, TokenFile, new_token};
use tempfile::TempDir;
use tonic::client::Grpc;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::harness::client::{Client, Headers};
use crate::harness::mariadb::Mariadb;
use crate::harness::postgres::Postgres;
use crate::harness::{Backend, Service};

/// All methods of the proto, as they may be listed for a caller.
const METHODS: &str = "['Query', 'StreamQuery', 'ExecuteBatch', 'Transact', 'GetTransactionOutcome', \
    'DescribeStatement', 'Listen', 'ListPoolStats', 'WatchPoolStats', 'ListCheckouts', 'PausePool', 'ResumePool', \
    'ReconnectPool', 'ResizePool', 'TerminateCheckout', 'GetServerInfo', 'ServerReflectionInfo']";

/// A service with the databases `main` and `other`, and with a token for each caller.
pub(crate) struct Guarded {
    /// Its own client has no token.
    pub(crate) service: Service,
    /// The directory of the file of tokens.
    directory: TempDir,
    tokens: BTreeMap<String, String>,
}

impl Guarded {
    /// Starts it with callers: each a name and lines of TOML, in which METHODS stands for all.
    async fn start(backend: Backend, callers: &[(&str, &str)]) -> Self {
        Self::with(backend, "", callers).await
    }

    /// The same with lines of TOML for the database `main`.
    pub(crate) async fn with_lines(
        backend: Backend,
        lines: &str,
        callers: &[(&str, &str)],
    ) -> Self {
        Self::build(backend, (lines, ""), callers).await
    }

    /// The same with further tables of the configuration.
    pub(crate) async fn with(backend: Backend, tables: &str, callers: &[(&str, &str)]) -> Self {
        Self::build(backend, ("", tables), callers).await
    }

    async fn build(
        backend: Backend,
        (lines, tables): (&str, &str),
        callers: &[(&str, &str)],
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let file = directory.path().join("tokens");
        std::fs::write(&file, "").expect("it is ours");
        let mut settings = format!("{lines}\n[access]\ntokens = '{}'\n{tables}\n", file.display());
        let mut tokens = BTreeMap::new();
        for (name, lines) in callers {
            let lines = lines.replace("METHODS", METHODS);
            settings.push_str(&format!("[callers.{name}]\n{lines}\n"));
            tokens.insert((*name).to_owned(), add_token(&TokenFile::new(&file), name, None));
        }
        let service = match backend {
            Backend::Sqlite => {
                settings.push_str("[databases.other]\nurl = 'sqlite:other.db'\n");
                Service::with(backend, &settings).await
            }
            Backend::Postgres => {
                let postgres = Postgres::start();
                postgres.psql("create database other");
                let url = postgres.url();
                let url = url.trim_end_matches("/postgres");
                settings.push_str(&format!("[databases.other]\nurl = '{url}/other'\n"));
                Service::on(postgres, &settings).await
            }
            Backend::Mariadb => {
                let mariadb = Mariadb::start();
                mariadb.sql("create database other; grant all on other.* to rowgate@'%'");
                let url = mariadb.url();
                let url = url.trim_end_matches("/test");
                settings.push_str(&format!("[databases.other]\nurl = '{url}/other'\n"));
                Service::on_mariadb(mariadb, &settings, &[]).await
            }
        };
        Self { service, directory, tokens }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }

    /// The token of a caller.
    pub(crate) fn token(&self, caller: &str) -> &str {
        &self.tokens[caller]
    }

    /// A client with the token of a caller.
    pub(crate) fn client(&self, caller: &str) -> Client {
        let value = format!("Bearer {}", self.token(caller));
        self.service.client.with_headers(headers(&[("authorization", value.as_bytes())]))
    }
}

/// Makes a token and adds it to a file.
fn add_token(file: &TokenFile, caller: &str, expires: Option<SystemTime>) -> String {
    let (id, token) = new_token().expect("there are random numbers");
    file.add(&TokenEntry::new(&id, &token, caller, expires)).expect("it is written");
    token
}

fn headers(all: &[(&'static str, &[u8])]) -> Headers {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        let value = HeaderValue::from_bytes(value).expect("HTTP can carry it");
        headers.append(HeaderName::from_static(name), value);
    }
    Headers(headers)
}

/// Calls a method, as in `rowgate.v1.DatabaseService/Query`, with an empty message. Returns the status of an answer
/// that has nothing else, and nothing when the service answers.
async fn refusal(client: &Client, method: &str) -> Option<Status> {
    let mut service = Grpc::new(client.wire());
    service.ready().await.expect("the connection is open");
    let path = PathAndQuery::try_from(format!("/{method}")).expect("it is a path");
    // The answer is not read: some last for good.
    let codec = ProstCodec::<(), ()>::default();
    service.server_streaming(Request::new(()), path, codec).await.err()
}

/// The methods of all services, by their descriptors: each with its short name.
fn methods() -> Vec<(String, String)> {
    let mut methods = Vec::new();
    for set in [
        rowgate::value::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ] {
        for file in FileDescriptorSet::decode(set).expect("they are descriptors").file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    methods.push((path, method.name().to_owned()));
                }
            }
        }
    }
    assert!(methods.len() >= 19, "{methods:?}");
    methods
}

/// True for a method that anybody may call.
fn is_for_all(method: &str) -> bool {
    method.starts_with("grpc.health.v1.Health/")
}
