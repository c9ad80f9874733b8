"""Types of PostgreSQL as Rowgate reads and writes them.

A parameter is sent without a type, and PostgreSQL infers it from its place; where a place leaves several, the cast that
`render_bind_cast` adds decides, as with SQLAlchemy's other dialects of drivers that bind at the server.
"""

from __future__ import annotations

import decimal
from typing import Any, Callable, Optional

from sqlalchemy import types as sqltypes
from sqlalchemy.dialects.postgresql import BYTEA, ENUM, INTERVAL, JSON, JSONB, OID, REGCLASS, REGCONFIG, ranges
from sqlalchemy.dialects.postgresql import ARRAY as PGArray
from sqlalchemy.dialects.postgresql import pg_catalog
from sqlalchemy.dialects.postgresql.json import JSONPathType
from sqlalchemy.engine import processors

from ..dbapi import _types as codes
from .._values import Multirange as NativeMultirange
from .._values import Range as NativeRange

Processor = Optional[Callable[[Any], Any]]


class String(sqltypes.String):
    render_bind_cast = True


class Char(sqltypes.CHAR):
    render_bind_cast = True


class Integer(sqltypes.Integer):
    render_bind_cast = True


class SmallInteger(sqltypes.SmallInteger):
    render_bind_cast = True


class BigInteger(sqltypes.BigInteger):
    render_bind_cast = True


class Boolean(sqltypes.Boolean):
    render_bind_cast = True


class Date(sqltypes.Date):
    render_bind_cast = True


class Time(sqltypes.Time):
    render_bind_cast = True


class DateTime(sqltypes.DateTime):
    render_bind_cast = True


class Bytes(BYTEA):
    render_bind_cast = True


class Array(PGArray):
    render_bind_cast = True


class Enum(ENUM):
    render_bind_cast = True


class RegConfig(REGCONFIG):
    render_bind_cast = True


class RegClass(REGCLASS):
    render_bind_cast = True


class Oid(OID):
    render_bind_cast = True


class Interval(INTERVAL):
    render_bind_cast = True

    @classmethod
    def adapt_emulated_to_native(cls, interval: Any, **_: Any) -> Interval:
        return cls(precision=interval.second_precision)


class Json(JSON):
    render_bind_cast = True

    def result_processor(self, dialect: Any, coltype: Any) -> Processor:
        """None: the connection decodes documents, by the engine's `json_deserializer`."""
        return None


class Jsonb(JSONB):
    render_bind_cast = True

    def result_processor(self, dialect: Any, coltype: Any) -> Processor:
        return None


class JsonIntIndex(sqltypes.JSON.JSONIntIndexType):
    __visit_name__ = "json_int_index"

    render_bind_cast = True


class JsonStrIndex(sqltypes.JSON.JSONStrIndexType):
    __visit_name__ = "json_str_index"

    render_bind_cast = True


class JsonPath(JSONPathType):
    def bind_processor(self, dialect: Any) -> Processor:
        def process(value: Any) -> Any:
            if isinstance(value, str) or value is None:
                return value
            return [str(element) for element in value]

        return process


class _Number:
    """A number that is read as a Decimal or as a float, whichever the type asks for."""

    render_bind_cast = True
    asdecimal: bool
    _effective_decimal_return_scale: int

    def result_processor(self, dialect: Any, coltype: Any) -> Processor:
        floating = getattr(coltype, "data_type", None) in (codes.FLOAT32, codes.FLOAT64)
        if not self.asdecimal:
            return None if floating else processors.to_float
        if not floating:
            return None
        return processors.to_decimal_processor_factory(decimal.Decimal, self._effective_decimal_return_scale)


class Numeric(_Number, sqltypes.Numeric):  # type: ignore[misc]
    def bind_processor(self, dialect: Any) -> Processor:
        """Floats become decimals: a numeric parameter has no form of its own for them."""

        def process(value: Any) -> Any:
            return decimal.Decimal(repr(value)) if isinstance(value, float) else value

        return process


class Float(_Number, sqltypes.Float):  # type: ignore[misc]
    def bind_processor(self, dialect: Any) -> Processor:
        return None


class _Vector:
    """A vector of the catalogs, which comes as a list or as the numbers between blanks."""

    def result_processor(self, dialect: Any, coltype: Any) -> Processor:
        def process(value: Any) -> Any:
            return [int(number) for number in value.split()] if isinstance(value, str) else value

        return process


class Int2Vector(_Vector, pg_catalog.INT2VECTOR):
    pass


class OidVector(_Vector, pg_catalog.OIDVECTOR):
    pass


def _sent(value: Any) -> Any:
    if not isinstance(value, ranges.Range):
        return value
    return NativeRange(value.lower, value.upper, value.bounds, empty=value.isempty)


def _received(value: Any) -> Any:
    if not isinstance(value, NativeRange):
        return value
    return ranges.Range(value.lower, value.upper, bounds=value.bounds, empty=value.empty)


class Range(ranges.AbstractSingleRangeImpl):
    def bind_processor(self, dialect: Any) -> Processor:
        return _sent

    def result_processor(self, dialect: Any, coltype: Any) -> Processor:
        return _received


class MultiRange(ranges.AbstractMultiRangeImpl):
    def bind_processor(self, dialect: Any) -> Processor:
        def process(value: Any) -> Any:
            if value is None or isinstance(value, (str, NativeMultirange)):
                return value
            return NativeMultirange([_sent(element) for element in value])

        return process

    def result_processor(self, dialect: Any, coltype: Any) -> Processor:
        def process(value: Any) -> Any:
            return value if value is None else ranges.MultiRange(_received(element) for element in value)

        return process


COLSPECS = {
    sqltypes.String: String,
    sqltypes.CHAR: Char,
    sqltypes.Integer: Integer,
    sqltypes.SmallInteger: SmallInteger,
    sqltypes.BigInteger: BigInteger,
    sqltypes.Numeric: Numeric,
    sqltypes.Float: Float,
    sqltypes.Boolean: Boolean,
    sqltypes.Date: Date,
    sqltypes.Time: Time,
    sqltypes.DateTime: DateTime,
    sqltypes.Interval: Interval,
    sqltypes.LargeBinary: Bytes,
    sqltypes.Enum: Enum,
    sqltypes.ARRAY: Array,
    sqltypes.JSON: Json,
    sqltypes.JSON.JSONPathType: JsonPath,
    sqltypes.JSON.JSONIntIndexType: JsonIntIndex,
    sqltypes.JSON.JSONStrIndexType: JsonStrIndex,
    INTERVAL: Interval,
    JSON: Json,
    JSONB: Jsonb,
    OID: Oid,
    REGCLASS: RegClass,
    REGCONFIG: RegConfig,
    pg_catalog.INT2VECTOR: Int2Vector,
    pg_catalog.OIDVECTOR: OidVector,
    ranges.AbstractRange: Range,
    ranges.AbstractMultiRange: MultiRange,
}
