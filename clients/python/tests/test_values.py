"""Values: parsers without a server, and every family there and back on the real databases."""

import math
import pickle
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv6Network
from typing import Any
from uuid import UUID

import pytest

import rowgate
from rowgate import Array, DatabaseText, Interval, Json, Multirange, Range
from rowgate._values import encode
from rowgate._values._interval import ExactTimedelta, interval_text, parse_interval
from rowgate._values._ranges import parse_multirange, parse_range
from rowgate._values._temporal import parse_date, parse_datetime, parse_time, parse_timetz

UTC = timezone.utc


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00:00:00", timedelta(0)),
        ("3 days 04:05:06.789", timedelta(days=3, hours=4, minutes=5, seconds=6, milliseconds=789)),
        ("-04:05:06", -timedelta(hours=4, minutes=5, seconds=6)),
        ("1 day", timedelta(days=1)),
        ("24:00:00", timedelta(days=1)),
        ("-1 days +02:00:00", timedelta(hours=-22)),
        ("1 year 2 mons 3 days 04:05:06", Interval(14, 3, 14_706_000_000)),
        ("-1 years -2 mons +3 days", Interval(-14, 3, 0)),
        ("178956970 years 7 mons", Interval(2_147_483_647)),
        ("999999999 days 24:00:00", Interval(0, 999_999_999, 86_400_000_000)),
    ],
)
def test_intervals_are_read(text: str, value: Any) -> None:
    assert parse_interval(text) == value


def test_an_interval_that_a_timedelta_does_not_keep_keeps_its_text() -> None:
    whole = parse_interval("36:00:00")
    assert isinstance(whole, ExactTimedelta) and whole == timedelta(hours=36)
    assert interval_text(whole) == "36:00:00"
    assert pickle.loads(pickle.dumps(whole)).text == "36:00:00"
    assert interval_text(timedelta(days=2, seconds=1)) == "2 00:00:01"
    assert interval_text(timedelta(hours=-36)) == "-36:00:00"
    assert interval_text(timedelta(days=-2)) == "-2 00:00:00"
    assert parse_interval("infinity") is None


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_date, "2026-01-31", date(2026, 1, 31)),
        (parse_date, "0044-03-15 BC", None),
        (parse_date, "10000-01-01", None),
        (parse_date, "0000-00-00", None),
        (parse_date, "infinity", None),
        (parse_time, "23:59:59.5", time(23, 59, 59, 500_000)),
        (parse_time, "24:00:00", None),
        (parse_time, "-838:59:59", -timedelta(hours=838, minutes=59, seconds=59)),
        (parse_timetz, "23:59:59.000001+02", time(23, 59, 59, 1, timezone(timedelta(hours=2)))),
        (parse_timetz, "01:02:03-05:30", time(1, 2, 3, 0, timezone(-timedelta(hours=5, minutes=30)))),
        (parse_datetime, "2026-01-31 23:59:59", datetime(2026, 1, 31, 23, 59, 59)),
        (parse_datetime, "2026-01-31 23:59:59.1", datetime(2026, 1, 31, 23, 59, 59, 100_000)),
        (parse_datetime, "2026-01-31 23:59:59.000001Z", datetime(2026, 1, 31, 23, 59, 59, 1, UTC)),
        (parse_datetime, "2026-01-31T23:59", datetime(2026, 1, 31, 23, 59)),
        (parse_datetime, "2026-02-30 00:00:00", None),
        (parse_datetime, "0000-00-00 00:00:00", None),
        (parse_datetime, "2026-01-31 23:59:59.1234567", None),
        (parse_datetime, "20260131 235959", None),
    ],
)
def test_dates_and_times_are_read(parse: Any, text: str, value: Any) -> None:
    assert parse(text) == value


def test_ranges_are_read_and_written() -> None:
    for text in ("[1,5)", "(,)", "empty", "[2,)"):
        assert str(parse_range(text, int)) == text
    quoted = '["a,b","c""d\\\\e")'
    parsed = parse_range(quoted, str)
    assert (parsed.lower, parsed.upper) == ("a,b", 'c"d\\e')
    assert parse_range(str(parsed), str) == parsed
    assert parse_range('["",b]', str) == Range("", "b", "[]")
    assert parse_multirange("{[1,3),[5,8)}", int) == Multirange([Range(1, 3), Range(5, 8)])
    assert str(parse_multirange("{}", int)) == "{}"
    assert 3 in Range(1, 5) and 5 not in Range(1, 5) and 5 in Range(1, 5, "[]") and 3 not in Range(empty=True)


# What PostgreSQL's expressions are in Python, and as a parameter again.
FAMILIES = [
    ("boolean", "true", True),
    ("int2", "'-32768'", -32768),
    ("int8", "9223372036854775807", 2**63 - 1),
    ("oid", "4294967295", 2**32 - 1),
    ("float4", "0.1", 0.10000000149011612),
    ("float8", "'-Infinity'", -math.inf),
    ("numeric", "1.50", Decimal("1.50")),
    ("numeric", "'-Infinity'", Decimal("-Infinity")),
    ("numeric", "123456789012345678901234567890.123456789", Decimal("123456789012345678901234567890.123456789")),
    ("text", "'häß 😀 '''", "häß 😀 '"),
    ("bytea", "'\\x00ff'", b"\x00\xff"),
    ("uuid", "'9bd7b9a6-6b1e-4a5c-9b1e-000000000001'", UUID("9bd7b9a6-6b1e-4a5c-9b1e-000000000001")),
    ("date", "'2026-01-31'", date(2026, 1, 31)),
    ("date", "'infinity'", DatabaseText("infinity")),
    ("date", "'0044-03-15 BC'", DatabaseText("0044-03-15 BC")),
    ("time", "'23:59:59.999999'", time(23, 59, 59, 999_999)),
    ("time", "'24:00:00'", DatabaseText("24:00:00")),
    ("timetz", "'23:59:59+02'", time(23, 59, 59, 0, timezone(timedelta(hours=2)))),
    ("timestamp", "'2026-01-31 23:59:59.5'", datetime(2026, 1, 31, 23, 59, 59, 500_000)),
    ("timestamp", "'10000-01-01'", DatabaseText("10000-01-01 00:00:00")),
    ("timestamptz", "'2026-01-31 23:59:59.000001+00'", datetime(2026, 1, 31, 23, 59, 59, 1, UTC)),
    ("timestamptz", "'1969-12-31 23:59:59.5+00'", datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC)),
    ("timestamptz", "'1970-01-01 00:00:00+00'", datetime(1970, 1, 1, tzinfo=UTC)),
    ("timestamptz", "'-infinity'", DatabaseText("-infinity")),
    ("interval", "'3 days 04:05:06'", timedelta(days=3, hours=4, minutes=5, seconds=6)),
    ("interval", "'-1 day'", timedelta(days=-1)),
    ("interval", "'14 mons'", Interval(14)),
    ("jsonb", """'{"a": [1, null, "x"], "b": 1.5}'""", {"a": [1, None, "x"], "b": 1.5}),
    ("int4[]", "'{1,NULL,3}'", [1, None, 3]),
    ("int4[]", "'{{1,2},{3,4}}'", [[1, 2], [3, 4]]),
    ("int4[]", "'{}'", []),
    ("int4[]", "'[0:1]={1,2}'", Array([1, 2], [0])),
    ("numeric[]", "'{1.0,2.50}'", [Decimal("1.0"), Decimal("2.50")]),
    ("text[]", """'{"a,b",NULL,""}'""", ["a,b", None, ""]),
    ("uuid[]", "'{9bd7b9a6-6b1e-4a5c-9b1e-000000000001}'", [UUID("9bd7b9a6-6b1e-4a5c-9b1e-000000000001")]),
    ("date[]", "'{2026-01-31}'", [date(2026, 1, 31)]),
    ("int4range", "'[1,10)'", Range(1, 10)),
    ("numrange", "'(1.5,]'", Range(Decimal("1.5"), None, "()")),
    ("daterange", "'[2026-01-01,2026-02-01)'", Range(date(2026, 1, 1), date(2026, 2, 1))),
    ("tstzrange", "'[2026-01-01 00:00+00,)'", Range(datetime(2026, 1, 1, tzinfo=UTC))),
    ("int4range", "'empty'", Range(empty=True)),
    ("int4multirange", "'{[1,3),[5,8)}'", Multirange([Range(1, 3), Range(5, 8)])),
    ("int4range[]", """'{"[1,3)"}'""", [Range(1, 3)]),
    ("inet", "'192.168.0.1'", IPv4Address("192.168.0.1")),
    ("inet", "'10.0.0.5/8'", IPv4Interface("10.0.0.5/8")),
    ("cidr", "'2001:db8::/32'", IPv6Network("2001:db8::/32")),
    ("macaddr", "'08:00:2b:01:02:03'", "08:00:2b:01:02:03"),
    ("bit(3)", "'101'", "101"),
]


@pytest.mark.parametrize(("kind", "literal", "value"), FAMILIES, ids=[f"{kind} {text}" for kind, text, _ in FAMILIES])
def test_a_value_of_postgres_comes_and_goes_unchanged(
    postgres: rowgate.Connection, kind: str, literal: str, value: Any
) -> None:
    read = postgres.query(f"select {literal}::{kind}").scalar()
    assert read == value and type(read) in (type(value), ExactTimedelta)
    if isinstance(value, Array):
        assert read.lower_bounds == value.lower_bounds
    for sent in (read, value):
        same = f"select $1::{kind} is not distinct from {literal}::{kind}, $1::{kind}::text = {literal}::{kind}::text"
        assert tuple(postgres.query(same, sent).one()) == (True, True)


def test_a_column_of_jsonb_takes_a_dict_and_a_list_marked_as_json(postgres: rowgate.Connection) -> None:
    many = {"id": UUID(int=1), "at": date(2026, 1, 31), "price": Decimal("1.5"), "count": Decimal(3)}
    assert postgres.query("select $1::jsonb", many).scalar() == {
        "id": str(UUID(int=1)), "at": "2026-01-31", "price": 1.5, "count": 3
    }  # fmt: skip
    assert postgres.query("select $1::jsonb", Json([1, [2]])).scalar() == [1, [2]]
    with pytest.raises(ValueError, match="JSON number"):
        postgres.query("select $1::jsonb", {"a": Decimal("0.1000000000000000000001")})


def test_composites_and_enums(postgres: rowgate.Connection) -> None:
    with postgres.transaction() as tx:
        tx.query("create type mood as enum ('sad', 'happy')")
        tx.query("create type item as (name text, price numeric, mood mood)")
        row = tx.query("select row('x', 1.50, 'happy')::item, 'sad'::mood, array['sad']::mood[]").one()
        assert tuple(row) == (("x", "1.50", "happy"), "sad", ["sad"])
        again = tx.query("select $1::item = row('x', 1.50, 'happy')::item", ("x", Decimal("1.50"), "happy"))
        assert again.scalar() is True
        tx.rollback()


def test_mysql_keeps_its_own_families() -> None:
    from servers import address_of

    with rowgate.connect("rowgate://" + address_of("mysql")) as db:
        db.query("drop table if exists families")
        db.query(
            "create table families (u bigint unsigned, d decimal(30, 10), t time(6), dt datetime(6), ts timestamp(6) null,"
            " b bit(1), x blob, e enum('a', 'b'), j json, y date)"
        )
        values = (
            2**64 - 1, Decimal("12345678901234567890.0123456789"), timedelta(hours=-838, minutes=-59, seconds=-59),
            datetime(2026, 1, 31, 23, 59, 59, 500_000), datetime(2026, 1, 31, 12, 0, 0, 1, UTC), True, b"\x00\xff", "b",
            {"a": 1}, date(2026, 1, 31),
        )  # fmt: skip
        db.query("insert into families values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", *values)
        read = db.query("select * from families").one()
        assert tuple(read)[:8] == values[:8] and read.y == values[9]
        db.query("insert into families values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", *read)
        first, second = db.query("select * from families")
        assert first == second
        db.query("drop table families")


def test_sqlite_tells_values_by_what_they_are(sqlite: rowgate.Connection) -> None:
    sqlite.query("drop table if exists kinds")
    sqlite.query("create table kinds (b boolean, n numeric, d date, t timestamp, u uuid, j json, i integer)")
    values = (
        True, Decimal("1.5"), date(2026, 1, 31), datetime(2026, 1, 31, 1, 2, 3), UUID(int=5), {"a": [1]}, 7,
    )  # fmt: skip
    insert = "insert into kinds values ($1, $2, $3, $4, $5, $6, $7)"
    sqlite.query(insert, *values)
    sqlite.query(insert, "yes", "1_000", "someday", datetime(2026, 1, 31, tzinfo=UTC), "ABC", "{", "12 ")
    first, second = sqlite.query("select * from kinds")
    assert tuple(first) == values
    assert second[1:3] == ("1_000", "someday") and second.t == datetime(2026, 1, 31, tzinfo=UTC)
    assert (second.u, second.j) == ("ABC", "{") and isinstance(second.u, DatabaseText)
    sqlite.query("drop table kinds")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ({1, 2}, "send a list"),
        (object(), "convert it"),
        ([[1, 2], [3]], "of one length"),
        ([[1], 2], "of one length"),
        (Array([1], [0, 0]), "lower bounds"),
    ],
)
def test_what_has_no_form_is_told_before_anything_is_sent(value: Any, hint: str) -> None:
    with pytest.raises((TypeError, ValueError), match=hint):
        encode(value)


def test_the_parameter_is_named() -> None:
    with rowgate.connect("127.0.0.1:1") as db, pytest.raises(TypeError, match=r"parameter \$2: .* type object"):
        db.query("select $1, $2", 1, object())


def test_data_types_are_those_of_the_contract() -> None:
    from rowgate._proto import POOL

    contract = POOL.FindEnumTypeByName("rowgate.v1.DataType")
    theirs = {value.name.replace("DATA_TYPE_", ""): value.number for value in contract.values}
    assert theirs == {each.name: each.value for each in rowgate.DataType}
