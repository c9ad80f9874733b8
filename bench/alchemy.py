"""Asks MariaDB through PyMySQL and SQLAlchemy's pool with pre-ping for some seconds, and prints how often in how long.

alchemy.py select|rows PORT SECONDS THREADS

select reads one account at a time in each thread, rows a million rows into a list.
"""

import random
import sys
import threading
import time

from sqlalchemy import create_engine, text

POINT = text("SELECT aid, abalance FROM pgbench_accounts WHERE aid = :aid")
ROWS = text("SELECT id, amount, label, at FROM bench_rows")
ACCOUNTS = 100_000
COUNT = 1_000_000


def select(connection):
    key = random.randint(1, ACCOUNTS)
    if connection.execute(POINT, {"aid": key}).one()[0] != key:
        sys.exit(f"another row than that of key {key}")
    return 1


def rows(connection):
    found = connection.execute(ROWS).all()
    if len(found) != COUNT or tuple(found[0])[:3] != (1, 0.125, "label 1"):
        sys.exit(f"{len(found)} rows, the first is {found[0]}")
    return COUNT


def main():
    mode, port, seconds, threads = sys.argv[1:]
    call = {"select": select, "rows": rows}[mode]
    url = f"mysql+pymysql://bench:bench@127.0.0.1:{port}/bench"
    engine = create_engine(url, pool_pre_ping=True, pool_size=int(threads))
    # Opened before the time begins, and kept by the pool.
    for connection in [engine.connect() for _ in range(int(threads))]:
        connection.close()
    done = [0] * int(threads)
    start = time.perf_counter()

    def repeat(index):
        while time.perf_counter() - start < float(seconds):
            with engine.connect() as connection:
                done[index] += call(connection)

    workers = [threading.Thread(target=repeat, args=(index,)) for index in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    taken = time.perf_counter() - start
    print(f"done: {sum(done)}\ndone/s: {sum(done) / taken}")


main()
