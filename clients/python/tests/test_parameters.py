"""Parameters at the edges of their types: the same value there, or a clear refusal before anything is sent."""

import enum
import math
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import rowgate
from rowgate import DatabaseText, Json, Multirange, Range
from rowgate._values import encode

UTC = timezone.utc
EAST = timezone(timedelta(hours=14))
WEST = timezone(-timedelta(hours=12))


class Text(str):
    """A text whose `str` is another one."""

    def __str__(self) -> str:
        return "another"


class Color(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Plain(enum.Enum):
    ONE = 1


# PostgreSQL's type, what is sent, the expression that it must be the same as.
SENT: list = [
    ("numeric", 2**63, "9223372036854775808"),
    ("numeric", -(10**40), "-1" + "0" * 40),
    ("numeric", Decimal("NaN"), "'NaN'"),
    ("numeric", Decimal("sNaN"), "'NaN'"),
    ("numeric", Decimal("1E+30"), "1" + "0" * 30),
    ("numeric", Decimal("1E-30"), "0." + "0" * 29 + "1"),
    ("numeric", Decimal("-0.00"), "0.00"),
    ("float8", math.nan, "'NaN'"),
    ("float8", 5e-324, "5e-324"),
    ("float8", -0.0, "'-0'"),
    ("text", Text("mine"), "'mine'"),
    ("text", Color.RED, "'red'"),
    ("int4", Level.HIGH, "3"),
    ("bytea", bytearray(b"\x00\xff"), "'\\x00ff'"),
    ("bytea", memoryview(b"\x00\xff\x01\x02")[::2], "'\\x0001'"),
    ("bytea", b"", "''"),
    ("date", date.min, "'0001-01-01'"),
    ("date", date.max, "'9999-12-31'"),
    ("date", DatabaseText("-infinity"), "'-infinity'"),
    ("timestamp", datetime.min, "'0001-01-01 00:00:00'"),
    ("timestamp", datetime.max, "'9999-12-31 23:59:59.999999'"),
    ("timestamptz", datetime.min.replace(tzinfo=UTC), "'0001-01-01 00:00:00+00'"),
    ("timestamptz", datetime.max.replace(tzinfo=UTC), "'9999-12-31 23:59:59.999999+00'"),
    ("timestamptz", datetime.min.replace(tzinfo=EAST), "'0001-01-01 00:00:00+14'"),
    ("timestamptz", datetime.max.replace(tzinfo=WEST), "'9999-12-31 23:59:59.999999-12'"),
    ("timestamptz", datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1), "'2026-10-25 01:30+00'"),
    ("timetz", time(12, 0, tzinfo=EAST), "'12:00+14'"),
    ("interval", timedelta.max, "'999999999 days 23:59:59.999999'"),
    ("interval", timedelta.min, "'-999999999 days'"),
    ("interval", timedelta(microseconds=-1), "'-00:00:00.000001'"),
    ("int4[]", [], "'{}'"),
    ("int4[]", [None], "'{NULL}'"),
    ("int4[]", [[1, None], [None, 4]], "'{{1,NULL},{NULL,4}}'"),
    ("text[]", ["NULL", "", 'a"b\\c', None], """array['NULL', '', 'a"b\\c', null]"""),
    ("jsonb", {"deep": [{"none": None}, "é\u2028"], "big": 2**70}, f"""'{{"deep": [{{"none": null}}, "é\u2028"], "big": {2**70}}}'"""),
    ("jsonb", Json(None), "'null'"),
    ("jsonb", Json("text"), """'"text"'"""),
    ("daterange", Range(date(2026, 1, 1), DatabaseText("infinity")), "'[2026-01-01,infinity)'"),
    ("tstzrange", Range(datetime(2026, 1, 1, tzinfo=EAST), None, "()"), "'(2026-01-01 00:00+14,)'"),
    ("nummultirange", Multirange([Range(Decimal("1.5"), Decimal("2"), "[]")]), "'{[1.5,2]}'"),
    ("nummultirange", Multirange(), "'{}'"),
]


@pytest.mark.parametrize(("kind", "value", "literal"), SENT, ids=[f"{kind} {value!r:.40}" for kind, value, _ in SENT])
def test_a_value_at_the_edge_arrives_as_it_is(postgres: rowgate.Connection, kind: str, value: Any, literal: str) -> None:
    same = f"select $1::{kind}::text as sent, ({literal})::{kind}::text as meant, $1::{kind} as back"
    row = postgres.query(same, value).one()
    assert row.sent == row.meant
    if isinstance(value, Json):
        return  # JSON's null and texts are read as None and str
    again = postgres.query(f"select $1::{kind}::text", row.back).scalar()
    assert again == row.meant


def test_a_composite_has_its_nulls(postgres: rowgate.Connection) -> None:
    with postgres.transaction() as tx:
        tx.query("create type pair as (a int, b text)")
        row = tx.query("select $1::pair = row(1, null)::pair as is_same, $1::pair as back", (1, None)).one()
        assert (row.is_same, row.back) == (True, (1, None))
        assert tx.query("select ($1::pair[])[2]", [(1, "x"), (None, None)]).scalar() == (None, None)
        tx.rollback()


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (Plain.ONE, "send its name or its value"),
        (Fraction(1, 3), "a float cannot hold the Fraction 1/3"),
        (1j, "type complex"),
        ({1: "a"}, "a key of a JSON object is a str, not int"),
        ({"a": [{"b": {None: 1}}]}, "not NoneType"),
        (Json([{1: 2}]), "not int"),
        ({"a": math.nan}, "not JSON compliant"),
        ({"a": [math.inf]}, "not JSON compliant"),
        ({"a": {1, 2}}, "JSON has no form for set"),
        ((number for number in range(3)), "type generator"),
    ],
)
def test_what_would_become_another_value_is_refused(value: Any, hint: str) -> None:
    with pytest.raises((TypeError, ValueError), match=hint):
        encode(value)


@pytest.mark.parametrize("given", ["ab", b"ab", {"a": 1}, {1, 2}])
def test_parameters_are_a_sequence(given: Any) -> None:
    with rowgate.connect("127.0.0.1:1") as db, pytest.raises(TypeError, match=r"give a list or a tuple of them"):
        db.execute("select $1, $2", given)


def test_a_half_of_a_character_is_told_with_its_parameter() -> None:
    with rowgate.connect("127.0.0.1:1") as db, pytest.raises(ValueError, match=r"parameter \$2: .*surrogates"):
        db.query("select $1, $2", 1, "\ud800")


def test_numbers_of_numpy(postgres: rowgate.Connection) -> None:
    numpy = pytest.importorskip("numpy")
    found = postgres.query(
        "select $1::int8 as i, $2::float8 as f, $3::bool as b, $4::int4[] as a, $5::text as t, $6::float8 as n, $7::float4 as s",
        numpy.int64(2**40), numpy.float64(0.1), numpy.bool_(True), numpy.array([[1, 2], [3, 4]], dtype="int16"),
        numpy.str_("x"), numpy.float64("nan"), numpy.float32(0.1),
    ).one()  # fmt: skip
    assert tuple(found)[:5] == (2**40, 0.1, True, [[1, 2], [3, 4]], "x") and math.isnan(found.n)
    assert numpy.float32(found.s) == numpy.float32(0.1)
    with pytest.raises(TypeError, match="datetime64"):
        encode(numpy.datetime64("2026-01-01"))
    with pytest.raises(TypeError, match="longdouble|float128"):
        encode(numpy.longdouble(1) / 3)


def test_instants_of_pandas(postgres: rowgate.Connection) -> None:
    pandas = pytest.importorskip("pandas")
    naive, aware = pandas.Timestamp("2026-01-31 12:00:00.123456"), pandas.Timestamp("2026-01-31 12:00:00.123456", tz="Asia/Tokyo")
    row = postgres.query("select $1::timestamp as naive, $2::timestamptz as aware, $3::int as nothing", naive, aware, pandas.NaT).one()
    assert row == (datetime(2026, 1, 31, 12, 0, 0, 123456), datetime(2026, 1, 31, 3, 0, 0, 123456, UTC), None)
