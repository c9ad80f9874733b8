//! The rights to methods: what is not listed is denied.

use tonic::Code;

use super::{Guarded, is_for_all, methods, refusal};
use crate::harness::Backend;
use crate::harness::client::Failure;

/// A method that is added to the proto is here without anybody's doing, and a caller that may call it cannot be
/// configured until it is known.
#[tokio::test]
async fn a_caller_may_call_the_methods_that_are_listed_for_it_and_no_others() {
    let methods = methods();
    let mut short: Vec<&str> = methods.iter().map(|(_, name)| name.as_str()).collect();
    short.retain(|name| methods.iter().any(|(path, other)| other == name && !is_for_all(path)));
    short.sort_unstable();
    short.dedup();
    let mut callers: Vec<(String, String)> = short
        .iter()
        .map(|name| {
            let rights = format!("databases = ['main']\npool_admin = true\nrpcs = ['{name}']");
            (format!("only-{}", name.to_lowercase()), rights)
        })
        .collect();
    callers.push(("none".to_owned(), "databases = ['main']\npool_admin = true".to_owned()));
    let callers: Vec<(&str, &str)> =
        callers.iter().map(|(name, rights)| (name.as_str(), rights.as_str())).collect();
    let guarded = Guarded::start(Backend::Sqlite, &callers).await;
    let mut tried = 0;
    for (caller, _) in &callers {
        let client = guarded.client(caller);
        for (method, name) in &methods {
            let failure = refusal(&client, method).await.map(|status| (status.code(), status));
            let is_listed = *caller == format!("only-{}", name.to_lowercase());
            tried += 1;
            if is_listed || is_for_all(method) {
                let code = failure.as_ref().map(|(code, _)| *code);
                assert_ne!(code, Some(Code::PermissionDenied), "{caller}, {method}: {failure:?}");
                continue;
            }
            let (_, status) = failure.unwrap_or_else(|| panic!("{caller} calls {method}"));
            let failure = Failure::from(status);
            assert_eq!(failure.what(), (Code::PermissionDenied, "ACCESS_DENIED"), "{method}");
            let key = format!("callers.{caller}.rpcs");
            assert!(failure.report.hint.contains(&key), "{method}: {failure:?}");
        }
        for unknown in ["rowgate.v1.DatabaseService/Drop", "x.Query/Other", "Query", "x/Query"] {
            let status = refusal(&client, unknown).await.expect("it is refused");
            assert_eq!(status.code(), Code::PermissionDenied, "{caller}, {unknown}");
        }
    }
    assert!(tried >= 17 * 18, "{tried}");
}
