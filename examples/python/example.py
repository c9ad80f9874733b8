"""A tour of Rowgate: the result of each step is a line."""

from __future__ import annotations

import os
import sys
import time
import uuid

import rowgate
from rowgate import Statement

NUMBERS = "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1) select n from numbers"


def main(address: str) -> None:
    with rowgate.connect(address, ca=os.environ.get("ROWGATE_CA"), token=os.environ.get("ROWGATE_TOKEN"), timeout=5) as db:
        db.query("drop table if exists example_python")
        db.query("create table example_python (id bigint primary key, owner varchar(20) not null, cents bigint not null)")
        db.query("insert into example_python values (1, 'ann', 1000), (2, 'bob', 500)")
        row = db.query("select owner, cents from example_python where owner = $1 and cents >= $2", "ann", 1000).one()
        print(f"query: {row.owner} has {row.cents}")
        try:
            db.query("insert into example_python values ($1, $2, $3)", 1, "ann", 0)
        except rowgate.UniqueViolation as error:
            print(f"error: {error.reason}, {error.outcome}")
        batch(db)
        transaction(db)
        stream(db)
        try:  # the statement ends in the database, too
            db.query(f"select count(*) from ({NUMBERS}) as endless", 1_000_000_000, timeout=0.5)
        except rowgate.Deadline as error:
            print(f"deadline: {error.code.name}")
        db.query("drop table example_python")
    print("ok")


def batch(db: rowgate.Connection) -> None:
    """All or nothing, and once: with its key it may be sent again whatever became of the first call."""
    change = "update example_python set cents = cents + $1 where owner = $2 and cents + $1 >= 0"
    transfer = [Statement(change, -300, "ann", exactly=1), Statement(change, 300, "bob", exactly=1)]
    key = f"transfer-{uuid.uuid4()}"
    first, again = (db.batch(transfer, key=key) for _ in range(2))
    print(f"batch: replayed {first.replayed}, then {again.replayed}, ann has {cents(db)}")


def transaction(db: rowgate.Connection) -> None:
    """The first attempt is silent for so long that the server rolls it back; another one is made."""
    attempts = 0

    def halve(tx: rowgate.Transaction) -> None:
        nonlocal attempts
        attempts += 1
        half = tx.query("select cents from example_python where owner = $1", "ann").scalar() // 2
        if attempts == 1:
            time.sleep(0.5)
        tx.query("update example_python set cents = $1 where owner = $2", half, "ann")

    db.run_transaction(halve, idle_timeout=0.1)
    print(f"transaction: {attempts} attempts, ann has {cents(db)}")


def stream(db: rowgate.Connection) -> None:
    """A result of any size, in constant memory; one that is not complete is an error."""
    with db.stream(NUMBERS, 10_000, timeout=30) as numbers:
        total = sum(row.n for row in numbers)
    print(f"stream: {numbers.summary.row_count} rows, sum {total}")


def cents(db: rowgate.Connection) -> int:
    return db.query("select cents from example_python where owner = $1", "ann").scalar()


if __name__ == "__main__":
    main(sys.argv[1])
