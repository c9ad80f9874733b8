//! Calls without an identity, and with what is none.

use std::time::{Duration, SystemTime};

use rowgate::access::TokenFile;
use tonic::{Code, Status};

use super::{Guarded, add_token, headers, is_for_all, methods, refusal};
use crate::harness::Backend;
use crate::harness::client::{Failure, PATIENCE};
use crate::harness::http2::{HEADERS, Raw};
use crate::harness::wait::eventually_async;

const CALLERS: &[(&str, &str)] = &[
    ("shop", "databases = ['main']\nrpcs = ['Query']"),
    ("billing", "databases = ['main']\nrpcs = ['Query']"),
];

/// The headers that a call has.
type Presented<'a> = &'a [(&'static str, &'a [u8])];

const METHOD: &str = "rowgate.v1.DatabaseService/Query";

#[tokio::test]
async fn without_an_identity_every_method_is_refused_but_health() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    let client = &guarded.service.client;
    let unknown = ["rowgate.v1.DatabaseService/Drop", "x.Y/Z", "grpc.health.v1.Healthy/Check"];
    let unknown = unknown.map(|path| (path.to_owned(), String::new()));
    for (method, _) in methods().into_iter().chain(unknown) {
        let status = refusal(client, &method).await;
        let code = status.as_ref().map(Status::code);
        if is_for_all(&method) {
            assert_ne!(code, Some(Code::Unauthenticated), "{method}");
        } else {
            assert_eq!(code, Some(Code::Unauthenticated), "{method}: {status:?}");
        }
    }
}

/// Values of `authorization`, each with its outcome: true for one that lets in. `{T}` is the token of shop, `{B}` that of billing, `{OLD}`
/// one that has expired, `{GONE}` one of a caller that is not configured; `{ID}`, `{SECRET}` and `{OTHER}` are the parts of
/// `{T}` and the secret of `{B}`.
const CREDENTIALS: &[(&str, bool)] = &[
    ("Bearer {T}", true),
    ("bearer {T}", true),
    ("BEARER {T}", true),
    ("Bearer   {T}", true),
    ("Bearer {B}", true),
    ("", false),
    ("Bearer", false),
    ("Bearer ", false),
    ("{T}", false),
    ("Bearer{T}", false),
    ("Bearer\t{T}", false),
    ("Bearer: {T}", false),
    ("Token {T}", false),
    ("Basic {T}", false),
    ("Basic c2hvcDpyZ19JRF9{T}RUNSRVQ=", false),
    ("Digest username=shop", false),
    ("Bearer Bearer {T}", false),
    ("Bearer {T} {T}", false),
    ("Bearer {T},{T}", false),
    ("Bearer {T}, Bearer {B}", false),
    ("Bearer \"{T}\"", false),
    ("Bearer x{T}", false),
    ("Bearer {T}x", false),
    ("Bearer {T}=", false),
    ("Bearer {T}.", false),
    ("Bearer rg_{ID}_{SECRET}", true),
    ("Bearer RG_{ID}_{SECRET}", false),
    ("Bearer rg_{ID}_", false),
    ("Bearer rg_{ID}", false),
    ("Bearer rg_{ID}_{OTHER}", false),
    ("Bearer rg_{ID}_{SECRET}_{OTHER}", false),
    ("Bearer rg_{SECRET}_{ID}", false),
    ("Bearer rg__{SECRET}", false),
    ("Bearer rg_{SECRET}", false),
    ("Bearer {SECRET}", false),
    ("Bearer rg_shop_{SECRET}", false),
    ("Bearer rg_../../etc/passwd_x", false),
    ("Bearer rg_' or ''='_x", false),
    ("Bearer rg_*_*", false),
    ("Bearer shop", false),
    ("Bearer null", false),
    ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJzaG9wIn0.", false),
    ("Bearer {OLD}", false),
    ("Bearer {GONE}", false),
    ("Bearer rg_{ID}_\u{fc}", false),
    ("Bearer \u{202e}{T}", false),
];

#[tokio::test]
async fn only_the_token_itself_lets_in_and_all_failures_are_one() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    let file = TokenFile::new(guarded.file());
    let old = add_token(&file, "shop", Some(SystemTime::now() - Duration::from_secs(1)));
    let gone = add_token(&file, "gone", None);
    let token = guarded.token("shop").to_owned();
    let parts: Vec<&str> = token.splitn(3, '_').collect();
    let other = guarded.token("billing").splitn(3, '_').last().expect("it has a secret");
    let named = [
        ("GONE", gone.as_str()),
        ("OLD", &old),
        ("SECRET", parts[2]),
        ("OTHER", other),
        ("ID", parts[1]),
        ("T", &token),
        ("B", guarded.token("billing")),
    ];
    let client = &guarded.service.client;
    let none = refusal(client, METHOD).await.expect("it is refused");
    // The file was changed after the start.
    let added = add_token(&file, "shop", None);
    let added = format!("Bearer {added}");
    let added = client.with_headers(headers(&[("authorization", added.as_bytes())]));
    eventually_async("the tokens are read", PATIENCE, async || {
        is_let_in(refusal(&added, METHOD).await.as_ref()).then_some(())
    })
    .await;
    for (credentials, lets_in) in CREDENTIALS {
        let value = filled(credentials, &named);
        let client = client.with_headers(headers(&[("authorization", value.as_bytes())]));
        check(credentials, refusal(&client, METHOD).await, *lets_in, &none);
    }
    // One byte of the token is another.
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
        let value = [b"Bearer ", &*bytes].concat();
        let client = client.with_headers(headers(&[("authorization", &value)]));
        check(&format!("byte {at}"), refusal(&client, METHOD).await, false, &none);
        let value = format!("Bearer {}", &token[..at]);
        let client = client.with_headers(headers(&[("authorization", value.as_bytes())]));
        check(&format!("the first {at}"), refusal(&client, METHOD).await, false, &none);
    }
}

/// A text in which names in braces stand for what they name.
fn filled(text: &str, named: &[(&str, &str)]) -> String {
    named.iter().fold(text.to_owned(), |text, (name, it)| text.replace(&format!("{{{name}}}"), it))
}

fn is_let_in(status: Option<&Status>) -> bool {
    // An empty statement is refused by the service itself.
    status.is_none_or(|status| status.code() == Code::InvalidArgument)
}

fn check(what: &str, status: Option<Status>, lets_in: bool, none: &Status) {
    if lets_in {
        assert!(is_let_in(status.as_ref()), "{what}: {status:?}");
        return;
    }
    let status = status.unwrap_or_else(|| panic!("{what}: it is let in"));
    let all =
        |status: &Status| (status.code(), status.message().to_owned(), status.details().to_vec());
    assert_eq!(all(&status), all(none), "{what}");
    let failure = Failure::from(status);
    assert_eq!(failure.what(), (Code::Unauthenticated, "UNAUTHENTICATED"), "{what}");
    assert_eq!((failure.outcome.as_str(), failure.report.hint.as_str()), ("NOT_APPLIED", ""));
}

#[tokio::test]
async fn a_token_counts_in_one_header_of_one_name_alone() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    let client = &guarded.service.client;
    let none = refusal(client, METHOD).await.expect("it is refused");
    let bearer = format!("Bearer {}", guarded.token("shop")).into_bytes();
    let billing = format!("Bearer {}", guarded.token("billing")).into_bytes();
    let bare = guarded.token("shop").as_bytes();
    let cookie = [b"token=", bare].concat();
    let long = [b"Bearer rg_", "a".repeat(8000).as_bytes()].concat();
    let many = vec![("authorization", bearer.as_slice()); 50];
    let cases: [(Presented<'_>, bool); 17] = [
        (&[("authorization", &bearer)], true),
        (&[("authorization", &bearer), ("x-api-key", b"anything")], true),
        (&[("authorization", &bearer), ("authorization", &bearer)], false),
        (&[("authorization", &bearer), ("authorization", &billing)], false),
        (&[("authorization", b"Basic x"), ("authorization", &bearer)], false),
        (&[("authorization", &bearer), ("authorization", b"")], false),
        (&many, false),
        (&[("proxy-authorization", &bearer)], false),
        (&[("x-authorization", &bearer)], false),
        (&[("grpc-metadata-authorization", &bearer)], false),
        (&[("authorization-bin", bare)], false),
        (&[("x-api-key", bare)], false),
        (&[("cookie", &cookie)], false),
        (&[("x-forwarded-user", b"shop"), ("x-rowgate-caller", b"shop")], false),
        (&[("x-forwarded-client-cert", b"URI=spiffe://shop")], false),
        (&[("authorization", &long)], false),
        (&[("authorization", b"Bearer rg_\xff\xfe_x")], false),
    ];
    for (presented, lets_in) in cases {
        let client = client.with_headers(headers(presented));
        let names: Vec<_> = presented.iter().map(|(name, _)| *name).collect();
        check(&format!("{names:?}"), refusal(&client, METHOD).await, lets_in, &none);
    }
    let path = format!("{METHOD}?authorization={}", guarded.token("shop"));
    let status = refusal(client, &path).await.expect("it is refused");
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_header_with_a_nul_is_no_header() {
    let guarded = Guarded::start(Backend::Sqlite, CALLERS).await;
    for value in [format!("Bearer {}\0", guarded.token("shop")), "Bearer rg_\0_\n".to_owned()] {
        let mut raw = Raw::connect(guarded.service.server.grpc()).await;
        raw.begin(1, &format!("/{METHOD}"), &[("authorization", &value)]).await;
        // It is reset, or its connection ends.
        let answered = loop {
            match raw.next().await {
                Some(frame) if frame.stream == 1 => break frame.kind == HEADERS,
                Some(_) => {}
                None => break false,
            }
        };
        assert!(!answered, "{value:?}");
    }
}
