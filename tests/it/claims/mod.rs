//! Claims of callers: what they reach, and attacks on what row-level security makes of them.

mod attack_table;
mod claim_attacks;
mod claim_keys;
mod claims_cost;
mod claims_install;
mod five_minutes;
mod row_security;
mod signatures;

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use rowgate::access::{TokenEntry, TokenFile, new_token};
use rowgate::value::Kind;
use rowgate::value::proto::ResultSet;
use tempfile::TempDir;

use crate::harness::client::{Client, Headers};
use crate::harness::postgres::Postgres;
use crate::harness::provider::{AUDIENCE, ISSUER, SigningKey, claims, jwks};
use crate::harness::server::{Server, run};

pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The tenants whose orders a caller sees.
const TENANTS: &str =
    "select coalesce(string_agg(distinct tenant, ',' order by tenant), 'none') from orders";

/// Orders of two tenants under a policy, and the login `app`, which may more than one should.
const ORDERS: &str = "
create role owner_of_orders nologin;
create role app login password 'app';
grant create on database postgres to app;
grant create on schema public to app;
create table orders (id int generated always as identity primary key, tenant text not null, item text);
insert into orders (tenant, item) select tenant, 'item ' || n from unnest('{acme, beta}'::text[]) as tenant, generate_series(1, 100) as n;
create table loot (what text);
alter table orders owner to owner_of_orders;
grant select, insert, update, delete on orders, loot to app;
alter table orders enable row level security;
create policy of_tenant on orders using (tenant = (select rowgate.claim('tenant')));
";

/// A database with row-level security, and the configuration of its server.
pub(crate) struct Database {
    pub(crate) postgres: Postgres,
    pub(crate) directory: TempDir,
    provider: SigningKey,
    tokens: BTreeMap<&'static str, String>,
}

impl Database {
    /// A database with functions of claims, a policy, and callers of two tenants.
    pub(crate) fn new(settings: &[&str]) -> Self {
        let database = Self::without_claims(settings);
        database.install();
        database.postgres.psql(ORDERS);
        database
    }

    /// The same before anything is in it.
    pub(crate) fn without_claims(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let provider = SigningKey::new("one");
        fs::write(directory.path().join("keys.json"), jwks(&[&provider])).expect("it is ours");
        fs::write(directory.path().join("claims.key"), KEY).expect("it is ours");
        let file = TokenFile::new(directory.path().join("tokens"));
        fs::write(directory.path().join("tokens"), "").expect("it is ours");
        let token = |caller| {
            let (id, token) = new_token().expect("there are random numbers");
            file.add(&TokenEntry::new(&id, &token, caller, None)).expect("it is written");
            (caller, token)
        };
        let tokens = ["acme", "beta", "nobody"].map(token).into();
        let postgres = Postgres::with(settings);
        let database = Self { postgres, directory, provider, tokens };
        fs::write(
            database.directory.path().join("rowgate.toml"),
            database.configuration("", "app"),
        )
        .expect("it is ours");
        database
    }

    /// The configuration with lines for the database, and its login.
    pub(crate) fn configuration(&self, lines: &str, login: &str) -> String {
        let place = self.directory.path().display();
        let url = self.postgres.url_as(login, login);
        let rights = "databases = ['main']\nread_only = false\n\
             rpcs = ['Query', 'StreamQuery', 'ExecuteBatch', 'Transact', 'DescribeStatement']\n";
        format!(
            "[databases.main]\nurl = '{url}'\nclaims.key_file = '{place}/claims.key'\n\
             session_statements = 'allow'\npool.max = 1\npool.min = 1\n{lines}\n\
             [access]\ntokens = '{place}/tokens'\n\
             [access.jwt]\nkeys = '{place}/keys.json'\nissuer = '{ISSUER}'\naudiences = ['{AUDIENCE}']\n\
             [callers.acme]\n{rights}claims.fixed = ['tenant=acme']\n\
             [callers.beta]\n{rights}claims.fixed = ['tenant=beta']\n\
             [callers.nobody]\n{rights}\
             [callers.users]\n{rights}subjects = ['*']\nclaims.from_token = ['tenant', 'roles', 'level']\n"
        )
    }

    /// Runs `rowgate claims install main` as the superuser.
    pub(crate) fn install(&self) -> String {
        let url = self.postgres.url();
        let environment = [("ROWGATE_ADMIN_URL", url.as_str())];
        let Output { status, stdout, stderr } =
            run(self.directory.path(), &["claims", "install", "main"], &environment);
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("it is text")
    }

    /// Starts a server with lines for the database.
    pub(crate) async fn serve(&self, lines: &str) -> Running {
        Running::start(&self.configuration(lines, "app")).await
    }

    /// A client of a server with the token of a caller.
    pub(crate) fn client(&self, running: &Running, caller: &str) -> Client {
        running.with_token(&self.tokens[caller])
    }

    /// The same with a JSON Web Token with these claims.
    pub(crate) fn user(&self, running: &Running, subject: &str, more: serde_json::Value) -> Client {
        let mut all = claims(subject, 9_000_000_000);
        for (name, value) in more.as_object().expect("it is an object") {
            all[name] = value.clone();
        }
        running.with_token(&self.provider.token_of(&all))
    }
}

/// A server, and a client without a token.
pub(crate) struct Running {
    pub(crate) server: Server,
    client: Client,
}

impl Running {
    /// Starts a server.
    pub(crate) async fn start(configuration: &str) -> Self {
        let server = Server::start(configuration);
        let client = Client::connect(server.grpc()).await;
        Self { server, client }
    }

    fn with_token(&self, token: &str) -> Client {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().expect("it is text"));
        self.client.with_headers(Headers(headers))
    }
}

/// The only value of a result: a text, or `NULL`.
pub(crate) fn only(result: &ResultSet) -> &str {
    match &result.rows[0].values[0].kind {
        Some(Kind::TextValue(text)) => text,
        Some(Kind::NullValue(_)) => "NULL",
        other => panic!("{other:?} is no text"),
    }
}
