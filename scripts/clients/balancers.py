"""Many transactions through a load balancer that knows nothing of them, in front of two replicas.

Usage: balancers.py NAME ADDRESS

Each replica is told by the application_name of its connections. Money moves between accounts in
interactive transactions and in batches; at the end its sum, and the list of what was acknowledged, say
whether any was torn apart.
"""

import collections
import random
import sys
import threading
import time

import grpc
from reflected import PATIENCE, Failed, Server, Transaction, plain

NAME, ADDRESS = sys.argv[1:]
CLIENTS = 8
TRANSACTIONS = 40  # of each client
ACCOUNTS, EACH = 10, 1000
WHERE = "select current_setting('application_name'), pg_backend_pid(), pg_current_xact_id()::text"


def check(what, holds, why=""):
    assert holds, f"{NAME}: {what}: {why}"
    print(f"ok   {NAME}: {what}")


def query(server, sql):
    call = server.method("DatabaseService", "Query", "unary_unary")
    answer = call(server.message("QueryRequest")(sql=sql), timeout=PATIENCE)
    return [plain(row) for row in answer.result.rows]


def prepare(server):
    query(server, "drop table if exists accounts, moves")
    query(server, "create table accounts (id int primary key, cents bigint not null)")
    query(server, "create table moves (token text primary key)")
    query(server, f"insert into accounts select id, {EACH} from generate_series(1, {ACCOUNTS}) id")


def moves(token, source, target):
    """The statements of one move; locks are taken in the order of the accounts."""
    amounts = sorted([(source, -7), (target, 7)])
    updates = [f"update accounts set cents = cents + {cents} where id = {id}" for id, cents in amounts]
    return [*updates, f"insert into moves values ('{token}')"]


def interactive(server, token, source, target, dice):
    """Returns the replica, and whether it was committed."""
    transaction = Transaction(server)
    (place,) = transaction.query(WHERE)
    if dice.random() < 0.5:
        for sql in moves(token, source, target):
            transaction.query(sql)
            time.sleep(dice.random() / 200)
    else:
        statements = moves(token, source, target)
        for sql in statements:
            transaction.send_query(sql)
        for _ in statements:
            transaction.rows()
    transaction.savepoint("before")
    try:
        transaction.query("select 1 / 0")
        raise AssertionError("a division by zero is no error")
    except Failed as failed:
        assert (failed.reason, failed.outcome) == ("DIVISION_BY_ZERO", "NOT_APPLIED"), failed
    transaction.rollback_to("before")
    (after,) = transaction.query(WHERE)
    assert after == place, f"{NAME}: a transaction moved from {place} to {after}"
    keep = dice.random() < 0.7
    transaction.commit() if keep else transaction.rollback()
    return place[0], keep


def batch(server, token, source, target):
    request = server.message("ExecuteBatchRequest")()
    for sql in [WHERE, *moves(token, source, target)]:
        request.statements.add(sql=sql)
    request.statements[1].expect.exactly = 1
    answer = server.method("DatabaseService", "ExecuteBatch", "unary_unary")(request, timeout=PATIENCE)
    assert len(answer.results) == 4, answer
    return plain(answer.results[0].rows[0])[0]


class Client(threading.Thread):
    def __init__(self, number):
        super().__init__()
        self.number, self.failure = number, None
        self.acknowledged, self.replicas = set(), collections.Counter()

    def run(self):
        try:
            server, dice = Server(ADDRESS), random.Random(self.number)
            for count in range(TRANSACTIONS):
                token = f"{self.number}-{count}"
                source, target = dice.sample(range(1, ACCOUNTS + 1), 2)
                if count % 4 == 3:
                    replica, kept = batch(server, token, source, target), True
                else:
                    replica, kept = interactive(server, token, source, target, dice)
                self.replicas[replica] += 1
                if kept:
                    self.acknowledged.add(token)
        except Exception as failure:
            self.failure = failure


def vanishing(server):
    """How long a row stays locked after its caller has gone, in seconds."""
    gone = Transaction(Server(ADDRESS))
    gone.query("update accounts set cents = cents - 1 where id = 1")
    gone.cancel()
    start = time.monotonic()
    query(server, "update accounts set cents = cents where id = 1")
    return time.monotonic() - start


def silent_close(server):
    """The error of a transaction that is neither committed nor rolled back."""
    transaction = Transaction(server)
    transaction.query("delete from accounts")
    try:
        transaction.close()
    except grpc.RpcError as error:
        return error.code()
    return None


server = Server(ADDRESS)
prepare(server)
clients = [Client(number) for number in range(CLIENTS)]
for client in clients:
    client.start()
for client in clients:
    client.join()
failures = [f"{type(client.failure).__name__}: {client.failure}" for client in clients if client.failure]
check(f"no client failed", not failures, "\n".join(failures))
replicas = sum((client.replicas for client in clients), collections.Counter())
acknowledged = set().union(*(client.acknowledged for client in clients))
check(f"{sum(replicas.values())} transactions, each on one replica and one connection", True)
check(f"both replicas had some: {dict(replicas)}", len(replicas) == 2, replicas)
applied = {token for (token,) in query(server, "select token from moves")}
check(f"{len(acknowledged)} acknowledged are there, and no other", applied == acknowledged,
      applied ^ acknowledged)
check(f"a transaction that is not committed is none", silent_close(server) ==
      grpc.StatusCode.FAILED_PRECONDITION)
waited = vanishing(server)
check(f"the locks of a caller who went are gone after {waited * 1000:.0f} ms", waited < 1)
((cents,),) = query(server, "select sum(cents)::int8 from accounts")
check(f"no money was made or lost", cents == ACCOUNTS * EACH, cents)
