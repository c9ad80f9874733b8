"""Writes through SQLAlchemy while its backend is killed, and compares what the program was told with what is there.

    kills.py URL STOP

writes until the file STOP exists, waits for the backend, and ends with an error if a write that was said to be applied is
missing, one that was said not to be is there, or anything is there twice.
"""

from __future__ import annotations

import collections
import os
import sys
import threading
import time
import uuid

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, func, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import rowgate

metadata = MetaData()
# No unique key: a write that is applied twice must show.
writes = Table("writes", metadata, Column("id", Integer, primary_key=True), Column("name", String(40)), Column("part", Integer))

WAYS = ("session", "autocommit", "many", "savepoint")
PARTS = {"session": 2, "autocommit": 1, "many": 50, "savepoint": 2}


def write(engine: Engine, way: str, name: str) -> None:
    """One unit of work: all of its parts have to be there, or none."""
    if way == "session":
        with Session(engine) as session, session.begin():
            session.execute(insert(writes).values(name=name, part=0))
            session.execute(select(func.count()).where(writes.c.name == name)).one()
            session.execute(insert(writes).values(name=name, part=1))
    elif way == "autocommit":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(insert(writes).values(name=name, part=0))
    elif way == "many":
        with engine.begin() as connection:
            connection.execute(insert(writes), [{"name": name, "part": part} for part in range(50)])
    else:
        with Session(engine) as session, session.begin():
            session.execute(insert(writes).values(name=name, part=0))
            with session.begin_nested():
                session.execute(insert(writes).values(name=name, part=1))


class Told:
    """What the program was told of its writes, by the name of the write."""

    def __init__(self) -> None:
        self.outcomes: dict[str, tuple[str, str]] = {}
        self.reasons: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def note(self, way: str, name: str, outcome: str, reason: str = "") -> None:
        with self._lock:
            self.outcomes[name] = (way, outcome)
            if reason:
                self.reasons[f"{reason} {outcome}"] += 1

    def refuse(self, text: str) -> None:
        with self._lock:
            self.wrong.append(text)


def work(engine: Engine, way: str, told: Told, stop: str) -> None:
    while not os.path.exists(stop):
        name = uuid.uuid4().hex
        try:
            write(engine, way, name)
            told.note(way, name, "APPLIED")
        except DBAPIError as error:
            if not isinstance(error.orig, rowgate.Error):
                told.refuse(f"{way}: {error.orig!r} is no error of rowgate")
                return
            told.note(way, name, str(error.orig.outcome), error.orig.reason or type(error.orig).__name__)
            time.sleep(0.05)
        except Exception as error:
            told.refuse(f"{way}: {error!r} has no outcome")
            return


def found(engine: Engine) -> dict[str, int]:
    """The parts that are there, by the name of the write, as soon as the backend is."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with engine.connect() as connection:
                rows = connection.execute(select(writes.c.name, func.count()).group_by(writes.c.name)).all()
                return {name: count for name, count in rows}
        except DBAPIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def judge(told: Told, there: dict[str, int]) -> None:
    for name, (way, outcome) in told.outcomes.items():
        count = there.pop(name, 0)
        if count not in (0, PARTS[way]):
            told.refuse(f"{way}: {count} of {PARTS[way]} parts are there, and {outcome} was told")
        elif outcome != "UNKNOWN" and (count > 0) != (outcome == "APPLIED"):
            told.refuse(f"{way}: {outcome} was told, and {count} parts are there")
    if there:
        told.refuse(f"{len(there)} writes are there that nobody made")


def main(url: str, stop: str) -> int:
    engine = create_engine(url, pool_size=8)
    metadata.drop_all(engine)
    metadata.create_all(engine)
    told = Told()
    threads = [threading.Thread(target=work, args=(engine, way, told, stop)) for way in WAYS]
    print("writing", flush=True)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    judge(told, found(engine))
    outcomes = collections.Counter(outcome for _, outcome in told.outcomes.values())
    print("outcomes:", dict(sorted(outcomes.items())))
    print("reasons:", dict(sorted(told.reasons.items())))
    if not outcomes["APPLIED"]:
        told.refuse("nothing was applied at all")
    if not outcomes["NOT_APPLIED"] and not outcomes["UNKNOWN"]:
        told.refuse("no write felt that its backend was killed")
    for text in told.wrong[:20]:
        print("wrong:", text)
    return 1 if told.wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
