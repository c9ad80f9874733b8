//! Checks of the keys of claims: a key that does nothing, or would be no boundary, is a problem.

use std::collections::{BTreeMap, BTreeSet};

use super::database_target::Target;
use super::problem::ValueError;
use super::schema::access_keys::CallerSettings;
use super::schema::claims_keys::{CallerClaims, ClaimsSettings};
use super::schema::database_keys::Database;
use super::section_reader::SectionReader;

/// The claim that the server itself makes.
pub(crate) const OWN_CLAIM: &str = "caller";

/// Checks the claims of all callers and databases.
pub(crate) fn check(
    reader: &mut SectionReader<'_>,
    callers: &BTreeMap<String, CallerSettings>,
    databases: &BTreeMap<String, Database>,
) {
    for (name, database) in databases {
        reader.name.clone_from(name);
        check_keys(reader, &database.claims);
        if database.claims.key.is_none() {
            continue;
        }
        let key = "databases.NAME.claims.key";
        let lacks = match database.target {
            Target::Sqlite(_) => Some("SQLite has no row-level security"),
            Target::Mysql(_) => Some("MySQL has no row-level security"),
            Target::Postgres(_) => None,
        };
        if let Some(why) = lacks {
            let error = ValueError::new(why);
            reader.report(key, error.instead("Remove it, or use PostgreSQL."));
        } else if callers.is_empty() {
            let error = ValueError::new("callers are not authenticated, and so have no claims");
            reader.report(key, error.instead("Configure callers (docs/SECURITY.md)."));
        }
    }
    // A key that cannot be used is a problem already.
    let is_unusable = |name: &String| {
        let key = format!("databases.{name}.claims.key");
        reader.problems.iter().any(|problem| problem.key.starts_with(&key))
    };
    let has_key = |name: &String| {
        databases.get(name).is_none_or(|it| it.claims.key.is_some()) || is_unusable(name)
    };
    let taking: BTreeSet<String> = callers
        .values()
        .flat_map(|it| &it.databases)
        .filter(|name| has_key(name))
        .cloned()
        .collect();
    for (name, caller) in callers {
        reader.name.clone_from(name);
        let CallerClaims { from_token, fixed, .. } = &caller.claims;
        for (key, names) in [("from_token", from_token), ("fixed", fixed)] {
            if !names.is_empty() && !caller.databases.iter().any(|name| taking.contains(name)) {
                let error = ValueError::new("none of the databases of this caller has claims.key");
                let instead = "Set databases.NAME.claims.key, or remove the claims.";
                reader.report(&format!("callers.NAME.claims.{key}"), error.instead(instead));
            }
        }
        check_names(reader, &caller.claims);
    }
}

/// Checks the keys that sign the claims of one database.
pub(crate) fn check_keys(reader: &mut SectionReader<'_>, claims: &ClaimsSettings) {
    if claims.other_key.is_some() && claims.key.is_none() {
        let error = ValueError::new("claims.key is not set, and nothing is signed");
        reader.report("databases.NAME.claims.other_key", error.instead("Set claims.key too."));
    }
}

/// Checks that each claim has one source.
fn check_names(reader: &mut SectionReader<'_>, claims: &CallerClaims) {
    let mut names = BTreeSet::from([OWN_CLAIM]);
    let tokens = claims.from_token.iter().map(|name| ("from_token", Some(name.as_str())));
    let fixed = claims.fixed.iter().map(|text| ("fixed", fixed_claim(text).map(|(name, _)| name)));
    for (key, name) in tokens.chain(fixed) {
        let error = match name {
            None | Some("") => {
                ValueError::new("a claim of a fixed value has a name, = and a value")
                    .instead("Write it as in [\"tenant=acme\"].")
            }
            Some(name) if name.contains('\0') => {
                ValueError::new("a name holds U+0000").instead("PostgreSQL's texts cannot hold it.")
            }
            Some(OWN_CLAIM) => {
                ValueError::new("the claim caller is the server's own: the name of the caller")
                    .instead("Remove it from the list.")
            }
            Some(name) if !names.insert(name) => {
                ValueError::new(format!("the claim {name} is there twice"))
                    .instead("Name each claim once.")
            }
            Some(_) => continue,
        };
        reader.report(&format!("callers.NAME.claims.{key}"), error);
    }
}

/// The name and the value of a claim of a fixed value: `NAME=VALUE`.
pub(crate) fn fixed_claim(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(_, value)| !value.contains('\0'))
}

#[cfg(test)]
mod tests {
    use crate::config::load_from;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    /// The problems of a caller and a database with these keys.
    fn problems(pairs: &[(&str, &str)]) -> String {
        let base = [
            ("databases.main.url", "postgres://me@db/shop"),
            ("callers.shop.databases", "main"),
            ("callers.shop.subjects", "*"),
        ];
        let all = [&base[..], pairs].concat();
        load_from(&all).map_or_else(|problems| problems.to_string(), |_config| String::new())
    }

    #[test]
    fn claims_that_would_reach_nobody_or_be_no_boundary_are_problems() {
        let key = ("databases.main.claims.key", KEY);
        let cases: [(&[(&str, &str)], &str); 10] = [
            (&[key], ""),
            (&[key, ("callers.shop.claims.from_token", "tenant,roles")], ""),
            (&[key, ("callers.shop.claims.fixed", "tenant=acme,plan=a=b")], ""),
            (&[("databases.main.claims.key", "0123456789abcdef")], "too short"),
            (&[("databases.main.claims.other_key", KEY)], "claims.key is not set"),
            (&[("callers.shop.claims.fixed", "tenant=acme")], "none of the databases"),
            (&[key, ("callers.shop.claims.fixed", "tenant")], "has a name, = and a value"),
            (&[key, ("callers.shop.claims.fixed", "caller=root")], "the server's own"),
            (
                &[
                    key,
                    ("callers.shop.claims.fixed", "a=1"),
                    ("callers.shop.claims.from_token", "a"),
                ],
                "twice",
            ),
            (
                &[("databases.lite.url", "sqlite:a.db"), ("databases.lite.claims.key", KEY)],
                "no row-level security",
            ),
        ];
        for (pairs, expected) in cases {
            let found = problems(pairs);
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{found}");
            assert!(!found.contains(KEY), "{found}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_one_problem() {
        for key in ["short", "${file:/nowhere/claims.key}"] {
            let pairs =
                [("databases.main.claims.key", key), ("callers.shop.claims.fixed", "tenant=acme")];
            let found = problems(&pairs);
            assert!(found.contains("claims.key") && !found.contains("none of the"), "{found}");
        }
    }

    #[test]
    fn claims_need_callers() {
        let pairs =
            [("databases.main.url", "postgres://me@db/shop"), ("databases.main.claims.key", KEY)];
        let problems = load_from(&pairs).expect_err("nobody has claims");
        assert!(problems.to_string().contains("callers are not authenticated"), "{problems}");
    }
}
