"""A tour of Rowgate: each step prints one line, and the first that is not as it should be ends the program.

Usage: example.py [ADDRESS]
"""

from __future__ import annotations

import os
import sys
import time
import uuid

import grpc
import rowgate
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rowgate import Statement

TABLE = "example_python"
ENDLESS = (
    "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1) select {} from numbers"
)


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ROWGATE_ADDRESS", "127.0.0.1:50051")
    ca, token = os.environ.get("ROWGATE_CA"), os.environ.get("ROWGATE_TOKEN")
    health(address, ca, token)
    with rowgate.connect(address, ca=ca, token=token, timeout=5) as db:
        make_table(db)
        query(db)
        stream(db)
        batch_with_key(db)
        transaction_with_savepoint(db)
        error_details(db)
        transaction_again(db)
        deadline(db)
        db.query(f"drop table {TABLE}")
    print("ok")


def health(address: str, ca: str | None, token: str | None) -> None:
    """The health service is gRPC's own: any client of it will do."""
    scheme, _, host = address.rpartition("://")
    if scheme == "https" or ca:
        authorities = open(ca, "rb").read() if ca else None
        channel = grpc.secure_channel(host, grpc.ssl_channel_credentials(authorities))
    else:
        channel = grpc.insecure_channel(host)
    with channel:
        request = health_pb2.HealthCheckRequest(service="rowgate.v1.DatabaseService")
        metadata = [("authorization", f"Bearer {token}")] if token else None
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5, metadata=metadata)
    show("health", health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status), wanted="SERVING")


def make_table(db: rowgate.Connection) -> None:
    """A table is created outside of batches and transactions: MySQL and MariaDB would commit them."""
    db.query(f"drop table if exists {TABLE}")
    db.query(f"create table {TABLE} (id bigint primary key, owner varchar(20) not null, cents bigint not null)")
    insert = f"insert into {TABLE} (id, owner, cents) values ($1, $2, $3)"
    db.batch([(insert, 1, "ann", 1000), (insert, 2, "bob", 500)])


def query(db: rowgate.Connection) -> None:
    row = db.query(f"select owner, cents from {TABLE} where owner = $1 and cents >= $2", "ann", 1000).one()
    show("query", f"{row.owner} has {row.cents}", wanted="ann has 1000")


def stream(db: rowgate.Connection) -> None:
    """A result of any size, in constant memory; it is complete only with its summary."""
    with db.stream(ENDLESS.format("n"), 10_000, timeout=30) as numbers:
        total = sum(row.n for row in numbers)
        count = numbers.summary.row_count
    show("stream", f"{count} rows, sum {total}", wanted="10000 rows, sum 50005000")


def batch_with_key(db: rowgate.Connection) -> None:
    """All or nothing, and once: with the key it may be sent again whatever became of the first call."""
    transfer = [
        Statement(f"update {TABLE} set cents = cents - $1 where id = $2 and cents >= $1", 300, 1, exactly=1),
        Statement(f"update {TABLE} set cents = cents + $1 where id = $2", 300, 2, exactly=1),
    ]
    key = f"transfer-{uuid.uuid4()}"
    first, again = (db.batch(transfer, key=key) for _ in range(2))
    replayed = f"replayed {first.replayed}, then {again.replayed}"
    show("batch", f"{replayed}, {balances(db)}", wanted="replayed False, then True, ann 700, bob 800")


def transaction_with_savepoint(db: rowgate.Connection) -> None:
    with db.transaction() as tx:
        cents = tx.query(f"select cents from {TABLE} where id = $1", 1).scalar()
        tx.query(f"update {TABLE} set cents = $1 where id = $2", cents // 2, 1)
        try:
            with tx.savepoint():
                tx.query(f"insert into {TABLE} (id, owner, cents) values ($1, $2, $3)", 2, "bob", 0)
        except rowgate.UniqueViolation as error:
            undone = error.reason
    show("transaction", f"{undone} undone, {balances(db)}", wanted="UNIQUE_VIOLATION undone, ann 350, bob 800")


def error_details(db: rowgate.Connection) -> None:
    try:
        db.query(f"insert into {TABLE} (id, owner, cents) values ($1, $2, $3)", 1, "ann", 0)
    except rowgate.Error as error:
        told = f"{error.code.name} {error.reason} {error.outcome}"
    show("error", told, wanted="ALREADY_EXISTS UNIQUE_VIOLATION NOT_APPLIED")


def transaction_again(db: rowgate.Connection) -> None:
    """The server rolls back a transaction that is silent for too long; its error says when to begin again."""
    failures = []

    def work(tx: rowgate.Transaction) -> None:
        try:
            if not failures:
                time.sleep(0.5)
            tx.query(f"update {TABLE} set cents = cents + 1 where id = $1", 1)
        except rowgate.Error as error:
            failures.append(f"{error.reason} {error.outcome}")
            raise

    db.run_transaction(work, idle_timeout=0.1)
    wanted = "IDLE_IN_TRANSACTION_TIMEOUT NOT_APPLIED, ann 351, bob 800"
    show("retry", f"{', '.join(failures)}, {balances(db)}", wanted)


def deadline(db: rowgate.Connection) -> None:
    """The statement ends in the database, too, and the answer says so."""
    try:
        db.query(ENDLESS.format("count(*)"), 1_000_000_000, timeout=0.5)
    except rowgate.Deadline as error:
        told = error.code.name
    show("deadline", told, wanted="DEADLINE_EXCEEDED")


def balances(db: rowgate.Connection) -> str:
    return ", ".join(f"{row.owner} {row.cents}" for row in db.query(f"select owner, cents from {TABLE} order by id"))


def show(step: str, got: str, wanted: str) -> None:
    if got != wanted:
        sys.exit(f"{step}: got {got}, wanted {wanted}")
    print(f"{step}: {got}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except rowgate.Error as error:
        sys.exit(f"{error.code and error.code.name} {error}")
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name} {error.details()}")
