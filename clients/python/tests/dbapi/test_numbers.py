"""Numbers that a float cannot hold, and floats that look like integers: they are computed with, and come back, as they are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from random import Random
from typing import Any, Callable

import pytest

from rowgate import dbapi

Connect = Callable[..., dbapi.Connection]
LONG = Decimal("12345678901234567890.1234567890")
STEP = Decimal("0.0000000001")

only_mysql = pytest.mark.parametrize("backend", ["mysql"], indirect=True)


@pytest.fixture
def numbers(connect: Connect) -> Iterator[dbapi.Cursor]:
    """A cursor with a table `numbers (id, b decimal(30, 10), u bigint unsigned, f double, t varchar)`."""
    with closing(connect()) as connection, connection.cursor() as cursor:
        cursor.execute("drop table if exists numbers")
        cursor.execute("create table numbers (id integer, b decimal(30, 10), u bigint unsigned, f double, t varchar(50))")
        yield cursor
        cursor.execute("drop table numbers")


def one(cursor: dbapi.Cursor, sql: str, *parameters: Any) -> Any:
    row = cursor.execute(sql, parameters).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else tuple(row)


@only_mysql
def test_decimals_are_computed_with_exactly(numbers: dbapi.Cursor) -> None:
    numbers.execute("insert into numbers values (1, %s, %s, %s, %s)", (LONG, 2**64 - 1, Decimal("1.1"), Decimal("1.10")))
    assert one(numbers, "select b, u, f, t from numbers") == (LONG, 2**64 - 1, 1.1, "1.10")
    assert numbers.execute("update numbers set b = b + %s where b = %s", (STEP, LONG)).rowcount == 1
    assert numbers.execute("update numbers set b = b + %s where b = %s and u = %s", (STEP, LONG, 2**64 - 1)).rowcount == 0
    numbers.executemany("update numbers set b = b + %s where id = %s", [(STEP, 1)] * 3)
    assert one(numbers, "select b from numbers") == Decimal("12345678901234567890.1234567894")
    found = one(numbers, "select %s + 1, %s, %s", Decimal("1.10"), 10**40, Decimal("1E+3"))
    assert [str(value) for value in found] == ["2.10", str(10**40), "1000"]


@only_mysql
def test_inserts_of_decimals_are_still_packed(numbers: dbapi.Cursor, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(n, Decimal(n).scaleb(-(n % 10))) for n in range(1200)]
    sent: list[int] = []
    database: Any = numbers.connection._database
    begin = database.transaction

    def counting(**options: Any) -> Any:
        transaction = begin(**options)
        pipeline = transaction.pipeline
        transaction.pipeline = lambda commands, **more: sent.append(len(commands)) or pipeline(commands, **more)
        return transaction

    monkeypatch.setattr(database, "transaction", counting)
    numbers.connection.commit()
    numbers.executemany("insert into numbers (id, b) values (%s, %s)", rows)
    assert sum(sent) < 10
    assert [tuple(row) for row in numbers.execute("select id, b from numbers order by id").fetchall()] == rows


@only_mysql
def test_what_no_decimal_of_the_database_holds_is_sent_as_text(numbers: dbapi.Cursor) -> None:
    assert one(numbers, "select %s, %s", Decimal("1E-40"), 10**70) == ("1E-40", str(10**70))
    with pytest.raises(dbapi.Error):
        numbers.execute("insert into numbers (b) values (%s)", (Decimal("NaN"),))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_float_in_a_numeric_column_comes_back_as_a_float(connect: Connect) -> None:
    random = Random(7)
    floats = [1e23, -1e23, 2.0**63, -(2.0**63), 2.0**62, 1e15, 0.1, 1e308, -5e-324]
    floats += [value for value in struct.unpack("3000d", random.randbytes(24000)) if value == value and abs(value) != float("inf")]
    cursor = connect().cursor()
    cursor.execute("drop table if exists floats")
    cursor.execute("create table floats (id integer primary key, n numeric)")
    cursor.executemany("insert into floats (n) values (%s)", [(value,) for value in floats])
    found = [value for (value,) in cursor.execute("select n from floats order by id").fetchall()]
    assert found == floats
    cursor.executemany("insert into floats (n) values (%s)", [(value,) for value in found])
    cursor.execute("insert into floats (n) values (%s), (%s)", (2**63 - 1, -(2**63) + 1))
    found = cursor.execute("select n from floats order by id desc limit 2").fetchall()
    assert [(value, type(value)) for (value,) in found] == [(-(2**63) + 1, int), (2**63 - 1, int)]
    cursor.execute("drop table floats")
