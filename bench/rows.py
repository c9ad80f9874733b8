"""Reads a million rows again and again for some seconds, and prints how many in how long.

rows.py asyncpg|rows|arrow PROTO SCRATCH POSTGRES_PORT GATEWAY SECONDS REQUEST

asyncpg ends with a list of Records, rows and arrow with a pyarrow Table. REQUEST is a StreamQueryRequest in hex.
"""

import asyncio
import sys
import time

SQL = "SELECT id, amount, label, at FROM bench_rows"
COUNT = 1_000_000


def check(count, first):
    if count != COUNT or first[:3] != (1, 0.125, "label 1"):
        sys.exit(f"{count} rows, the first is {first}")


async def by_asyncpg(port, seconds):
    import asyncpg

    connection = await asyncpg.connect(host="127.0.0.1", port=port, user="postgres", database="postgres")
    rows = 0
    start = time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        records = await connection.fetch(SQL)
        check(len(records), tuple(records[0].values()))
        rows += len(records)
    await connection.close()
    return rows, taken


def stubs(proto, scratch):
    import grpc_tools
    from grpc_tools import protoc

    include = str(grpc_tools.__path__[0]) + "/_proto"
    files = [f"rowgate/v1/{name}.proto" for name in ("value", "database")] + ["google/rpc/status.proto"]
    arguments = ["protoc", f"-I{proto}", f"-I{include}", f"--python_out={scratch}", *files]
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed")
    sys.path.insert(0, scratch)
    from rowgate.v1 import database_pb2

    return database_pb2


def table_of_rows(parts):
    import pyarrow

    ids, amounts, labels, times = [], [], [], []
    for part in parts:
        for row in part.rows.rows:
            one, two, three, four = row.values
            ids.append(one.int64_value)
            amounts.append(two.float64_value)
            labels.append(three.text_value)
            at = four.timestamp_value
            times.append(at.seconds * 1_000_000 + at.nanos // 1000)
    columns = {
        "id": pyarrow.array(ids, pyarrow.int64()),
        "amount": pyarrow.array(amounts, pyarrow.float64()),
        "label": pyarrow.array(labels, pyarrow.string()),
        "at": pyarrow.array(times, pyarrow.timestamp("us", "UTC")),
    }
    return pyarrow.table(columns)


def table_of_arrow(parts):
    """The bytes of Arrow's IPC stream, in whichever field of a part they come."""
    import pyarrow

    chunks = []
    for part in parts:
        value = getattr(part, part.WhichOneof("part"))
        fields = [value] if isinstance(value, bytes) else [field for _, field in value.ListFields()]
        chunks += [field for field in fields if isinstance(field, bytes)]
    return pyarrow.ipc.open_stream(pyarrow.py_buffer(b"".join(chunks))).read_all()


def by_grpc(mode, proto, scratch, address, seconds, request):
    import grpc

    pb2 = stubs(proto, scratch)
    build = {"rows": table_of_rows, "arrow": table_of_arrow}[mode]
    channel = grpc.insecure_channel(address)
    call = channel.unary_stream(
        "/rowgate.v1.DatabaseService/StreamQuery",
        request_serializer=lambda raw: raw,
        response_deserializer=pb2.StreamQueryResponse.FromString,
    )
    rows = 0
    start = time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        table = build(call(request))
        check(table.num_rows, tuple(column[0].as_py() for column in table.columns))
        rows += table.num_rows
    return rows, taken


def main():
    mode, proto, scratch, port, address, seconds, request = sys.argv[1:]
    if mode == "asyncpg":
        rows, taken = asyncio.run(by_asyncpg(int(port), float(seconds)))
    else:
        rows, taken = by_grpc(mode, proto, scratch, address, float(seconds), bytes.fromhex(request))
    print(f"rows: {rows}\nrows/s: {rows / taken}")


main()
