"""pandas over the dialects: its errors and counts are those of the usual drivers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, text  # noqa: E402
from sqlalchemy.exc import IntegrityError  # noqa: E402

DIALECTS = {"postgres": "postgresql", "mysql": "mysql", "sqlite": "sqlite"}
framed = Table("framed", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False), Column("name", String(20)))


@pytest.fixture(params=list(DIALECTS))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    address = os.environ.get(f"ROWGATE_TEST_{request.param.upper()}")
    if not address:
        pytest.skip(f"ROWGATE_TEST_{request.param.upper()} names no server")
    engine = create_engine(f"rowgate+{DIALECTS[request.param]}://{address}")
    framed.drop(engine, checkfirst=True)
    framed.create(engine)
    yield engine
    framed.drop(engine)
    engine.dispose()


def test_a_duplicate_is_told_as_one(engine: Engine) -> None:
    frame = pandas.DataFrame({"id": [1, 2, 2], "name": ["a", "b", "c"]})
    with pytest.raises((IntegrityError, pandas.errors.DatabaseError), match="UNIQUE_VIOLATION"):
        frame.to_sql("framed", engine, if_exists="append", index=False)
    assert len(pandas.read_sql("framed", engine)) == 0


def test_a_large_frame_is_read_and_streamed(engine: Engine) -> None:
    frame = pandas.DataFrame({"id": range(12000), "name": "x"})
    assert frame.to_sql("framed", engine, if_exists="append", index=False) == 12000
    assert len(pandas.read_sql("select * from framed", engine)) == 12000
    with engine.connect() as connection:
        chunks = pandas.read_sql("select * from framed", connection.execution_options(stream_results=True), chunksize=5000)
        assert [len(chunk) for chunk in chunks] == [5000, 5000, 2000]
        assert connection.scalar(text("select count(*) from framed")) == 12000


def test_the_rows_of_a_long_insert_are_counted_together(engine: Engine) -> None:
    with engine.begin() as connection:
        result = connection.execute(framed.insert(), [{"id": number, "name": "x"} for number in range(2500)])
        assert result.rowcount == 2500
        if engine.dialect.insert_executemany_returning:
            rows = [{"id": number, "name": "x"} for number in range(2500, 5000)]
            returned = connection.execute(framed.insert().returning(framed.c.id), rows)
            assert len(returned.all()) == 2500
