"""Calls through a failover of PostgreSQL under Patroni: what was acknowledged is there once, what failed is not.

Usage: failover.py await NODE...
       failover.py switchover ADDRESS NODE...
       failover.py crash ADDRESS NODE...

A NODE is NAME=REST_PORT,PID,DATA_DIRECTORY: of Patroni and of its PostgreSQL. Callers write with a key and without
one, and read, each call with ten seconds. In a switchover none may fail, except a write without a key that PostgreSQL
cut off in the middle of its commit: UNKNOWN is the truth. After a crash, which Patroni notices later than in ten seconds,
calls fail but say truly what became of them.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter

import grpc
from grpc_status import rpc_status

from reflected import Failed, Server, plain

CALLERS = 8
BEFORE = 300  # calls before the failover
AFTER = 50  # calls that succeed of each caller after it
TIME = 10  # of each call, in seconds
PATIENCE = 90  # with the cluster, in seconds


class Node:
    def __init__(self, words):
        self.name, rest = words.split("=")
        port, pid, self.data = rest.split(",")
        self.address, self.pid = f"http://127.0.0.1:{port}", int(pid)

    def get(self):
        """The members of the cluster by their names, as this node knows them."""
        with urllib.request.urlopen(f"{self.address}/cluster", timeout=2) as answer:
            return {member["name"]: member for member in json.load(answer)["members"]}

    def switch_over(self, candidate):
        body = json.dumps({"leader": self.name, "candidate": candidate}).encode()
        request = urllib.request.Request(f"{self.address}/switchover", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            print(f"Patroni: {answer.read().decode()}")

    def kill(self):
        with open(f"{self.data}/postmaster.pid", encoding="ascii") as file:
            postgres = int(file.readline())
        for pid in (self.pid, postgres):
            os.kill(pid, signal.SIGKILL)


def eventually(what, condition):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


def leader(node):
    return next((name for name, member in node.get().items() if member["role"] == "leader"), None)


def ready(nodes):
    """The leader and a synchronous standby, once all nodes run."""
    members = nodes[0].get()
    roles = {member["role"]: name for name, member in members.items()}
    running = [member for member in members.values() if member["state"] in ("running", "streaming")]
    if len(running) == len(nodes) and "leader" in roles and "sync_standby" in roles:
        return roles["leader"], roles["sync_standby"]
    return None


def query(server, sql, *parameters, key=""):
    values = [server.value(parameter) for parameter in parameters]
    options = server.message("QueryOptions")(idempotency_key=key)
    options.timeout.seconds = TIME
    request = server.message("QueryRequest")(sql=sql, parameters=values, options=options)
    call = server.method("DatabaseService", "Query", "unary_unary")
    try:
        # The server answers at the deadline of the options, and says what became of the call.
        answer = call(request, timeout=TIME + 5)
    except grpc.RpcError as failure:
        status = rpc_status.from_call(failure)
        if status is None:
            raise
        raise Failed(status) from failure
    return [plain(row) for row in answer.result.rows]


class Load:
    """The callers, and what they were told of each number: "" is success."""

    def __init__(self, how, address):
        self.how, self.address, self.lock, self.told, self.kinds = how, address, threading.Lock(), {}, Counter()
        self.longest, self.failures, self.goals, self.stopped = 0.0, [], {}, threading.Event()
        self.threads = [threading.Thread(target=self.guarded, args=(caller,)) for caller in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def guarded(self, caller):
        try:
            self.run(caller)
        except Exception as error:
            self.failures.append((caller, error))
            self.stopped.set()

    def run(self, caller):
        server, call = Server(self.address), 0
        while not self.stopped.is_set():
            call += 1
            kind = ("keyed", "unkeyed", "read")[call % 3]
            self.note(caller, kind, *self.call(server, kind, caller * 1_000_000 + call))

    def call(self, server, kind, number):
        began = time.monotonic()
        try:
            if kind == "read":
                query(server, "select count(*) from calls where id = $1", number)
            else:
                insert = "insert into calls values ($1)"
                query(server, insert, number, key=self.key(number) if kind == "keyed" else "")
            failure = ""
        except Failed as failed:
            failure = failed
        return number, failure, time.monotonic() - began

    def key(self, number):
        return f"{self.how}-{number}"

    def note(self, caller, kind, number, failure, took):
        with self.lock:
            self.longest = max(self.longest, took)
            outcome = f"{failure.reason}, {failure.outcome}" if failure else ""
            self.kinds[kind, outcome] += 1
            if kind != "read":
                self.told[number] = (kind, failure and failure.outcome)
            if not failure:
                self.goals[caller] = self.goals.get(caller, 0) + 1

    def until(self, what, each):
        """Waits until each caller has succeeded so often from now on."""
        with self.lock:
            self.goals = {}

        def reached():
            assert not self.failures, self.failures
            with self.lock:
                return all(self.goals.get(caller, 0) >= each for caller in range(CALLERS))

        eventually(what, reached)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures

    def check(self, server):
        """Compares what was told with what is there; returns the number of calls that need not fail."""
        told = dict(self.told)
        for number, (kind, outcome) in self.told.items():
            # Whoever repeats a call under its key learns its outcome.
            if (kind, outcome) == ("keyed", "UNKNOWN"):
                query(server, "insert into calls values ($1)", number, key=self.key(number))
                told[number] = (kind, "")
        (text,) = query(server, "select string_agg(id::text, ',') from calls")[0]
        there = Counter(int(number) for number in text.split(","))
        lost = [number for number, (_, outcome) in told.items() if outcome == "" and number not in there]
        false = [number for number, (_, outcome) in told.items() if outcome == "NOT_APPLIED" and number in there]
        doubled = [number for number, count in there.items() if count > 1]
        errors = {key: count for key, count in self.kinds.items() if key[1]}
        print(f"{self.kinds.total()} calls, {sum(errors.values())} errors, longest {self.longest:.1f} s; "
              f"{len(lost)} lost, {len(doubled)} doubled, {len(false)} applied although told otherwise")
        for (kind, outcome), count in sorted(errors.items()):
            print(f"  {count} {kind}: {outcome}")
        assert not (lost or doubled or false), (lost[:3], doubled[:3], false[:3])
        in_mid_commit = errors.get(("unkeyed", "OUTCOME_UNKNOWN, UNKNOWN"), 0)
        return sum(errors.values()) - in_mid_commit


def fail_over(how, address, nodes):
    by_name = {node.name: node for node in nodes}
    server = Server(address)
    query(server, "create table if not exists calls (id int8 not null)")
    query(server, "truncate calls")
    old, candidate = eventually("a primary and a synchronous standby", lambda: ready(nodes))
    load = Load(how, address)
    load.until("calls succeed before", BEFORE // CALLERS)
    began = time.monotonic()
    if how == "switchover":
        by_name[old].switch_over(candidate)
    else:
        by_name[old].kill()
    new = eventually("another primary", lambda: (name := leader(by_name[candidate])) != old and name)
    print(f"{how}: the primary was {old} and is {new}, after {time.monotonic() - began:.1f} s")
    load.until("calls succeed after", AFTER)
    load.stop()
    needless = load.check(server)
    assert how == "crash" or needless == 0, "a planned failover fails no call"


def main():
    how, *words = sys.argv[1:]
    if how == "await":
        nodes = [Node(word) for word in words]
        print("primary {}, synchronous standby {}".format(*eventually("three nodes", lambda: ready(nodes))))
    else:
        fail_over(how, words[0], [Node(word) for word in words[1:]])


main()
