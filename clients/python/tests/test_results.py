"""Rows and results."""

import pickle
from decimal import Decimal
from typing import Any

import pytest

import rowgate
from rowgate import _proto, aio
from rowgate._client._rows import Row, row_class
from rowgate._client._stream import StreamParts
from rowgate._values._decode import plan


def row(names: str, *values: Any) -> Any:
    """A row with these names."""
    return tuple.__new__(row_class(tuple(names.split())), values)


def test_a_value_has_a_position_a_name_and_an_attribute() -> None:
    one = row("id owner count", 7, "ann", 3)
    assert isinstance(one, tuple) and one == (7, "ann", 3)
    assert one[0] == one["id"] == one.id == 7
    assert one[-1] == one.count == 3 and one[:2] == (7, "ann")
    number, owner, _ = one
    assert (number, owner) == (7, "ann")
    assert one._asdict() == {"id": 7, "owner": "ann", "count": 3} and one._fields == ("id", "owner", "count")
    assert repr(one) == "Row(id=7, owner='ann', count=3)"


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    one = row("id owner", 7, "ann")
    with pytest.raises(KeyError, match="no column is called 'name'; there are: id, owner"):
        one["name"]
    with pytest.raises(AttributeError, match="no column is called 'name'"):
        one.name  # noqa: B018


def test_a_name_that_occurs_twice_is_refused_and_never_guessed() -> None:
    one = row("id id name", 1, 2, "ann")
    assert tuple(one) == (1, 2, "ann") and one.name == "ann"
    for read in (lambda: one["id"], lambda: one._asdict()):
        with pytest.raises(KeyError, match="2 columns are called 'id': use positions"):
            read()
    with pytest.raises(AttributeError, match="2 columns"):
        one.id  # noqa: B018


def test_names_that_python_cannot_write_are_reached_in_brackets() -> None:
    one = row("?column? class _asdict", 1, 2, 3)
    assert (one["?column?"], one["class"], one["_asdict"]) == (1, 2, 3)
    assert one._asdict() == {"?column?": 1, "class": 2, "_asdict": 3}


def test_rows_are_pickled_and_hashed_as_tuples() -> None:
    one = row("id owner", 7, "ann")
    again = pickle.loads(pickle.dumps(one))
    assert again == one and again.owner == "ann" and isinstance(again, Row)
    assert {one: 1}[(7, "ann")] == 1


def test_a_stream_without_its_summary_is_incomplete() -> None:
    parts = StreamParts(plan)
    parts.accept(_proto.StreamQueryResponse(header={"has_columns": True, "columns": [{"name": "a", "type": 4}]}))
    rows = parts.accept(_proto.StreamQueryResponse(rows={"rows": [{"values": [{"int64_value": 7}]}]}))
    assert rows == [(7,)] and parts.summary is None
    with pytest.raises(rowgate.OperationalError, match="incomplete") as raised:
        parts.check_complete(reads=False)
    assert raised.value.outcome == "UNKNOWN"
    parts.accept(_proto.StreamQueryResponse(summary={"row_count": 1, "command": "SELECT"}))
    parts.check_complete(reads=False)
    assert parts.summary == (0, "SELECT", 1)


def test_a_result_gives_rows_one_row_and_values(db: rowgate.Connection) -> None:
    result = db.query("select 1 as a, 'x' as b union all select 2, null order by 1")
    assert len(result) == 2 and [row.a for row in result] == [1, 2] and result[1].b is None
    assert result.scalars() == [1, 2] and result.first() == (1, "x")
    assert result.dicts() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    assert [column.name for column in result.columns] == ["a", "b"] and result.has_columns
    with pytest.raises(rowgate.MultipleRowsFound, match="there are 2"):
        result.one()
    assert db.query("select 5 as five").scalar() == 5


def test_a_result_without_rows(db: rowgate.Connection) -> None:
    none = db.query("select 1 as a where 1 = 0")
    assert none.has_columns and not none.rows and none.first() is None and none.one_or_none() is None
    with pytest.raises(rowgate.NoRowFound):
        none.scalar()


def test_a_write_tells_its_count(db: rowgate.Connection) -> None:
    db.query("drop table if exists counted")
    created = db.query("create table counted (id integer primary key)")
    assert not created.has_columns and created.columns == ()
    assert db.query("insert into counted values (1), (2)").rows_affected == 2
    deleted = db.query("delete from counted where id = $1", 1)
    assert (deleted.rows_affected, deleted.command) == (1, "DELETE")
    db.query("drop table counted")


def test_a_write_whose_result_is_not_as_expected_is_told_as_applied(db: rowgate.Connection) -> None:
    db.query("drop table if exists unexpected")
    db.query("create table unexpected (id integer primary key)")
    with pytest.raises(rowgate.NoRowFound) as caught:
        db.query("insert into unexpected values (1)").one()
    assert caught.value.outcome == "APPLIED"
    with pytest.raises(rowgate.NoRowFound) as caught, db.transaction() as tx:
        tx.query("insert into unexpected values (2)").one()
    assert caught.value.outcome == "NOT_APPLIED"
    with pytest.raises(rowgate.MultipleRowsFound) as caught:
        db.query("select 1 as n union all select 2").scalar()
    assert caught.value.outcome == "NOT_APPLIED"
    assert db.query("select id from unexpected").scalars() == [1]
    db.query("drop table unexpected")


def test_null_false_zero_and_empty_are_told_apart(postgres: rowgate.Connection) -> None:
    sql = (
        "select false, null::bool, 0, null::int, 0::float8, null::float8, '', null::text, ''::bytea, null::bytea,"
        " 0::numeric, null::numeric, timestamptz 'epoch', null::timestamptz, '{}'::int[], null::int[]"
    )
    for found in (postgres.query(sql).rows[0], next(iter(postgres.stream(sql)))):
        assert all(value is None for value in found[1::2]) and not any(value is None for value in found[::2])


def test_columns_tell_origin_and_nullability_when_asked(db: rowgate.Connection) -> None:
    db.query("drop table if exists origins")
    db.query("create table origins (id integer not null, name varchar(20))")
    columns = db.query("select id, name from origins", describe_columns=True).columns
    assert [column.origin.column for column in columns if column.origin] == ["id", "name"]
    assert columns[0].nullability is rowgate.Nullability.NOT_NULL
    assert db.query("select id from origins").columns[0].origin is None
    db.query("drop table origins")


def test_results_become_arrow_and_pandas(db: rowgate.Connection, backend: str) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    sql = "select 1 as a, 'x' as b union all select 2, null order by 1"
    table = db.query(sql).to_arrow()
    assert table.to_pydict() == {"a": [1, 2], "b": ["x", None]}
    streamed = db.stream(sql).to_arrow()
    # The server streams expressions of SQLite, which have no type, as text.
    assert streamed.to_pydict() == ({"a": ["1", "2"], "b": ["x", None]} if backend == "sqlite" else table.to_pydict())
    assert sum(batch.num_rows for batch in db.stream(sql).arrow_batches()) == 2
    frame = db.query(sql).to_pandas()
    assert list(frame.columns) == ["a", "b"] and list(frame.a) == [1, 2]
    assert backend == "sqlite" or db.stream(sql).to_pandas().equals(frame)


def test_arrow_types_are_those_of_the_servers_streams(postgres: rowgate.Connection) -> None:
    pytest.importorskip("pyarrow")
    sql = (
        "select true a, 1::int2 b, 1.5::float4 c, 'x'::bytea d, date '2026-01-31' e, time '01:02:03' f,"
        " timestamp '2026-01-31 01:02:03' g, timestamptz '2026-01-31 01:02:03+00' h, array[1, null] i,"
        " array['a'] j, interval '1 day' k, '{\"a\": 1}'::json l, inet '10.0.0.1' m, array[1.5] n"
    )
    ours, theirs = postgres.query(sql).to_arrow(), postgres.stream(sql).to_arrow()
    assert [(field.name, field.type) for field in ours.schema] == [(field.name, field.type) for field in theirs.schema]
    with pytest.raises(rowgate.NotInArrow, match="column"):
        postgres.query("select date 'infinity' as d").to_arrow()


def test_frames_keep_all_digits(postgres: rowgate.Connection) -> None:
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    sql = (
        "select n::numeric + 0.1 as n, case n when 1 then 9007199254740993 end as i, n::int as j, n * interval '36 hours' as d,"
        " interval '1 day' as d from generate_series(1, 2) n"
    )
    streamed, queried = postgres.stream(sql).to_pandas(), postgres.query(sql).to_pandas()
    with postgres.transaction() as tx:
        pandas.testing.assert_frame_equal(tx.query(sql).to_pandas(), queried)
    pandas.testing.assert_frame_equal(streamed, queried)
    assert streamed.n.sum() == Decimal("3.2")
    assert streamed.i.tolist() == [9007199254740993, pandas.NA] and str(streamed.i.dtype) == "Int64"
    assert str(streamed.j.dtype) == "int32"
    assert streamed.iloc[:, 3:].values.tolist() == [["36:00:00", "1 day"], ["72:00:00", "1 day"]]
    result = postgres.query(sql)
    assert result.rows[0].i == 9007199254740993 and result.to_arrow().column(3).to_pylist() == ["36:00:00", "72:00:00"]
    floats = postgres.query(sql).to_pandas(integer_object_nulls=True)
    assert floats.i.tolist() == [9007199254740993, None] and floats.n.tolist() == ["1.1", "2.1"]


async def test_asyncio_makes_the_same_frames(address: str, backend: str) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    sql = "select cast(1.5 as decimal(5, 2)) as n" if backend != "sqlite" else "select 1 as n"
    async with aio.connect(address) as db:
        frame = await db.stream(sql).to_pandas()
        assert frame.n.sum() == (Decimal("1.50") if backend != "sqlite" else frame.n[0])
