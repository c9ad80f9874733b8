"""Placeholders: what `%s` and `%(name)s` become."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest

from rowgate import dbapi
from rowgate.dbapi._casts import cast, common, uncast
from rowgate.dbapi._paramstyle import bind, bind_numbered


@pytest.mark.parametrize(
    ("operation", "parameters", "sql", "values"),
    [
        ("select 1 % 2", None, "select 1 % 2", []),
        ("select '%s'", None, "select '%s'", []),
        ("select 5 %% 2", (), "select 5 % 2", []),
        ("select %s, %s", (7, "a"), "select $1, $2", [7, "a"]),
        ("select %(b)s, %(a)s, %(b)s", {"a": 1, "b": 2, "c": 3}, "select $1, $2, $1", [2, 1]),
        ("select '100%%' like %s", ["1%"], "select '100%' like $1", ["1%"]),
        ("in %s and %s", ((1, 2), 3), "in ($1, $2) and $3", [1, 2, 3]),
        ("(a, b) in %(x)s or %(x)s", {"x": ((1, 2), (3, 4))}, "(a, b) in (($1, $2), ($3, $4)) or (($1, $2), ($3, $4))", [1, 2, 3, 4]),
        ("%%%s%%", ("x",), "%$1%", ["x"]),
    ],
)
def test_placeholders_become_numbers(operation: str, parameters: Any, sql: str, values: list[Any]) -> None:
    assert bind(operation, parameters, uncast) == (sql, values)


@pytest.mark.parametrize(
    ("operation", "parameters", "message"),
    [
        ("select %d", (1,), "'%d' at character 8"),
        ("select %", (1,), "'%' at character 8"),
        ("select %(a", {"a": 1}, "'%\\(' at character 8"),
        ("select %s, %(a)s", (1,), "mixes"),
        ("select %s", (), "1 placeholders, and 0 parameters"),
        ("select %s", (1, 2), "1 placeholders, and 2 parameters"),
        ("select %(a)s", {"b": 1}, "'a' is missing"),
        ("select %(a)s", (1,), "must be a mapping"),
        ("select %s", {"a": 1}, "must be a sequence"),
        ("select %s", "x", "of the type str"),
        ("select %s", 1, "of the type int"),
    ],
)
def test_what_does_not_fit_is_an_error(operation: str, parameters: Any, message: str) -> None:
    with pytest.raises(dbapi.ProgrammingError, match=message):
        bind(operation, parameters, uncast)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "::bool"),
        (1, "::int2"),
        (-(1 << 15), "::int2"),
        (1 << 15, "::int4"),
        (1 << 31, "::int8"),
        (1 << 63, "::numeric"),
        (0.5, "::float8"),
        (decimal.Decimal("1.5"), "::numeric"),
        ("text", ""),
        (None, ""),
        (b"\0", "::bytea"),
        (datetime.date(2026, 1, 1), "::date"),
        (datetime.datetime(2026, 1, 1), "::timestamp"),
        (datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), "::timestamptz"),
        (datetime.time(1), "::time"),
        (datetime.timedelta(1), "::interval"),
        ([1, None, 70_000], "::int4[]"),
        ([[1.5], [2.5]], "::float8[]"),
        (["a"], ""),
        ([], ""),
    ],
)
def test_postgresql_gets_the_type_of_the_value(value: Any, written: str) -> None:
    assert cast(value) == (f"{{}}{written}" if written else "")


def test_many_rows_share_the_widest_integer() -> None:
    assert common([1, None, 1 << 40]) == "int8"
    assert common([None, None]) == ""
    assert common([1.5, None]) == "float8"


def test_other_types_are_shared_where_each_value_means_the_same() -> None:
    decimals, floats = [1, decimal.Decimal("1.5")], [1, 1.5]
    assert [common(decimals, True), common(floats, True)] == ["numeric", "float8"]
    assert [common(decimals), common(floats), common([1 << 60, 1.5], True)] == [None, None, None]
    assert [common([1, "one"], True), common(["one", datetime.date(2026, 1, 1)])] == [None, None]


@pytest.mark.parametrize(
    ("operation", "parameters", "sql"),
    [
        ("select $1, $2::text, $1", (1, 2), "select $1::int2, $2::text, $1::int2"),
        ("select '$1', \"$1\", $1 -- $1", (1,), "select '$1', \"$1\", $1::int2 -- $1"),
        ("select $a$ $1 $a$, $$ $1 $$, E'\\'$1', $1", (1,), "select $a$ $1 $a$, $$ $1 $$, E'\\'$1', $1::int2"),
        ("select $1 /* $1 */", ("a",), "select $1 /* $1 */"),
        ("select %s", (1,), "select $1::int2"),
        ("select %(a)s", {"a": 1}, "select $1::int2"),
        ("select a ? 'b' and $1", (True,), "select a ? 'b' and $1::bool"),
        ("select 5 % 2", (), "select 5 % 2"),
    ],
)
def test_numbers_get_the_types_of_their_values_where_they_have_none(operation: str, parameters: Any, sql: str) -> None:
    assert bind_numbered(operation, parameters, cast, False)[0] == sql


def test_question_marks_are_numbered_for_sqlite() -> None:
    assert bind_numbered("select ?, '?', ? -- ?", (1, 2), uncast, True) == ("select $1, '?', $2 -- ?", (1, 2))
    assert bind_numbered("select ?2, ?1, ?, ?12", (1,) * 12, uncast, True)[0] == "select $2, $1, $3, $12"
