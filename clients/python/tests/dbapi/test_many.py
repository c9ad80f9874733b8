"""`executemany`: inserts of many rows in one statement, where that means the same."""

from __future__ import annotations

import datetime
import uuid
from typing import Any, Callable

import pytest

from rowgate import dbapi
from rowgate.dbapi import _packed

Connect = Callable[..., dbapi.Connection]


@pytest.mark.parametrize(
    ("sql", "packed"),
    [
        ("insert into t values ($1, $2)", "insert into t values ($1, $2), ($3, $4)"),
        ('INSERT INTO "s"."t" (a, "b c") VALUES ($1::int4, $2::numeric(10, 2)) ;', None),
        ("insert ignore into `t` (`a`,`b`) values ($1,$2)", "insert ignore into `t` (`a`,`b`) values ($1,$2), ($3,$4)"),
        (
            "insert into t (a, b, c) values ($2, $1, $2) on conflict (a) do nothing",
            "insert into t (a, b, c) values ($2, $1, $2), ($4, $3, $4) on conflict (a) do nothing",
        ),
        (
            "insert into t values ($1, '$9 it''s', null, -1.5, default, $2::timestamp without time zone)",
            "insert into t values ($1, '$9 it''s', null, -1.5, default, $2::timestamp without time zone), "
            "($3, '$9 it''s', null, -1.5, default, $4::timestamp without time zone)",
        ),
    ],
)
def test_a_plain_insert_is_packed(sql: str, packed: str) -> None:
    found = _packed.pack([(sql, [1, 2]), (sql, [3, 4])], [16, 16])
    assert found is not None and found[0][1] == [1, 2, 3, 4]
    expected = packed or 'INSERT INTO "s"."t" (a, "b c") VALUES ($1::int4, $2::numeric(10, 2)), ($3::int4, $4::numeric(10, 2))'
    assert [text for text, _ in found] == [expected]


@pytest.mark.parametrize(
    "sql",
    [
        "update t set a = $1 where b = $2",
        "insert into t values ($1, $2) returning a",
        "insert into t values ($1, $2) on conflict (a) do update set b = excluded.b",
        "insert into t values ($1, $2) on duplicate key update b = values(b)",
        "insert into t values ($1, (select max(a) + $2 from t))",
        "insert into t values ($1, nextval('s') + $2)",
        "insert into t select $1, $2",
        "insert into t values ($1, $2), (3, 4)",
        "insert into t values ($1, $2) -- a comment",
        "with x as (select 1) insert into t values ($1, $2)",
        "insert into t values ($1, 'a\\' $2')",
        "insert or replace into t values ($1, $2)",
        "insert into t default values",
    ],
)
def test_an_insert_that_might_mean_something_else_is_not(sql: str) -> None:
    assert _packed.pack([(sql, [1, 2]), (sql, [3, 4])], [16, 16]) is None


def test_a_statement_has_no_more_values_and_bytes_than_every_database_takes() -> None:
    sql = "insert into t values (" + ", ".join(f"${number}" for number in range(1, 101)) + ")"
    found = _packed.pack([(sql, list(range(100)))] * 1000, [3200] * 1000)
    assert found is not None and max(len(values) for _, values in found) <= _packed.MOST_VALUES
    assert sum(len(values) for _, values in found) == 100_000 and len({text for text, _ in found}) <= 2
    large = _packed.pack([("insert into t values ($1)", [b"x" * 200_000])] * 3, [200_008] * 3)
    assert large is not None and [len(values) for _, values in large] == [1, 1, 1]


@pytest.mark.parametrize("autocommit", [False, True])
def test_many_rows_take_few_statements(connect: Connect, table: str, autocommit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = connect(autocommit=autocommit)
    sent: list[int] = []
    pack = _packed.pack
    monkeypatch.setattr(_packed, "pack", lambda *given: (lambda found: (sent.append(len(found or ())), found)[1])(pack(*given)))
    cursor = mine.cursor()
    cursor.executemany(f"insert into {table} (id, name) values (%s, %s)", [(n, f"row {n}") for n in range(3000)])
    assert cursor.rowcount == 3000 and sent == [6]
    mine.commit()
    with pytest.raises(dbapi.IntegrityError) as caught:
        cursor.executemany(f"insert into {table} values (%(id)s, %(id)s)", [{"id": n} for n in (5000, 5001, 3, 5002)])
    assert caught.value.failed_statement == 2  # few rows are not packed
    mine.rollback()
    cursor.executemany(f"insert into {table} values (%s, 'x')", [(n,) for n in range(7000, 7019)])
    with pytest.raises(dbapi.IntegrityError) as caught:
        cursor.executemany(f"insert into {table} values (%s, 'x')", [(n,) for n in range(7018, 7060)])
    assert caught.value.failed_statement is None and caught.value.outcome == "NOT_APPLIED"
    mine.rollback()
    mine.cursor().execute(f"select count(*) from {table}")
    cursor = mine.cursor()
    cursor.execute(f"select count(*), count(distinct name) from {table}")
    assert tuple(cursor.fetchone() or ()) == ((3019, 3001) if autocommit else (3000, 3000))


def test_packed_values_have_the_types_of_their_columns(connect: Connect, backend: str) -> None:
    mine = connect()
    cursor = mine.cursor()
    text, number = ("text", "numeric(10, 2)") if backend != "mysql" else ("varchar(100)", "decimal(10, 2)")
    cursor.execute("drop table if exists packed_types")
    cursor.execute(f"create table packed_types (id integer primary key, d date, t {text}, n {number}, u {'uuid' if backend == 'postgres' else text})")
    rows: list[Any] = [
        (1, "2026-01-31", "one", 1, str(uuid.UUID(int=1))),
        (2, datetime.date(2026, 1, 31), None, 2.5, None),
        (3, None, "", None, uuid.UUID(int=3) if backend == "postgres" else "3"),
    ]
    rows += [(number, None, None, None, None) for number in range(4, 40)]
    cursor.executemany("insert into packed_types values (%s, %s, %s, %s, %s)", rows)
    assert cursor.rowcount == 39
    cursor.execute("select d, n from packed_types where id <= 3 order by id")
    first, second, third = cursor.fetchall()
    assert first[0] == second[0] and float(second[1]) == 2.5 and tuple(third) == (None, None)
    mine.rollback()
    cursor.execute("drop table if exists packed_types")
    mine.commit()


@pytest.mark.parametrize("kind", ["numeric", "float8"])
@pytest.mark.parametrize("large", [10**14, 2**53 + 1])
def test_integers_and_floats_may_be_mixed(connect: Connect, backend: str, kind: str, large: int) -> None:
    if backend != "postgres":
        pytest.skip("the others type no parameters")
    mine = connect()
    cursor = mine.cursor()
    cursor.execute(f"create temporary table mixed (id int, n {kind}) on commit drop")
    cursor.executemany("insert into mixed values (%s, %s)", [(n, n / 4 if n % 2 else large) for n in range(40)])
    cursor.execute("select n from mixed order by id")
    found = [row[0] for row in cursor.fetchall()]
    assert found[1] == 0.25 and found[2] == (large if kind == "numeric" else float(large))
    cursor.execute("select %s", ([1, 2.5, None],))
    assert cursor.fetchone() == ([1.0, 2.5, None],)
    mine.rollback()


def test_an_integer_that_sqlite_would_round_is_refused(connect: Connect, backend: str) -> None:
    if backend != "sqlite":
        pytest.skip("the others refuse it themselves, or hold it")
    with pytest.raises(dbapi.DataError, match="64 bits"):
        connect().cursor().execute("select %s", (2**63,))


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("count", [30, 3000])
def test_many_updates_are_all_applied_or_none(
    connect: Connect, table: str, autocommit: bool, count: int, backend: str
) -> None:
    mine = connect(autocommit=autocommit)
    cursor = mine.cursor()
    cursor.executemany(f"insert into {table} values (%s, 'x')", [(n,) for n in range(count)])
    mine.commit()
    update = f"update {table} set id = %(new)s where id = %(old)s"
    rows = [{"old": n, "new": n + 10_000} for n in range(count)]
    cursor.executemany(update, rows)
    assert cursor.rowcount == count
    mine.commit()
    back = [{"old": n + 10_000, "new": n} for n in range(count)]
    back[-4]["new"] = 1  # which is there then
    with pytest.raises(dbapi.IntegrityError) as caught:
        cursor.executemany(update, back)
    assert caught.value.failed_statement == count - 4 and caught.value.outcome == "NOT_APPLIED"
    if backend != "postgres" and not autocommit:  # the statements alone are undone, and the transaction goes on
        cursor.execute(f"insert into {table} values (-1, 'y')")
        mine.commit()
    mine.rollback()
    cursor.execute(f"select count(*), min(id), max(id) from {table} where id > 0")
    assert tuple(cursor.fetchone() or ()) == (count, 10_000, 10_000 + count - 1)
    with pytest.raises(dbapi.ProgrammingError, match=r"parameter \$"):
        cursor.executemany(update, [*back[:-4], {"old": object(), "new": 2}])
    cursor.execute(f"select count(*) from {table} where id between 0 and 9999")
    assert cursor.fetchone() == (0,)


def test_rows_with_texts_of_their_own_are_told_apart(connect: Connect, table: str) -> None:
    mine = connect()
    cursor = mine.cursor()
    cursor.executemany(f"insert into {table} values (%s, 'x')", [(n,) for n in range(100)])
    cursor.executemany(f"update {table} set name = 'y' where id in %s", [(tuple(range(n, n + n % 3 + 1)),) for n in range(50)])
    assert cursor.rowcount == sum(n % 3 + 1 for n in range(50))
    cursor.executemany(f"select id from {table} where id = %s", [(n,) for n in range(50)])
    mine.rollback()


def test_each_row_is_what_it_is_alone(connect: Connect, table: str, backend: str) -> None:
    if backend == "mysql":
        pytest.skip("its division of integers is exact")
    cursor = connect().cursor()
    rows: list[tuple[Any, ...]] = [("a", 1), (5, 2), (uuid.UUID(int=7), 3)]
    cursor.executemany(f"insert into {table} (name, id) values (%s, %s)", rows if backend == "postgres" else rows[:2])
    cursor.executemany(f"update {table} set name = name || '/' || (%s / 2) where id = %s", [(1, 1), (1.0, 2)])
    cursor.execute(f"select name from {table} where id < 3 order by id")
    assert [name for (name,) in cursor.fetchall()] == ["a/0", "5/0.5"]
