"""Transactions whose caller never closes its side: each stream must end at once, OK, with all replies.

Usage: endings.py NAME ADDRESS
"""

import sys
import time

import grpc
from reflected import Server, Transaction

NAME, ADDRESS = sys.argv[1:]
TRANSACTIONS = 200
LARGE = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 2000) select i, '%s' from n" % ("x" * 100)


def ended(transaction, start):
    """Reads to the end, and returns how long it took."""
    for reply in transaction.replies:
        raise AssertionError(f"{NAME}: a reply after the end: {reply}")
    code = transaction.replies.code()
    assert code == grpc.StatusCode.OK, f"{NAME}: the stream ended with {code}"
    transaction.commands.put(None)
    return time.monotonic() - start


def one_by_one(server, end):
    transaction = Transaction(server)
    assert transaction.query("select 1") == [[1]]
    start = time.monotonic()
    end(transaction)
    return ended(transaction, start)


def at_once(server, end):
    """All commands are sent before the first reply is read; the last reply comes behind a large result."""
    transaction = Transaction(server)
    transaction.send_query(LARGE)
    transaction.send_query("select 2")
    start = time.monotonic()
    command, message, reply = end
    transaction.send(command, server.message(message)())
    assert len(transaction.rows()) == 2000
    assert transaction.rows() == [[2]]
    transaction.receive(reply)
    return ended(transaction, start)


server = Server(ADDRESS)
COMMIT = ("commit", "Commit", "committed")
ROLLBACK = ("rollback", "Rollback", "rolled_back")
slowest = 0
for count in range(TRANSACTIONS):
    command = COMMIT if count % 2 else ROLLBACK
    slowest = max(slowest, one_by_one(server, lambda open: open.do(*command)))
    if count % 4 == 0:
        at_once(server, command)
assert slowest < 0.9, f"{NAME}: a stream ended {slowest:.1f} s after its last command"
print(f"ok   {NAME}: {TRANSACTIONS * 5 // 4} streams ended OK, at the latest {slowest * 1000:.0f} ms after their last command")
