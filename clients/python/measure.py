"""Measures this package beside psycopg 3 on the same PostgreSQL: point selects, a million rows, bulk inserts and updates.

The floor of a point select is grpcio alone: the same request as bytes, whose answer nobody decodes.

    python measure.py ROWGATE_ADDRESS POSTGRES_URL [ROUNDS [PART_OF_A_NAME...]]

For each, or those that are named, it prints the best of some rounds: the time, and the time that this process computed. It needs psycopg[binary], pandas, pyarrow
and SQLAlchemy.
"""

import asyncio
import sys
import time
from contextlib import closing
from typing import Any, Callable, Dict, List, Tuple

import grpc
import grpc.aio
import psycopg
import sqlalchemy

import rowgate
from rowgate import _proto, aio, dbapi

ROWS = 1_000_000
MANY = (
    "select i::int8 as id, 'name of ' || i as name, i * 1.5::float8 as price, (i % 2 = 0) as paid,"
    " timestamptz '2026-01-01' + i * interval '1 second' as at from generate_series(1, 1000000) i"
)
POINT = "select id, name from measured where id = {}"
INSERT = "insert into measured values ({}, {})"
UPDATE = "update updated set name = {} where id = {}"
SELECTS, INSERTS = 2000, 10_000


def best(rounds: int, work: Callable[[], Any]) -> Tuple[float, float]:
    """The least time and the least computing time."""
    times: List[Tuple[float, float]] = []
    for _ in range(rounds):
        begun, computed = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - begun, time.process_time() - computed))
    return min(each for each, _ in times), min(each for _, each in times)


def main(address: str, url: str, rounds: int, parts: List[str]) -> None:
    """Measures everything."""
    db = rowgate.connect(address, timeout=300)
    direct = psycopg.connect(url, autocommit=True)
    db.query("drop table if exists measured")
    db.query("create table measured (id int8 primary key, name text)")
    db.query("insert into measured select i, 'name of ' || i from generate_series(1, 1000) i")

    def rowgate_points() -> None:
        for number in range(SELECTS):
            db.query(POINT.format("$1"), number % 1000 + 1).one()

    bytes_of_point = _proto.QueryRequest(sql=POINT.format("$1"), parameters=[_proto.Value(int64_value=7)]).SerializeToString()

    def grpcio_points() -> None:
        with grpc.insecure_channel(address, db.channel_options) as channel:
            query = channel.unary_unary("/rowgate.v1.DatabaseService/Query")
            for _ in range(SELECTS):
                query(bytes_of_point, timeout=30)

    async def grpcio_aio_points() -> None:
        async with grpc.aio.insecure_channel(address, db.channel_options) as channel:
            query = channel.unary_unary("/rowgate.v1.DatabaseService/Query")
            for _ in range(SELECTS):
                await query(bytes_of_point, timeout=30)

    def psycopg_points() -> None:
        with direct.cursor() as cursor:
            for number in range(SELECTS):
                cursor.execute(POINT.format("%s"), (number % 1000 + 1,)).fetchone()

    async def aio_points() -> None:
        async with aio.connect(address) as awaited:
            for number in range(SELECTS):
                (await awaited.query(POINT.format("$1"), number % 1000 + 1)).one()

    async def psycopg_aio_points() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            async with connection.cursor() as cursor:
                for number in range(SELECTS):
                    await (await cursor.execute(POINT.format("%s"), (number % 1000 + 1,))).fetchone()

    def rowgate_rows() -> None:
        assert sum(map(len, db.stream(MANY).batches())) == ROWS

    def psycopg_rows(binary: bool) -> Callable[[], None]:
        def work() -> None:
            with direct.cursor(row_factory=psycopg.rows.namedtuple_row, binary=binary) as cursor:
                assert len(cursor.execute(MANY).fetchall()) == ROWS

        return work

    def psycopg_stream() -> None:
        with direct.cursor(row_factory=psycopg.rows.namedtuple_row, binary=True) as cursor:
            assert sum(1 for _ in cursor.stream(MANY)) == ROWS

    def rowgate_pandas() -> None:
        assert len(db.stream(MANY).to_pandas()) == ROWS

    def psycopg_pandas() -> None:
        import pandas

        with direct.cursor(binary=True) as cursor:
            rows = cursor.execute(MANY).fetchall()
            assert len(pandas.DataFrame(rows, columns=[column.name for column in cursor.description])) == ROWS

    rows = [(1000 + number, f"name of {number}") for number in range(1, INSERTS + 1)]

    def delete() -> None:
        direct.execute("delete from measured where id > 1000")

    def rowgate_batches() -> None:
        delete()
        for at in range(0, INSERTS, 1000):
            db.batch([(INSERT.format("$1", "$2"), *row) for row in rows[at : at + 1000]])

    def rowgate_many() -> None:
        delete()
        with db.transaction() as tx:
            tx.execute_many(INSERT.format("$1", "$2"), rows)

    def dbapi_many() -> None:
        delete()
        with closing(dbapi.connect(address)) as connection, connection:
            connection.cursor().executemany(INSERT.format("%s", "%s"), rows)

    def sqlalchemy_many(engine: Any) -> Callable[[], None]:
        table = sqlalchemy.table("measured", sqlalchemy.column("id"), sqlalchemy.column("name"))

        def work() -> None:
            delete()
            with engine.begin() as connection:
                connection.execute(table.insert(), [{"id": number, "name": name} for number, name in rows])

        return work

    def psycopg_many() -> None:
        delete()
        with direct.transaction(), direct.cursor() as cursor:
            cursor.executemany(INSERT.format("%s", "%s"), rows)

    db.query("drop table if exists updated")
    db.query("create table updated (id int8 primary key, name text)")
    db.copy_in("updated", ((number, f"name of {number}") for number in range(INSERTS)))
    direct.execute("vacuum analyze updated")
    changes = [(f"new name of {number}", number) for number in range(INSERTS)]

    def rowgate_updates() -> None:
        with db.transaction() as tx:
            tx.execute_many(UPDATE.format("$1", "$2"), changes)

    async def aio_updates() -> None:
        async with aio.connect(address) as awaited, awaited.transaction() as tx:
            await tx.execute_many(UPDATE.format("$1", "$2"), changes)

    def dbapi_updates() -> None:
        with closing(dbapi.connect(address)) as connection, connection:
            connection.cursor().executemany(UPDATE.format("%s", "%s"), changes)

    def psycopg_updates() -> None:
        with direct.transaction(), direct.cursor() as cursor:
            cursor.executemany(UPDATE.format("%s", "%s"), changes)

    def sqlalchemy_updates(engine: Any) -> Callable[[], None]:
        table = sqlalchemy.table("updated", sqlalchemy.column("id"), sqlalchemy.column("name"))
        update = table.update().where(table.c.id == sqlalchemy.bindparam("key")).values(name=sqlalchemy.bindparam("new"))

        def work() -> None:
            with engine.begin() as connection:
                connection.execute(update, [{"new": name, "key": number} for name, number in changes])

        return work

    over_rowgate = sqlalchemy.create_engine(f"rowgate+postgresql://{address}")
    over_psycopg = sqlalchemy.create_engine("postgresql+psycopg://" + url.partition("://")[2])

    def rowgate_copy() -> None:
        delete()
        db.copy_in("measured", rows)

    def psycopg_copy() -> None:
        delete()
        with direct.cursor() as cursor, cursor.copy("copy measured from stdin") as copy:
            for row in rows:
                copy.write_row(row)

    works: Dict[str, Callable[[], Any]] = {
        f"{SELECTS} point selects, rowgate": rowgate_points,
        f"{SELECTS} point selects, grpcio alone": grpcio_points,
        f"{SELECTS} point selects, psycopg": psycopg_points,
        f"{SELECTS} point selects, rowgate.aio": lambda: asyncio.run(aio_points()),
        f"{SELECTS} point selects, grpc.aio alone": lambda: asyncio.run(grpcio_aio_points()),
        f"{SELECTS} point selects, psycopg asyncio": lambda: asyncio.run(psycopg_aio_points()),
        "1 M rows into objects, rowgate": rowgate_rows,
        "1 M rows into objects, psycopg text": psycopg_rows(False),
        "1 M rows into objects, psycopg binary": psycopg_rows(True),
        "1 M rows into objects, psycopg binary stream": psycopg_stream,
        "1 M rows into pandas, rowgate": rowgate_pandas,
        "1 M rows into pandas, psycopg binary": psycopg_pandas,
        "10 k inserts, rowgate batches": rowgate_batches,
        "10 k inserts, rowgate transaction": rowgate_many,
        "10 k inserts, rowgate.dbapi executemany": dbapi_many,
        "10 k inserts, psycopg executemany": psycopg_many,
        "10 k inserts, SQLAlchemy over rowgate": sqlalchemy_many(over_rowgate),
        "10 k inserts, SQLAlchemy over psycopg": sqlalchemy_many(over_psycopg),
        "10 k updates, rowgate transaction": rowgate_updates,
        "10 k updates, rowgate.aio transaction": lambda: asyncio.run(aio_updates()),
        "10 k updates, rowgate.dbapi executemany": dbapi_updates,
        "10 k updates, psycopg executemany": psycopg_updates,
        "10 k updates, SQLAlchemy over rowgate": sqlalchemy_updates(over_rowgate),
        "10 k updates, SQLAlchemy over psycopg": sqlalchemy_updates(over_psycopg),
        "10 k rows, rowgate copy_in": rowgate_copy,
        "10 k rows, psycopg copy": psycopg_copy,
    }
    print(f"{'':45} {'time':>9} {'computing':>9}")
    for name, work in works.items():
        if parts and not any(part in name for part in parts):
            continue
        try:
            took, computed = best(rounds, work)
            print(f"{name:45} {took:8.3f}s {computed:8.3f}s", flush=True)
        except rowgate.Error as error:
            print(f"{name:45} {error.message}", flush=True)
    db.query("drop table measured")
    db.query("drop table updated")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3, sys.argv[4:])
