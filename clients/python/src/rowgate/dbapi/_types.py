"""Type objects and constructors of PEP 249."""

from __future__ import annotations

import datetime
import time
from typing import Any

from .._proto.rowgate.v1 import value_pb2

_TYPE = value_pb2.DataType
