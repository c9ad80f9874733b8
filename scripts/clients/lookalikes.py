"""Calls of every kind to a server whose database is a look-alike of PostgreSQL.

Usage: lookalikes.py ADDRESS

No question of the server's own may fail a call or blame its caller, and no caller sees another's session.
"""

import sys

import grpc
from reflected import PATIENCE, Server, Transaction, plain

server = Server(sys.argv[1])


def info():
    call = server.method("ServerService", "GetServerInfo", "unary_unary")
    return call(server.message("GetServerInfoRequest")(), timeout=PATIENCE).databases[0]


def query(sql, *parameters):
    call = server.method("DatabaseService", "Query", "unary_unary")
    values = [server.value(parameter) for parameter in parameters]
    answer = call(server.message("QueryRequest")(sql=sql, parameters=values), timeout=PATIENCE)
    return [plain(row) for row in answer.result.rows]


def stream(sql):
    call = server.method("DatabaseService", "StreamQuery", "unary_stream")
    request = server.message("StreamQueryRequest")()
    request.query.sql = sql
    return [plain(row) for part in call(request, timeout=PATIENCE) for row in part.rows.rows]


def batch(*statements, **fields):
    request = server.message("ExecuteBatchRequest")(**fields)
    for sql in statements:
        request.statements.add(sql=sql)
    call = server.method("DatabaseService", "ExecuteBatch", "unary_unary")
    return [[plain(row) for row in result.rows] for result in call(request, timeout=PATIENCE).results]


def fails(code, call, *arguments):
    try:
        call(*arguments)
    except grpc.RpcError as error:
        assert error.code() == code, f"{arguments}: {error.code()} {error.details()}"
    else:
        raise AssertionError(f"{arguments} succeeded")


def expect(actual, expected):
    assert actual == expected, f"{actual}, not {expected}"


query("create table calls (id int8 primary key, v text)")
for number in range(5):
    expect(query("insert into calls values ($1, $2) returning id", number, "x"), [[number]])
    expect(query("select v from calls where id = $1", number), [["x"]])
expect(len(stream("select id from calls order by id")), 5)
expect(batch("insert into calls values (10, 'b')", "select v from calls where id = 10"), [[], [["b"]]])
batch("insert into calls values (11, 'dry')", dry_run=True)
expect(query("select v from calls where id = 11"), [])
for ending, rows in (("commit", [["t"]]), ("rollback", [])):
    transaction = Transaction(server)
    row = 20 if ending == "commit" else 21
    transaction.query(f"insert into calls values ({row}, 't')")
    expect(transaction.query(f"select v from calls where id = {row}"), [["t"]])
    getattr(transaction, ending)()
    expect(query(f"select v from calls where id = {row}"), rows)
for _ in range(3):
    fails(grpc.StatusCode.INVALID_ARGUMENT, query, "select nothing from nowhere")
    fails(grpc.StatusCode.ALREADY_EXISTS, query, "insert into calls values (1, 'twice')")
    fails(grpc.StatusCode.ALREADY_EXISTS, batch, "insert into calls values (30, 'no')", "insert into calls values (1, 'twice')")
    expect(query("select count(*) from calls where id = 30"), [[0]])
    query("set datestyle = 'German'")
    expect(query("show datestyle"), [["ISO, MDY"]])

told = info()
print(f"{told.engine}: {len(told.missing)} abilities are missing, and a pooler cannot be ruled out: {told.behind_pooler}")
for missing in told.missing:
    print(f"  {missing.name}: {missing.effect}")
assert told.engine and told.engine_version, told
assert "session reset" in [missing.name for missing in told.missing], told
