//! The schema of a database of MySQL or MariaDB.

use crate::backend::AdminConnection;
use crate::error::{Error, ErrorKind, Result};

/// A kind of object: how to list their names, how to ask for a definition, and the column that has it.
struct ObjectKind {
    list: &'static str,
    show: &'static str,
    column: usize,
    /// It may hold semicolons.
    is_code: bool,
}

const fn object(list: &'static str, show: &'static str, column: usize) -> ObjectKind {
    ObjectKind { list, show, column, is_code: false }
}

const fn code(list: &'static str, show: &'static str, column: usize) -> ObjectKind {
    ObjectKind { list, show, column, is_code: true }
}

/// The kinds in the order of their definitions.
const KINDS: [ObjectKind; 7] = [
    object(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
         AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')",
        "TABLE",
        1,
    ),
    // MariaDB's.
    object(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'SEQUENCE'",
        "SEQUENCE",
        1,
    ),
    object(
        "SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE()",
        "VIEW",
        1,
    ),
    code(
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'FUNCTION'",
        "FUNCTION",
        2,
    ),
    code(
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE'",
        "PROCEDURE",
        2,
    ),
    code(
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
        "TRIGGER",
        2,
    ),
    code(
        "SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE()",
        "EVENT",
        3,
    ),
];

/// Returns the definitions as SQL for the mysql client.
pub(crate) async fn mysql_schema(connection: &mut dyn AdminConnection) -> Result<String> {
    let mut statements = Vec::new();
    for ObjectKind { list, show, column, is_code } in &KINDS {
        let rows = connection.run(list).await?;
        let mut names: Vec<String> =
            rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        names.sort();
        for name in names {
            let quoted = name.replace('`', "``");
            let rows = connection.run(&format!("SHOW CREATE {show} `{quoted}`")).await?;
            let definition = rows.into_iter().next().and_then(|row| row.into_iter().nth(*column));
            let Some(definition) = definition.flatten() else {
                let message = format!("the definition of {show} {name} is hidden from this login");
                return Err(Error::new(ErrorKind::FailedPrecondition, message).with_hint(
                    "Set databases.NAME.admin_url to the login that owns the database.",
                ));
            };
            let definition = without_definer(&without_counter(&definition));
            statements.push(if *is_code {
                format!("DELIMITER ;;\n{definition};;\nDELIMITER ;\n")
            } else {
                format!("{definition};\n")
            });
        }
    }
    Ok(statements.join("\n"))
}

/// Removes the next generated key from the definition of a table: it is data.
fn without_counter(definition: &str) -> String {
    let cut = |line: &str| {
        let found = line.starts_with(") ENGINE=").then(|| line.split_once(" AUTO_INCREMENT="));
        match found.flatten() {
            Some((before, behind)) => {
                let behind = behind.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}{behind}")
            }
            None => line.to_owned(),
        }
    };
    definition.split('\n').map(cut).collect::<Vec<_>>().join("\n")
}

/// Removes the account that defined an object: each server has its own.
fn without_definer(definition: &str) -> String {
    let Some((before, behind)) = definition.split_once(" DEFINER=`") else {
        return definition.to_owned();
    };
    // Before the name there are only words such as ALGORITHM=UNDEFINED.
    let is_head = before.starts_with("CREATE") && !before.contains(['`', '\'', '(']);
    // `user`@`host` SQL SECURITY …, `role` FUNCTION …
    let end = behind.find("` ").filter(|_| is_head);
    match end {
        Some(end) => format!("{before}{}", &behind[end + 1..]),
        None => definition.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_servers_with_the_same_definitions_is_cut() {
        let table = "CREATE TABLE `t` (\n  `a` int COMMENT ') ENGINE=x AUTO_INCREMENT=5'\n\
            ) ENGINE=InnoDB AUTO_INCREMENT=42 DEFAULT CHARSET=utf8mb4 COMMENT='AUTO_INCREMENT=7'";
        let cut = without_counter(table);
        assert!(
            cut.contains(") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='AUTO_INCREMENT=7'"),
            "{cut}"
        );
        assert!(cut.contains("COMMENT ') ENGINE=x AUTO_INCREMENT=5'"), "{cut}");
        for (definition, expected) in [
            (
                "CREATE ALGORITHM=UNDEFINED DEFINER=`me`@`%` SQL SECURITY DEFINER VIEW `v` AS select 1",
                "CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select 1",
            ),
            (
                "CREATE DEFINER=`a b`@`localhost` PROCEDURE `p`() select 1",
                "CREATE PROCEDURE `p`() select 1",
            ),
            ("CREATE TABLE `t` (` DEFINER=`x` int)", "CREATE TABLE `t` (` DEFINER=`x` int)"),
        ] {
            assert_eq!(without_definer(definition), expected);
        }
    }
}
