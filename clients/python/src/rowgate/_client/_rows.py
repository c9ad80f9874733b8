"""Rows: a light class for each shape of a result, and the function that decodes its messages.

A `Row` is a tuple. Its values have positions, names (`row["id"]`) and attributes (`row.id`).
"""

from datetime import timedelta
from functools import lru_cache, partial
from keyword import iskeyword
from typing import Any, Callable, Dict, List, NamedTuple, Tuple, Union

from .._values._decode import Column, Plan, plan
from .._values._temporal import EPOCH

try:
    from _collections import _tuplegetter  # type: ignore[import-not-found]  # what namedtuple uses: reads a position at the speed of C
except ImportError:

    def _tuplegetter(index: int, doc: str) -> Any:
        return property(lambda row: tuple.__getitem__(row, index), doc=doc)


#: A function that returns how the values of a column are decoded: a plan, or a function of each value.
Planner = Callable[[Column], Union[Plan, Callable[[Any], Any]]]


class Row(tuple):  # type: ignore[type-arg]
    """A row: a tuple whose values also have names.

    `row[0]`, `row["id"]` and `row.id` are the same value. A name that occurs twice, or that is no identifier of Python's,
    is reached by position, or by its name in brackets if it is unique. `row._asdict()` is a dict, `row._fields` the names.
    """

    __slots__ = ()
    _fields: Tuple[str, ...] = ()
    _positions: Dict[str, int] = {}

    def __getitem__(self, key: Any) -> Any:
        if type(key) is str:
            index = self._positions.get(key)
            if index is None:
                raise KeyError(self._no_column(key))
            return tuple.__getitem__(self, index)
        return tuple.__getitem__(self, key)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(self._no_column(name))

    def _asdict(self) -> Dict[str, Any]:
        """The values by their names; KeyError if a name occurs twice."""
        if len(self._positions) != len(self._fields):
            repeated = next(name for name in self._fields if name not in self._positions)
            raise KeyError(self._no_column(repeated))
        return dict(zip(self._fields, self))

    def _no_column(self, name: str) -> str:
        count = self._fields.count(name)
        if count > 1:
            return f"{count} columns are called {name!r}: use positions, or name them apart with AS"
        return f"no column is called {name!r}; there are: {', '.join(self._fields)}"

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"Row({values})"

    def __reduce__(self) -> Any:
        return (_rebuilt, (self._fields, tuple(self)))


def _rebuilt(fields: Tuple[str, ...], values: Tuple[Any, ...]) -> Row:
    row: Row = tuple.__new__(row_class(fields), values)
    return row


@lru_cache(maxsize=1024)
def row_class(names: Tuple[str, ...]) -> Any:
    """The class of the rows with these column names."""
    positions = {name: index for index, name in enumerate(names) if names.count(name) == 1}
    members: Dict[str, Any] = {"__slots__": (), "_fields": names, "_positions": positions}
    for name, index in positions.items():
        if name.isidentifier() and not iskeyword(name) and not name.startswith("_"):
            members[name] = _tuplegetter(index, f"The column {name}.")
    return type("Row", (Row,), members)


class Shape(NamedTuple):
    """The columns of a result, and the function that makes rows of its messages `Row`."""

    columns: Tuple[Column, ...]
    decode: Callable[[Any], List[Any]]


NO_COLUMNS = Shape((), lambda rows: [tuple.__new__(row_class(()), ()) for _ in rows])


def shape_of(columns: Any, planner: Planner = plan) -> Shape:
    """The shape of a result with these columns (messages)."""
    if not columns:
        return NO_COLUMNS
    return _shape(tuple([column.SerializeToString() for column in columns]), planner)


@lru_cache(maxsize=1024)
def _shape(described: Tuple[bytes, ...], planner: Planner) -> Shape:
    from .._proto import message

    kind = message("Column")
    columns = tuple(Column.of(kind.FromString(each)) for each in described)
    return Shape(columns, row_decoder(columns, planner))


def row_decoder(columns: Tuple[Column, ...], planner: Planner = plan) -> Callable[[Any], List[Any]]:
    """Compiles the decoder of rows: one expression for each column, so that a value costs no call where it needs none."""
    names = [f"v{index}" for index in range(len(columns))]
    make = partial(tuple.__new__, row_class(tuple(column.name for column in columns)))
    scope: Dict[str, Any] = {"make": make, "EPOCH": EPOCH, "timedelta": timedelta}
    expressions: List[str] = []
    for name, column in zip(names, columns):
        planned = planner(column)
        field, convert, general = planned if isinstance(planned, Plan) else Plan(None, None, planned)
        scope[f"g_{name}"] = general
        scope[f"c_{name}"] = convert
        if field is None:
            expressions.append(f"g_{name}({name})")
        elif convert is None:
            expressions.append(f"{name}.{field} or g_{name}({name})")
        elif field == "timestamp_value":
            expressions.append(
                f"EPOCH + timedelta(0, s, t.nanos // 1000) if (s := (t := {name}.{field}).seconds) else g_{name}({name})"
            )
        else:
            expressions.append(f"c_{name}(t) if (t := {name}.{field}) else g_{name}({name})")
    source = (
        "def decode(rows):\n"
        "    found = []\n"
        "    add = found.append\n"
        "    for row in rows:\n"
        f"        {', '.join(names)}, = row.values\n"
        f"        add(make(({', '.join(expressions)},)))\n"
        "    return found\n"
    )
    exec(compile(source, "<rowgate row decoder>", "exec"), scope)  # noqa: S102 - holds no names of the database's
    decode: Callable[[Any], List[Any]] = scope["decode"]
    return decode
