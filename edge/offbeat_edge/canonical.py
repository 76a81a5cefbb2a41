"""One byte string for one JSON value.

Rules: keys sorted by code point, no white space, UTF-8, the shortest float
that reads back the same, no NaN or infinity.  A reader accepts only bytes in
this form, so that a digest of the bytes is a digest of the value.

>>> dumps({"b": 1.0, "a": ["µ"]}).decode()
'{"a":["µ"],"b":1.0}'
>>> loads(b'{"a": 1}')
Traceback (most recent call last):
ValueError: expected canonical JSON, got another form from byte 5 on
"""

from __future__ import annotations

import hashlib
import json
from itertools import count


def dumps(value: object) -> bytes:
    """Write ``value`` (dict, list, tuple, str, int, float, bool, None).

    Raises
    ------
    ValueError : NaN, infinity, a lone surrogate, a cycle.
    TypeError : another type.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def loads(data: bytes) -> object:
    """Read bytes in canonical form.

    Raises
    ------
    ValueError : not UTF-8, not JSON, nested too deep, or not in canonical form.
    """
    try:
        value: object = json.loads(data.decode())
        again = dumps(value)
    except RecursionError:
        raise ValueError("expected JSON of moderate depth, got it nested too deep") from None
    if again != data:
        at = next(i for i in count() if data[i : i + 1] != again[i : i + 1])
        raise ValueError(f"expected canonical JSON, got another form from byte {at} on")
    return value


def digest(value: object) -> str:
    """SHA-256 of the canonical form, hex."""
    return hashlib.sha256(dumps(value)).hexdigest()
