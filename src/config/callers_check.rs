//! Warnings about callers that nobody can be, and about those that may do nothing: either is a mistake, and safe.

use std::collections::BTreeMap;

use super::schema::access_keys::{Access, CallerSettings, ClientAuth, GrpcTls, Jwt};
use super::schema::server_keys::Grpc;

/// The sections whose keys open ways in.
#[derive(Clone, Copy)]
pub(crate) struct WaysIn<'a> {
    pub(crate) grpc: &'a Grpc,
    pub(crate) tls: &'a GrpcTls,
    pub(crate) access: &'a Access,
    pub(crate) jwt: &'a Jwt,
}

/// Returns the warnings about all callers.
pub(crate) fn warnings(
    ways: WaysIn<'_>,
    callers: &BTreeMap<String, CallerSettings>,
) -> Vec<String> {
    let of_caller = |(name, caller): (&String, &CallerSettings)| {
        let texts = of_caller(ways, caller).into_iter();
        texts.map(|text| format!("callers.{name}{text}")).collect::<Vec<_>>()
    };
    callers.iter().flat_map(of_caller).collect()
}

/// The warnings about one caller, each without the name of its section.
fn of_caller(ways: WaysIn<'_>, caller: &CallerSettings) -> Vec<&'static str> {
    let CallerSettings { subjects, certificates, uids, databases, rpcs, .. } = caller;
    let has_list = !(subjects.is_empty() && certificates.is_empty() && uids.is_empty());
    let found = [
        (
            !has_list && ways.access.tokens.is_none(),
            ": nobody can be this caller: access.tokens is not set, and it lists no subjects, certificates or uids",
        ),
        (
            !subjects.is_empty() && ways.jwt.keys.is_none(),
            ".subjects: no JSON Web Token is accepted, as access.jwt.keys is not set",
        ),
        (
            !certificates.is_empty() && ways.tls.client_auth == ClientAuth::Off,
            ".certificates: no certificate is asked for, as grpc.tls.client_ca is not set or grpc.tls.client_auth is off",
        ),
        (
            !uids.is_empty() && ways.grpc.listen.tcp().is_some(),
            ".uids: no user is known, as grpc.listen is not a Unix socket",
        ),
        (rpcs.is_empty(), ".rpcs: this caller may call no method, as none is listed"),
        (databases.is_empty(), ".databases: this caller may use no database, as none is listed"),
    ];
    found.into_iter().filter_map(|(is_so, text)| is_so.then_some(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_from;

    #[test]
    fn a_caller_that_nobody_can_be_or_that_may_do_nothing_gets_a_warning() {
        let rights = [("callers.a.databases", "main"), ("callers.a.rpcs", "Query")];
        let jwt = [
            ("callers.a.subjects", "alice"),
            ("access.jwt.keys", "keys.json"),
            ("access.jwt.issuer", "https://idp"),
            ("access.jwt.audiences", "rowgate"),
        ];
        let socket = [("callers.a.uids", "7"), ("grpc.listen", "unix:/run/rowgate.sock")];
        let tokens = [("access.tokens", "tokens")];
        let none: &[&str] = &[];
        type Case<'a> = (Vec<(&'a str, &'a str)>, &'a [&'a str]);
        let cases: [Case<'_>; 9] = [
            (rights.to_vec(), &["callers.a: nobody can be this caller"]),
            ([&rights[..], &tokens].concat(), none),
            ([&rights[..], &jwt].concat(), none),
            ([&rights[..], &socket].concat(), none),
            ([&rights[..], &jwt[..1]].concat(), &["callers.a.subjects: "]),
            ([&rights[..], &jwt[..1], &tokens].concat(), &["callers.a.subjects: "]),
            ([&rights[..], &socket[..1]].concat(), &["callers.a.uids: "]),
            (
                [&rights[..], &[("callers.a.certificates", "a.example")]].concat(),
                &["callers.a.certificates: "],
            ),
            (
                [&tokens[..], &[("callers.a.read_only", "true")]].concat(),
                &["callers.a.rpcs: ", "callers.a.databases: "],
            ),
        ];
        for (pairs, expected) in cases {
            let config = load_from(&pairs).unwrap();
            let ways = WaysIn {
                grpc: &config.grpc,
                tls: &config.tls,
                access: &config.access,
                jwt: &config.jwt,
            };
            let found = warnings(ways, &config.callers);
            assert_eq!(found.len(), expected.len(), "{pairs:?}: {found:?}");
            let mut pairs = found.iter().zip(expected);
            assert!(pairs.all(|(text, start)| text.starts_with(start)), "{found:?}");
        }
    }
}
