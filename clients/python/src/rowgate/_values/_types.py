"""Types of our own for values that Python has no type for."""

from typing import Any, Iterable, Sequence, Tuple


class DatabaseText(str):
    """A value that Python's type cannot hold, as the database's own text: a date `infinity`, a year before 1.

    Compare and print it as text. As a parameter it is the same value again.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"DatabaseText({str.__repr__(self)})"


class Json:
    """A parameter that is sent as JSON: needed for lists, texts, numbers and None, as a dict is sent as JSON anyway."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Json) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Json({self.value!r})"


class Array(list):  # type: ignore[type-arg]
    """A list that does not begin at 1 in the database: `lower_bounds` has the first index of each dimension.

    An array without elements and one that begins at 1 is a plain list.
    """

    __slots__ = ("lower_bounds",)

    def __init__(self, elements: Iterable[Any] = (), lower_bounds: Sequence[int] = ()) -> None:
        super().__init__(elements)
        self.lower_bounds: Tuple[int, ...] = tuple(lower_bounds)

    def __repr__(self) -> str:
        return f"Array({list.__repr__(self)}, lower_bounds={self.lower_bounds!r})"

    def __reduce__(self) -> Any:
        return (Array, (list(self), self.lower_bounds))


class Reference:
    """A parameter of a batch: the value in `column` of the single row that statement number `statement` returns, from 0.

    `batch([("insert into orders (customer) values ($1) returning id", 7),
    ("insert into items (order_id) values ($1)", Reference(0, "id"))])`
    """

    __slots__ = ("column", "statement")

    def __init__(self, statement: int, column: str) -> None:
        self.statement = statement
        self.column = column

    def __repr__(self) -> str:
        return f"Reference({self.statement!r}, {self.column!r})"
