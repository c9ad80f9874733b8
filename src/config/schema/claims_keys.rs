//! The keys of claims: `databases.NAME.claims.*` and `callers.NAME.claims.*`.

use std::time::Duration;

use super::super::secrets::secret::Secret;
use super::super::written::Written;
use super::section::*;

section! {
    /// Claims of callers for policies of PostgreSQL's row-level security, which no statement can forge. `rowgate claims install`
    /// prepares the database.
    #[derive(Debug, Clone)]
    pub struct ClaimsSettings in "databases.NAME.claims" (reader) {
        /// The key that signs claims, as of `openssl rand -hex 32`. With it every call runs in a transaction
        /// that begins with the claims of its caller. Not behind a pooler.
        key: Option<Secret> = Secret(32), "none" => None, REREAD;
        /// A key that the database accepts too, when `rowgate claims install` has run: before a rotation the next one, behind it
        /// the one before.
        other_key: Option<Secret> = Secret(32), "none" => None, REREAD;
        /// The time for which a signature is accepted, by the clock of the database. It is made when a transaction is opened; no
        /// call fails that reaches its database within it.
        validity: Duration = Duration("1s", "1h"), "30s";
        /// The time after which a connection is asked again if its login passes over policies, before the next transaction with
        /// claims. A right that the login gets counts no later.
        check_interval: Duration = Duration("100ms", "1h"), "5s";
    }
    and {
        /// The name of the database.
        database: String = reader.name.clone();
        /// The same keys, to be read again.
        written: Written = reader.written();
    }
}

section! {
    /// The claims of a caller, in the databases that have `claims.key`. One is always there: `caller`, its name.
    #[derive(Debug, Clone)]
    pub struct CallerClaims in "callers.NAME.claims" (reader) {
        /// The claims of its JSON Web Token that are passed on, as they are. One that a token does not have is NULL.
        from_token: Vec<String> = Names, "none" => Vec::new();
        /// Claims of a fixed value, each as `NAME=VALUE`, as in `["tenant=acme"]`.
        fixed: Vec<String> = Names, "none" => Vec::new();
        /// The size of all its claims together, as JSON. A token that has more is refused.
        max_size: usize = Size("256B", "64KiB"), "4KiB";
    }
}
