//! The form of values while a transaction has changed the settings of text output.

use rowgate::value::proto::Value;

use super::families::FAMILIES;
use super::service;
use crate::harness::unit::Transaction;

/// The settings that the text of values depends on, changed for the rest of a transaction.
const CHANGED: &str = "select set_config('datestyle', 'German', true), \
    set_config('intervalstyle', 'iso_8601', true), set_config('extra_float_digits', '0', true), \
    set_config('bytea_output', 'escape', true), set_config('timezone', 'Asia/Kathmandu', true)";

/// Values of types that are read as text only, as they have no binary decoder.
const NEIGHBOURS: &str = "'pg_class'::regclass, 'a=>1'::hstore, row(1, 'a'), '1.2.3.4'::inet";

/// Types that are read as text only, and whose text depends on the settings.
const DEPENDENT: [&str; 1] = ["cube"];

/// The first column of each row.
async fn first(transaction: &mut Transaction, sql: &str) -> Vec<Value> {
    let result = transaction.query(sql, &[]).await.unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    result.rows.into_iter().map(|mut row| row.values.remove(0)).collect()
}

#[tokio::test]
async fn the_form_of_a_value_depends_on_no_setting_and_no_neighbour() {
    let service = service().await;
    let version = service.postgres().major();
    let families = FAMILIES.iter().copied().flatten().filter(|family| family.since <= version);
    let families: Vec<_> =
        families.filter(|family| !DEPENDENT.contains(&family.declared)).collect();
    let mut setup = String::new();
    for (number, family) in families.iter().enumerate() {
        setup += &format!("create table t{number} (id int, v {});\n", family.declared);
        for (id, value) in family.values.iter().enumerate() {
            setup += &format!("insert into t{number} values ({id}, $v${value}$v$);\n");
        }
    }
    service.postgres().psql(&setup);
    let mut plain = service.client.begin().await;
    let mut changed = service.client.begin().await;
    first(&mut changed, CHANGED).await;
    let mut wrong = Vec::new();
    for (number, family) in families.iter().enumerate() {
        let alone = format!("select v from t{number} order by id");
        let beside = format!("select v, {NEIGHBOURS} from t{number} order by id");
        let expected = first(&mut plain, &alone).await;
        for sql in [&alone, &beside] {
            for transaction in [&mut plain, &mut changed] {
                let got = first(transaction, sql).await;
                // By their text, in which NaN is itself.
                if format!("{got:?}") != format!("{expected:?}") {
                    wrong.push(format!("{}: {got:?}, not {expected:?}", family.declared));
                }
            }
        }
    }
    super::assert_none(&wrong);
}
