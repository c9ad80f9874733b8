"""Has each alert fire for real: causes its condition in a server that Prometheus scrapes, sees it `firing`, ends
the condition, and sees it end. Then evaluates every expression of the rules and of the dashboard on what was measured.

Usage: alerts.py PROMETHEUS_URL ADDRESS PID DATA_DIRECTORY DASHBOARD

PID is the server's, DATA_DIRECTORY that of the PostgreSQL behind its database `unreachable`, which is stopped and started.
The other databases are all in another one, as scripts/lib/alerts.sh configures them.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import grpc
from reflected import Server, plain

PROMETHEUS, ADDRESS, PID, DATA, DASHBOARD = sys.argv[1:]
PATIENCE = 60  # seconds, for an alert to fire, and for it to end
STARTED = time.time()


def check(what, holds, why=""):
    assert holds, f"{what}: {why}"
    print(f"ok   {what}", flush=True)


def until(what, condition, patience=PATIENCE):
    """Waits for it and returns what it found."""
    start = time.monotonic()
    while time.monotonic() - start < patience:
        if found := condition():
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {patience} s")


def ask(path, **parameters):
    """Prometheus' API."""
    url = f"{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{parameters}: {error.read().decode()}") from None


def alerts():
    return [alert for alert in ask("alerts")["alerts"] if alert["state"] == "firing"]


def firing(name, labels):
    found = [alert for alert in alerts() if alert["labels"]["alertname"] == name]
    return [alert for alert in found if labels.items() <= alert["labels"].items()]


class Client:
    """One connection to the server."""

    def __init__(self):
        self.server = Server(ADDRESS)
        self.run_query = self.server.method("DatabaseService", "Query", "unary_unary")
        self.run_batch = self.server.method("DatabaseService", "ExecuteBatch", "unary_unary")

    def query(self, database, sql, timeout=10.0):
        request = self.server.message("QueryRequest")(database=database, sql=sql)
        return [plain(row) for row in self.run_query(request, timeout=timeout).result.rows]

    def batch(self, database, sql):
        request = self.server.message("ExecuteBatchRequest")(database=database)
        request.statements.add(sql=sql)
        self.run_batch(request, timeout=10)

    def pool(self, command, pool):
        request = self.server.message(f"{command}PoolRequest")(pool=pool)
        self.server.method("PoolService", f"{command}Pool", "unary_unary")(request, timeout=10)


class Load:
    """Threads that do something again and again, with a pause, until the end of a `with`; errors are what is wanted."""

    def __init__(self, threads, pause, work):
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(pause, work)) for _ in range(threads)]

    def run(self, pause, work):
        client = Client()
        while not self.over.wait(pause):
            with contextlib.suppress(grpc.RpcError):
                work(client)

    def __enter__(self):
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


class Away:
    """The PostgreSQL behind `unreachable`."""

    def __init__(self):
        self.options = shlex.split(pathlib.Path(DATA, "postmaster.opts").read_text())
        self.started = None

    def stop(self):
        lines = pathlib.Path(DATA, "postmaster.pid").read_text().splitlines()
        os.kill(int(lines[0]), signal.SIGINT)
        if self.started:
            self.started.wait()
        until("PostgreSQL ends", lambda: not pathlib.Path(DATA, "postmaster.pid").exists())

    def start(self):
        owner, other = os.stat(DATA), {}
        if os.geteuid() == 0:
            other = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        with open(f"{DATA}/../server.log", "a") as log:
            self.started = subprocess.Popen(self.options, stdout=log, stderr=log, **other)

    def end(self):
        """Of what we started ourselves."""
        if self.started:
            self.started.send_signal(signal.SIGQUIT)
            self.started.wait()


MAIN = Client()  # a superuser, in the PostgreSQL of all databases but `unreachable`
AWAY = Away()


def terminate(name):
    """Ends the backends of a database: each has its name as application_name."""
    MAIN.query("main", "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                       f" where application_name = '{name}'")


def available(database):
    series = ask("query", query=f'rowgate_database_available{{db_namespace="{database}"}}')["result"]
    return series[0]["value"][1] == "1"


# Conditions: each is caused when its `with` begins, and is over when it ends.


@contextlib.contextmanager
def database_stopped():
    AWAY.stop()
    try:
        with Load(4, 0.02, lambda client: client.query("unreachable", "select 1")):
            yield
    finally:
        AWAY.start()
    until("the database is back", lambda: available("unreachable"))


@contextlib.contextmanager
def database_restarted(times=3):
    for _ in range(times):
        AWAY.stop()
        until("the database is unreachable", lambda: not available("unreachable"))
        AWAY.start()
        until("the database is back", lambda: available("unreachable"))
    yield


@contextlib.contextmanager
def login_refused():
    MAIN.query("main", "alter role refused nologin")
    with contextlib.suppress(grpc.RpcError):
        MAIN.query("refused", "select 1")
    yield
    MAIN.query("main", "alter role refused login")


@contextlib.contextmanager
def backend_stopped():
    """Under a write, so that nobody can say by its deadline what became of it."""

    def write():
        with contextlib.suppress(grpc.RpcError):
            Client().query("unknown", "insert into marks select 1 from pg_sleep(0.5)", timeout=1.5)

    writer = threading.Thread(target=write)
    writer.start()
    rows = until("a write is under way", lambda: MAIN.query(
        "main", "select pid from pg_stat_activity where application_name = 'unknown' and state = 'active'"
                " and query like '%marks%'"))
    ((backend,),) = rows
    os.kill(backend, signal.SIGSTOP)
    try:
        writer.join()
    finally:
        os.kill(backend, signal.SIGCONT)
    yield


@contextlib.contextmanager
def data_corrupted():
    """As the database would say it."""
    with contextlib.suppress(grpc.RpcError):
        MAIN.query("main", "do $$ begin raise 'a page is torn' using errcode = 'XX001'; end $$")
    yield


@contextlib.contextmanager
def pool_paused():
    MAIN.pool("Pause", "paused")
    yield
    MAIN.pool("Resume", "paused")


@contextlib.contextmanager
def connection_held():
    with contextlib.suppress(grpc.RpcError):
        MAIN.query("held", "select pg_sleep(1)")
    yield


@contextlib.contextmanager
def backends_terminated():
    over = threading.Event()

    def work():
        while not over.wait(0.05):
            terminate("lost")

    terminator = threading.Thread(target=work)
    terminator.start()
    try:
        with Load(4, 0, lambda client: client.query("lost", "select pg_sleep(0.2)")):
            yield
    finally:
        over.set()
        terminator.join()


def asked(database, sql, threads, timeout=10.0):
    return Load(threads, 0.02, lambda client: client.query(database, sql, timeout))


@contextlib.contextmanager
def server_stopped():
    os.kill(int(PID), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(int(PID), signal.SIGCONT)


def pool(name):
    return {"db_client_connection_pool_name": name}


def database(name):
    return {"db_namespace": name}


# What runs side by side: lists of conditions that come one after the other, each with its alerts and their labels.
LANES = [
    [
        (database_stopped, {
            "RowgateDatabaseUnavailable": database("unreachable"), "RowgateCallsFail": {}, "RowgateSomeCallsFail": {},
        }),
        (database_restarted, {"RowgateBreakerFlapping": database("unreachable")}),
    ],
    [
        (login_refused, {"RowgateLoginRefused": {}}),
        (backend_stopped, {"RowgateOutcomeUnknown": {}}),
        (data_corrupted, {"RowgateDataCorrupted": {}}),
        (pool_paused, {"RowgatePoolPaused": pool("paused")}),
        (connection_held, {"RowgateConnectionsHeld": pool("held")}),
    ],
    [
        (lambda: asked("full", "select pg_sleep(0.3)", threads=8), {
            "RowgatePoolExhausted": pool("full"), "RowgatePoolSaturated": pool("full"), "RowgatePoolSlow": pool("full"),
        }),
    ],
    [
        (lambda: Load(4, 0, lambda client: client.batch("slow", "select pg_sleep(1.2)")), {
            "RowgateCallsSlow": {"rpc_method": "rowgate.v1.DatabaseService/ExecuteBatch"},
            "RowgateOperationsSlow": database("slow"),
        }),
        (lambda: asked("slow", "select pg_sleep(5)", threads=2, timeout=0.2), {"RowgateStatementsCancelled": database("slow")}),
    ],
    [
        (backends_terminated, {"RowgateConnectionsLost": pool("lost"), "RowgateRetriesRefused": database("lost")}),
        (lambda: asked("crowded", "select pg_sleep(0.1)", threads=4), {"RowgateConnectsFail": pool("crowded")}),
    ],
]
AFTERWARDS = [[(server_stopped, {"RowgateDown": {}, "RowgateAbsent": {}})]]


class Lane(threading.Thread):
    """Goes through conditions; keeps what was seen, and what went wrong."""

    def __init__(self, conditions):
        super().__init__()
        self.conditions, self.seen, self.failure = conditions, [], None

    def run(self):
        try:
            for condition, wanted in self.conditions:
                self.cause(condition, wanted)
        except Exception as failure:
            self.failure = failure

    def cause(self, condition, wanted):
        fired, began = {}, time.monotonic()
        with condition():
            for name, labels in wanted.items():
                found = until(f"{name} fires", lambda: firing(name, labels))
                fired[name] = time.monotonic() - began
                words = json.dumps(found[0]["annotations"])
                assert "<error" not in words and "<no value>" not in words, f"{name}: {words}"
        over = time.monotonic()
        for name, labels in wanted.items():
            until(f"{name} ends", lambda: not firing(name, labels))
            ended = time.monotonic() - over
            check(f"{name} fires {fired[name]:.1f} s after its cause began, and ends {ended:.1f} s after it", True)
            self.seen.append(name)


def cause_all(lanes):
    """Returns the names of the alerts that were seen to fire and to end."""
    lanes = [Lane(conditions) for conditions in lanes]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    failures = [f"{type(lane.failure).__name__}: {lane.failure}" for lane in lanes if lane.failure]
    assert not failures, "\n".join(failures)
    return {name for lane in lanes for name in lane.seen}


def rules():
    return [rule for group in ask("rules")["groups"] for rule in group["rules"]]


def measured(expression):
    """All series that it gave since we began."""
    return ask("query_range", query=expression, start=STARTED, end=time.time(), step=1)["result"]


def check_rules():
    for rule in rules():
        assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"
        check(f"rule {rule['name']} gives data", measured(rule["query"]), rule["query"])


VARIABLES = {"$__rate_interval": "10s", "$__range": "2m", "$instance": ".+", "$database": ".+"}


def without_variables(expression):
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in re.sub(r'"\$\d"', "", expression), f"a variable that is not known: {expression}"
    return expression


def check_panels():
    with open(DASHBOARD) as file:
        dashboard = json.load(file)
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    for panel in panels:
        for target in panel["targets"]:
            series = measured(without_variables(target["expr"]))
            assert series, f"panel {panel['title']}: no data: {target['expr']}"
            for label in re.findall(r"{{(.+?)}}", target["legendFormat"]):
                assert all(label in each["metric"] for each in series), f"panel {panel['title']}: no label {label}"
        check(f"panel {panel['title']} has data", True)
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"]).groups()
            series = measured(without_variables(metric))
            check(f"variable {variable['name']} has values", {each["metric"][label] for each in series})


try:
    with asked("main", "select 1", threads=4):
        until("there are records of calls", lambda: measured("job_method_code:rpc_server_calls:rate5m"))
        check("no alert while all is well", not ask("alerts")["alerts"], ask("alerts")["alerts"])
        seen = cause_all(LANES)
    seen |= cause_all(AFTERWARDS)
    every = {rule["name"] for rule in rules() if rule["type"] == "alerting"}
    check(f"all {len(every)} alerts were caused", seen == every, every ^ seen)
    check_rules()
    check_panels()
finally:
    AWAY.end()
