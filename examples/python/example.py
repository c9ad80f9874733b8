"""A tour of Rowgate: each step prints one line, and the first that is not as it should be ends the program.

Usage: example.py [ADDRESS]
"""

import os
import sys
import time
import uuid

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rowgate.v1 import database_pb2, database_pb2_grpc
from rowgate_client import RowgateError, Transaction, connect, parameters, retrying, rowgate_errors, rows

TABLE = "example_python"


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ROWGATE_ADDRESS", "127.0.0.1:50051")
    security = {"ca": os.environ.get("ROWGATE_CA"), "token": os.environ.get("ROWGATE_TOKEN")}
    with connect(address, **security) as channel, rowgate_errors():
        stub = database_pb2_grpc.DatabaseServiceStub(channel)
        health(channel)
        make_table(stub)
        query(stub)
        stream(stub)
        batch_with_key(stub)
        transaction_with_savepoint(stub)
        error_details(stub)
        transaction_again(stub)
        deadline(stub)
        stub.Query(database_pb2.QueryRequest(sql=f"drop table {TABLE}"), timeout=5)
    print("ok")


def health(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="rowgate.v1.DatabaseService")
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(stub.Check(request, timeout=5).status)
    show("health", status, wanted="SERVING")


def make_table(stub) -> None:
    """A table is created outside of batches and transactions: MySQL and MariaDB would commit them."""
    create = f"create table {TABLE} (id bigint primary key, owner text not null, cents bigint not null)"
    insert = f"insert into {TABLE} (id, owner, cents) values ($1, $2, $3)"
    for sql in (f"drop table if exists {TABLE}", create):
        stub.Query(database_pb2.QueryRequest(sql=sql), timeout=5)
    statements = [
        database_pb2.BatchStatement(sql=insert, parameters=parameters(1, "ann", 1000)),
        database_pb2.BatchStatement(sql=insert, parameters=parameters(2, "bob", 500)),
    ]
    stub.ExecuteBatch(database_pb2.ExecuteBatchRequest(statements=statements), timeout=5)


def query(stub) -> None:
    request = database_pb2.QueryRequest(
        sql=f"select owner, cents from {TABLE} where owner = $1 and cents >= $2",
        parameters=parameters("ann", 1000),
    )
    ((owner, cents),) = rows(stub.Query(request, timeout=2).result)
    show("query", f"{owner} has {cents}", wanted="ann has 1000")


def stream(stub) -> None:
    """A result of any size, in constant memory; it is complete only with its summary."""
    numbers = (
        "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1)"
        " select n from numbers"
    )
    request = database_pb2.StreamQueryRequest(
        query=database_pb2.QueryRequest(sql=numbers, parameters=parameters(10_000))
    )
    total, summary = 0, None
    for part in stub.StreamQuery(request, timeout=30):
        match part.WhichOneof("part"):
            case "rows":
                total += sum(number for (number,) in rows(part.rows))
            case "summary":
                summary = part.summary
    assert summary is not None, "the stream is incomplete"
    show("stream", f"{summary.row_count} rows, sum {total}", wanted="10000 rows, sum 50005000")


def batch_with_key(stub) -> None:
    """All or nothing, and once: with the key it may be sent again whatever became of the first call."""
    transfer = database_pb2.ExecuteBatchRequest(
        statements=[
            database_pb2.BatchStatement(
                sql=f"update {TABLE} set cents = cents - $1 where id = $2 and cents >= $1",
                parameters=parameters(300, 1),
                expect=database_pb2.Expectation(exactly=1),
            ),
            database_pb2.BatchStatement(
                sql=f"update {TABLE} set cents = cents + $1 where id = $2",
                parameters=parameters(300, 2),
                expect=database_pb2.Expectation(exactly=1),
            ),
        ],
        options=database_pb2.QueryOptions(idempotency_key=f"transfer-{uuid.uuid4()}"),
    )
    first, again = (stub.ExecuteBatch(transfer, timeout=5) for _ in range(2))
    replayed = f"replayed {first.replayed}, then {again.replayed}"
    show("batch", f"{replayed}, {balances(stub)}", wanted="replayed False, then True, ann 700, bob 800")


def transaction_with_savepoint(stub) -> None:
    with Transaction(stub) as transaction:
        ((cents,),) = transaction.query(f"select cents from {TABLE} where id = $1", 1)
        transaction.query(f"update {TABLE} set cents = $1 where id = $2", cents // 2, 1)
        try:
            with transaction.savepoint("before_insert"):
                transaction.query(f"insert into {TABLE} (id, owner, cents) values ($1, $2, $3)", 2, "bob", 0)
        except RowgateError as error:
            undone = error.reason
    show("transaction", f"{undone} undone, {balances(stub)}", wanted="UNIQUE_VIOLATION undone, ann 350, bob 800")


def error_details(stub) -> None:
    request = database_pb2.QueryRequest(
        sql=f"insert into {TABLE} (id, owner, cents) values ($1, $2, $3)", parameters=parameters(1, "ann", 0)
    )
    try:
        with rowgate_errors():
            stub.Query(request, timeout=2)
    except RowgateError as error:
        told = f"{error.code.name} {error.reason} {error.outcome}"
    show("error", told, wanted="ALREADY_EXISTS UNIQUE_VIOLATION NOT_APPLIED")


def transaction_again(stub) -> None:
    """The server rolls back a transaction that is silent for too long; RetryInfo says when to begin again."""
    begin = database_pb2.Begin()
    begin.transaction.idle_timeout.FromMilliseconds(100)
    failures = []

    def work() -> None:
        try:
            with Transaction(stub, begin) as transaction:
                if not failures:
                    time.sleep(0.5)
                transaction.query(f"update {TABLE} set cents = cents + 1 where id = $1", 1)
        except RowgateError as error:
            failures.append(f"{error.reason} {error.outcome}")
            raise

    retrying(work)
    wanted = "IDLE_IN_TRANSACTION_TIMEOUT NOT_APPLIED, ann 351, bob 800"
    show("retry", f"{', '.join(failures)}, {balances(stub)}", wanted)


def deadline(stub) -> None:
    """The statement ends in the database, too, and the answer says so just before the deadline."""
    endless = (
        "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 1000000000)"
        " select count(*) from numbers"
    )
    try:
        with rowgate_errors():
            stub.Query(database_pb2.QueryRequest(sql=endless), timeout=0.5)
    except RowgateError as error:
        told = error.code.name
    show("deadline", told, wanted="DEADLINE_EXCEEDED")


def balances(stub) -> str:
    request = database_pb2.QueryRequest(sql=f"select owner, cents from {TABLE} order by id")
    return ", ".join(f"{owner} {cents}" for owner, cents in rows(stub.Query(request, timeout=2).result))


def show(step: str, got: str, wanted: str) -> None:
    if got != wanted:
        sys.exit(f"{step}: got {got}, wanted {wanted}")
    print(f"{step}: {got}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except RowgateError as error:
        sys.exit(str(error))
