//! `rowgate token`.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::harness::server::run;

/// It may not be served without `--insecure`, which is no matter for tokens.
const CONFIGURATION: &str = "\
[grpc]
listen = '0.0.0.0:50051'
[access]
tokens = 'tokens'
[callers.shop]
databases = ['main']
rpcs = ['Query']
[callers.billing]
databases = ['main']
rpcs = ['Query']
";

/// A directory with a configuration.
fn configured(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory can be made");
    fs::write(directory.path().join("rowgate.toml"), text).expect("it is ours");
    directory
}

/// Runs `rowgate token`: status, standard output, standard error.
fn token(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let arguments = [&["token"], arguments].concat();
    let Output { status, stdout, stderr } = run(directory, &arguments, &[]);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// The part of a token by which it is found.
fn id_of(token: &str) -> &str {
    token.trim_end().split('_').nth(1).expect("it has an identifier")
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let directory = configured(CONFIGURATION);
    let directory = directory.path();
    let (status, shop, told) = token(directory, &["new", "shop", "--expires", "90d"]);
    assert_eq!(status, Some(0), "{told}");
    assert!(shop.starts_with("rg_") && shop.lines().count() == 1, "{shop}");
    assert!(told.contains("of caller shop, until 20") && !told.contains(shop.trim_end()), "{told}");
    let billing = token(directory, &["new", "billing"]).1;
    let kept = fs::read_to_string(directory.join("tokens")).expect("it is there");
    assert!(!kept.contains(shop.trim_end()) && !kept.contains(billing.trim_end()), "{kept}");

    let (status, out, _) = token(directory, &["list"]);
    assert!(status == Some(0) && out.contains("│ id "), "{out}");
    let (_, out, _) = token(directory, &["list", "--format", "json"]);
    let listed: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let fields = |index: usize| ["id", "caller", "state"].map(|name| listed[index][name].clone());
    assert_eq!(fields(0), [id_of(&shop), "shop", "valid"]);
    assert_eq!(fields(1), [id_of(&billing), "billing", "valid"]);
    assert!(listed[0]["expires"].is_string() && listed[1]["expires"].is_null(), "{out}");

    let (status, out, _) = token(directory, &["revoke", id_of(&shop)]);
    assert!(status == Some(0) && out.contains("of caller shop removed from"), "{out}");
    let (status, out, err) = token(directory, &["revoke", id_of(&shop)]);
    assert!(status == Some(1) && out.is_empty() && err.starts_with("error: "), "{err}");
    let out = token(directory, &["list", "--format", "csv"]).1;
    assert!(!out.contains(id_of(&shop)) && out.contains(id_of(&billing)), "{out}");
}

#[test]
fn what_is_in_the_way_of_a_token_is_explained() {
    let without_file = configured("[callers.shop]\nrpcs = ['Query']\n");
    let directory = configured(CONFIGURATION);
    fs::write(directory.path().join("odd"), "rg_id_secret\n").expect("it is ours");
    let other = directory.path().join("other");
    let other = other.to_str().expect("it is text");
    let cases: [(&Path, &[&str], Option<i32>, &str); 9] = [
        (directory.path(), &["new", "shpo"], Some(1), "did you mean shop?"),
        (directory.path(), &["new", "shop", "--expires", "0s"], Some(2), "would have expired"),
        (directory.path(), &["new", "shop", "--expires", "soon"], Some(2), "--expires"),
        (directory.path(), &["new", "shop", "--file", "no/tokens"], Some(1), "no/tokens"),
        (directory.path(), &["new", "shop", "--file", "odd"], Some(1), "odd, line 1: "),
        (directory.path(), &["list"], Some(1), "cannot read the file of tokens tokens"),
        (without_file.path(), &["new", "shop"], Some(78), "access.tokens is not set"),
        (without_file.path(), &["revoke", "id"], Some(78), "access.tokens is not set"),
        (without_file.path(), &["new", "shop", "--file", other], Some(0), "token "),
    ];
    for (directory, arguments, status, told) in cases {
        let ended = token(directory, arguments);
        assert_eq!(ended.0, status, "{arguments:?}: {ended:?}");
        assert!(ended.2.contains(told), "{arguments:?}: {ended:?}");
        assert!(!ended.2.contains("secret"), "{arguments:?}: {ended:?}");
        assert_eq!(ended.1.is_empty(), status != Some(0), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn revoking_needs_no_configuration_that_can_be_used() {
    let directory = configured(CONFIGURATION);
    let directory = directory.path();
    let made = token(directory, &["new", "shop"]).1;
    fs::write(directory.join("rowgate.toml"), "[grpc]\nlisten = 'nowhere'\n").expect("it is ours");
    assert_eq!(token(directory, &["revoke", id_of(&made)]).0, Some(78));
    let (status, out, _) = token(directory, &["revoke", id_of(&made), "--file", "tokens"]);
    assert!(status == Some(0) && out.contains(id_of(&made)), "{out}");
}

#[test]
fn of_tokens_that_are_made_at_once_none_is_lost() {
    let directory = configured(CONFIGURATION);
    let directory = directory.path();
    let made: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..8).map(|_| scope.spawn(|| token(directory, &["new", "shop"]).1)).collect();
        all.into_iter().map(|one| one.join().expect("it does not panic")).collect()
    });
    let listed = token(directory, &["list", "--format", "csv"]).1;
    assert!(made.iter().all(|token| listed.contains(id_of(token))), "{made:?}: {listed}");
}
