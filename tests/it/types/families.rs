//! The values that are compared: by family, as the text that a person would write.

/// Values of one type.
pub(super) struct Family {
    /// The type, as a column is declared.
    pub(super) declared: &'static str,
    /// The first version of PostgreSQL that has it.
    pub(super) since: u32,
    /// The values, as literals.
    pub(super) values: &'static [&'static str],
}

const fn family(declared: &'static str, values: &'static [&'static str]) -> Family {
    Family { declared, since: 13, values }
}

const fn since(since: u32, declared: &'static str, values: &'static [&'static str]) -> Family {
    Family { declared, since, values }
}

/// The schema that some of the types need.
pub(super) const SETUP: &str = r#"
create extension hstore; create extension ltree; create extension citext;
create extension cube; create extension seg; create extension isn;
create type mood as enum ('sad', 'ok', 'very happy', 'naïve,"quoted"');
create domain positive as int4 check (value > 0);
create domain label as text;
create domain label_of_label as label;
create domain grades as int4[];
create type pair as (number int4, name text);
create type nested as (id int8, pair pair, list int4[], moods mood[], price numeric, made timestamptz);
create type void_of_fields as ();
create domain checked_pair as pair check ((value).number is not null);
create type float_range as range (subtype = float8, subtype_diff = float8mi);
create type "Mixed Case" as enum ('A', 'b');
create schema other; create type other.mood as enum ('elsewhere');
"#;

/// Types whose values can be written as literals and stored in a column.
pub(super) const FAMILIES: &[&[Family]] =
    &[NUMBERS, TEXTS, TIMES, NETWORK, GEOMETRY, RANGES, ARRAYS, OWN, EXTENSIONS, SYSTEM];

const NUMBERS: &[Family] = &[
    family("bool", &["t", "f"]),
    family("int2", &["0", "-32768", "32767"]),
    family("int4", &["0", "-2147483648", "2147483647"]),
    family("int8", &["0", "-9223372036854775808", "9223372036854775807"]),
    family("oid", &["0", "4294967295"]),
    family(
        "float4",
        &[
            "0",
            "-0",
            "1",
            "0.1",
            "3.4028235e38",
            "1e-45",
            "1e6",
            "123456",
            "1234567",
            "0.0001",
            "0.00001",
            "NaN",
            "Infinity",
            "-Infinity",
            "16777217",
            "-2.5",
        ],
    ),
    family(
        "float8",
        &[
            "0",
            "-0",
            "1",
            "0.1",
            "0.3",
            "1.7976931348623157e308",
            "5e-324",
            "1e15",
            "1e14",
            "123456789012345",
            "1234567890123456",
            "0.0001",
            "0.00001",
            "NaN",
            "Infinity",
            "-Infinity",
            "-2.5",
            "1e22",
            "2.2250738585072014e-308",
        ],
    ),
    family(
        "numeric",
        &[
            "0",
            "-0.0",
            "1",
            "NaN",
            "0.00000000000000000001",
            "-12345.67890",
            "1e1000",
            "1e-1000",
            "100",
            "10000",
            "0.5000",
            "99999999999999999999999999999999.999999999999",
        ],
    ),
    since(14, "numeric", &["Infinity", "-Infinity"]),
    family("numeric(10,2)", &["0", "12345678.90", "-0.01"]),
    family("money", &["0", "1234567.89", "-0.05", "92233720368547758.07"]),
];

const TEXTS: &[Family] = &[
    family("text", &["", " ", "a", "naïve ☃ 𝄞", "two\nlines\tand a tab", "'\"\\", "NULL", "{}"]),
    family("varchar", &["", "abc"]),
    family("varchar(5)", &["", "abcde"]),
    family("bpchar(6)", &["", "ab", "abcdef"]),
    family("name", &["", "a_name", "pg_catalog"]),
    family(r#""char""#, &["a", "", "~"]),
    family("bytea", &["", "\\x00ff", "\\xdeadbeef", "\\x275c"]),
    family(
        "uuid",
        &["00000000-0000-0000-0000-000000000000", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
    ),
    family("json", &["null", "{\"a\":  1, \"a\": 2}", "[1, 2.50, \"x\"]", "\"naïve\"", "1e400"]),
    family("jsonb", &["null", "{\"b\": 1, \"a\": {\"c\": [1, 2.50]}}", "[]", "1e400", "\"☃\""]),
    family("jsonpath", &["$.a[*] ? (@ > 1)", "lax $", "strict $.\"b c\""]),
    family("xml", &["<a b=\"c\">d</a>", "text only", "<?xml version=\"1.0\"?><a/>"]),
    family("bit(3)", &["101", "000"]),
    family("bit varying", &["", "1", "10101010101"]),
    family("tsvector", &["", "'a' 'b':1,2A 'c d':3", "the quick fox"]),
    family("tsquery", &["", "'a' & !'b'", "fat <-> (cat | rat:*A)"]),
    family("refcursor", &["a cursor"]),
];

const TIMES: &[Family] = &[
    family(
        "date",
        &[
            "2026-01-31",
            "0001-01-01",
            "9999-12-31",
            "4713-01-01 BC",
            "5874897-12-31",
            "infinity",
            "-infinity",
            "2000-02-29",
        ],
    ),
    family("time", &["00:00:00", "23:59:59.999999", "24:00:00", "12:34:56.7"]),
    family("time(0)", &["12:34:56.7"]),
    family("timetz", &["00:00:00+00", "23:59:59.999999-12:34:56", "12:00:00+14", "24:00:00-15:59"]),
    family(
        "timestamp",
        &[
            "2026-01-31 23:59:59.999999",
            "0001-01-01 00:00:00",
            "4714-11-24 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "infinity",
            "-infinity",
            "1999-12-31 23:59:59.5",
        ],
    ),
    family(
        "timestamptz",
        &[
            "2026-01-31 23:59:59.999999+02",
            "1970-01-01 00:00:00+00",
            "1969-12-31 23:59:59.9+00",
            "0001-01-01 00:00:00+00",
            "9999-12-31 23:59:59.999999+00",
            "0001-12-31 23:59:59 BC",
            "10000-01-01 00:00:00+00",
            "0044-03-15 12:00:00+00 BC",
            "4714-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "infinity",
            "-infinity",
            "2000-02-29 12:00:00.000001+00",
        ],
    ),
    family(
        "interval",
        &[
            "0",
            "1 year 2 mons 3 days 04:05:06.789",
            "-1 year -2 days",
            "-00:00:01",
            "178000000 years",
            "1 mon -1 day",
            "100 hours",
            "-1 mon +2 days -03:00:00",
        ],
    ),
    family("interval day to second", &["1 day 02:03:04.5"]),
];

const NETWORK: &[Family] = &[
    family("inet", &["192.168.0.1", "192.168.0.1/24", "::1", "2001:db8::ff/64", "10.0.0.0/8"]),
    family("cidr", &["192.168.0.0/24", "::/0", "10.0.0.1/32"]),
    family("macaddr", &["08:00:2b:01:02:03", "08002b:010203"]),
    family("macaddr8", &["08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03"]),
];

const GEOMETRY: &[Family] = &[
    family("point", &["(1,2)", "(-0.5,1e300)", "(NaN,Infinity)"]),
    family("line", &["{1,2,3}", "{0,-1,0.5}"]),
    family("lseg", &["[(1,2),(3,4)]"]),
    family("box", &["(3,4),(1,2)", "(1,2),(3,4)"]),
    family("path", &["[(1,2),(3,4)]", "((1,2),(3,4))"]),
    family("polygon", &["((1,2),(3,4),(5,6))"]),
    family("circle", &["<(1,2),3>"]),
];

const RANGES: &[Family] = &[
    family("int4range", &["empty", "[1,5)", "(,)", "[3,]", "(1,2)"]),
    family("int8range", &["[1,9223372036854775806]", "(,0)"]),
    family("numrange", &["[1.5,2.5)", "(,1e100]", "empty"]),
    family("daterange", &["[2026-01-01,2026-02-01)", "[,infinity)"]),
    family("tsrange", &["[\"2026-01-01 00:00:00\",\"2026-01-02 12:00:00\")"]),
    family("tstzrange", &["[\"2026-01-01 00:00:00+02\",infinity]", "(,)"]),
    family("float_range", &["[0.1,0.3)", "empty"]),
    family("int4range[]", &["{\"[1,5)\",empty,NULL}"]),
    since(14, "int4multirange", &["{}", "{[1,5),[10,)}"]),
    since(14, "tstzmultirange", &["{[\"2026-01-01 00:00:00+00\",\"2026-01-02 00:00:00+00\")}"]),
    since(14, "int4multirange[]", &["{\"{[1,2)}\",\"{}\"}"]),
];

const ARRAYS: &[Family] = &[
    family("bool[]", &["{t,f,NULL}"]),
    family(
        "int4[]",
        &[
            "{}",
            "{1,NULL,3}",
            "{{1,2},{3,4}}",
            "[0:2]={1,2,3}",
            "[-1:0][5:6]={{1,2},{3,NULL}}",
            "{{{1},{2}},{{3},{4}}}",
        ],
    ),
    family("int8[]", &["{-9223372036854775808}"]),
    family("float4[]", &["{0.1,NaN,1e30,-Infinity}"]),
    family("float8[]", &["{0.1,NaN,1e300,-0}"]),
    family("numeric[]", &["{1.10,NaN,NULL}"]),
    family(
        "text[]",
        &["{}", "{NULL,\"NULL\",\"\",\" a\",\"a,b\",\"{x}\",\"q\\\"q\",\"b\\\\s\",plain,naïve}"],
    ),
    family("varchar(5)[]", &["{abcde}"]),
    family("bytea[]", &["{\"\\\\xdead\",\"\\\\x\"}"]),
    family("uuid[]", &["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"]),
    family("jsonb[]", &["{\"{\\\"a\\\": 1}\",null}"]),
    family("date[]", &["{2026-01-31,infinity}"]),
    family("timestamptz[]", &["{\"2026-01-31 00:00:00+00\",infinity,NULL}"]),
    family("interval[]", &["{\"1 day\",\"-1 mons\"}"]),
    family("inet[]", &["{192.168.0.1,10.0.0.0/8}"]),
    family("point[]", &["{\"(1,2)\"}"]),
    family("box[]", &["{(3,4),(1,2);(1,1),(0,0)}"]),
    family("mood[]", &["{sad,\"very happy\",NULL}"]),
    family("positive[]", &["{1,2}"]),
    family("pair[]", &["{\"(1,a)\",\"(,\\\"b c\\\")\",NULL}"]),
    family("hstore[]", &["{\"\\\"a\\\"=>\\\"1\\\"\"}"]),
];

const OWN: &[Family] = &[
    family("mood", &["sad", "very happy", "naïve,\"quoted\""]),
    family("other.mood", &["elsewhere"]),
    family("\"Mixed Case\"", &["A", "b"]),
    family("positive", &["1"]),
    family("label", &["a label"]),
    family("label_of_label", &["a label"]),
    family("grades", &["{1,2,NULL}"]),
    family("pair", &["(1,a)", "(,)", "(2,\"\")", "(3,\"a \\\"b\\\", (c) \\\\\")", "(4,naïve)"]),
    family(
        "nested",
        &[
            "(1,\"(2,\"\"x y\"\")\",\"{1,NULL}\",\"{sad,\"\"very happy\"\"}\",1.50,\"2026-01-31 00:00:00+00\")",
            "(,,,,,)",
            "(5,\"(,)\",{},{},NaN,infinity)",
        ],
    ),
    family("checked_pair", &["(1,a)"]),
];

const EXTENSIONS: &[Family] = &[
    family("hstore", &["", "a=>1, b=>NULL, \"c d\"=>\"x\\\"y\""]),
    family("ltree", &["Top.Science.Astronomy", ""]),
    family("lquery", &["*.foo{2}.bar|baz"]),
    family("ltxtquery", &["Europe & Russia*@ & !Transportation"]),
    family("citext", &["MiXed", ""]),
    family("cube", &["(1, 2, 3)", "(0, 0),(1, 1)"]),
    family("seg", &["1.5 .. 2.5", "7(+-)1"]),
    family("isbn13", &["978-0-393-04002-9"]),
    family("citext[]", &["{A,b,NULL}"]),
];

const SYSTEM: &[Family] = &[
    family("pg_lsn", &["0/0", "16/B374D848"]),
    family("xid", &["0", "4294967295"]),
    family("xid8", &["18446744073709551615"]),
    family("cid", &["7"]),
    family("tid", &["(0,1)", "(4294967295,65535)"]),
    family("pg_snapshot", &["10:20:10,14,15"]),
    family("txid_snapshot", &["10:20:10,14,15"]),
    family("oidvector", &["1 2 3", ""]),
    family("int2vector", &["1 -2 3"]),
    family("regclass", &["pg_class", "pg_catalog.pg_type"]),
    family("regtype", &["int4", "mood[]", "other.mood"]),
    family("regproc", &["boolin"]),
    family("regprocedure", &["lower(text)"]),
    family("regoper", &["pg_catalog.||/"]),
    family("regoperator", &["+(int4,int4)"]),
    family("regrole", &["postgres"]),
    family("regnamespace", &["pg_catalog", "other"]),
    family("regconfig", &["english"]),
    family("regdictionary", &["simple"]),
    family("regcollation", &["\"C\""]),
    family("aclitem", &["postgres=r/postgres"]),
    family("aclitem[]", &["{postgres=r/postgres,=w/postgres}"]),
];

/// Expressions that no column can hold, or that no literal expresses: only read.
pub(super) const EXPRESSIONS: &[&str] = &[
    "row(1, 'a'::text, null, 2.5::numeric)",
    "row(row(1, 2), array[1, null], 'a b'::text)",
    "row()",
    "row(true, '2026-01-31 00:00:00+00'::timestamptz, '\\xff'::bytea)",
    "pg_sleep(0)",
    "array[row(1, 'a'::text), row(2, null)]",
    "null",
    "null::int4[]",
    "null::pair",
    "'unknown literal'",
    "array[]::text[]",
    "repeat('x', 200000)",
    "(repeat('9', 4000) || '.' || repeat('1', 4000))::numeric",
    "array(select n from generate_series(1, 5000) as n)",
    "(select p from (select 1 as number, 'a'::text as name) as p)",
    "current_schemas(true)",
    "(select typdefault from pg_type where typname = 'int4')",
    "to_tsvector('english', 'The quick brown foxes')",
    "convert_to('naïve', 'LATIN1')",
    "xmlelement(name a, xmlattributes(1 as b), 'c')",
    "jsonb_build_object('a', 1, 'b', array[1, 2])",
    "age('2026-01-31'::timestamp, '2020-02-29'::timestamp)",
];
