//! The parameters of a URL of PostgreSQL that are not supported: what to write instead.

use super::problem::ValueError;

/// The parameters that there are.
pub(super) const PARAMETERS: &str = "application_name, channel_binding, dbname, host, load_balance_hosts, password, port, sslcert, \
                          sslkey, sslmode, sslrootcert, target_session_attrs, user";

/// libpq's parameters that are set elsewhere here.
const ELSEWHERE: [(&str, &str); 7] = [
    ("require_auth", "Set require_auth of this database."),
    ("connect_timeout", "Set pool.connect_timeout of this database."),
    ("statement_timeout", "Set statement_timeout of this database."),
    ("lock_timeout", "Set lock_timeout of this database."),
    ("pool_size", "Set pool.max of this database."),
    ("hostaddr", "Write the address as the host."),
    ("ssl", "Write sslmode=verify-full."),
];

/// Returns the error of a parameter that is not one.
pub(super) fn refusal(name: &str) -> ValueError {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
        let why = format!("the URL's parameter {name} is not supported here");
        return ValueError::new(why).instead(*instead);
    }
    let is_similar = |known: &&str| strsim::damerau_levenshtein(name, known) <= 2;
    let instead = match PARAMETERS.split(", ").find(is_similar) {
        Some(meant) => format!("Did you mean {meant}?"),
        None => format!("The parameters are {PARAMETERS}."),
    };
    ValueError::new(format!("the URL has an unknown parameter {name}")).instead(instead)
}
