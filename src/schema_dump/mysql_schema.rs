//! The schema of a database of MySQL or MariaDB.

use super::mysql_views::{in_order_of_use, without_names_of};
use super::sequence_names::without_database;
use crate::backend::{AdminConnection, AdminRows};
use crate::error::{Error, ErrorKind, Result};

/// A kind of object: how to list their names, how to ask for a definition, and the column that has it.
struct ObjectKind {
    list: &'static str,
    show: &'static str,
    column: usize,
    /// It may hold semicolons, and is read in the mode of the column before it, or the second one.
    is_code: bool,
}

const fn object(list: &'static str, show: &'static str, column: usize) -> ObjectKind {
    ObjectKind { list, show, column, is_code: false }
}

const fn code(list: &'static str, show: &'static str, column: usize) -> ObjectKind {
    ObjectKind { list, show, column, is_code: true }
}

/// MariaDB's, which the defaults of tables ask.
const SEQUENCES: ObjectKind = object(
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'SEQUENCE' ORDER BY 1",
    "SEQUENCE",
    1,
);

const TABLES: ObjectKind = object(
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
     AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1",
    "TABLE",
    1,
);

const VIEWS: ObjectKind = object(
    "SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE() ORDER BY 1",
    "VIEW",
    1,
);

/// The code that views may call.
const ROUTINES: [ObjectKind; 2] = [
    code(
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'FUNCTION' ORDER BY 1",
        "FUNCTION",
        2,
    ),
    code(
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type = 'PROCEDURE' ORDER BY 1",
        "PROCEDURE",
        2,
    ),
];

/// Triggers of one table run in the order in which they are made.
const TRIGGERS: ObjectKind = code(
    "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() \
     ORDER BY event_object_table, action_timing, event_manipulation, action_order",
    "TRIGGER",
    2,
);

/// Events, and if each begins when it was made: then that is no part of its definition.
const EVENTS: ObjectKind = code(
    "SELECT event_name, starts = created FROM information_schema.events WHERE event_schema = DATABASE() ORDER BY event_name",
    "EVENT",
    3,
);

/// The place of the `sql_mode` in what SHOW CREATE tells of code.
const SQL_MODE: usize = 1;

/// The schema, and what its reader should know.
pub(crate) struct MysqlSchema {
    pub(crate) sql: String,
    pub(crate) warning: Option<String>,
}

/// Returns the definitions as SQL for the mysql client, in an order in which they can be made.
pub(crate) async fn mysql_schema(connection: &mut dyn AdminConnection) -> Result<MysqlSchema> {
    let database = first(connection.run("SELECT DATABASE()").await?, 0).unwrap_or_default();
    let mut statements = Vec::new();
    for name in listed(connection, &SEQUENCES).await?.iter().map(|row| &row.name) {
        statements.push(format!("{};\n", shown(connection, &SEQUENCES, name).await?.definition));
    }
    let mut tables = Vec::new();
    for name in listed(connection, &TABLES).await?.iter().map(|row| &row.name) {
        let table = without_counter(&shown(connection, &TABLES, name).await?.definition);
        tables.push(format!("{};\n", without_database(&table, &database).unwrap_or(table)));
    }
    // A table may refer to one that comes behind it, or to itself.
    let refers = tables
        .iter()
        .any(|table| table.contains("\n  CONSTRAINT ") && table.contains(" FOREIGN KEY "));
    statements.extend(refers.then(|| "SET foreign_key_checks = 0;\n".to_owned()));
    statements.append(&mut tables);
    statements.extend(refers.then(|| "SET foreign_key_checks = 1;\n".to_owned()));
    let mut mode = CodeMode::default();
    for kind in &ROUTINES {
        statements.extend(code_of(connection, kind, &mut mode).await?);
    }
    statements.extend(mode.end());
    let (views, warning) = views_of(connection, &database).await?;
    statements.extend(views);
    for kind in [&TRIGGERS, &EVENTS] {
        statements.extend(code_of(connection, kind, &mut mode).await?);
    }
    statements.extend(mode.end());
    Ok(MysqlSchema { sql: statements.join("\n"), warning })
}

/// An object by its name, and what else its list tells.
struct Listed {
    name: String,
    is_flagged: bool,
}

async fn listed(connection: &mut dyn AdminConnection, kind: &ObjectKind) -> Result<Vec<Listed>> {
    let rows = connection.run(kind.list).await?;
    let rows = rows.into_iter().filter_map(|row| {
        let mut fields = row.into_iter();
        let name = fields.next().flatten()?;
        Some(Listed { name, is_flagged: fields.next().flatten().as_deref() == Some("1") })
    });
    Ok(rows.collect())
}

/// A definition without its definer, and the `sql_mode` of code.
struct Shown {
    definition: String,
    sql_mode: String,
}

async fn shown(
    connection: &mut dyn AdminConnection,
    kind: &ObjectKind,
    name: &str,
) -> Result<Shown> {
    let show = kind.show;
    let quoted = name.replace('`', "``");
    let rows = connection.run(&format!("SHOW CREATE {show} `{quoted}`")).await?;
    let row = rows.into_iter().next().unwrap_or_default();
    let sql_mode = row.get(SQL_MODE).cloned().flatten().filter(|_| kind.is_code);
    let Some(definition) = row.into_iter().nth(kind.column).flatten() else {
        let message = format!("the definition of {show} {name} is hidden from this login");
        return Err(Error::new(ErrorKind::FailedPrecondition, message)
            .with_hint("Set databases.NAME.admin_url to the login that owns the database."));
    };
    Ok(Shown { definition: without_definer(&definition), sql_mode: sql_mode.unwrap_or_default() })
}

/// The mode in which the next code is read.
#[derive(Default)]
struct CodeMode(Option<String>);

impl CodeMode {
    /// The statement that sets another one: code keeps the mode in which it was made, and means something else in others.
    fn switch(&mut self, mode: &str) -> Option<String> {
        if self.0.as_deref() == Some(mode) {
            return None;
        }
        let keep = if self.0.is_none() { "SET @code_sql_mode = @@sql_mode;\n" } else { "" };
        self.0 = Some(mode.to_owned());
        Some(format!("{keep}SET sql_mode = '{mode}';\n"))
    }

    /// The statement that goes back to the mode before.
    fn end(&mut self) -> Option<String> {
        self.0.take().map(|_mode| "SET sql_mode = @code_sql_mode;\n".to_owned())
    }
}

async fn code_of(
    connection: &mut dyn AdminConnection,
    kind: &ObjectKind,
    mode: &mut CodeMode,
) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    for Listed { name, is_flagged } in listed(connection, kind).await? {
        let Shown { definition, sql_mode } = shown(connection, kind, &name).await?;
        let definition = if is_flagged { without_start(&definition) } else { definition };
        statements.extend(mode.switch(&sql_mode));
        statements.push(format!("DELIMITER ;;\n{definition};;\nDELIMITER ;\n"));
    }
    Ok(statements)
}

/// The views, each behind those that it reads, and the warning of those that cannot be read.
async fn views_of(
    connection: &mut dyn AdminConnection,
    database: &str,
) -> Result<(Vec<String>, Option<String>)> {
    let mut views = Vec::new();
    let mut broken = Vec::new();
    for Listed { name, .. } in listed(connection, &VIEWS).await? {
        let mut definition = shown(connection, &VIEWS, &name).await?.definition;
        let columns = format!("SHOW COLUMNS FROM `{}`", name.replace('`', "``"));
        if connection.run(&columns).await.is_err_and(|error| error.kind() != ErrorKind::Cancelled) {
            // Of such a view the server names the database everywhere.
            definition = without_names_of(&definition, database);
            broken.push(name.clone());
        }
        views.push((name, definition));
    }
    let warning = (!broken.is_empty()).then(|| {
        let names = broken.join(", ");
        format!("views that refer to what is not there, or that this login may not read, cannot be made of this text: {names}")
    });
    let ordered = in_order_of_use(views).into_iter();
    Ok((ordered.map(|(_, definition)| format!("{definition};\n")).collect(), warning))
}

fn first(rows: AdminRows, column: usize) -> Option<String> {
    rows.into_iter().next().and_then(|row| row.into_iter().nth(column).flatten())
}

/// Removes the instant at which an event was made from its schedule.
fn without_start(definition: &str) -> String {
    let cut = definition.split_once(" STARTS '").and_then(|(before, behind)| {
        let (_instant, rest) = behind.split_once('\'')?;
        Some(format!("{before}{rest}"))
    });
    cut.unwrap_or_else(|| definition.to_owned())
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
    let Some((before, behind)) = definition.split_once(" DEFINER=") else {
        return definition.to_owned();
    };
    // Before the name there are only words such as ALGORITHM=UNDEFINED.
    let is_head = before.starts_with("CREATE") && !before.contains(['`', '"', '\'', '(']);
    // `user`@`host` SQL SECURITY …, `role` FUNCTION …; in double quotes if it was made so
    let mark = behind.chars().next().filter(|mark| is_head && matches!(mark, '`' | '"'));
    let end = mark.and_then(|mark| behind.find(&format!("{mark} ")));
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
            (
                "CREATE DEFINER=\"app\"@\"127.0.0.1\" PROCEDURE \"p\"() select 1",
                "CREATE PROCEDURE \"p\"() select 1",
            ),
        ] {
            assert_eq!(without_definer(definition), expected);
        }
    }

    #[test]
    fn the_instant_at_which_an_event_was_made_is_cut_from_its_schedule_alone() {
        let event = "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY STARTS '2026-11-30 06:00:00' ON COMPLETION PRESERVE DO select ' STARTS ''x'";
        let cut = "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY ON COMPLETION PRESERVE DO select ' STARTS ''x'";
        assert_eq!(without_start(event), cut);
        assert_eq!(
            without_start("CREATE EVENT `e` ON SCHEDULE AT '2026-01-01' DO x"),
            "CREATE EVENT `e` ON SCHEDULE AT '2026-01-01' DO x"
        );
    }
}
