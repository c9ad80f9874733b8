//! The names of PostgreSQL's settings: which of them sessions and calls may have, and lists of those that are allowed.

use std::time::Duration;

/// The settings that Rowgate chooses itself, each with the way to what it is for. The form of values, the ends of
/// statements and transactions, and the identity of a session depend on them.
const CHOSEN: [(&str, &str); 21] = [
    ("bytea_output", FORM),
    ("client_encoding", FORM),
    ("client_min_messages", "Rowgate reads the warnings of commits itself."),
    ("datestyle", FORM),
    ("default_transaction_deferrable", "Set transaction.deferrable in the request."),
    ("default_transaction_isolation", "Set transaction.isolation_level in the request."),
    (
        "default_transaction_read_only",
        "Set READ_ONLY as the access mode in the request, or callers.NAME.read_only.",
    ),
    ("extra_float_digits", FORM),
    ("integer_datetimes", FORM),
    ("intervalstyle", FORM),
    ("is_superuser", ROLE),
    ("lc_messages", "Rowgate has the messages of the server in English, where it may."),
    ("role", ROLE),
    ("seed", "Its effect does not end with the transaction: call setseed in a Transact."),
    ("session_authorization", ROLE),
    ("standard_conforming_strings", FORM),
    ("timezone", FORM),
    ("transaction_deferrable", "Set transaction.deferrable in the request."),
    ("transaction_isolation", "Set transaction.isolation_level in the request."),
    ("transaction_read_only", "Set READ_ONLY as the access mode in the request."),
    ("transaction_timeout", "Set databases.NAME.transaction.max_duration."),
];

const FORM: &str =
    "Rowgate sets it itself: values have one form. Convert them in the statement, as with to_char.";
const ROLE: &str = "A role is a login: configure another database with its URL.";

/// The settings of sessions, beyond those, that keys of the configuration set.
const OF_KEYS: [(&str, &str); 4] = [
    ("application_name", "Write application_name in databases.NAME.url."),
    ("idle_session_timeout", "Set databases.NAME.pool.idle_timeout."),
    ("lock_timeout", "Set databases.NAME.lock_timeout."),
    ("statement_timeout", "Set databases.NAME.statement_timeout."),
];

/// The setting that holds the claims of a transaction; its name is in the SQL of their functions.
pub(crate) const CLAIMS_SETTING: &str = "rowgate.claims";

/// The start of the names of Rowgate's own settings.
const OWN: &str = "rowgate.";

/// Checks that a text in lower case is the name of a setting.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let is_identifier = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
    };
    if name.split('.').all(is_identifier) {
        return Ok(());
    }
    Err(format!("\"{name}\" is not the name of a setting"))
}

/// Advice for a setting that no call may have; `None` if it may be allowed.
pub(crate) fn instead_in_call(name: &str) -> Option<&'static str> {
    if name.starts_with(OWN) {
        return Some("Names that begin with rowgate. are the server's own.");
    }
    if let Some(instead) = find(&CHOSEN, name) {
        return Some(instead);
    }
    let is_mode = name.starts_with("transaction_") || name.starts_with("default_transaction_");
    is_mode.then_some("Set the mode of the transaction in the request.")
}

/// Advice for a setting that sessions get in another way; `None` if they may begin with it.
pub(crate) fn instead_in_session(name: &str) -> Option<&'static str> {
    instead_in_call(name).or_else(|| find(&OF_KEYS, name))
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(reserved, _)| *reserved == name).map(|(_, instead)| *instead)
}

/// Checks an entry of a list of names in lower case: a name, or its start up to a point with a star.
pub(crate) fn check_listed(entry: &str) -> Result<(), String> {
    let name = entry.strip_suffix(".*").unwrap_or(entry);
    if check(name).is_err() {
        return Err(format!(
            "\"{entry}\" is neither the name of a setting nor a start as in app.*"
        ));
    }
    let reserved =
        if name == entry { instead_in_call(name) } else { instead_in_call(&format!("{name}.")) };
    match reserved {
        Some(instead) => Err(format!("calls cannot set {entry}: {instead}")),
        None => Ok(()),
    }
}

/// Returns true if a list has a name, or its start with a star.
pub(crate) fn are_listed(list: &[String], name: &str) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(start) => name.starts_with(start) && name.len() > start.len(),
        None => entry == name,
    })
}

/// The custom settings of a list that are named in full.
pub(crate) fn custom_names(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(String::as_str).filter(|entry| entry.contains('.') && !entry.ends_with('*'))
}

/// The duration that PostgreSQL reads from the value of a timeout; `None` for what is not surely one.
pub(crate) fn duration(value: &str) -> Option<Duration> {
    let value = value.trim();
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let millis = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    // A number that starts with 0 may be octal.
    if number.len() > 1 && number.starts_with('0') {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rowgate_chooses_is_never_listed() {
        let reserved = CHOSEN.iter().map(|(name, _)| *name);
        let others = ["transaction_x", "default_transaction_x", "rowgate.claims", "rowgate.*"];
        for entry in reserved.chain(others) {
            assert!(check_listed(entry).is_err(), "{entry}");
        }
        for entry in ["*", "", "app*", "app.", ".*", "app.*.*", "a b", "a;b", "app.**", "1a"] {
            assert!(check_listed(entry).is_err(), "{entry}");
        }
        for entry in
            ["work_mem", "lock_timeout", "statement_timeout", "app.*", "a.b.*", "rowgates.*"]
        {
            assert_eq!(check_listed(entry), Ok(()), "{entry}");
        }
    }

    #[test]
    fn a_list_has_its_names_and_what_begins_as_its_starts_do() {
        let list = ["work_mem", "app.*"].map(str::to_owned);
        for (name, is_listed) in [
            ("work_mem", true),
            ("app.user", true),
            ("app.a.b", true),
            ("app.", false),
            ("app", false),
            ("apple.user", false),
            ("work_mem2", false),
            ("search_path", false),
        ] {
            assert_eq!(are_listed(&list, name), is_listed, "{name}");
        }
    }

    #[test]
    fn sessions_have_keys_of_their_own_for_some_settings() {
        for name in ["timezone", "role", "lock_timeout", "application_name", "transaction_timeout"]
        {
            assert!(instead_in_session(name).is_some(), "{name}");
        }
        for name in ["search_path", "work_mem", "plan_cache_mode", "tenant.id"] {
            assert_eq!(instead_in_session(name), None, "{name}");
        }
    }

    #[test]
    fn durations_are_read_as_postgresql_reads_them() {
        for (text, millis) in
            [("0", 0), ("305000", 305_000), (" 5s ", 5000), ("500 ms", 500), ("2min", 120_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "-1", "1.5s", "soon", "010", "0x10", "5 S", "1us", "99999999999999999d"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
