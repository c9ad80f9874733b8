//! Connections of callers over TLS: the handshake, their certificates, and files that change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::certificates::Certificates;
use crate::harness::client::{Client, PATIENCE, request};
use crate::harness::server::{Server, replace_file, run};
use crate::harness::wait::{Stopwatch, eventually_async};

const SOON: Duration = Duration::from_secs(5);

/// The section of a listener that has the certificate of `localhost`.
fn section(certificates: &Certificates, more: &str) -> String {
    let (cert, key) = (certificates.path("server.crt"), certificates.path("server.key"));
    format!("[grpc.tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n{more}\n")
}

/// Checks clients' certificates, in this way.
fn checking(certificates: &Certificates, way: &str) -> String {
    let more = format!("client_ca = \"{}\"\nclient_auth = \"{way}\"", certificates.path("ca.crt"));
    section(certificates, &more)
}

/// Returns true for a client whose call is answered.
async fn gets_in(server: &Server, config: ClientConfig) -> bool {
    let Ok(client) = Client::connect_tls(server.grpc(), config).await else { return false };
    client.raw().query(request("select 1", &[])).await.is_ok()
}

#[tokio::test]
async fn calls_are_served_over_tls_alone_and_over_http2_alone() {
    let certificates = Certificates::make();
    let filter = "[telemetry]\nlog_filter = \"info,rowgate::grpc=debug\"";
    let server = Server::start(&section(&certificates, filter));
    let client = || certificates.client(None);
    assert!(gets_in(&server, client()).await, "TLS 1.3");
    let of_1_2 = {
        let provider = Arc::clone(client().crypto_provider());
        let versions = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("it is known");
        let roots = certificates.roots();
        let mut config = versions.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    };
    assert!(gets_in(&server, of_1_2).await, "TLS 1.2");
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut other = client();
        other.alpn_protocols.clone_from(&protocols);
        assert!(!gets_in(&server, other).await, "{protocols:?}");
    }
    assert!(!gets_in(&server, Certificates::make().client(None)).await, "another authority");

    let mut plain = TcpStream::connect(server.grpc()).await.expect("it accepts");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it is open");
    let mut said = Vec::new();
    let closed = tokio::time::timeout(SOON, plain.read_to_end(&mut said)).await;
    drop(closed.expect("it is closed"));
    // An alert (TLS 1.3, 5.1), and nothing of HTTP/2.
    assert_eq!((said.first(), said.len()), (Some(&21), 7), "{said:?}");
    assert!(server.log().contains("TLS handshake failed"), "{}", server.log());
}

#[tokio::test]
async fn clients_certificates_are_checked_as_configured() {
    let (ours, others) = (Certificates::make(), Certificates::make());
    ours.issue_expired("old", "DNS:old");
    for (way, expected) in [
        // None, ours, another authority's, an expired one.
        ("off", [true, true, true, true]),
        ("optional", [true, true, false, false]),
        ("required", [false, true, false, false]),
    ] {
        let server = Server::start(&checking(&ours, way));
        let mut foreign = ours.client(None);
        foreign.client_auth_cert_resolver = others.client(Some("client")).client_auth_cert_resolver;
        let clients =
            [ours.client(None), ours.client(Some("client")), foreign, ours.client(Some("old"))];
        for (index, client) in clients.into_iter().enumerate() {
            assert_eq!(gets_in(&server, client).await, expected[index], "{way}, {index}");
        }
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_once_it_is_listed() {
    let certificates = Certificates::make();
    certificates.issue("other", "other", "DNS:other");
    certificates.list_revoked(&[]);
    let list = format!("crl = \"{}\"", certificates.path("crl.pem"));
    let server = Server::start(&format!("{}{list}\n", checking(&certificates, "required")));
    assert!(gets_in(&server, certificates.client(Some("client"))).await);
    let connect = async |name| {
        let client = Client::connect_tls(server.grpc(), certificates.client(Some(name))).await;
        client.expect("it is accepted")
    };
    let mut held = connect("client").await.begin().await;
    let kept = connect("other").await;
    certificates.list_revoked(&["client"]);
    // What an open connection does ends with its certificate, and the others go on.
    let ended = tokio::time::timeout(SOON, held.raw_reply()).await.expect("it ends");
    ended.expect_err("its connection is closed");
    let closed = || server.log().matches("client certificate no longer accepted").count();
    eventually_async("it is told", SOON, async || (closed() == 1).then_some(())).await;
    eventually_async("it is refused", SOON, async || {
        (!gets_in(&server, certificates.client(Some("client"))).await).then_some(())
    })
    .await;
    assert!(gets_in(&server, certificates.client(Some("other"))).await, "it is not listed");
    kept.must("select 1", &[]).await;
    assert_eq!(closed(), 1, "the other's connection is open: {}", server.log());
}

#[tokio::test]
async fn a_caller_is_known_by_the_names_of_its_certificate() {
    let certificates = Certificates::make();
    for (name, names) in [
        ("spiffe", "URI:spiffe://example/shop"),
        ("dns", "DNS:shop.example"),
        ("foreign", "URI:spiffe://example/shop/other,DNS:example"),
        ("disguised", "URI:shop.example"),
        ("double", "URI:spiffe://example/shop,DNS:reports.example"),
        ("other_double", "URI:spiffe://example/shop,DNS:shop.example"),
    ] {
        certificates.issue(name, name, names);
    }
    let caller = |name: &str, names: &str| {
        format!(
            "[callers.{name}]\ncertificates = [{names}]\ndatabases = [\"main\"]\n\
             rpcs = [\"Query\"]\nread_only = false\n"
        )
    };
    let server = Server::start(&format!(
        "{}{}{}",
        checking(&certificates, "optional"),
        caller("shop", "\"spiffe://example/shop\", \"shop.example\""),
        caller("reports", "\"reports.example\""),
    ));
    for (name, expected) in [
        (Some("spiffe"), true),
        (Some("dns"), true),
        (Some("foreign"), false),
        (Some("disguised"), false),
        (Some("double"), false),
        (Some("other_double"), true),
        (None, false),
    ] {
        assert_eq!(gets_in(&server, certificates.client(name)).await, expected, "{name:?}");
    }
}

/// Files as Kubernetes mounts them: links into a directory that is itself a link.
fn mount(place: &Path, version: &str, from: &Certificates) {
    let directory = place.join(version);
    fs::create_dir(&directory).expect("it is new");
    for name in ["server.crt", "server.key"] {
        fs::copy(from.path(name), directory.join(name)).expect("both are ours");
    }
    symlink(version, place.join("..next")).expect("it is new");
    fs::rename(place.join("..next"), place.join("..data")).expect("both are ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_load_and_no_call_fails() {
    let (first, second) = (Certificates::make(), Certificates::make());
    let place = tempfile::tempdir().expect("a directory can be made");
    mount(place.path(), "..1", &first);
    let path = |name: &str| place.path().join("..data").join(name).display().to_string();
    let (cert, key) = (path("server.crt"), path("server.key"));
    let server = Server::start(&format!("[grpc.tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n"));
    let open = Client::connect_tls(server.grpc(), first.client(None)).await.expect("it accepts");
    let is_over = Arc::new(AtomicBool::new(false));
    let trusted = Arc::new(certificates_of(&[&first, &second]));
    let load: Vec<_> = (0..4)
        .map(|number| {
            let (over, open, trusted) = (Arc::clone(&is_over), open.clone(), Arc::clone(&trusted));
            let address = server.grpc();
            tokio::spawn(async move {
                let mut calls = 0;
                while !over.load(Ordering::Relaxed) {
                    // Half of them connect anew for each call.
                    let config = ClientConfig::clone(&trusted);
                    let client = match number % 2 {
                        0 => open.clone(),
                        _ => Client::connect_tls(address, config).await.expect("it accepts"),
                    };
                    client.query("select 1", &[]).await.expect("none fails");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let bad = || server.log().matches("files not read").count();
    // Half of a file, and then a certificate whose key is still to come.
    let certificate = place.path().join("..1/server.crt");
    replace_file(&certificate, "-----BEGIN CERTIFICATE-----\nMII");
    eventually_async("half a file is noticed", SOON, async || (bad() == 1).then_some(())).await;
    assert!(gets_in(&server, first.client(None)).await, "the one before is in force");
    replace_file(&certificate, fs::read(second.path("server.crt")).expect("it was made"));
    eventually_async("another key is noticed", SOON, async || (bad() == 2).then_some(())).await;
    assert!(gets_in(&server, first.client(None)).await, "the one before is in force");
    let start = Stopwatch::start();
    mount(place.path(), "..2", &second);
    eventually_async("the new one is in force", SOON, async || {
        gets_in(&server, second.client(None)).await.then_some(())
    })
    .await;
    start.assert_within(Duration::from_secs(2), "the new certificate");
    assert!(!gets_in(&server, first.client(None)).await, "the old one is gone");
    is_over.store(true, Ordering::Relaxed);
    for calls in load {
        assert!(calls.await.expect("no call failed") > 0);
    }
    assert_eq!(bad(), 2, "each is told once: {}", server.log());
}

/// A client that trusts several authorities.
fn certificates_of(authorities: &[&Certificates]) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.roots.extend(authority.roots().roots);
    }
    let provider = Arc::clone(authorities[0].client(None).crypto_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are some")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[tokio::test]
async fn a_client_that_makes_no_handshake_is_closed_and_disturbs_nobody() {
    let certificates = Certificates::make();
    let timeout = "[grpc]\npreface_timeout = \"1s\"\nworkers = 1\n";
    let server = Server::start(&format!("{timeout}{}", section(&certificates, "")));
    let begun = Instant::now();
    let mut silent = Vec::new();
    // Nothing, the start of a record, a whole one that is too long.
    for start in [&[][..], &[22, 3, 1, 2], &[22, 3, 1, 0x40, 0, 1]] {
        let mut stream = TcpStream::connect(server.grpc()).await.expect("it accepts");
        stream.write_all(start).await.expect("it is open");
        silent.push(stream);
    }
    let start = Stopwatch::start();
    let client = Client::connect_tls(server.grpc(), certificates.client(None)).await;
    client.expect("it accepts").must("select 1", &[]).await;
    start.assert_within(Duration::from_millis(900), "the call");
    for mut stream in silent {
        let mut said = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        drop(closed.expect("it is closed"));
    }
    let took = begun.elapsed();
    assert!((Duration::from_millis(800)..SOON).contains(&took), "{took:?}");
}

#[test]
fn files_that_cannot_be_used_are_told_at_the_start_and_by_the_check() {
    let (ours, others) = (Certificates::make(), Certificates::make());
    let place = tempfile::tempdir().expect("a directory can be made");
    let (cert, key) = (ours.path("server.crt"), ours.path("server.key"));
    let authority = ours.path("ca.crt");
    for (lines, expected) in [
        (format!("cert = \"{key}\"\nkey = \"{key}\""), ["grpc.tls.cert", "no items found"]),
        (format!("cert = \"{cert}\"\nkey = \"{cert}\""), ["grpc.tls.key", "not encrypted"]),
        (
            format!("cert = \"{cert}\"\nkey = \"{}\"", others.path("server.key")),
            ["grpc.tls.key", "does not belong to the certificate grpc.tls.cert"],
        ),
        (
            format!("cert = \"{cert}\"\nkey = \"{key}\"\nclient_ca = \"{key}\""),
            ["grpc.tls.client_ca", "no items found"],
        ),
        (
            format!(
                "cert = \"{cert}\"\nkey = \"{key}\"\nclient_ca = \"{authority}\"\ncrl = \"{cert}\""
            ),
            ["grpc.tls.crl", "no items found"],
        ),
    ] {
        fs::write(place.path().join("rowgate.toml"), format!("[grpc.tls]\n{lines}\n"))
            .expect("ours");
        for (command, status) in [(vec!["serve"], 1), (vec!["config", "check", "--no-connect"], 78)]
        {
            let output = run(place.path(), &command, &[]);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{command:?} {lines}: {text}");
            assert!(expected.iter().all(|part| text.contains(part)), "{lines}: {text}");
        }
    }
}
