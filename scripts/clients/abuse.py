"""Abuses a server beside an innocent client, one abuse after the other, and compares what the client notices.

abuse.py BINARY POSTGRES_URL [NAME]...

NAME selects the abuses whose names contain it. The innocent client makes 200 point selects a second on one connection,
which it opens again after each 400. Passed is an abuse in which no call of the client fails, its p99 is at most twice that of
the quiet seconds before (or a millisecond, if that is more), the server's memory grows by at most 128 MiB, /livez takes at
most a second, and within ten seconds after the end p99 and memory are so again and no connection is in use.
"""

import base64
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from abuses import ABUSES, Place
from frames import QUERY, Connection, block, query

BINARY, URL, *NAMES = sys.argv[1:]
QUIET, BESIDE, AFTER, BACK_WITHIN = 3.0, 5.0, 1.0, 10.0
INTERVAL, CALLS_OF_A_CONNECTION = 0.005, 400
MIB, FLOOR = 1 << 20, 0.001
ISSUER, KEY_ID = "https://issuer.test", "k1"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def openssl(*words):
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


class Server:
    """The binary on a directory of its own; with `secured` it knows its callers and speaks TLS."""

    def __init__(self, secured):
        self.directory = tempfile.TemporaryDirectory()
        self.at = Path(self.directory.name)
        self.grpc, self.ops = port(), port()
        self.ca, tokens = (str(self.at / "server.crt"), self._secure()) if secured else (None, (None, None))
        self._configure(secured)
        if secured:
            tokens = [self._token(caller) for caller in ("shop", "limited")]
        self.token, self.limited = tokens
        with open(self.at / "log", "wb") as log:
            self.process = subprocess.Popen([BINARY, "serve"], cwd=self.at, stdout=log, stderr=log)
        self._await()

    def _secure(self):
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *key, "-days", "1", "-subj", "/CN=rowgate", "-addext", "subjectAltName=IP:127.0.0.1",
                "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.at / "server.key", "-out", self.at / "server.crt")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.at / "jwt.key")
        point = openssl("ec", "-in", self.at / "jwt.key", "-pubout", "-outform", "DER")[-64:]
        x, y = (base64.urlsafe_b64encode(half).decode().rstrip("=") for half in (point[:32], point[32:]))
        jwk = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, "x": x, "y": y}
        (self.at / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
        return None, None

    def _configure(self, secured):
        access = f"""
[grpc.tls]
cert = "server.crt"
key = "server.key"
[access]
tokens = "tokens"
[access.jwt]
keys = "jwks.json"
issuer = "{ISSUER}"
audiences = ["rowgate"]
[callers.shop]
databases = ["main"]
rpcs = ["Query"]
subjects = ["shop"]
[callers.limited]
databases = ["main"]
rpcs = ["Query"]
max_calls = 4
max_rate = 50
read_only = false
"""
        (self.at / "rowgate.toml").write_text(
            f'[grpc]\nlisten = "127.0.0.1:{self.grpc}"\n[ops]\nlisten = "127.0.0.1:{self.ops}"\n'
            f'[databases.main]\nurl = "{URL}"\n' + (access.replace('rpcs = ["Query"]\nsubjects', 'rpcs = ["Query"]\nread_only = false\nsubjects') if secured else "")
        )

    def _token(self, caller):
        made = subprocess.run([BINARY, "token", "new", caller], cwd=self.at, check=True, capture_output=True, text=True)
        return made.stdout.strip()

    def _await(self):
        for _ in range(200):
            try:
                if self.get("/readyz"):
                    return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"the server did not start: {self.log()[-2000:]}")

    def log(self):
        return (self.at / "log").read_text(errors="replace")

    def get(self, path):
        with OPENER.open(f"http://127.0.0.1:{self.ops}{path}", timeout=5) as answer:
            return answer.read()

    def in_use(self):
        (database,) = json.loads(self.get("/status"))["databases"]
        return database["pool"]["in_use"] + database["pool"]["waiting"]

    def resident(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def place(self):
        return Place(self.grpc, self.ops, self.ca, self.token, self.limited, ISSUER, KEY_ID)

    def end(self):
        self.process.terminate()
        self.process.wait(30)
        self.directory.cleanup()


def innocent(place, orders, figures):
    """The innocent client: for each order, a time to go on, it sends the latencies of its calls and the failures."""
    headers, message = block(QUERY, place.token), query("select 40 + 2")
    connection, made = None, 0
    while (seconds := orders.recv()) is not None:
        latencies, failures, end = [], [], time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.monotonic()
            try:
                if connection is None:
                    connection = place.connect()
                if not connection.answer(connection.call(headers, message)):
                    raise ConnectionError("an error instead of rows")
            except OSError as error:
                failures.append(str(error) or type(error).__name__)
                connection = None
            latencies.append(time.monotonic() - start)
            made += 1
            if made % CALLS_OF_A_CONNECTION == 0 and connection:
                connection.close()
                connection = None
            time.sleep(max(0.0, start + INTERVAL - time.monotonic()))
        figures.send((latencies, failures))


def abuser(abuse, place, told):
    # Others than the sender pay for what it does, elsewhere: it has the least of the processors that all share.
    os.nice(10)
    place.until = time.monotonic() + BESIDE
    told.send(abuse(place))
    # What it has opened stays open until the end of the process: it leaves without a word.


class Innocent:
    def __init__(self, place):
        self.orders, orders = multiprocessing.Pipe()
        figures, given = multiprocessing.Pipe(False)
        self.figures = figures
        multiprocessing.Process(target=innocent, args=(place, orders, given), daemon=True).start()

    def begin(self, seconds):
        self.orders.send(seconds)

    def figure(self):
        """The p99, and the failures."""
        latencies, failures = self.figures.recv()
        return sorted(latencies)[int(len(latencies) * 0.99)], failures

    def end(self):
        self.orders.send(None)


def beside(server, client, abuse):
    """What is seen while the abuse goes on: p99, failures, memory, the slowest /livez, and what the abuser tells."""
    told, tell = multiprocessing.Pipe(False)
    process = multiprocessing.Process(target=abuser, args=(abuse, server.place(), tell), daemon=True)
    process.start()
    tell.close()
    client.begin(BESIDE)
    memory, slowest = 0, 0.0
    while not client.figures.poll(0.1):
        memory = max(memory, server.resident())
        start = time.monotonic()
        server.get("/livez")
        slowest = max(slowest, time.monotonic() - start)
    p99, failures = client.figure()
    try:
        text = told.recv()
    except EOFError:
        text = "FAIL: the abuser failed"
    memory = max(memory, server.resident())
    process.join()
    return p99, failures, memory, slowest, text


def back(server, client, limit, memory):
    """The seconds after which all is as it was; None after ten."""
    start = time.monotonic()
    while time.monotonic() < start + BACK_WITHIN:
        client.begin(AFTER)
        p99, failures = client.figure()
        if not failures and p99 <= limit and server.in_use() == 0 and server.resident() <= memory:
            return time.monotonic() - start - AFTER
    return None


def measure(server, name, abuse):
    client = Innocent(server.place())
    client.begin(QUIET)
    quiet, failures = client.figure()
    if failures:
        sys.exit(f"{name}: it fails without abuse: {failures[0]}")
    before = server.resident()
    p99, failures, memory, livez, told = beside(server, client, abuse)
    limit = max(2 * quiet, FLOOR)
    returned = back(server, client, limit, before + 128 * MIB)
    in_use, after = server.in_use(), server.resident()
    client.end()
    problems = [
        text
        for text, holds in [
            (f"{len(failures)} calls failed: {failures[:1]}", not failures),
            ("p99", p99 <= limit),
            ("memory", memory - before <= 128 * MIB),
            ("/livez", livez <= 1),
            ("not back", returned is not None and in_use == 0),
            (told, not told.startswith("FAIL")),
            ("the server ended", server.process.poll() is None),
        ]
        if not holds
    ]
    print(
        f"{name:26} {quiet * 1e3:8.2f} {p99 * 1e3:8.2f} {livez * 1e3:8.0f} {before / MIB:6.0f} {memory / MIB:6.0f} {after / MIB:6.0f}"
        f" {'-' if returned is None else f'{returned:.1f}':>5} {in_use:6}  {'FAIL ' + '; '.join(problems) if problems else 'PASS'} ({told})",
        flush=True,
    )
    return not problems


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    chosen = [each for each in ABUSES if not NAMES or any(name in each[0] for name in NAMES)]
    print(f"{'':26} {'p99, ms':>17} {'/livez':>8} {'memory, MiB':>20} {'back':>5} {'in use':>6}")
    print(f"{'abuse':26} {'quiet':>8} {'beside':>8} {'ms':>8} {'before':>6} {'most':>6} {'after':>6} {'s':>5} {'after':>6}")
    passed, servers = [], {}
    for name, abuse, secured in chosen:
        if secured not in servers:
            servers[secured] = Server(secured)
        passed.append(measure(servers[secured], name, abuse))
    for server in servers.values():
        server.end()
    print(f"{passed.count(True)} of {len(passed)} passed")
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
