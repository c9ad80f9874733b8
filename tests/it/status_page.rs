//! The status page at `/`, and what `/status` says for it. What a browser makes of it: `scripts/verify page`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rowgate::value::proto::Value;
use sha2::{Digest, Sha256};

use crate::harness::client::PATIENCE;
use crate::harness::http;
use crate::harness::server::Server;
use crate::harness::wait::eventually_async;
use crate::harness::{Backend, Service};

/// Returns the text between two marks, each of which is there once.
fn between<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
    let [_, rest] = page.split(start).collect::<Vec<_>>()[..] else {
        panic!("not one {start}");
    };
    rest.split_once(end).unwrap_or_else(|| panic!("no {end}")).0
}

#[tokio::test]
async fn the_page_has_a_policy_that_lets_nothing_run_but_its_own_script() {
    let server = Server::start("");
    let page = http::get(server.ops(), "/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    let directives: Vec<_> = policy.split("; ").collect();
    for (directive, element) in [("script-src", "script"), ("style-src", "style")] {
        let inline = between(&page.body, &format!("<{element}>"), &format!("</{element}>"));
        let hash = BASE64_STANDARD.encode(Sha256::digest(inline));
        let expected = format!("{directive} 'sha256-{hash}'");
        assert!(directives.contains(&expected.as_str()), "{expected} is not in {policy}");
    }
    for expected in [
        "default-src 'none'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(directives.contains(&expected), "{expected} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn answers_to_operators_are_not_kept_guessed_at_or_read_by_other_sites() {
    let server = Server::start("");
    for path in ["/", "/status", "/metrics", "/readyz", "/nowhere"] {
        let answer = http::get(server.ops(), path).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert!(!answer.head.to_lowercase().contains("access-control"), "{path}");
    }
}

#[tokio::test]
async fn the_page_brings_all_it_needs_and_makes_no_elements_of_text() {
    let server = Server::start("");
    let page = http::get(server.ops(), "/").await.body;
    let namespace = "http://www.w3.org/2000/svg";
    let rest = page.replace(namespace, "");
    for elsewhere in ["http:", "https:", "//www", "src=", "@import", "url(", "import("] {
        assert!(!rest.contains(elsewhere), "{elsewhere} is in the page");
    }
    let links: Vec<_> =
        rest.split(" href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links, ["data:,", "status"]);
    for maker in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
    {
        assert!(!page.contains(maker), "{maker} is in the page");
    }
    assert_eq!(page.matches("fetch(").count(), 1, "it asks for one thing");
}

async fn status(service: &Service) -> serde_json::Value {
    http::get(service.server.ops(), "/status").await.json()
}

#[tokio::test]
async fn status_tells_what_ran_what_failed_and_who_holds_a_connection() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let service = Service::start(backend).await;
        let client = &service.client;
        for _ in 0..3 {
            client.must("select 'literal-7f3a' as one, $1", &[Value::text("parameter-7f3a")]).await;
        }
        let failed = client.must_fail("select * from nowhere", &[]).await;
        let mut open = client.begin().await;
        open.query("select 2 as \"<script>\"", &[]).await.expect("it runs");
        let status = status(&service).await;
        let database = &status["databases"][0];
        let slowest = database["recent"]["slowest"].as_array().expect("a list");
        let found = slowest.iter().find(|each| each["statement"] == "select ? as one, $1");
        let found = found.unwrap_or_else(|| panic!("it is not in {slowest:?}"));
        assert_eq!((&found["runs"], &found["failed"]), (&3.into(), &0.into()), "{found}");
        let [total, longest] =
            ["total_us", "max_us"].map(|key| found[key].as_u64().expect("a number"));
        assert!(0 < longest && longest <= total && total <= 3 * longest, "{found}");
        let failure = &status["failures"]["shown"][0];
        assert_eq!(failure["method"], "rowgate.v1.DatabaseService/Query", "{failure}");
        assert_eq!(failure["reason"], failed.what().1, "{failure}");
        assert_eq!((&failure["outcome"], &failure["count"]), (&"NOT_APPLIED".into(), &1.into()));
        assert_eq!(database["checkouts"]["transactions"], 1, "{database}");
        let checkout = &database["checkouts"]["shown"][0];
        assert_eq!(
            (&checkout["rpc"], &checkout["caller"]),
            (&"Transact".into(), &"127.0.0.1".into())
        );
        assert!(checkout["age_ms"].is_u64() && checkout["leak"] == false, "{checkout}");
        let text = status.to_string();
        let shown = ["literal-7f3a", "parameter-7f3a"].iter().any(|one| text.contains(one));
        assert!(!shown, "it shows what is the caller's: {text}");
        drop(open);
        eventually_async("the transaction is gone", PATIENCE, async || {
            let status = self::status(&service).await;
            (status["databases"][0]["checkouts"]["transactions"] == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_server_remembers_what_was_before_anybody_looked() {
    let service = Service::start(Backend::Postgres).await;
    for _ in 0..3 {
        service.client.must_fail("select * from nowhere", &[]).await;
    }
    let history = eventually_async("it is remembered", PATIENCE, async || {
        let history = http::get(service.server.ops(), "/history?span=5m").await.json();
        let points = history["databases"][0]["points"].as_array().expect("a list");
        let errors = points.iter().filter_map(|point| point["errors"].as_u64()).sum::<u64>();
        (errors == 3).then_some(history)
    })
    .await;
    let database = &history["databases"][0];
    assert_eq!((&database["name"], &history["step_ms"]), (&"main".into(), &1000.into()));
    let point = |point: &serde_json::Value| {
        ["p50_us", "p99_us"].iter().all(|name| point[name].as_u64() > Some(0))
    };
    let points = database["points"].as_array().expect("a list");
    assert!(points.iter().any(point), "the latency of what failed is known: {points:?}");
    let last = points.last().expect("there is one")["at_ms"].as_u64().expect("a number");
    let more = http::get(service.server.ops(), &format!("/history?after={last}")).await.json();
    let points = more["databases"][0]["points"].as_array().expect("a list");
    assert!(points.iter().all(|point| point["at_ms"].as_u64() > Some(last)), "{points:?}");
    assert_eq!(history["kept_ms"], serde_json::json!([300_000, 3_600_000, 86_400_000]));
    assert_eq!(http::get(service.server.ops(), "/history?span=1y").await.status, 400);
    let failure = &status(&service).await["failures"]["shown"][0];
    assert_eq!(failure["database"], "main", "{failure}");
}

#[tokio::test]
async fn status_says_why_a_database_is_away_until_it_is_back() {
    let mut service = Service::start(Backend::Postgres).await;
    let database = async |service: &Service| status(service).await["databases"][0].take();
    assert_eq!(database(&service).await["why"], serde_json::Value::Null);
    service.postgres_mut().stop();
    let away = eventually_async("it is away", PATIENCE, async || {
        Some(database(&service).await).filter(|database| database["available"] == false)
    })
    .await;
    let why = away["why"].as_str().expect("it says why");
    let (what, cause) = why.split_once(": ").expect("what is said, and its cause");
    assert!(what.contains("database \"main\"") && !cause.is_empty(), "{why}");
    service.postgres_mut().resume();
    let back = eventually_async("it is back", PATIENCE, async || {
        Some(database(&service).await).filter(|database| database["available"] == true)
    })
    .await;
    assert_eq!(back["why"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_page_that_gives_its_own_name_this_address_reads_nothing() {
    let server = Server::start("[ops]\nallowed_hosts = [\"rowgate.internal\"]\n");
    let port = server.ops().port();
    for path in ["/", "/status", "/metrics", "/history", "/readyz", "/livez"] {
        let rebound = http::get_of(&format!("evil.example:{port}"), server.ops(), path).await;
        assert_eq!(rebound.status, 421, "{path}");
        assert!(rebound.body.contains("ops.allowed_hosts"), "{path}: {}", rebound.body);
        assert!(!rebound.body.contains("main") && rebound.body.len() < 200, "{path}");
        for host in ["localhost", "rowgate.internal:80", "[::1]:9464", "10.1.2.3"] {
            assert_ne!(http::get_of(host, server.ops(), path).await.status, 421, "{host}{path}");
        }
    }
}
