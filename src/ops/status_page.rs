//! The status page at `/`: one file without other resources, which requests `/status` once a second.
//!
//! It shows text from callers (tags, names in statements), never as HTML; its policy allows only the script in the file.

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("status_page.html");

/// The page with its Content-Security-Policy.
pub(crate) fn page() -> impl IntoResponse + Clone + Send + Sync {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    let policy = HeaderValue::try_from(policy(PAGE)).expect("the policy is ASCII");
    ([(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, policy)], PAGE)
}

/// Sets the headers that keep responses from being cached, embedded or sniffed.
pub(crate) async fn set_headers(mut response: Response) -> Response {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A Content-Security-Policy (level 3): only the scripts and styles in `page`, and requests to its own server.
fn policy(page: &str) -> String {
    let script = hashes(page, "script");
    let style = hashes(page, "style");
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// The hashes of the contents of the elements `name` of a page.
fn hashes(page: &str, name: &str) -> String {
    let start = format!("<{name}>");
    let end = format!("</{name}>");
    let parts = page.split(&start).skip(1).filter_map(|rest| rest.split(&end).next());
    let hash = |part: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(part)));
    parts.map(hash).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_has_the_hashes_of_the_page() {
        // printf 'a' | openssl dgst -sha256 -binary | base64
        let a = "'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='";
        assert_eq!(hashes("<p><style>a</style></p><script>b</script>", "style"), a);
        let policy = policy(PAGE);
        assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
