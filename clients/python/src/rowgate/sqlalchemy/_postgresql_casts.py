"""The casts that SQLAlchemy writes behind parameters of PostgreSQL, without the sizes of columns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import types as sqltypes
from sqlalchemy.dialects.postgresql.base import PGCompiler

# A cast to one of them rounds or cuts its value without an error, which the column itself would raise, or which an expression
# would not do at all: `n * $1::NUMERIC(12, 2)`.
_SIZES = ("precision", "scale", "length", "second_precision", "fields")


class Compiler(PGCompiler):
    """PGDialect's compiler, whose casts tell the type of a parameter and not its size."""

    def render_bind_cast(self, type_: Any, dbapi_type: Any, sqltext: str) -> str:
        return super().render_bind_cast(type_, _unsized(dbapi_type), sqltext)  # type: ignore[no-any-return]


def _unsized(kind: Any) -> Any:
    if isinstance(kind, sqltypes.ARRAY):
        return _with(kind, item_type=_unsized(kind.item_type))
    if isinstance(kind, sqltypes.Enum):
        return kind
    return _with(kind, **{name: None for name in _SIZES if getattr(kind, name, None) is not None})


def _with(kind: Any, **attributes: Any) -> Any:
    """The type with other attributes; itself, if it has them."""
    if all(getattr(kind, name) is value for name, value in attributes.items()):
        return kind
    made = kind.__class__.__new__(kind.__class__)
    made.__dict__.update({name: value for name, value in kind.__dict__.items() if not name.startswith("_")})
    made.__dict__.update(attributes)
    return made
