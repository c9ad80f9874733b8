//! Types of MariaDB and MySQL in Arrow IPC streams, compared with the same results as rows.

use rowgate::value::proto::Value;
use tonic::Code;

use crate::arrow::{arrow, compared};
use crate::harness::{Backend, Service};

const TABLE: &str = "
create table t (b bit(1), i1 tinyint, i2 smallint, u2 smallint unsigned, i3 mediumint, i4 int, u4 int unsigned,
    i8 bigint, u8 bigint unsigned, y year, f float, d double, n decimal(12,2), nn decimal(65,30), v varchar(9), c char(3),
    t text, e enum('a','b'), s set('x','y'), j json, bb bit(9), vb varbinary(9), bl blob, g geometry, da date, ti time(6),
    dt datetime(6), ts timestamp(6) null);
insert into t values
    (b'1', -128, -32768, 65535, -8388608, -2147483648, 4294967295, -9223372036854775808, 9223372036854775807, 2026, 0.1,
    1e300, -1234567890.12, 12345.5, 'naïve 🦀', 'x', '', 'b', 'x,y', '[1]', b'100000001', x'00ff', '', point(1, 2),
    '2026-01-31', '23:59:59.999999', '1969-12-31 23:59:59.999999', '2026-01-31 12:00:00.500001'),
    (b'0', 0, 0, 0, 0, 0, 0, 0, 0, 1901, -2.5, -0e0, 0, 0, '', '', 'long', 'a', '', 'null', b'0', '', x'ff', point(0, 0),
    '0001-01-01', '00:00:00.000001', '9999-12-31 00:00:00.000001', '1970-01-01 00:00:01.000001');
insert into t () values ()";

#[tokio::test]
async fn every_type_of_mariadb_has_the_values_that_come_as_rows() {
    let service = Service::start(Backend::Mariadb).await;
    service.mariadb().sql(&format!("set time_zone = '+00:00'; {TABLE}"));
    let found = compared(&service, "select * from t").await;
    assert_eq!(found[..7], ["Boolean", "Int16", "Int16", "Int32", "Int32", "Int32", "Int64"]);
    assert_eq!(found[7..12], ["Int64", "Int64", "Int16", "Float32", "Float64"]);
    assert_eq!(
        found[12..20],
        ["Decimal128(12, 2)", "Utf8", "Utf8", "Utf8", "Utf8", "Utf8", "Utf8", "Utf8"]
    );
    assert_eq!(found[20..24], ["Binary"; 4]);
    assert_eq!(found[24..], ["Date32", "Time64(µs)", "Timestamp(µs)", "Timestamp(µs, \"UTC\")"]);
}

#[tokio::test]
async fn values_of_mariadb_that_arrow_has_no_place_for_are_refused_and_come_as_text() {
    let service = Service::start(Backend::Mariadb).await;
    let zero = "set sql_mode = ''; create table z (c date); insert into z values ('0000-00-00')";
    service.mariadb().sql(zero);
    for (sql, text) in [
        ("select cast(18446744073709551615 as unsigned) as c", "18446744073709551615"),
        ("select cast('-838:59:59' as time) as c", "-838:59:59"),
        ("select cast('24:00:00' as time) as c", "24:00:00"),
        ("select c from z", "0000-00-00"),
    ] {
        let failure = service.client.run(arrow(sql)).await.expect_err("it has no place");
        assert_eq!(failure.what(), (Code::OutOfRange, "NOT_IN_ARROW"), "{sql}: {failure:?}");
        let as_text = format!("select cast(c as char) from ({sql}) as it");
        let rows = service.client.must(&as_text, &[]).await.rows;
        assert_eq!(rows[0].values, [Value::text(text)]);
        service.client.run(arrow(&as_text)).await.expect("a text has its place");
    }
}
