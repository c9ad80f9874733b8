"""Traces as a client with OpenTelemetry's SDK begins them and as a collector gets them.

Usage: telemetry.py trace ADDRESS COLLECTOR_LOG    a trace goes from here to the statement
       telemetry.py alone ADDRESS COLLECTOR SERVER the collector, a process id, ends; the server, another, goes on
"""

import os
import re
import signal
import sys
import time

import grpc
from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace import TracerProvider
from reflected import PATIENCE, Server

WHAT, ADDRESS, *REST = sys.argv[1:]
SERVER = Server(ADDRESS)
TRACER = TracerProvider().get_tracer("client")
QUERY = SERVER.method("DatabaseService", "Query", "unary_unary")
BATCH = SERVER.method("DatabaseService", "ExecuteBatch", "unary_unary")


def check(what, got, wanted):
    assert got == wanted, f"{what}: got {got}, wanted {wanted}"
    print(f"ok   {what}")


def traced(call, request):
    """Calls within a span of the client's; returns the ids of its trace and of itself."""
    with TRACER.start_as_current_span("client", kind=trace.SpanKind.CLIENT) as span:
        metadata = {}
        inject(metadata)
        try:
            call(request, timeout=PATIENCE, metadata=list(metadata.items()))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        context = span.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def spans(log):
    """The spans in the collector's log, each with its fields and attributes."""
    with open(log, encoding="utf-8", errors="replace") as file:
        # What follows the last attribute of a request may stand in its line, and so a span of another request behind
        # this one's: what comes first counts.
        blocks = re.split(r"Span #\d+$", file.read(), flags=re.MULTILINE)[1:]
    for block in blocks:
        fields = dict(reversed(re.findall(r"^ +([A-Z][A-Za-z ]+?) *: (.*)$", block, re.MULTILINE)))
        attributes = re.findall(r"^ +-> ([a-z_.]+): [A-Za-z]+\((.*)\)", block, re.MULTILINE)
        yield fields, dict(reversed(attributes))


def of_trace(log, trace_id, count):
    """The spans of a trace by their name, once there are so many."""
    until = time.monotonic() + PATIENCE
    while True:
        found = {fields["Name"]: (fields, own) for fields, own in spans(log) if fields["Trace ID"] == trace_id}
        if len(found) >= count:
            return found
        assert time.monotonic() < until, f"of trace {trace_id} came only {list(found)}"
        time.sleep(0.05)


def a_trace(log):
    query = SERVER.message("QueryRequest")(sql="select 'a literal', $1")
    query.parameters.add().CopyFrom(SERVER.value("a parameter"))
    trace_id, client = traced(QUERY, query)
    found = of_trace(log, trace_id, 3)
    server, call = found["rowgate.v1.DatabaseService/Query"]
    statement, own = found["SELECT main"]
    check("the server's span is the client's child", server["Parent ID"], client)
    check("the statement's span is the server's child", statement["Parent ID"], server["ID"])
    check("the kinds", (server["Kind"], statement["Kind"]), ("SPAN_KIND_SERVER", "SPAN_KIND_CLIENT"))
    wanted = {"rpc.system.name": "grpc", "rpc.method": "rowgate.v1.DatabaseService/Query",
              "rpc.response.status_code": "OK"}
    check("the call's attributes", {key: call.get(key) for key in wanted}, wanted)
    wanted = {"db.system.name": "postgresql", "db.namespace": "main", "db.operation.name": "SELECT",
              "db.query.text": "select ?, $1"}
    check("the statement's attributes", own, wanted)

    batch = SERVER.message("ExecuteBatchRequest")()
    batch.statements.add(sql="select 1")
    batch.statements.add(sql="select 1 / (select 0)")
    trace_id, _ = traced(BATCH, batch)
    _, own = of_trace(log, trace_id, 3)["BATCH main"]
    check("a failed batch has its SQLSTATE", own.get("db.response.status_code"), "22012")

    with open(log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    for name in ("rpc.server.call.duration", "db.client.operation.duration", "db.client.connection.count"):
        check(f"{name} has come", name in text, True)
    check("no literal and no parameter has", "a literal" in text or "a parameter" in text, False)


def rate(seconds):
    """Calls a second, each of them traced."""
    request, calls, end = SERVER.message("QueryRequest")(sql="select 1"), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        traced(QUERY, request)
        calls += 1
    return calls / seconds


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


def busy(pid):
    """Processor time of a process, in ms."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def load(server):
    """Calls a second, and what one costs the server in ms; the best of three windows: the machine may be busy."""
    windows = []
    for _ in range(3):
        before = busy(server)
        calls = rate(2)
        windows.append((calls, (busy(server) - before) / (2 * calls)))
    return max(calls for calls, _ in windows), min(cost for _, cost in windows)


def alone(collector, server):
    rate(1)
    calls, cost = load(server)
    os.kill(collector, signal.SIGTERM)
    # Until the queue of spans is full.
    rate(3)
    had = resident(server)
    calls_alone, cost_alone = load(server)
    has = resident(server)
    print(f"     with the collector {calls:.0f} calls/s, {cost:.3f} ms of processor each")
    print(f"     without it {calls_alone:.0f} calls/s, {cost_alone:.3f} ms; {had:.1f} MiB, then {has:.1f} MiB")
    check("a call costs no more", cost_alone <= 1.2 * cost, True)
    check("throughput stays put", calls_alone >= 0.7 * calls, True)
    check("memory stays put", has - had < 8, True)


if WHAT == "trace":
    a_trace(REST[0])
else:
    alone(*map(int, REST))
