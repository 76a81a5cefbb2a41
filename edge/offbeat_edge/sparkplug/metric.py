"""What a metric says: a number, or nothing.

Rules: pure.  Whole numbers are signed by their datatype, however wide the field
they came in; null, a quality other than good and what is not finite are "no
value"; text, data sets and the rest are passed over.

>>> signed(0xFF, INT8), signed(0xFFFFFFFF, INT8), signed(0xFF, UINT8)
(-1, -1, 255)
"""

from __future__ import annotations

import math
from typing import Any

INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64 = range(1, 9)
FLOAT, DOUBLE, BOOLEAN, STRING, DATETIME = range(9, 14)
GOOD = 192  # of the property "Quality"; 0 is bad, 500 stale
QUALITY = b"Quality"
_BITS = {INT8: 8, INT16: 16, INT32: 32, INT64: 64}


def numeric(datatype: int) -> bool:
    """Whether a datatype means a number; one that is not told (0) may."""
    return datatype <= BOOLEAN


def number(metric: Any, datatype: int) -> float | None:  # noqa: ANN401 - made at run time
    """Return a metric's number, None for no value."""
    fields = ("float_value", "double_value", "int_value", "long_value", "boolean_value")
    told = next((name for name in fields if metric.HasField(name)), None)
    if told is None or metric.is_null or not good(metric):
        return None
    raw = getattr(metric, told)
    value = float(signed(raw, datatype) if isinstance(raw, int) else raw)
    return value if math.isfinite(value) else None


def signed(raw: int, datatype: int) -> int:
    """Return a whole number as its datatype means it."""
    bits = _BITS.get(datatype)
    if bits is None:
        return raw
    low = raw & ((1 << bits) - 1)
    return low - (1 << bits) if low >> (bits - 1) else low


def good(metric: Any) -> bool:  # noqa: ANN401 - made at run time
    """Whether no quality is told, or a good one."""
    if not metric.HasField("properties"):
        return True
    told = metric.properties
    for key, value in zip(told.keys, told.values, strict=False):
        if key == QUALITY:
            return bool((value.int_value or value.long_value) == GOOD)
    return True
