//! The questions that a new connection asks its server.

use crate::backend::mysql::connection::opened::ServerFacts;
use crate::backend::mysql::protocol::greeting::{Flavor, ServerVersion};

/// The texts of the questions, in the order of their answers.
pub(crate) fn questions(flavor: Flavor) -> [&'static str; 5] {
    let variables = match flavor {
        Flavor::MariaDb => {
            "SELECT @@max_allowed_packet, @@read_only, @@innodb_read_only, \
             @@read_only, UNIX_TIMESTAMP(), COALESCE(CURRENT_ROLE(), ''), \
             (SELECT COUNT(*) FROM information_schema.engines WHERE transactions = 'YES' \
              AND support IN ('YES', 'DEFAULT') AND engine NOT IN ('InnoDB', 'SEQUENCE'))"
        }
        Flavor::MySql => {
            "SELECT @@max_allowed_packet, @@read_only, @@innodb_read_only, \
             @@super_read_only, UNIX_TIMESTAMP(), COALESCE(CURRENT_ROLE(), ''), \
             (SELECT COUNT(*) FROM information_schema.engines WHERE transactions = 'YES' \
              AND support IN ('YES', 'DEFAULT') AND engine NOT IN ('InnoDB', 'SEQUENCE'))"
        }
    };
    // MySQL's `server_uuid`, and MariaDB's `server_uid`.
    let identity = "SHOW GLOBAL VARIABLES LIKE 'server_u%id'";
    // MariaDB answers the first one outside a cluster, too, with OFF.
    let ready = "SHOW GLOBAL STATUS LIKE 'wsrep_ready'";
    let in_cluster = "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'";
    [variables, UPTIME, ready, identity, in_cluster]
}

/// Asks how many seconds ago the server started.
pub(crate) const UPTIME: &str = "SHOW GLOBAL STATUS LIKE 'uptime'";

/// Asks for the role of the session; empty without one.
pub(crate) const ROLE: &str = "SELECT COALESCE(CURRENT_ROLE(), '')";

/// The text that asks a connection whether its server still takes writes; the answer is `1` or `0`.
pub(crate) const TAKES_WRITES: &str = "SELECT NOT (@@read_only OR @@innodb_read_only)";

/// The same for a node of a Galera cluster: without a quorum, too, it takes none.
pub(crate) const TAKES_WRITES_IN_CLUSTER: &str = "SELECT NOT (@@read_only OR @@innodb_read_only) AND \
     (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
      WHERE VARIABLE_NAME = 'WSREP_READY') = 'ON'";

/// The answers: the first row of each, in text.
pub(crate) type AnswerRows = Vec<Vec<Option<String>>>;

/// Reads the answers; `None` if one is not as expected.
pub(crate) fn facts(version: ServerVersion, answers: &AnswerRows) -> Option<ServerFacts> {
    let [variables, uptime, ready, identity, in_cluster] = answers.first_chunk::<5>()?;
    let number = |row: &[Option<String>], at: usize| -> Option<u64> {
        row.get(at)?.as_deref()?.parse().ok()
    };
    let is_off = |at: usize| {
        let value = variables.get(at).and_then(Option::as_deref);
        matches!(value, Some("0" | "OFF"))
    };
    let takes_writes = is_off(1) && is_off(2) && is_off(3);
    let now = number(variables, 4)?;
    let is_on = |row: &[Option<String>]| row.get(1).and_then(Option::as_deref) == Some("ON");
    let is_galera = is_on(in_cluster);
    let is_unready = is_galera && !is_on(ready);
    Some(ServerFacts {
        version,
        max_allowed_packet: usize::try_from(number(variables, 0)?).ok()?,
        takes_writes: takes_writes && !is_unready,
        is_galera,
        uuid: identity.get(1).cloned().flatten().unwrap_or_default(),
        role: variables.get(5)?.clone()?,
        has_other_transactions: number(variables, 6).is_none_or(|engines| engines > 0),
        started: now.saturating_sub(number(uptime, 1)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of a server that takes writes, but for those of Galera.
    fn answers(ready: &[&str], in_cluster: &[&str]) -> AnswerRows {
        let rows: [&[&str]; 5] = [
            &["16777216", "0", "0", "0", "1700000100", "", "0"],
            &["Uptime", "100"],
            ready,
            &["server_uid", "an id"],
            in_cluster,
        ];
        let row = |row: &&[&str]| row.iter().map(|text| Some((*text).to_owned())).collect();
        rows.iter().map(row).collect()
    }

    #[test]
    fn readiness_counts_in_a_cluster_only() {
        let version = || ServerVersion {
            flavor: Flavor::MariaDb,
            number: (10, 11, 14),
            text: "10.11.14-MariaDB".to_owned(),
        };
        for (ready, in_cluster, takes_writes, is_galera) in [
            // MySQL has neither, and MariaDB has both without a cluster.
            (&[][..], &[][..], true, false),
            (&["wsrep_ready", "OFF"], &["wsrep_on", "OFF"], true, false),
            (&["wsrep_ready", "ON"], &["wsrep_on", "ON"], true, true),
            (&["wsrep_ready", "OFF"], &["wsrep_on", "ON"], false, true),
        ] {
            let answers = answers(ready, in_cluster);
            let facts = facts(version(), &answers).expect("they are as expected");
            assert_eq!(
                (facts.takes_writes, facts.is_galera),
                (takes_writes, is_galera),
                "{ready:?}"
            );
            assert!(!facts.has_other_transactions);
            assert_eq!((facts.started, facts.uuid.as_str()), (1_700_000_000, "an id"));
        }
        assert!(facts(version(), &Vec::new()).is_none());
    }
}
