//! The keys of JSON Web Tokens from an https URL: when they are read, and what serves while they cannot be.

use std::time::Duration;

use tonic::Code;

use crate::harness::client::{Client, Failure, PATIENCE, request, with_deadline};
use crate::harness::provider::{AUDIENCE, Answer, ISSUER, KeyServer, SigningKey, jwks};
use crate::harness::server::Server;
use crate::harness::wait::eventually_async;

const HOUR: Duration = Duration::from_secs(3600);

/// A server that may read the keys every second.
const OFTEN: &str = "min_refresh_interval = \"1s\"";

/// A server whose keys are at a URL.
struct Guarded {
    server: Server,
    client: Client,
}

impl Guarded {
    async fn start(url: &str, settings: &str) -> Self {
        let server = Server::start(&format!(
            "[access.jwt]\nkeys = \"{url}\"\nissuer = \"{ISSUER}\"\naudiences = [\"{AUDIENCE}\"]\n\
             {settings}\n\
             [callers.users]\nsubjects = [\"*\"]\ndatabases = [\"main\"]\nread_only = false\n\
             rpcs = [\"Query\"]\n"
        ));
        let client = Client::connect(server.grpc()).await;
        Self { server, client }
    }

    async fn of(keys: &KeyServer, settings: &str) -> Self {
        Self::start(&keys.url(), &format!("ca = \"{}\"\n{settings}", keys.ca())).await
    }

    async fn call(&self, token: &str) -> Result<(), Failure> {
        let message = request("select 1", &[]);
        let mut request = with_deadline(message, PATIENCE);
        let value = format!("Bearer {token}").parse().expect("it is text");
        request.metadata_mut().insert("authorization", value);
        self.client.raw().query(request).await.map(drop).map_err(Failure::from)
    }

    async fn gets_in(&self, token: &str) {
        let is_in = async || self.call(token).await.ok();
        eventually_async("the token gets in", PATIENCE, is_in).await;
    }

    async fn logs(&self, line: &str) {
        let logged = async || self.server.log().contains(line).then_some(());
        eventually_async(line, PATIENCE, logged).await;
    }
}

#[tokio::test]
async fn a_token_with_an_unknown_key_brings_the_new_keys() {
    let old = SigningKey::new("old");
    let new = SigningKey::new("new");
    let keys = KeyServer::start(Answer::Keys(jwks(&[&old])));
    let guarded = Guarded::of(&keys, OFTEN).await;
    let token = old.token("alice", HOUR);
    guarded.gets_in(&token).await;
    let asked = keys.requests();
    guarded.call(&token).await.expect("its key is known");
    assert_eq!(keys.requests(), asked, "known keys bring no request");
    keys.answer(Answer::Keys(jwks(&[&new])));
    guarded.gets_in(&new.token("alice", HOUR)).await;
    let failure = guarded.call(&token).await.expect_err("its key is gone");
    assert_eq!(failure.code, Code::Unauthenticated);
}

#[tokio::test]
async fn a_removed_key_is_noticed_without_an_unknown_one() {
    let removed = SigningKey::new("removed");
    let keys = KeyServer::start(Answer::Keys(jwks(&[&removed])));
    let guarded = Guarded::of(&keys, &format!("{OFTEN}\nrefresh_interval = \"1s\"")).await;
    let token = removed.token("alice", HOUR);
    guarded.gets_in(&token).await;
    keys.answer(Answer::Keys(jwks(&[])));
    let is_out = async || guarded.call(&token).await.err();
    eventually_async("the key is out", PATIENCE, is_out).await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_no_second_request_within_a_minute() {
    let known = SigningKey::new("known");
    let keys = KeyServer::start(Answer::Keys(jwks(&[&known])));
    let guarded = Guarded::of(&keys, "").await;
    let token = known.token("alice", HOUR);
    guarded.gets_in(&token).await;
    for number in 0..500 {
        let unknown = SigningKey::new(&number.to_string()).token("alice", HOUR);
        guarded.call(&unknown).await.expect_err("its key is unknown");
    }
    guarded.call(&token).await.expect("its key is known");
    assert_eq!(keys.requests(), 1);
}

#[tokio::test]
async fn the_keys_before_serve_while_the_provider_fails() {
    let known = SigningKey::new("known");
    let keys = KeyServer::start(Answer::Keys(jwks(&[&known])));
    let guarded = Guarded::of(&keys, &format!("{OFTEN}\nrefresh_interval = \"1s\"")).await;
    let token = known.token("alice", HOUR);
    guarded.gets_in(&token).await;
    let failures = [
        (Answer::Head("HTTP/1.1 503 Service Unavailable".to_owned()), "503 Service Unavailable"),
        (Answer::Keys("<html>".to_owned()), "it is no JSON object"),
        (Answer::Keys(" ".repeat((1 << 20) + 1)), "more than 1 MiB"),
        (Answer::Silence, "deadline has elapsed"),
    ];
    for (answer, line) in failures {
        keys.answer(answer);
        guarded.logs(line).await;
        guarded.call(&token).await.expect("its key was there");
    }
}

#[tokio::test]
async fn an_unreachable_provider_does_not_prevent_the_start() {
    let known = SigningKey::new("known");
    let keys = KeyServer::absent(Answer::Keys(jwks(&[&known])));
    let guarded = Guarded::of(&keys, OFTEN).await;
    let token = known.token("alice", HOUR);
    guarded.call(&token).await.expect_err("there is no key yet");
    guarded.logs("cannot read the keys of JSON Web Tokens").await;
    keys.appear();
    guarded.gets_in(&token).await;
}

#[tokio::test]
async fn keys_come_from_the_configured_server_alone() {
    let known = SigningKey::new("known");
    let token = known.token("alice", HOUR);
    let document = Answer::Keys(jwks(&[&known]));
    let elsewhere = KeyServer::start(document.clone());
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}", elsewhere.url());
    let redirecting = KeyServer::start(Answer::Head(redirect));
    let guarded = Guarded::of(&redirecting, OFTEN).await;
    guarded.logs("302 Found").await;
    guarded.call(&token).await.expect_err("a redirect is not followed");
    assert_eq!(elsewhere.requests(), 0);
    // Another authority than the server's, and those of the system.
    let other = KeyServer::absent(document.clone());
    let untrusted = KeyServer::start(document);
    for settings in [format!("ca = \"{}\"", other.ca()), String::new()] {
        let guarded = Guarded::start(&untrusted.url(), &settings).await;
        guarded.logs("invalid peer certificate").await;
        guarded.call(&token).await.expect_err("nobody vouches for the server");
    }
    assert_eq!(untrusted.requests(), 0);
}
