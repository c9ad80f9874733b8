"""`lastrowid`: the id of the row that was inserted, or None, and never that of another row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Callable, Optional

import pytest

from rowgate import dbapi
from rowgate.dbapi._last_row import generating_target, returning_rowid
from rowgate.dbapi._text import only_reads, words

Connect = Callable[..., dbapi.Connection]
TABLES = {
    "mysql": {
        "ids": "(id integer auto_increment primary key, name varchar(50) unique)",
        "others": "(id integer auto_increment primary key, n integer)",
        "without": "(n integer)",
    },
    "sqlite": {
        "ids": "(id integer primary key, name text unique)",
        "others": "(rowid text, n integer)",
        "without": "(n integer primary key) without rowid",
    },
}


@pytest.fixture(params=[False, True], ids=["transaction", "autocommit"])
def cursor(connect: Connect, backend: str, request: pytest.FixtureRequest) -> Iterator[dbapi.Cursor]:
    """A cursor, with the tables `ids`, `others` and `without` (ids)."""
    if backend == "postgres":
        pytest.skip("PostgreSQL has RETURNING")
    with closing(connect(autocommit=True)) as connection:
        for name, columns in TABLES[backend].items():
            connection.cursor().execute(f"drop table if exists {name}")
            connection.cursor().execute(f"create table {name} {columns}")
    mine = connect(autocommit=request.param)
    yield mine.cursor()
    mine.rollback()
    with closing(connect(autocommit=True)) as connection:
        for name in TABLES[backend]:
            connection.cursor().execute(f"drop table {name}")


def ids(cursor: dbapi.Cursor, *statements: str) -> list[Optional[int]]:
    return [cursor.execute(statement).lastrowid for statement in statements]


def test_an_id_is_that_of_the_row_or_none(cursor: dbapi.Cursor, backend: str) -> None:
    found = ids(
        cursor,
        "insert into ids (name) values ('red')",
        "insert into without values (7)",
        "insert into ids (name) values ('select returning')",
        "insert into without (n) values (8)",
    )
    assert found == [1, None, 2, None]
    cursor.execute("select n from without order by n")
    assert cursor.fetchall() == [(7,), (8,)]


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_an_id_that_mysql_did_not_generate_is_none(cursor: dbapi.Cursor) -> None:
    found = ids(
        cursor,
        "insert into ids (name) values ('red')",
        "insert into others (n) values (last_insert_id())",  # the same id as the row before, in another table
        "insert into ids (name) values ('red') on duplicate key update name = 'red'",
        "insert into ids values (50, 'blue')",
        "insert ignore into ids (name) values ('red')",
        "insert into ids (id, name) values (60, 'green')",
    )
    assert found == [1, 1, None, None, None, None]
    cursor.execute("insert into others (n) values (5), (6)")
    assert cursor.lastrowid == 2
    cursor.execute("select n from others order by id")
    written = [n for (n,) in cursor.fetchall()]
    assert written == [0 if cursor.connection.autocommit else 1, 5, 6]


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_an_id_is_known_behind_statements_that_change_the_last_one(cursor: dbapi.Cursor) -> None:
    cursor.executemany("insert into ids (name) values (%s)", [("a",), ("b",)])
    assert ids(cursor, "insert into without values (1)", "insert into ids (name) values ('c')") == [None, 3]
    cursor.execute("insert into others (n) values (1) returning id")
    assert ids(cursor, "insert into without values (2)", "insert into others (n) values (1)") == [None, 2]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_id_is_no_column_that_is_called_so(cursor: dbapi.Cursor) -> None:
    found = ids(
        cursor,
        "insert into others values ('seven', 1)",
        "insert into ids (name) values ((select 'x')), ('y')",
        "replace into ids values (77, 'r')",
        "insert into ids default values",
        "insert into ids (name) select 'z'",
        "with w as (select 'w' as name) insert into ids (name) select name from w",
    )
    assert found == [1, 2, 77, 78, None, None]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_virtual_table_gives_no_id(connect: Connect) -> None:
    cursor = connect().cursor()
    cursor.execute("create virtual table words_of using fts5(t)")
    assert ids(cursor, "insert into words_of values ('x')") == [None]
    cursor.execute("drop table words_of")


def test_words_are_what_is_not_quoted() -> None:
    assert words("sqlite", "a 'it''s' \"b\" [c] `d` -- e\n/* f */ g").split() == ["a", "''", "''", "''", "''", "g"]
    assert words("mysql", "a 'it\\'s' # b\n--c -- d\n /*! e */ g").split() == ["a", "''", "--c", "/*!", "e", "*/", "g"]
    assert returning_rowid("sqlite", "insert into t values (1); -- end") == "insert into t values (1); -- end\nRETURNING rowid, _rowid_, oid"
    target = generating_target("insert into `a``b`.t (`Id`, n) values (1, 2)")
    assert target is not None and target == ("a`b", "t", {"id", "n"})
    assert generating_target("insert into t values (1)") is None


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("with c as (select 'delete' as x) select replace(x, 'a', 'b') from c -- update", True),
        ("with c as (select 1) delete from t where id in (select * from c)", False),
        ("with c as (select 1) replace into t select * from c", False),
        ("select 1", True),
        ("update t set n = 1", False),
    ],
)
def test_a_statement_that_only_reads_is_told_by_its_words(sql: str, reads: bool) -> None:
    assert only_reads(sql) is reads


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_common_table_expression_that_reads_keeps_nobody_from_writing(connect: Connect, table: str) -> None:
    reader: Any = connect()
    assert reader.cursor().execute("with c as (select 1 as n) select n from c").fetchall() == [(1,)]
    assert not reader.in_transaction
    connect(autocommit=True, timeout=5).cursor().execute(f"insert into {table} values (1, 'one')")
    reader.cursor().execute(f"with c as (select 2 as n) insert into {table} select n, 'two' from c")
    assert reader.in_transaction
