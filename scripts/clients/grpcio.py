"""Asks a server with Python's grpcio: messages are made from what reflection says, nothing is generated.

Usage: grpcio.py ADDRESS
"""

import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

(ADDRESS,) = sys.argv[1:]
CHANNEL = grpc.insecure_channel(ADDRESS)
POOL = DescriptorPool(ProtoReflectionDescriptorDatabase(CHANNEL))
SERVICE = "rowgate.v1.DatabaseService"


def message(name):
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def caller(method, kind):
    description = POOL.FindServiceByName(SERVICE).FindMethodByName(method)
    return kind(
        f"/{SERVICE}/{method}",
        request_serializer=lambda m: m.SerializeToString(),
        response_deserializer=message(description.output_type.full_name).FromString,
    )


QUERY = caller("Query", CHANNEL.unary_unary)
STREAM = caller("StreamQuery", CHANNEL.unary_stream)
Request = message("rowgate.v1.QueryRequest")
Value = message("rowgate.v1.Value")


def request(database, sql, parameters):
    return Request(database=database, sql=sql, parameters=parameters)


def query(database, sql, *parameters):
    return QUERY(request(database, sql, parameters), timeout=20).result


def error(database, sql, *parameters):
    """The code, ErrorInfo and DatabaseError of a failing query."""
    try:
        query(database, sql, *parameters)
    except grpc.RpcError as failure:
        info, report = error_details_pb2.ErrorInfo(), message("rowgate.v1.DatabaseError")()
        status = rpc_status.from_call(failure)
        unpacked = [detail.Unpack(info) or detail.Unpack(report) for detail in status.details]
        assert unpacked.count(True) >= 2, f"the details are {status.details}"
        return failure.code(), info, report
    raise AssertionError(f"{sql} did not fail")


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
    stream = message("rowgate.v1.StreamQueryRequest")(query=request(database, "select 1 as one", []))
    parts = [part.WhichOneof("part") for part in STREAM(stream, timeout=20)]
    check(f"{database}: parts of a stream", parts, ["header", "rows", "summary"])

    query(database, "create table if not exists grpcio_t (id int primary key)")
    query(database, "delete from grpcio_t")
    query(database, "insert into grpcio_t values (1)")
    code, info, report = error(database, "insert into grpcio_t values (1)")
    query(database, "drop table grpcio_t")
    check(f"{database}: code of a duplicate", code, grpc.StatusCode.ALREADY_EXISTS)
    check(f"{database}: its reason", info.reason, "UNIQUE_VIOLATION")
    check(f"{database}: its domain and outcome", (info.domain, info.metadata["outcome"]), ("rowgate", "NOT_APPLIED"))
    if database == "postgres":
        check("postgres: its constraint", report.constraint, "grpcio_t_pkey")
        check("postgres: its SQLSTATE", report.sqlstate, "23505")
        code, info, report = error(database, "select * from nowhere")
        check("postgres: reason and position of a bad name", (info.reason, report.position), ("UNDEFINED_TABLE", 15))
