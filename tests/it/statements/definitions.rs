//! Definitions that change under prepared statements without making their plans stale: the database goes on
//! with what it looked up before.

use std::time::Duration;

use rowgate::value::proto::Value;

use crate::harness::unit::batch;
use crate::harness::wait::eventually_async;
use crate::harness::{Backend, Service};

const CONNECTIONS: u32 = 3;

/// Overloads, domains and a dictionary, and a table without triggers.
const SETUP: &str = "
    create function f(bigint) returns text language sql as $$ select 'bigint' $$;
    create domain checked as int;
    create function checked_value(int) returns int language plpgsql as
        $$ begin return $1::checked; end $$;
    create domain defaulted as int default 1;
    create table rows (id serial, n defaulted);
    create table c (a int);
    create procedure better() language plpgsql as
        $$ begin create function f(int) returns text language sql as 'select ''int'''; end $$;";

async fn service(settings: &str) -> Service {
    let settings =
        format!("{settings}\n[databases.main.pool]\nmin = {CONNECTIONS}\nmax = {CONNECTIONS}");
    let service = Service::with(Backend::Postgres, &settings).await;
    service.postgres().psql(SETUP);
    service
}

/// The only values of a query, run on each connection at the same time.
async fn on_each(service: &Service, sql: &str) -> Vec<Value> {
    let calls: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (client, sql) = (service.client.clone(), sql.to_owned());
            tokio::spawn(async move { client.must(&sql, &[]).await.rows[0].values[0].clone() })
        })
        .collect();
    let mut values = Vec::new();
    for call in calls {
        values.push(call.await.expect("no panic"));
    }
    values
}

const OVERLOADED: &str = "select f(1), pg_sleep(0.1)";
const BETTER: &str = "create function f(int) returns text language sql as $$ select 'int' $$";

fn all(value: &str) -> Vec<Value> {
    (0..CONNECTIONS).map(|_| Value::text(value)).collect()
}

#[tokio::test]
async fn a_better_overload_that_passed_through_is_called_at_once_on_each_connection() {
    let service = service("statement_ttl = \"1h\"").await;
    let ways = [
        vec![BETTER],
        vec!["select 1", BETTER],
        vec![
            "do $do$ begin create function f(int) returns text language sql as 'select ''int'''; \
              end $do$",
        ],
        vec!["call better()"],
    ];
    for way in ways {
        for in_transaction in [false, true] {
            assert_eq!(on_each(&service, OVERLOADED).await, all("bigint"), "{way:?}");
            if in_transaction {
                let mut transaction = service.client.begin().await;
                for sql in &way {
                    transaction.query(sql, &[]).await.expect("it runs");
                }
                let result = transaction.query(OVERLOADED, &[]).await.expect("it runs");
                assert_eq!(result.rows[0].values[0], Value::text("int"), "{way:?}");
                transaction.commit().await.expect("it commits");
            } else if let [sql] = way[..] {
                service.client.must(sql, &[]).await;
            } else {
                service.client.batch(batch(&way)).await.expect("it runs");
            }
            assert_eq!(on_each(&service, OVERLOADED).await, all("int"), "{way:?}");
            service.client.must("drop function f(int)", &[]).await;
        }
    }
}

#[tokio::test]
async fn what_is_rolled_back_changes_nothing() {
    let service = service("statement_ttl = \"1h\"").await;
    let mut transaction = service.client.begin().await;
    transaction.query(BETTER, &[]).await.expect("it runs");
    let result = transaction.query(OVERLOADED, &[]).await.expect("it runs");
    assert_eq!(result.rows[0].values[0], Value::text("int"));
    transaction.rollback().await.expect("it rolls back");
    assert_eq!(on_each(&service, OVERLOADED).await, all("bigint"));
}

#[tokio::test]
async fn a_domain_has_the_default_that_it_was_given() {
    let service = service("statement_ttl = \"1h\"").await;
    let insert = "insert into rows default values returning n";
    for value in 1..4 {
        let alter = format!("alter domain defaulted set default {value}");
        service.client.must(&alter, &[]).await;
        for _ in 0..2 * CONNECTIONS {
            let result = service.client.must(insert, &[]).await;
            assert_eq!(result.rows[0].values, [Value::int64(value)]);
        }
    }
}

#[tokio::test]
async fn a_statement_is_described_as_its_tables_are_now() {
    let service = service("statement_ttl = \"1h\"").await;
    let describe = async || {
        let request = rowgate::value::proto::DescribeStatementRequest {
            sql: "select * from c where a = $1".to_owned(),
            ..Default::default()
        };
        let described = service.client.raw().describe_statement(request).await;
        let described = described.expect("it is described").into_inner();
        (described.columns.len(), described.parameter_types[0].type_name.clone())
    };
    assert_eq!(describe().await, (1, "int4".to_owned()));
    service.client.must("alter table c add b int", &[]).await;
    service.client.must("alter table c alter a type text", &[]).await;
    for _ in 0..2 * CONNECTIONS {
        assert_eq!(describe().await, (2, "text".to_owned()));
    }
}

#[tokio::test]
async fn a_trigger_that_passed_through_is_known_at_once() {
    let service = service("catalog_ttl = \"1h\"").await;
    service.postgres().psql(
        "create function dirty() returns trigger language plpgsql as \
         $$ begin perform set_config('my.leak', 'trigger', false); return new; end $$",
    );
    for _ in 0..2 * CONNECTIONS {
        service.client.must("insert into c values (1)", &[]).await;
    }
    let trigger =
        "create trigger dirtying before insert on c for each row execute function dirty()";
    service.client.must(trigger, &[]).await;
    for _ in 0..2 * CONNECTIONS {
        service.client.must("insert into c values (1)", &[]).await;
        let leak = on_each(&service, "select nullif(current_setting('my.leak', true), '') is null");
        assert!(leak.await.iter().all(|value| *value == Value::bool(true)));
    }
}

#[tokio::test]
async fn what_others_change_is_noticed_within_the_age_of_statements() {
    let service = service("statement_ttl = \"200ms\"").await;
    assert_eq!(on_each(&service, OVERLOADED).await, all("bigint"));
    service.postgres().psql(BETTER);
    let noticed = async || (on_each(&service, OVERLOADED).await == all("int")).then_some(());
    eventually_async("all connections notice", Duration::from_secs(5), noticed).await;
}
