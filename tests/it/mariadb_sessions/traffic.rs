//! The commands that a server gets, by its general log: none on the way of a clean connection.

use rowgate::value::proto::Value;

use crate::harness::Service;
use crate::harness::client::Client;
use crate::harness::mariadb::Mariadb;

const SELECT: &str = "select name from points where id = $1";
const INSERT: &str = "insert into visits (point) values ($1)";

async fn service() -> Service {
    let mariadb = Mariadb::with(&["general-log=ON", "log-output=TABLE"]);
    mariadb.sql(
        "create table points (id int primary key, name text);
         insert into points with recursive n as (select 1 as id union all select id + 1 from n where id < 900)
           select id, concat('p', id) from n;
         create table visits (id bigint auto_increment primary key, point int)",
    );
    let settings = "pool.min = 4\npool.max = 4\n[health]\ninterval = \"1h\"\n";
    Service::on_mariadb(mariadb, settings, &[]).await
}

/// The commands of the gateway that the log has, without the texts of those that execute a prepared statement.
fn logged(service: &Service) -> Vec<String> {
    let lines = service.mariadb().sql(
        "select command_type, if(command_type = 'Execute', '', convert(argument using utf8mb4)) \
         from mysql.general_log where user_host like 'rowgate[%' order by event_time",
    );
    lines.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Runs a statement by eight callers, so that every connection is always wanted.
async fn run(client: &Client, sql: &'static str, times: i64) {
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                for id in (1..=times).filter(|id| id % 8 == caller) {
                    client.must(sql, &[Value::int64(id)]).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no caller panics");
    }
}

#[tokio::test]
async fn reads_and_writes_on_clean_busy_connections_are_one_command_each() {
    let service = service().await;
    for sql in [SELECT, INSERT] {
        // Each connection prepares it once, and one asks the catalogs what it can leave behind.
        run(&service.client, sql, 400).await;
    }
    service.mariadb().sql("truncate mysql.general_log");
    for sql in [SELECT, INSERT] {
        run(&service.client, sql, 800).await;
    }
    let seen = logged(&service);
    let others: Vec<_> = seen.iter().filter(|line| *line != "Execute").collect();
    assert!(others.is_empty(), "{others:#?}");
    assert_eq!(seen.len(), 1600);
}

#[tokio::test]
async fn a_session_that_may_be_dirty_costs_one_reset_behind_its_call() {
    let service = service().await;
    run(&service.client, SELECT, 400).await;
    service.mariadb().sql("truncate mysql.general_log");
    let before = service.pool().await.resets;
    service.client.must("select @leak := 1", &[]).await;
    service.until_pool("it is reset", |pool| pool.resets > before && pool.in_use == 0).await;
    let seen = logged(&service);
    let commands = seen.iter().map(|line| line.split('\t').next().unwrap_or_default());
    // MariaDB does not log the reset itself, nor is it what costs a round trip: all goes in one flight.
    let commands: Vec<_> = commands.filter(|command| !command.starts_with("Reset")).collect();
    assert_eq!(commands, ["Prepare", "Query", "Execute", "Init DB", "Query", "Query"], "{seen:#?}");
}
