"""Values: what Python objects become as parameters, and what the values of results become in Python."""

from ._decode import Column, ColumnOrigin, DataType, Nullability, decoder
from ._encode import encode
from ._interval import Interval
from ._ranges import Multirange, Range
from ._types import Array, DatabaseText, Json, Reference

__all__ = [
    "Array",
    "Column",
    "ColumnOrigin",
    "DataType",
    "DatabaseText",
    "Interval",
    "Json",
    "Multirange",
    "Nullability",
    "Range",
    "Reference",
    "decoder",
    "encode",
]
