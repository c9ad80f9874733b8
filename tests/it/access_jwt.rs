//! Callers with JSON Web Tokens, whose keys are in a file: who gets in, and when they are out again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rowgate::value::proto::{StreamQueryRequest, StreamQueryResponse};
use serde_json::json;
use tonic::{Code, Request, Streaming};

use crate::harness::client::{Client, Failure, PATIENCE, request, with_deadline};
use crate::harness::postgres::Postgres;
use crate::harness::provider::{AUDIENCE, ISSUER, SigningKey, claims, jwks};
use crate::harness::server::Server;
use crate::harness::unit::Transaction;
use crate::harness::wait::{Stutter, eventually_async};

/// The time within which a change counts.
const SOON: Duration = Duration::from_secs(1);

const HOUR: Duration = Duration::from_secs(3600);

/// The codes of calls that end with their credential: a stream is ended as by an operator.
const ENDS: [Code; 2] = [Code::Unauthenticated, Code::Aborted];

/// Rows without an end, on both databases.
const ENDLESS: &str =
    "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n";

/// A server whose callers have tokens of a file, and what they send.
struct Guarded {
    server: Server,
    client: Client,
    keys: tempfile::TempDir,
    _postgres: Option<Postgres>,
}

impl Guarded {
    async fn start(postgres: Option<Postgres>, keys: &[&SigningKey]) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        replace(directory.path(), keys);
        let url = postgres.as_ref().map_or("sqlite:test.db".to_owned(), Postgres::url);
        let path = directory.path().join("keys.json").display().to_string();
        let server = Server::start(&format!(
            "[databases.main]\nurl = \"{url}\"\n\
             [access.jwt]\nkeys = \"{path}\"\nissuer = \"{ISSUER}\"\naudiences = [\"{AUDIENCE}\"]\n\
             leeway = \"0s\"\n\
             [callers.shop]\nsubjects = [\"alice\"]\ndatabases = [\"main\"]\nread_only = false\n\
             rpcs = [\"Query\", \"StreamQuery\", \"Transact\"]\n"
        ));
        let client = Client::connect(server.grpc()).await;
        Self { server, client, keys: directory, _postgres: postgres }
    }

    /// Replaces the keys at once, as an operator's `mv` does.
    fn replace(&self, keys: &[&SigningKey]) {
        replace(self.keys.path(), keys);
    }

    async fn call(&self, token: &str) -> Result<(), Failure> {
        call(&self.client, token).await
    }

    async fn stream(&self, token: &str) -> Streaming<StreamQueryResponse> {
        let message = StreamQueryRequest { query: Some(request(ENDLESS, &[])) };
        let request = bearer(with_deadline(message, PATIENCE), token);
        let stream = self.client.raw().stream_query(request).await.expect("it is let in");
        let mut stream = stream.into_inner();
        stream.message().await.expect("it has rows").expect("it has a header");
        stream
    }

    async fn transaction(&self, token: &str) -> Transaction {
        let open = |commands| bearer(with_deadline(commands, PATIENCE), token);
        let mut transaction = self.client.transact_with(open).await.begun().await;
        transaction.query("select 1", &[]).await.expect("it runs");
        transaction
    }
}

fn replace(directory: &Path, keys: &[&SigningKey]) {
    let new = directory.join("new");
    fs::write(&new, jwks(keys)).expect("it is ours");
    fs::rename(new, directory.join("keys.json")).expect("it is ours");
}

fn bearer<T>(mut request: Request<T>, token: &str) -> Request<T> {
    let value = format!("Bearer {token}").parse().expect("it is text");
    request.metadata_mut().insert("authorization", value);
    request
}

async fn call(client: &Client, token: &str) -> Result<(), Failure> {
    let request = bearer(with_deadline(request("select 1", &[]), PATIENCE), token);
    client.raw().query(request).await.map(drop).map_err(Failure::from)
}

/// Reads a stream until it fails.
async fn end_of(mut stream: Streaming<StreamQueryResponse>) -> Failure {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it has no end"),
            Err(status) => return Failure::from(status),
        }
    }
}

async fn end_of_transaction(mut transaction: Transaction) -> Failure {
    transaction.reply().await.expect_err("nothing was asked")
}

#[tokio::test]
async fn a_token_of_the_provider_gets_in_and_others_do_not() {
    let provider = SigningKey::new("one");
    let guarded = Guarded::start(None, &[&provider]).await;
    let good = provider.token("alice", HOUR);
    guarded.call(&good).await.expect("it is let in");
    let far = 9_000_000_000_u64;
    let tampered = good.replacen('.', ".e30", 1);
    let mut foreign = claims("alice", far);
    foreign["iss"] = json!("https://elsewhere.test");
    let mut of_others = claims("alice", far);
    of_others["aud"] = json!(["other"]);
    let cases = [
        ("unlisted", provider.token("bob", HOUR)),
        ("expired", provider.token_of(&claims("alice", 1_700_000_000))),
        ("another issuer", provider.token_of(&foreign)),
        ("another audience", provider.token_of(&of_others)),
        ("tampered", tampered),
        ("forged", SigningKey::new("one").token("alice", HOUR)),
        ("unknown key", SigningKey::new("two").token("alice", HOUR)),
        ("malformed", "a.b.c".to_owned()),
        ("empty", String::new()),
    ];
    for (case, token) in cases {
        let failure = guarded.call(&token).await.expect_err(case);
        assert_eq!(failure.what(), (Code::Unauthenticated, "UNAUTHENTICATED"), "{case}");
        assert_eq!(failure.message, "the caller is not authenticated", "{case}");
    }
    let unnamed = guarded.client.must_fail("select 1", &[]).await;
    assert_eq!(unnamed.code, Code::Unauthenticated);
    let log = guarded.server.log();
    assert!(log.contains("has another issuer") && !log.contains(&good), "{log}");
}

#[tokio::test]
async fn keys_rotate_under_load_without_a_failed_call() {
    let first = SigningKey::new("0");
    let guarded = Guarded::start(None, &[&first]).await;
    let token = Arc::new(Mutex::new(first.token("alice", HOUR)));
    let stop = Arc::new(AtomicBool::new(false));
    let calls: Arc<[AtomicUsize; 8]> = Arc::default();
    let load: Vec<_> = (0..calls.len())
        .map(|caller| {
            let client = guarded.client.clone();
            let (token, stop, calls) = (Arc::clone(&token), Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                while !stop.load(SeqCst) {
                    let token = token.lock().clone();
                    call(&client, &token).await.expect("no call fails");
                    calls[caller].fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let counts = || calls.iter().map(|calls| calls.load(SeqCst)).collect::<Vec<_>>();
    let mut old = first;
    for rotation in 1..=5 {
        let new = SigningKey::new(&rotation.to_string());
        guarded.replace(&[&old, &new]);
        let next = new.token("alice", HOUR);
        let is_in = async || guarded.call(&next).await.ok();
        eventually_async("the new key counts", PATIENCE, is_in).await;
        *token.lock() = next;
        // A call after the one under way has the new token.
        let before = counts();
        let used =
            async || before.iter().zip(counts()).all(|(old, new)| new >= old + 2).then_some(());
        eventually_async("the callers use the new token", PATIENCE, used).await;
        let unused = old.token("alice", HOUR);
        guarded.call(&unused).await.expect("the old key is still there");
        guarded.replace(&[&new]);
        let is_out = async || guarded.call(&unused).await.err();
        eventually_async("the old key is out", PATIENCE, is_out).await;
        old = new;
    }
    stop.store(true, SeqCst);
    for caller in load {
        caller.await.expect("no call failed");
    }
    assert!(counts().iter().all(|calls| *calls > 10), "{:?}", counts());
}

#[tokio::test]
async fn a_removed_key_is_out_within_a_second_with_its_streams_and_transactions() {
    for postgres in [None, Some(Postgres::start())] {
        let removed = SigningKey::new("removed");
        let kept = SigningKey::new("kept");
        let guarded = Guarded::start(postgres, &[&removed, &kept]).await;
        let token = removed.token("alice", HOUR);
        let stays = kept.token("alice", HOUR);
        let stream = guarded.stream(&token).await;
        let transaction = guarded.transaction(&token).await;
        let mut other = guarded.stream(&stays).await;
        let stutter = Stutter::watch();
        let start = Instant::now();
        guarded.replace(&[&kept]);
        let within = async |end: Failure| {
            let (limit, took) = (SOON + stutter.allowance(), start.elapsed());
            assert!(ENDS.contains(&end.code), "{end:?}");
            assert!(took < limit, "{took:?}");
        };
        tokio::join!(async { within(end_of(stream).await).await }, async {
            within(end_of_transaction(transaction).await).await
        },);
        guarded.call(&token).await.expect_err("its key is gone");
        other.message().await.expect("the other key is there").expect("it has no end");
        guarded.call(&stays).await.expect("the other key is there");
    }
}

#[tokio::test]
async fn an_expired_token_is_out_within_a_second_with_its_streams_and_transactions() {
    let provider = SigningKey::new("one");
    let guarded = Guarded::start(None, &[&provider]).await;
    let lifetime = Duration::from_secs(3);
    let start = Instant::now();
    // The expiry is in whole seconds: up to one is lost.
    let token = provider.token("alice", lifetime);
    let stream = guarded.stream(&token).await;
    let transaction = guarded.transaction(&token).await;
    let stutter = Stutter::watch();
    let within = async |end: Failure| {
        let took = start.elapsed();
        assert!(ENDS.contains(&end.code), "{end:?}");
        let limit = lifetime + SOON + stutter.allowance();
        assert!(took >= lifetime - SOON && took < limit, "{took:?}");
    };
    tokio::join!(async { within(end_of(stream).await).await }, async {
        within(end_of_transaction(transaction).await).await
    },);
    let is_out = async || guarded.call(&token).await.err();
    eventually_async("it has expired", lifetime, is_out).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_leaves_the_keys_before_in_force() {
    let provider = SigningKey::new("one");
    let guarded = Guarded::start(None, &[&provider]).await;
    let token = provider.token("alice", HOUR);
    let path = guarded.keys.path().join("keys.json");
    let logs = async |text: &str, line: &str| {
        fs::write(&path, text).expect("it is ours");
        let logged = async || guarded.server.log().contains(line).then_some(());
        eventually_async(line, PATIENCE, logged).await;
        guarded.call(&token).await.expect("its key was there");
    };
    logs("{\"keys\":", "it is no JSON object").await;
    logs(&jwks(&[&provider, &provider]), "two of its keys have one kid").await;
    logs(&" ".repeat((1 << 20) + 1), "more than 1 MiB").await;
    fs::remove_file(&path).expect("it is ours");
    let logged = async || guarded.server.log().contains("No such file").then_some(());
    eventually_async("the log tells", PATIENCE, logged).await;
    guarded.call(&token).await.expect("its key was there");
    fs::write(&path, "{\"keys\":[]}").expect("it is ours");
    let is_out = async || guarded.call(&token).await.err();
    eventually_async("there is no key", PATIENCE, is_out).await;
}
