"""DROP TABLE on SQLite, where foreign keys are always enforced: it deletes the rows of its table first, with their ON DELETE.

Programs that were written for sqlite3, which does not enforce them, make a table anew by a copy and a DROP TABLE (so does the
batch mode of Alembic). Here that would empty the tables that refer to it, without a word.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Callable, Optional

from .. import _errors as errors
from ._control import BLANK, END

_NAME = r"""(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^]]*\]|'(?:[^']|'')*'|[^\W\d][\w$]*)"""
_DROP = re.compile(
    rf"{BLANK}DROP{BLANK}\bTABLE\b{BLANK}(?:IF\b{BLANK}EXISTS\b{BLANK})?(?:{_NAME}{BLANK}\.{BLANK})?(?P<name>{_NAME}){END}",
    re.IGNORECASE | re.DOTALL,
)
_REFERENCES = """
SELECT t.name, f.id, f."from", f.on_delete
FROM sqlite_master t, pragma_foreign_key_list(t.name) f
WHERE t.type = 'table' AND lower(f."table") = lower($1) AND lower(t.name) <> lower($1)
  AND f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
  AND EXISTS (SELECT 1 FROM sqlite_master d WHERE d.type = 'table' AND lower(d.name) = lower($1))
ORDER BY t.name, f.id, f.seq
"""


@lru_cache(maxsize=256)
def dropped_table(sql: str) -> Optional[str]:
    """The name of the table that a DROP TABLE drops; None for another statement."""
    found = _DROP.match(sql)
    if found is None:
        return None
    name = found["name"]
    quote = {"[": "]"}.get(name[0], name[0])
    return name[1:-1].replace(quote * 2, quote) if name[0] in "\"`['" else name


def check_drop(table: str, ask: Callable[[str, tuple[Any, ...]], Any]) -> None:
    """Raises if dropping the table would delete or change rows of others. `ask` runs a query in the transaction of the drop."""
    columns: dict[tuple[str, int, str], list[str]] = {}
    for name, number, column, action in ask(_REFERENCES, (table,)).rows:
        columns.setdefault((name, number, action), []).append(column)
    for (name, _, action), names in columns.items():
        condition = " AND ".join(f"{_quoted(column)} IS NOT NULL" for column in names)
        count = ask(f"SELECT count(*) FROM {_quoted(name)} WHERE {condition}", ()).rows[0][0]
        if count:
            what = "delete" if action == "CASCADE" else "change"
            raise errors.NotSupportedError(
                f"DROP TABLE {table} was not run: it would {what} {count} rows of {name} (ON DELETE {action}),"
                " as foreign keys are always enforced here",
                hint="Delete or change these rows first if that is meant. To make a table anew under the rows that refer to it,"
                " write a file of `rowgate migrate` with `-- rowgate: no-transaction` and `PRAGMA foreign_keys = off`.",
            )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
