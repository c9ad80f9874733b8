//! The values of MariaDB and MySQL that are compared: by family, each as an expression of SQL.

/// Values of one type.
pub(super) struct MariadbFamily {
    /// The type, as a column is declared.
    pub(super) declared: &'static str,
    /// Tells that MySQL lacks it.
    pub(super) is_mariadb_only: bool,
    /// The values, as expressions that are stored.
    pub(super) values: &'static [&'static str],
}

const fn family(declared: &'static str, values: &'static [&'static str]) -> MariadbFamily {
    MariadbFamily { declared, is_mariadb_only: false, values }
}

const fn of_mariadb(declared: &'static str, values: &'static [&'static str]) -> MariadbFamily {
    MariadbFamily { declared, is_mariadb_only: true, values }
}

/// Types whose values a column can store.
pub(super) const MARIADB_FAMILIES: &[&[MariadbFamily]] =
    &[INTEGERS, DECIMALS, FLOATS, BITS, TIMES, TEXTS, CHARSETS, BYTES, CHOICES, GEOMETRY, OTHERS];

const INTEGERS: &[MariadbFamily] = &[
    family("tinyint", &["0", "-128", "127", "null"]),
    family("tinyint unsigned", &["0", "255"]),
    family("tinyint(1)", &["0", "1", "2", "-1"]),
    family("boolean", &["true", "false"]),
    family("smallint", &["-32768", "32767"]),
    family("smallint unsigned", &["65535"]),
    family("mediumint", &["-8388608", "8388607"]),
    family("mediumint unsigned", &["16777215"]),
    family("int", &["0", "-2147483648", "2147483647", "null"]),
    family("int unsigned", &["4294967295", "2147483648"]),
    family("int(6) unsigned zerofill", &["42", "0", "1234567"]),
    family("bigint", &["0", "-9223372036854775808", "9223372036854775807"]),
    family("bigint unsigned", &["0", "9223372036854775807", "9223372036854775808"]),
    family("bigint(20) unsigned", &["18446744073709551615", "null"]),
];

const DECIMALS: &[MariadbFamily] = &[
    family("decimal", &["0", "-9999999999", "9999999999"]),
    family("decimal(10,2)", &["0", "12345678.90", "-0.01", "null"]),
    family("decimal(10,2) unsigned", &["0.5", "99999999.99"]),
    family("decimal(1,0)", &["-9", "9"]),
    family("decimal(12,12)", &["0.5", "-0.000000000001"]),
    family("decimal(65,0)", &["99999999999999999999999999999999999999999999999999999999999999999"]),
    family(
        "decimal(65,30)",
        &["12345678901234567890123456789012345.123456789012345678901234567890"],
    ),
    family("numeric(20,4)", &["-1234567890123456.7891"]),
    family("fixed(6,3)", &["1.5"]),
];

const FLOATS: &[MariadbFamily] = &[
    family(
        "float",
        &[
            "0",
            "-0e0",
            "1",
            "0.1",
            "-2.5",
            "3.4028234e38",
            "1.2e-38",
            "1e6",
            "123456",
            "1234567",
            "16777217",
            "1e14",
            "1e15",
            "1e-15",
            "1e-16",
            "0.00001",
            "999999.5",
            "null",
        ],
    ),
    family("float unsigned", &["0", "7.25"]),
    family("float(7,3)", &["0", "1.5", "-1234.567"]),
    family(
        "double",
        &[
            "0",
            "-0e0",
            "1",
            "0.1e0",
            "0.1e0 + 0.2e0",
            "1.7976931348623157e308",
            "5e-324",
            "2.2250738585072014e-308",
            "1e14",
            "1e15",
            "123456789012345",
            "1234567890123456",
            "-1e-14",
            "1e-15",
            "1e-16",
            "1e22",
            "-2.5",
            "12345678901234.5678",
            "123456789012345678",
            "null",
        ],
    ),
    family("double unsigned", &["0", "1e300"]),
    family("double(10,2)", &["0", "3.25", "-12345678.9"]),
    family("real", &["1e-5", "100000"]),
    family("float(30)", &["0.1", "1e100"]),
];

const BITS: &[MariadbFamily] = &[
    family("bit", &["b'0'", "b'1'", "null"]),
    family("bit(1)", &["b'0'", "b'1'"]),
    family("bit(2)", &["b'00'", "b'11'"]),
    family("bit(8)", &["b'0'", "b'10000000'"]),
    family("bit(9)", &["b'100000001'"]),
    family("bit(64)", &["b'1'", "x'ffffffffffffffff'"]),
];

const TIMES: &[MariadbFamily] = &[
    family("year", &["0", "1901", "2155", "2026", "null"]),
    family(
        "date",
        &["'0000-00-00'", "'0001-01-01'", "'2026-01-31'", "'9999-12-31'", "'2026-00-00'", "null"],
    ),
    family(
        "time",
        &[
            "'00:00:00'",
            "'-838:59:59'",
            "'838:59:59'",
            "'24:00:00'",
            "'-00:00:01'",
            "'23:59:59'",
            "null",
        ],
    ),
    family("time(1)", &["'00:00:00.5'", "'-100:00:00.1'"]),
    family("time(3)", &["'12:34:56.789'", "'00:00:00'"]),
    family("time(6)", &["'12:34:56.000001'", "'-837:59:59.999999'", "'00:00:00'"]),
    family(
        "datetime",
        &[
            "'0000-00-00 00:00:00'",
            "'0001-01-01 00:00:00'",
            "'9999-12-31 23:59:59'",
            "'2026-02-00 10:00:00'",
            "null",
        ],
    ),
    family("datetime(1)", &["'2026-01-31 23:59:59.9'", "'2026-01-31 00:00:00'"]),
    family("datetime(3)", &["'2026-01-31 23:59:59.001'", "'0000-00-00 00:00:00'"]),
    family("datetime(6)", &["'2026-01-31 23:59:59.999999'", "'1969-12-31 23:59:59.000001'"]),
    family(
        "timestamp null",
        &[
            "'1970-01-01 00:00:01'",
            "'2038-01-19 03:14:07'",
            "'2026-01-31 12:00:00'",
            "'0000-00-00 00:00:00'",
            "null",
        ],
    ),
    family("timestamp(1) null", &["'2026-01-31 23:59:59.9'"]),
    family(
        "timestamp(3) null",
        &["'2026-01-31 23:59:59.001'", "'2026-01-31 00:00:00'", "'0000-00-00 00:00:00'"],
    ),
    family("timestamp(6) null", &["'2026-01-31 23:59:59.999999'", "'2026-01-31 23:59:59.25'"]),
];

const TEXTS: &[MariadbFamily] = &[
    family("char(5)", &["''", "'a'", "'aé☃😀z'", "null"]),
    family("char(0)", &["''", "null"]),
    family("char(255)", &["repeat('😀', 255)"]),
    family("nchar(3)", &["'naï'"]),
    family("varchar(0)", &["''"]),
    family(
        "varchar(40)",
        &["''", "' a '", "'naïve ☃ 😀'", "'two\\nlines\\tand a tab'", "'\\'\"\\\\%_'", "'NULL'"],
    ),
    family("varchar(16000)", &["repeat('x', 16000)", "repeat('😀', 4000)"]),
    family("nvarchar(9)", &["'naïve'"]),
    family("tinytext", &["''", "'😀'", "repeat('x', 255)"]),
    family("text", &["''", "'0'", "repeat('é', 32767)", "null"]),
    family("text(100)", &["'x'"]),
    family("mediumtext", &["repeat('😀', 20000)"]),
    family("longtext", &["''", "repeat('long ', 60000)"]),
    of_mariadb("varchar(99) compressed", &["''", "repeat('a', 99)"]),
    of_mariadb("text compressed", &["repeat('naïve ', 500)"]),
];

const CHARSETS: &[MariadbFamily] = &[
    family("varchar(20) character set latin1", &["'é'", "'€ÿ'", "''"]),
    family("char(5) character set latin1", &["'é'"]),
    family("text character set latin1", &["repeat('ü', 300)"]),
    family("varchar(20) character set ascii", &["'plain'"]),
    family("varchar(20) character set latin2", &["'ąęł'"]),
    family("varchar(20) character set cp1251", &["'Привет'"]),
    family("varchar(20) character set koi8r", &["'Привет'"]),
    family("varchar(20) character set greek", &["'αβγ'"]),
    family("varchar(20) character set hebrew", &["'שלום'"]),
    family("varchar(20) character set sjis", &["'表ソ'"]),
    family("varchar(20) character set ujis", &["'日本'"]),
    family("varchar(20) character set gbk", &["'中文'"]),
    family("varchar(20) character set big5", &["'中文許'"]),
    family("varchar(20) character set euckr", &["'한국'"]),
    family("varchar(20) character set tis620", &["'ไทย'"]),
    family("varchar(20) character set ucs2", &["'naïve ☃'"]),
    family("varchar(20) character set utf16", &["'naïve 😀'"]),
    family("varchar(20) character set utf16le", &["'😀'"]),
    family("varchar(20) character set utf32", &["'😀'"]),
    family("text character set utf32", &["repeat('😀', 1000)"]),
    family("varchar(20) character set utf8mb3", &["'☃'"]),
    family("varchar(20) collate utf8mb4_bin", &["'Aa😀'"]),
    family("varchar(20) collate utf8mb4_unicode_ci", &["'Aa😀'"]),
    family("varchar(20) character set binary", &["'a😀'", "x'ff00'"]),
];

const BYTES: &[MariadbFamily] = &[
    family("binary(3)", &["''", "'ab'", "x'ff00ff'", "null"]),
    family("binary(16)", &["x'00112233445566778899aabbccddeeff'"]),
    family("varbinary(20)", &["''", "x'00'", "'text'", "x'fffe5c270a0d1a'", "null"]),
    family("tinyblob", &["x'ff'"]),
    family("blob", &["''", "x'ff00'", "repeat(x'00ff', 20000)"]),
    family("mediumblob", &["repeat('b', 100000)"]),
    family("longblob", &["x'1f8b0800'"]),
    of_mariadb("blob compressed", &["repeat(x'00', 2000)"]),
    of_mariadb("varbinary(50) compressed", &["repeat(x'ab', 50)"]),
];

const CHOICES: &[MariadbFamily] = &[
    family(
        "enum('a','b c','','1','naïve 😀')",
        &["'a'", "'b c'", "''", "'1'", "'naïve 😀'", "null"],
    ),
    family("enum('a','é') character set latin1", &["'é'"]),
    family("set('x','y z','1','😀')", &["''", "'x'", "'x,y z,😀'", "'1'", "null"]),
    family("set('é','ü') character set latin1", &["'é,ü'"]),
];

const GEOMETRY: &[MariadbFamily] = &[
    family("geometry", &["point(1, 2)", "st_geomfromtext('linestring(0 0,1 1)', 4326)", "null"]),
    family("point", &["point(-0.5, 1e300)"]),
    family("linestring", &["linestring(point(0, 0), point(1, 1))"]),
    family("polygon", &["st_geomfromtext('polygon((0 0,1 0,1 1,0 0))')"]),
    family("multipoint", &["st_geomfromtext('multipoint(0 0,1 1)')"]),
    family("multilinestring", &["st_geomfromtext('multilinestring((0 0,1 1),(2 2,3 3))')"]),
    family("multipolygon", &["st_geomfromtext('multipolygon(((0 0,1 0,1 1,0 0)))')"]),
    family("geometrycollection", &["st_geomfromtext('geometrycollection(point(1 1))')"]),
];

const OTHERS: &[MariadbFamily] = &[
    family("json", &["'{\"a\": [1, 2.50, \"x\"]}'", "'null'", "'\"naïve 😀\"'", "'[]'", "null"]),
    of_mariadb(
        "uuid",
        &[
            "'00000000-0000-0000-0000-000000000000'",
            "'6CCD780C-BABA-1026-9564-5B8C656024DB'",
            "null",
        ],
    ),
    of_mariadb("inet4", &["'0.0.0.0'", "'127.0.0.1'", "'255.255.255.255'", "null"]),
    of_mariadb("inet6", &["'::'", "'::1'", "'2001:db8::ff00:42:8329'", "'::ffff:1.2.3.4'", "null"]),
];

/// Expressions whose type is the server's choice: only read. Not pi(), of which the client prints six decimals, and
/// Rowgate returns all.
pub(super) const MARIADB_EXPRESSIONS: &[&str] = &[
    "null",
    "1 = 1",
    "-1",
    "18446744073709551615",
    "9223372036854775807 + 0",
    "cast(-1 as unsigned)",
    "1/3",
    "1.50",
    "-0.00",
    "sqrt(2)",
    "1e0/3",
    "rand(7)",
    "12345678901234567890.123 * 2",
    "'naïve 😀'",
    "_latin1 x'e9'",
    "_utf16 x'd83dde00'",
    "x'00ff'",
    "b'101'",
    "concat('a', 1, null)",
    "concat('a', 1, 2.5)",
    "cast('a' as binary(3))",
    "cast('2026-01-31' as date)",
    "cast('0000-00-00' as date)",
    "cast('12:00:00.5' as time(3))",
    "maketime(-838, 59, 59)",
    "sec_to_time(90061.5)",
    "timediff('2026-01-02 00:00:00', '2026-01-01 00:00:00.25')",
    "timestamp('2026-01-31 23:59:59.123')",
    "from_unixtime(1.5)",
    "unix_timestamp('2026-01-31 00:00:00.5')",
    "date_add('2026-01-31', interval 1 month)",
    "date_format('2026-01-31', '%W %d %M %Y')",
    "extract(day_microsecond from '2026-01-31 23:59:59.000001')",
    "json_extract('{\"a\": [1, \"😀\"]}', '$.a')",
    "json_object('a', 1, 'b', null, 'c', 1.50, 'd', true)",
    "json_arrayagg(1)",
    "group_concat('😀' separator '; ')",
    "coalesce(null, 1, 'a')",
    "if(true, 1, 2.50)",
    "case when true then date '2026-01-31' else 'never' end",
    "greatest(1, 2.5, 3e0)",
    "inet_aton('255.255.255.255')",
    "inet6_aton('::1')",
    "bit_count(255)",
    "1 << 63",
    "~0",
    "hex(_utf8mb4'😀')",
    "md5('a')",
    "unhex(md5('a'))",
    "st_astext(point(1, 2))",
    "point(1, 2)",
    "repeat('x', 200000)",
    "(select sum(n) from (select 1 as n union all select 2) as two)",
    "(select avg(n) from (select 1 as n union all select 2) as two)",
    "(select std(n) from (select 1e0 as n union all select 2) as two)",
    "(select bit_or(n) from (select 1 as n union all select 6) as two)",
    "(select max(n) from (select '😀' as n union all select 'a') as two)",
    "@@version_comment is null",
    "convert('é' using latin1)",
    "format(1234567.891, 2)",
    "truncate(1.999, 1)",
    "round(2.5e0)",
    "conv('ff', 16, 10)",
    "interval(3, 1, 2, 5)",
    "row(1, 2) = row(1, 2)",
];
