"""A commit whose answer is lost on the way to the client, by a proxy in front of the real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from proxies import DataProxy

from rowgate import dbapi


@pytest.fixture
def proxy(address: str) -> Iterator[DataProxy]:
    made = DataProxy(int(address.partition("/")[0].rpartition(":")[2]))
    yield made
    made.close()


def through(proxy: DataProxy, address: str, **options: object) -> dbapi.Connection:
    return dbapi.connect(f"{proxy.address}/{address.partition('/')[2]}", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_it_is_told_as_unknown_and_never_as_not_applied(proxy: DataProxy, address: str, table: str) -> None:
    with closing(through(proxy, address)) as connection:
        connection.cursor().execute(f"insert into {table} values (1, 'lost')")
        proxy.loses = 1
        with pytest.raises(dbapi.OperationalError) as caught:
            connection.commit()
        assert caught.value.outcome == "UNKNOWN"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_with_a_key_the_server_is_asked_what_became_of_it(proxy: DataProxy, address: str, table: str) -> None:
    with closing(through(proxy, address, commit_keys=True)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"insert into {table} values (1, 'kept')")
        proxy.loses = 1
        connection.commit()
        assert proxy.loses == 0
        cursor.execute(f"select name from {table}")
        assert cursor.fetchall() == [("kept",)]


@pytest.mark.parametrize(
    ("backend", "keys"),
    # SQLite's table of keys is always there.
    [("sqlite", True), ("sqlite", False), ("postgres", False), ("mysql", False)],
    indirect=["backend"],
)
def test_where_nobody_can_be_asked_it_stays_unknown(proxy: DataProxy, address: str, table: str, keys: bool) -> None:
    with closing(through(proxy, address, commit_keys=keys, outcome_timeout=0.3)) as connection:
        connection.cursor().execute(f"insert into {table} values (1, 'lost')")
        proxy.on_loss = proxy.refuse
        proxy.loses = 1
        with pytest.raises(dbapi.OperationalError) as caught:
            connection.commit()
        assert caught.value.outcome == "UNKNOWN" and caught.value.retry_after is None
    with closing(dbapi.connect(address)) as direct:
        cursor = direct.cursor()
        cursor.execute(f"select name from {table}")
        assert cursor.fetchall() == [("lost",)]
