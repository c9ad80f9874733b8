//! The engine behind a connection, by the text of its version.

/// The engine and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerEngine {
    /// The product, as in `PostgreSQL`; `unknown` for a text that names none of the known ones.
    name: &'static str,
    version: String,
    /// The whole text of its version.
    pub(crate) text: String,
}

const POSTGRES: &str = "PostgreSQL";
const COCKROACH: &str = "CockroachDB";

/// The signs in the text of a version by which other engines are known, with their names.
const OTHERS: [(&str, &str); 13] = [
    ("CockroachDB", COCKROACH),
    ("-YB-", "YugabyteDB"),
    ("noida-db", "noida-db"),
    ("DSQL", "Aurora DSQL"),
    ("Redshift", "Amazon Redshift"),
    ("Greenplum Database", "Greenplum"),
    ("Cloudberry", "Apache Cloudberry"),
    ("EnterpriseDB", "EDB Postgres Advanced Server"),
    ("Materialize", "Materialize"),
    ("RisingWave", "RisingWave"),
    ("QuestDB", "QuestDB"),
    ("GreptimeDB", "GreptimeDB"),
    ("CrateDB", "CrateDB"),
];

/// The packagers whose name may stand behind the version of PostgreSQL itself.
const PACKAGERS: [&str; 8] = [
    "(Debian ",
    "(Raspbian ",
    "(Ubuntu ",
    "(Homebrew",
    "(Postgres.app",
    "(Percona ",
    "- Percona Distribution ",
    "(PGDG",
];

/// The compilers that PostgreSQL names.
const COMPILERS: [&str; 5] = ["gcc", "clang", "Visual C++", "msvc", "emcc"];

/// The longest text of a version that is kept, in bytes.
const LONGEST: usize = 500;

impl ServerEngine {
    /// Reads the answer to `version()`. Only a text of the form that PostgreSQL itself prints is one of
    /// PostgreSQL's.
    pub(crate) fn parse(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(LONGEST)];
        let engine =
            |name, version: &str| Self { name, version: version.to_owned(), text: text.to_owned() };
        for (sign, name) in OTHERS {
            if let Some((_, rest)) = text.split_once(sign) {
                return engine(name, number(rest).unwrap_or_default());
            }
        }
        match postgres_version(text) {
            Some(version) => engine(POSTGRES, version),
            None => engine("unknown", ""),
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.name == POSTGRES
    }

    pub(crate) fn is_cockroach(&self) -> bool {
        self.name == COCKROACH
    }

    /// The name with the version, as in `PostgreSQL 15.8`.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.name, self.version).trim_end().to_owned()
    }
}

/// The first word that is a number, with or without a `v` before it.
fn number(text: &str) -> Option<&str> {
    let mut words =
        text.split([' ', ',', '(', ')']).map(|word| word.trim_start_matches(['v', '-']));
    words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && !word.ends_with("-bit"))
}

/// The version of PostgreSQL itself: `PostgreSQL 15.8 (Debian …) on PLATFORM, compiled by COMPILER, 64-bit`.
fn postgres_version(text: &str) -> Option<&str> {
    let (version, rest) = text.strip_prefix("PostgreSQL ")?.split_once(' ')?;
    let suffix = version.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let suffix = suffix.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_release = ["", "devel", "beta", "rc"].contains(&suffix);
    let is_packaged =
        PACKAGERS.iter().any(|packager| rest.starts_with(packager)) || begins_with_commit(rest);
    let (_, compiled) = rest.split_once(", compiled by ")?;
    let is_compiled = COMPILERS.iter().any(|compiler| compiled.contains(compiler));
    let is_whole = compiled.ends_with(", 64-bit") || compiled.ends_with(", 32-bit");
    let is_plain = is_packaged || rest.starts_with("on ");
    (is_release && is_plain && is_compiled && is_whole).then_some(version)
}

/// Returns true for `(aa1f746) …`: Neon names the commit that it was built from.
fn begins_with_commit(text: &str) -> bool {
    let name = text.strip_prefix('(').and_then(|rest| rest.split_once(") on "));
    name.is_some_and(|(name, _)| {
        (7..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_known_by_their_versions() {
        let cases = [
            (
                "PostgreSQL 15.8 (Debian 15.8-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14) 12.2.0, 64-bit",
                "PostgreSQL 15.8",
            ),
            (
                "PostgreSQL 18beta1 on aarch64-apple-darwin23, compiled by Apple clang version 16.0.0, 64-bit",
                "PostgreSQL 18beta1",
            ),
            (
                "PostgreSQL 17.5 on wasm32-unknown-emscripten, compiled by emcc (Emscripten) 3.1.74, 32-bit",
                "PostgreSQL 17.5",
            ),
            (
                "PostgreSQL 17.5 (aa1f746) on aarch64-unknown-linux-gnu, compiled by gcc (Debian 12.2.0-14+deb12u1) 12.2.0, 64-bit",
                "PostgreSQL 17.5",
            ),
            (
                "PostgreSQL 16.3 - Percona Distribution on x86_64-pc-linux-gnu, compiled by gcc (GCC) 11.4.1, 64-bit",
                "PostgreSQL 16.3",
            ),
            (
                "CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu, built 2024/05/15 21:28:29, go1.22.2)",
                "CockroachDB 24.1.0",
            ),
            (
                "PostgreSQL 11.2-YB-2.18.0.0-b0 on x86_64-pc-linux-gnu, compiled by clang version 15.0.3, 64-bit",
                "YugabyteDB 2.18.0.0-b0",
            ),
            ("PostgreSQL 16.4 on x86_64-pc-linux-gnu, compiled by noida-db, 64-bit", "noida-db"),
            (
                "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2, Redshift 1.0.12103",
                "Amazon Redshift 1.0.12103",
            ),
            ("PostgreSQL 12.3, compiled by Visual C++ build 1914, 64-bit, QuestDB", "QuestDB"),
        ];
        for (text, label) in cases {
            let engine = ServerEngine::parse(text);
            assert_eq!(engine.label(), label);
            assert_eq!(engine.is_postgres(), label.starts_with("PostgreSQL"), "{text}");
        }
    }

    #[test]
    fn an_unknown_text_is_no_postgres() {
        for text in [
            "",
            "PostgreSQL 16",
            "PostgreSQL 16.1-fast on x86_64, compiled by gcc, 64-bit",
            "PostgreSQL 16.1 (Their Database) on x86_64, compiled by gcc, 64-bit",
            "PostgreSQL 16.1 on x86_64, compiled by rustc 1.80, 64-bit",
            "PostgreSQL 16.1 on x86_64, compiled by gcc, 64-bit, and ours",
        ] {
            assert_eq!(ServerEngine::parse(text).label(), "unknown", "{text}");
        }
    }
}
