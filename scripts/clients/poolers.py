"""Many calls by two replicas behind one pooler, each of which must get the answer to its own statement.

Usage: poolers.py ADDRESS ADDRESS

Every caller has texts of its own, of one shape, with a number that its answer must repeat. Reads, writes, batches
and interactive transactions take turns; at the end the rows are those that were acknowledged.
"""

import sys
import threading

from reflected import PATIENCE, Server, Transaction, plain

ADDRESSES = sys.argv[1:]
CALLERS = 10
CALLS = 1000  # of each caller
TEXTS = 50  # of each caller

wrong = []
acknowledged = []
lock = threading.Lock()


def query(server, sql, *parameters):
    call = server.method("DatabaseService", "Query", "unary_unary")
    values = [server.value(parameter) for parameter in parameters]
    answer = call(server.message("QueryRequest")(sql=sql, parameters=values), timeout=PATIENCE)
    return [plain(row) for row in answer.result.rows]


def batch(server, *statements):
    request = server.message("ExecuteBatchRequest")()
    for sql in statements:
        request.statements.add(sql=sql)
    call = server.method("DatabaseService", "ExecuteBatch", "unary_unary")
    return [[plain(row) for row in result.rows] for result in call(request, timeout=PATIENCE).results]


def one(server, caller, call):
    """Makes one call; returns what it answered and what it must."""
    number = caller * 1_000_000 + call % TEXTS
    row = caller * 1_000_000 + call
    if call % 10 == 0:
        answer = query(server, f"insert into calls values ($1, {number}) returning id, text", row)
        return [row], answer, [[row, number]]
    if call % 10 == 1:
        answer = batch(server, f"insert into calls values ({row}, 1)", f"select {number}::int8")
        return [row], answer[1], [[number]]
    if call % 50 == 2:
        transaction = Transaction(server)
        transaction.query(f"insert into calls values ({row}, 2)")
        answer = transaction.query(f"select {number}::int8")
        transaction.commit()
        return [row], answer, [[number]]
    return [], query(server, f"select {number}::int8 + $1::int8", call), [[number + call]]


def run(caller):
    server = Server(ADDRESSES[caller % len(ADDRESSES)])
    for call in range(CALLS):
        rows, answer, expected = one(server, caller, call)
        with lock:
            acknowledged.extend(rows)
            if answer != expected:
                wrong.append((caller, call, answer, expected))


def main():
    server = Server(ADDRESSES[0])
    query(server, "create table calls (id int8 primary key, text int8 not null)")
    failures = []

    def guarded(caller):
        try:
            run(caller)
        except Exception as error:
            failures.append((caller, error))

    threads = [threading.Thread(target=guarded, args=(caller,)) for caller in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    (total,) = query(server, "select count(*) from calls")
    print(f"{CALLERS * CALLS} calls, {len(wrong)} wrong answers, {len(acknowledged)} writes, {total[0]} rows")
    assert not wrong, wrong[:3]
    assert total[0] == len(acknowledged), (total, len(acknowledged))


main()
