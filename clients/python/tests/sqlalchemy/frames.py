"""Writes a frame of pandas with to_sql and reads it back with read_sql.

    frames.py URL
"""

from __future__ import annotations

import sys

import pandas
from sqlalchemy import create_engine, text


def main(url: str) -> None:
    engine = create_engine(url)
    rows = 3000
    frame = pandas.DataFrame(
        {
            "id": range(rows),
            "name": [f"name {n} % ☃" for n in range(rows)],
            "price": [n / 8 for n in range(rows)],
            "at": pandas.date_range("2026-01-01", periods=rows, freq="61s"),
            "odd": [n % 2 == 1 for n in range(rows)],
        }
    )
    frame.loc[7, "name"] = None
    for method in (None, "multi"):
        # 32,766 parameters are the most that SQLite takes in one statement.
        print("written:", frame.to_sql("frame", engine, if_exists="replace", index=False, method=method, chunksize=1000))
        back = pandas.read_sql("SELECT * FROM frame ORDER BY id", engine, parse_dates=["at"])
        back["odd"] = back["odd"].astype(bool)
        pandas.testing.assert_frame_equal(back, frame, check_dtype=False)
    table = pandas.read_sql_table("frame", engine, columns=["id", "price"], index_col="id")
    print("table:", table.shape, table["price"].sum())
    chunks = pandas.read_sql(text("SELECT id FROM frame WHERE id >= :least"), engine, params={"least": 500}, chunksize=700)
    print("chunks:", [len(chunk) for chunk in chunks])
    added = frame.head(10).to_sql("frame", engine, if_exists="append", index=False)
    print("appended:", added, pandas.read_sql("SELECT count(*) AS n FROM frame", engine)["n"].iloc[0])
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE frame"))
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1])
