"""Measures the cost of telemetry: two servers side by side, one that traces and measures, one that does not.

cost.py BINARY POSTGRES_URL H2LOAD

They are loaded in turns by h2load with point selects; what a call costs is the processor time of the server, from
/proc, over the calls. Prints a line for each and what the one costs more than the other; fails over 10 %.
"""
import http.server
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from frames import field, varint


ROUNDS = 10
CALLS = 50_000
# As many connections for each worker: one that is borrowed from another costs more than what is measured here.
POOL = "pool.min = 16\npool.max = 16\n"


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes OTLP over HTTP."""

    taken = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        Sink.taken += 1
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def query(sql, number):
    """A rowgate.v1.QueryRequest: `sql` is its field 2, `parameters` field 3; `int64_value` is field 3 of a Value."""
    return field(2, sql) + field(3, varint(3 << 3) + varint(number))


class Server:
    def __init__(self, binary, url, environment):
        self.directory = tempfile.TemporaryDirectory()
        config = f'[grpc]\nlisten = "127.0.0.1:0"\n[ops]\nlisten = "127.0.0.1:0"\n[databases.main]\nurl = "{url}"\n{POOL}'
        path = os.path.join(self.directory.name, "rowgate.toml")
        with open(path, "w") as file:
            file.write(config)
        quiet = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        self.process = subprocess.Popen(
            [binary, "serve", "--config", path],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**quiet, **environment},
        )
        lines = iter(self.process.stdout.readline, "")
        self.grpc = next(line.split()[1] for line in lines if line.strip().startswith("gRPC"))
        self.ops = next(line.split()[1] for line in lines if line.strip().startswith("operators"))
        for _ in range(100):
            try:
                urllib.request.urlopen(self.ops)
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the server is not ready")

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def load(self, h2load, body):
        before, start = self.cpu(), time.monotonic()
        done = subprocess.run(
            [*h2load.split(), "-n", str(CALLS), "-c", "8", "-m", "4", "-t", "1", "-d", body,
             "-H", "content-type: application/grpc", "-H", "te: trailers",
             f"http://{self.grpc}/rowgate.v1.DatabaseService/Query"],
            capture_output=True, text=True, check=True,
        ).stdout
        if f"{CALLS} succeeded, 0 failed" not in done:
            raise SystemExit(done)
        return (self.cpu() - before) / CALLS * 1e6, CALLS / (time.monotonic() - start)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    binary, url, h2load = sys.argv[1:4]
    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    on = Server(binary, url, {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.server_port}",
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
    })
    off = Server(binary, url, {"OTEL_SDK_DISABLED": "true"})
    message = query(b"select $1::int4 as n", 7)
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + struct.pack(">I", len(message)) + message)
        body.flush()
        figures = {"on": [], "off": []}
        for number in range(ROUNDS + 1):
            for name, server in [("on", on), ("off", off)][:: 1 if number % 2 else -1]:
                figure = server.load(h2load, body.name)
                if number:  # the first round warms up
                    figures[name].append(figure)
    for name, seen in figures.items():
        cpu, rate = (statistics.median(column) for column in zip(*seen))
        print(f"{name:>3}: {cpu:.2f} µs of processor time a call, {rate:.0f} calls/s")
    pairs = [one[0] / other[0] - 1 for one, other in zip(figures["on"], figures["off"])]
    cost = statistics.median(pairs)
    print(f"telemetry costs {cost:.1%} of it (each round: {', '.join(f'{pair:.1%}' for pair in pairs)}); {Sink.taken} exports")
    on.stop(), off.stop()
    if not Sink.taken:
        raise SystemExit("nothing was exported")
    if cost > 0.10:
        raise SystemExit("that is over 10 %")


main()
