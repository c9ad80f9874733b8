"""A commit whose answer is lost on the way to the client, by a proxy in front of the real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
import socket

import pytest
from test_lost_answers import HEADER_LENGTH, Proxy

from rowgate import dbapi

DATA, HEADERS = 0, 1


class DataProxy(Proxy):
    """A proxy that also loses the messages of a stream."""

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        file = server.makefile("rb")
        try:
            while head := file.read(HEADER_LENGTH):
                frame = head + file.read(int.from_bytes(head[:3], "big"))
                if head[3] in (DATA, HEADERS) and self.loses > 0:
                    self.loses -= 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(frame)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


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
