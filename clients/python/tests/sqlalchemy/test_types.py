"""Values that SQLAlchemy's dialects send and read: the same number as over the usual driver, to the last digit."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from decimal import Decimal

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")

from sqlalchemy import Column, Connection, Date, Float, Integer, MetaData, Numeric, String, Table, create_engine, select  # noqa: E402
from sqlalchemy.dialects.postgresql import ARRAY, INTERVAL, TIME, TIMESTAMP  # noqa: E402

rows = Table(
    "typed_rows",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("b", Numeric(20, 4)),
    Column("c", Numeric(12, 3)),
    Column("f", Numeric(10, 2, asdecimal=False)),
    Column("x", Float(53)),
)
LONG = Decimal("1234567890123456.7891")


def begun(backend: str, dialect: str, table: Table) -> Iterator[Connection]:
    address = os.environ.get(f"ROWGATE_TEST_{backend.upper()}")
    if not address:
        pytest.skip(f"ROWGATE_TEST_{backend.upper()} names no server")
    engine = create_engine(f"rowgate+{dialect}://{address}")
    with engine.begin() as connection:
        table.drop(connection, checkfirst=True)
        table.create(connection)
        yield connection
        table.drop(connection)
    engine.dispose()


@pytest.fixture(params=["postgresql", "mysql", "mariadb"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    yield from begun("postgres" if request.param == "postgresql" else "mysql", request.param, rows)


def test_decimals_keep_their_digits(connection: Connection) -> None:
    connection.execute(rows.insert(), [{"id": 1, "b": LONG, "c": Decimal("1.1"), "f": 1.5, "x": 0.1}])
    found = connection.execute(select(rows)).one()
    assert tuple(found) == (1, LONG, Decimal("1.100"), 1.5, 0.1) and isinstance(found.f, float)
    assert connection.execute(select(rows.c.id).where(rows.c.b == LONG)).all() == [(1,)]
    assert connection.execute(select(rows.c.id).where(rows.c.b == LONG + Decimal("0.0001"))).all() == []
    assert connection.scalar(select(rows.c.c / 3)).quantize(Decimal("0.0000001")) == Decimal("0.3666667")


def test_a_decimal_is_not_rounded_to_the_scale_of_its_column(connection: Connection) -> None:
    connection.execute(rows.insert(), [{"id": 1, "b": Decimal(100), "c": Decimal(100)}])
    assert connection.execute(select(rows.c.id).where(rows.c.c == Decimal("100.0004"))).all() == []
    assert connection.execute(select(rows.c.id).where(rows.c.c < Decimal("1e12"))).all() == [(1,)]
    connection.execute(rows.update().values(c=rows.c.c * Decimal("1.00049")))
    assert connection.scalar(select(rows.c.c)) == Decimal("100.049")


limited = Table(
    "limited_rows",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("t", TIME(precision=0)),
    Column("s", TIMESTAMP(precision=0)),
    Column("i", INTERVAL(precision=0)),
    Column("r", Float(24)),
    Column("n", ARRAY(Numeric(12, 2))),
    Column("v", ARRAY(String(3))),
    Column("d", Date),
)


@pytest.fixture
def postgresql() -> Iterator[Connection]:
    yield from begun("postgres", "postgresql", limited)


def test_no_parameter_is_rounded_or_cut_to_the_size_of_its_column(postgresql: Connection) -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5)
    row = {"id": 1, "t": moment.time(), "s": moment, "i": datetime.timedelta(seconds=5), "r": 0.5, "n": [Decimal("1.5")]}
    postgresql.execute(limited.insert(), [row])
    little = datetime.timedelta(microseconds=1)
    for condition in (
        limited.c.t == (moment + little).time(),
        limited.c.s == moment + little,
        limited.c.i == datetime.timedelta(seconds=5) + little,
        limited.c.r == 0.5 + 1e-12,
        limited.c.n == [Decimal("1.501")],
    ):
        assert postgresql.execute(select(limited.c.id).where(condition)).all() == []
    assert len(postgresql.execute(select(limited.c.id).where(limited.c.n == [Decimal("1.5")], limited.c.r == 0.5)).all()) == 1
    with pytest.raises(sqlalchemy.exc.DataError, match="too long"), postgresql.begin_nested():
        postgresql.execute(limited.insert(), [{"id": 2, "v": ["long"]}])
