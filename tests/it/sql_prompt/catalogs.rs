//! The commands that describe what is there, on each database.

use super::{READY, prompt};
use crate::harness::{Backend, Service};

#[tokio::test]
async fn a_table_is_described_with_its_columns_indexes_and_constraints() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        for sql in [
            "create table orders (id int primary key, state varchar(20) not null default 'new')",
            "create table items (id int primary key, order_id int not null, sku varchar(20), \
             constraint of_order foreign key (order_id) references orders (id))",
            "create index by_sku on items (sku)",
            "create view open_orders as select id from orders where state = 'new'",
        ] {
            service.client.must(sql, &[]).await;
        }
        let mut terminal = prompt(&service, &[]);
        let relations = terminal.ask("\\d", "open_orders", READY);
        assert!(relations.contains("items") && relations.contains("orders"), "{relations}");
        let tables = terminal.ask("\\dt *s", "orders", READY);
        assert!(tables.contains("items") && !tables.contains("open_orders"), "{tables}");
        let items = terminal.ask("\\d items;", "by_sku", READY);
        for part in ["table ", "order_id", "not null", "indexes\n", "constraints\n", "orders"] {
            assert!(items.contains(part), "{backend:?}: no {part} in {items}");
        }
        let view = terminal.ask("\\d open_orders", "definition\n", READY);
        assert!(view.to_lowercase().contains("select"), "{view}");
        terminal.ask("\\d nope", "error: there is no relation nope", READY);
        terminal.ask("\\dt nope", "there are no tables", READY);
    }
}

#[tokio::test]
async fn a_name_is_that_of_sql_with_its_schema_and_quotes() {
    let service = Service::start(Backend::Postgres).await;
    for sql in [
        "create schema \"My Schema\"",
        "create table \"My Schema\".\"T 1\" (\"A b\" int)",
        "create table pg_class (own int)",
    ] {
        service.client.must(sql, &[]).await;
    }
    let mut terminal = prompt(&service, &[]);
    terminal.ask("\\d \"My Schema\".\"T 1\"", "A b", READY);
    terminal.press("select * from \"T");
    terminal.press("\x03");
    terminal.expect(READY);
    terminal.ask("\\d public.pg_class", "own", READY);
    // A table of the transaction is seen by it, and an open transaction survives a name that is none.
    terminal.ask("begin; create table inner_one (a int);", "CREATE TABLE", "main*=> ");
    terminal.ask("\\d inner_one", "│ a ", "main*=> ");
    terminal.ask("\\d nope", "error: there is no relation", "main*=> ");
    terminal.ask("\\d a b", "invalid name syntax", "main*=> ");
    terminal.ask("select 42 from inner_one;", "(0 rows)", "main*=> ");
}
