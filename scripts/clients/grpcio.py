"""Asks a server with Python's grpcio: messages are made from what reflection says, nothing is generated.

Usage: grpcio.py ADDRESS
"""

import sys

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from reflected import Failed, Server, Transaction, plain

(ADDRESS,) = sys.argv[1:]
SERVER = Server(ADDRESS)
QUERY = SERVER.method("DatabaseService", "Query", "unary_unary")
STREAM = SERVER.method("DatabaseService", "StreamQuery", "unary_stream")
BATCH = SERVER.method("DatabaseService", "ExecuteBatch", "unary_unary")
OUTCOME = SERVER.method("DatabaseService", "GetTransactionOutcome", "unary_unary")
Request = SERVER.message("QueryRequest")
Value = SERVER.message("Value")


def request(database, sql, parameters):
    return Request(database=database, sql=sql, parameters=parameters)


def query(database, sql, *parameters):
    return QUERY(request(database, sql, parameters), timeout=20).result


def error(call, what):
    """The code, ErrorInfo and DatabaseError of a failing call."""
    try:
        call()
    except grpc.RpcError as failure:
        info, report = error_details_pb2.ErrorInfo(), SERVER.message("DatabaseError")()
        status = rpc_status.from_call(failure)
        unpacked = [detail.Unpack(info) or detail.Unpack(report) for detail in status.details]
        assert unpacked.count(True) >= 1, f"the details are {status.details}"
        return failure.code(), info, report
    raise AssertionError(f"{what} did not fail")


def error_of(database, sql):
    return error(lambda: query(database, sql), sql)


def batch(database, *statements, **fields):
    request = SERVER.message("ExecuteBatchRequest")(database=database, **fields)
    for sql in statements:
        request.statements.add(sql=sql)
    return BATCH(request, timeout=20)


def check(what, got, wanted):
    assert got == wanted, f"{what}: got {got}, wanted {wanted}"
    print(f"ok   {what}")


def value(**kind):
    return json_format.ParseDict(kind, Value())


PLAIN = [
    value(bool_value=True),
    value(int64_value="-9223372036854775808"),
    value(float64_value="Infinity"),
    value(text_value="naïve"),
    value(bytes_value="AP8="),
    value(null_value=None),
]
TYPED = [
    value(timestamp_value="2026-01-31T23:59:59.123456Z"),
    value(array_value={"elements": [{"int64_value": "1"}, {"null_value": None}]}),
    value(record_value={"fields": [{"int64_value": "7"}, {"text_value": "seven"}]}),
]

(row,) = query("main", "select $1, $2, $3, $4, $5, $6", *PLAIN).rows
check("sqlite: values of every kind", list(row.values), [value(int64_value="1"), *PLAIN[1:]])

watch = SERVER.method("PoolService", "WatchPoolStats", "unary_stream")
unknown = SERVER.message("WatchPoolStatsRequest")(pool="nope")
code, info, _ = error(lambda: list(watch(unknown, timeout=20)), "a watch of an unknown pool")
check("a watch of an unknown pool", (code, info.reason), (grpc.StatusCode.NOT_FOUND, "POOL_NOT_FOUND"))

query("postgres", "create type grpcio_pair as (number int4, name text)")
(row,) = query(
    "postgres",
    "select $1::bool, $2::int8, $3::float8, $4::text, $5::bytea, $6::int4, $7::timestamptz,"
    " $8::int4[], $9::grpcio_pair",
    *PLAIN,
    *TYPED,
).rows
values = list(row.values)
del values[7].array_value.dimensions[:], values[7].array_value.lower_bounds[:]
check("postgres: values of every kind", values, [*PLAIN, *TYPED])
query("postgres", "drop type grpcio_pair")

for database in ("main", "postgres"):
    stream = SERVER.message("StreamQueryRequest")(query=request(database, "select 1 as one", []))
    parts = [part.WhichOneof("part") for part in STREAM(stream, timeout=20)]
    check(f"{database}: parts of a stream", parts, ["header", "rows", "summary"])

    query(database, "create table if not exists grpcio_t (id int primary key)")
    query(database, "delete from grpcio_t")
    query(database, "insert into grpcio_t values (1)")
    code, info, report = error_of(database, "insert into grpcio_t values (1)")
    query(database, "drop table grpcio_t")
    check(f"{database}: code of a duplicate", code, grpc.StatusCode.ALREADY_EXISTS)
    check(f"{database}: its reason", info.reason, "UNIQUE_VIOLATION")
    check(f"{database}: its domain and outcome", (info.domain, info.metadata["outcome"]), ("rowgate", "NOT_APPLIED"))
    if database == "postgres":
        check("postgres: its constraint", report.constraint, "grpcio_t_pkey")
        check("postgres: its SQLSTATE", report.sqlstate, "23505")
        code, info, report = error_of(database, "select * from nowhere")
        check("postgres: reason and position of a bad name", (info.reason, report.position), ("UNDEFINED_TABLE", 15))

    query(database, "create table if not exists grpcio_b (id int primary key)")
    query(database, "delete from grpcio_b")
    insert, count = "insert into grpcio_b values ({})", "select count(*) from grpcio_b"
    answer = batch(database, insert.format(1), "insert into grpcio_b values (2) returning id", count)
    shape = [(one.command, one.rows_affected, [plain(row) for row in one.rows]) for one in answer.results]
    check(f"{database}: the results of a batch", shape, [("INSERT", 1, []), ("INSERT", 1, [[2]]), ("SELECT", 0, [[2]])])
    check(f"{database}: its attempts", (answer.attempts, answer.replayed), (1, False))
    failing = lambda: batch(database, insert.format(3), insert.format(1))
    code, info, report = error(failing, "a batch with a duplicate")
    check(f"{database}: the statement that fails it", (report.failed_statement, info.reason), (1, "UNIQUE_VIOLATION"))
    check(f"{database}: what it leaves", plain(query(database, count).rows[0]), [2])
    batch(database, insert.format(4), dry_run=True)
    check(f"{database}: what a dry run leaves", plain(query(database, count).rows[0]), [2])

    if database == "main":
        keyed = {"options": SERVER.message("QueryOptions")(idempotency_key="grpcio")}
        runs = [batch(database, insert.format(5), **keyed).replayed for _ in range(2)]
        check(f"{database}: a batch under a key, twice", runs, [False, True])
        handle = SERVER.message("GetTransactionOutcomeRequest")(database=database, idempotency_key="grpcio")
        state = SERVER.message("GetTransactionOutcomeResponse").DESCRIPTOR.fields_by_name["state"].enum_type
        applied = state.values_by_name["TRANSACTION_STATE_APPLIED"].number
        check(f"{database}: what became of the key", OUTCOME(handle, timeout=20).state, applied)
        query(database, "delete from grpcio_b where id = 5")

    transaction = Transaction(SERVER, database=database)
    transaction.query("insert into grpcio_b values ($1)", 6)
    transaction.savepoint("before")
    try:
        transaction.query(insert.format(6))
    except Failed as failed:
        check(f"{database}: an error in a transaction", (failed.reason, failed.outcome), ("UNIQUE_VIOLATION", "NOT_APPLIED"))
    try:
        transaction.query(count)
    except Failed as failed:
        check(f"{database}: after it", failed.reason, "TRANSACTION_ABORTED")
    transaction.rollback_to("before")
    check(f"{database}: what the transaction sees", transaction.query(count), [[3]])
    transaction.commit()
    check(f"{database}: what it leaves", plain(query(database, count).rows[0]), [3])
    closing = Transaction(SERVER, database=database)
    closing.query(insert.format(7))
    code, info, report = error(closing.close, "a stream without a commit")
    check(f"{database}: a stream without a commit", (code, info.reason), (grpc.StatusCode.FAILED_PRECONDITION, "NOT_COMMITTED"))
    rolled_back = Transaction(SERVER, database=database)
    rolled_back.query(insert.format(8))
    rolled_back.rollback()
    check(f"{database}: what both leave", plain(query(database, count).rows[0]), [3])
    query(database, "drop table grpcio_b")
