"""Asks a server with grpcurl, which learns everything from reflection.

Usage: grpcurl.py GRPCURL ADDRESS
"""

import base64
import json
import subprocess
import sys

GRPCURL, ADDRESS = sys.argv[1:]
SERVICE = "rowgate.v1.DatabaseService"


def run(*arguments):
    return subprocess.run(
        [GRPCURL, "-plaintext", "-max-time", "20", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def call(method, request):
    answer = run("-d", json.dumps(request), ADDRESS, f"{SERVICE}/{method}")
    assert answer.returncode == 0, f"{method} {request}: {answer.stderr}"
    decoder, text, messages = json.JSONDecoder(), answer.stdout.strip(), []
    while text:
        message, end = decoder.raw_decode(text)
        messages.append(message)
        text = text[end:].strip()
    return messages


def query(database, sql, *parameters):
    request = {"database": database, "sql": sql, "parameters": parameters}
    (answer,) = call("Query", request)
    return answer["result"]


def error(method, request):
    """The code and the details of a failing call, by the last part of their type's name."""
    answer = run("-format-error", "-d", json.dumps(request), ADDRESS, f"{SERVICE}/{method}")
    assert answer.returncode != 0, f"{request} did not fail"
    status = json.loads(answer.stderr)
    details = {d["@type"].rsplit(".", 1)[1]: d for d in status["details"]}
    return status["code"], details


def values(row):
    """The values of a row, NULL written as it is sent: in JSON an enum's only value is a plain null."""
    return json.loads(json.dumps(row["values"]).replace('"nullValue": null', '"nullValue": "NULL_VALUE"'))


def check(what, got, wanted):
    assert got == wanted, f"{what}: got {got}, wanted {wanted}"
    print(f"ok   {what}")


BYTES = base64.b64encode(b"\x00\xff").decode()
PLAIN = [
    {"boolValue": True},
    {"int64Value": "9007199254740993"},
    {"float64Value": 0.1},
    {"textValue": "naïve"},
    {"bytesValue": BYTES},
    {"nullValue": "NULL_VALUE"},
]

services = run(ADDRESS, "list").stdout.split()
for service in (SERVICE, "rowgate.v1.PoolService", "rowgate.v1.ServerService", "grpc.health.v1.Health"):
    assert service in services, f"{service} is not listed: {services}"
print("ok   reflection lists the services")
for message in ("google.rpc.ErrorInfo", "rowgate.v1.DatabaseError"):
    described = run(ADDRESS, "describe", message)
    assert described.returncode == 0, f"{message} is not described: {described.stderr}"
print("ok   reflection describes the details of errors")

(row,) = query("main", "select $1, $2, $3, $4, $5, $6", *PLAIN)["rows"]
check("sqlite: values of every kind", values(row), [{"int64Value": "1"}, *PLAIN[1:]])
parameters = [
    *PLAIN,
    {"timestampValue": "2026-01-31T23:59:59.123456Z"},
    {"arrayValue": {"elements": [{"int64Value": "1"}, {"nullValue": "NULL_VALUE"}]}},
    {"recordValue": {"fields": [{"int64Value": "7"}, {"textValue": "seven"}]}},
]
query("postgres", "create type grpcurl_pair as (number int4, name text)")
(row,) = query(
    "postgres",
    "select $1::bool, $2::int8, $3::float8, $4::text, $5::bytea, $6::int4, $7::timestamptz,"
    " $8::int4[], $9::grpcurl_pair",
    *parameters,
)["rows"]
seen = values(row)
seen[7] = {"arrayValue": {"elements": seen[7]["arrayValue"]["elements"]}}
check("postgres: values of every kind", seen, parameters)
query("postgres", "drop type grpcurl_pair")

for database in ("main", "postgres"):
    parts = call("StreamQuery", {"query": {"database": database, "sql": "select 1 as one"}})
    check(f"{database}: parts of a stream", [next(iter(p)) for p in parts], ["header", "rows", "summary"])

    query(database, "create table if not exists grpcurl_t (id int primary key)")
    query(database, "delete from grpcurl_t")
    query(database, "insert into grpcurl_t values (1)")
    code, details = error("Query", {"database": database, "sql": "insert into grpcurl_t values (1)"})
    check(f"{database}: code of a duplicate", code, 6)
    check(f"{database}: its reason", details["ErrorInfo"]["reason"], "UNIQUE_VIOLATION")
    check(f"{database}: its domain", details["ErrorInfo"]["domain"], "rowgate")
    check(f"{database}: its outcome", details["ErrorInfo"]["metadata"]["outcome"], "NOT_APPLIED")
    assert "DatabaseError" in details, f"no DatabaseError in {details}"
    query(database, "drop table grpcurl_t")
    if database == "postgres":
        check("postgres: its constraint", details["DatabaseError"]["constraint"], "grpcurl_t_pkey")
        check("postgres: its SQLSTATE", details["DatabaseError"]["sqlstate"], "23505")

    query(database, "create table if not exists grpcurl_b (id int primary key)")
    query(database, "delete from grpcurl_b")
    insert = {"sql": "insert into grpcurl_b values ($1)", "parameters": [{"int64Value": "1"}], "expect": {"exactly": "1"}}
    count = {"sql": "select count(*) from grpcurl_b"}
    (answer,) = call("ExecuteBatch", {"database": database, "statements": [insert, count]})
    commands = [result["command"] for result in answer["results"]]
    check(f"{database}: the results of a batch", (commands, answer["attempts"]), (["INSERT", "SELECT"], 1))
    check(f"{database}: the last one", values(answer["results"][1]["rows"][0]), [{"int64Value": "1"}])
    code, details = error("ExecuteBatch", {"database": database, "statements": [count, insert]})
    check(f"{database}: the statement that fails one", (code, details["DatabaseError"]["failedStatement"]), (6, 1))
    update = {"sql": "update grpcurl_b set id = 2", "expect": {"atLeast": "2"}}
    code, details = error("ExecuteBatch", {"database": database, "statements": [update]})
    check(f"{database}: an expectation that fails", (code, details["ErrorInfo"]["reason"]), (9, "EXPECTATION_FAILED"))
    (row,) = query(database, "select id from grpcurl_b")["rows"]
    check(f"{database}: what both leave", values(row), [{"int64Value": "1"}])
    query(database, "drop table grpcurl_b")
