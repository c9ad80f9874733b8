"""Options of calls that would mean another thing to the server than to their caller."""

from typing import Iterator

import pytest

import rowgate


@pytest.fixture
def table(db: rowgate.Connection) -> Iterator[str]:
    """An empty table."""
    db.query("drop table if exists options")
    db.query("create table options (id integer primary key, name varchar(20), cents integer)")
    yield "options"
    db.query("drop table options")


def test_an_empty_option_that_means_another_thing_to_the_server_is_refused(db: rowgate.Connection, table: str) -> None:
    insert = f"insert into {table} values (1, 'one', 1)"
    for call in (
        lambda: db.query(insert, key=""),
        lambda: db.stream(insert, key=""),
        lambda: db.batch([insert], key=""),
        lambda: db.transaction(key=""),
        lambda: db.run_transaction(lambda tx: tx.query(insert), key=""),
        lambda: db.copy_in(table, [(1, "one", 1)], key=""),
        lambda: db.outcome(""),
        lambda: db.outcome(token=""),
        lambda: db.copy_in(table, [()], columns=[]),
        lambda: db.copy_out(table, format="csv", quote=""),
        lambda: db.transaction(isolation=""),
    ):
        with pytest.raises(ValueError, match=r"empty|not ''"):
            call()
    for name in ("max_rows", "max_bytes"):
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            db.query(insert, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the setting search_path is None"):
        db.query(insert, settings={"search_path": None})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="a key is a str"):
        db.query(insert, key=7)  # type: ignore[arg-type]
    assert db.query(f"select count(*) from {table}").scalar() == 0
