"""Times as senders write them, to epoch milliseconds.

Rules: a number's unit is told by its size (the ranges of seconds,
milliseconds, microseconds and nanoseconds between 2000 and 2100 do not
overlap) unless it is configured; text is ISO 8601, without a zone UTC, or
digits.  Whatever is finer than a millisecond is cut off, never rounded, so
that one instant gives one key however it is written.

>>> to_ms(1700000000), to_ms(1700000000123456), to_ms("2023-11-14T22:13:20.123Z")
(1700000000000, 1700000000123, 1700000000123)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from offbeat_edge.refusal import Refused, shown

MIN_MS = 946_684_800_000  # 2000-01-01, the earliest time that is believed
MAX_MS = 4_102_444_800_000  # 2100-01-01, the latest
MAX_TEXT = 64  # characters of a time written as text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MILLIS = ("auto", "ms")
_MS = timedelta(milliseconds=1)


def to_ms(value: object, unit: str = "auto") -> int:
    """Convert a time to epoch milliseconds.

    Parameters
    ----------
    value : int, float or str as it came.
    unit : of a number: ``auto``, ``s``, ``ms``, ``us`` or ``ns``.

    Raises
    ------
    Refused
        ``bad_time`` when it is no time, ``time_out_of_range`` outside 2000
        to 2100.
    """
    if type(value) is int and MIN_MS <= value <= MAX_MS and unit in _MILLIS:
        return value
    if type(value) is str:
        if not _is_number(value):
            return _iso_ms(value)
        value = float(value) if "." in value else int(value)
    if type(value) is int:
        return _int_ms(value, unit)
    if type(value) is float:
        return _float_ms(value, unit)
    raise Refused("bad_time", f"expected a number or ISO 8601, got {shown(value)}")


def _int_ms(value: int, unit: str) -> int:
    if unit == "auto":
        for per in _PER_SECOND.values():
            if MIN_MS * per <= value * 1000 <= MAX_MS * per:
                return value * 1000 // per
    else:
        stamp = value * 1000 // _PER_SECOND[unit]
        if MIN_MS <= stamp <= MAX_MS:
            return stamp
    raise Refused("time_out_of_range", f"expected 2000 to 2100, got {shown(value)}")


def _float_ms(value: float, unit: str) -> int:
    if not abs(value) < 1e20:  # infinite and NaN too
        raise Refused("time_out_of_range", f"expected 2000 to 2100, got {shown(value)}")
    if unit == "auto":
        per = next((p for p in _PER_SECOND.values() if value * 1000 <= MAX_MS * p), 1)
    else:
        per = _PER_SECOND[unit]
    # Seconds such as 1700000000.123 are no exact floats: the nearest microsecond is meant.
    return _int_ms(round(value * (1_000_000 / per)), "us")


def _is_number(text: str) -> bool:
    body = text.removeprefix("-").replace(".", "", 1)
    return len(text) <= MAX_TEXT and body.isascii() and body.isdecimal()


def _iso_ms(text: str) -> int:
    try:
        stamp = datetime.fromisoformat(text.strip()) if len(text) <= MAX_TEXT else None
    except ValueError:
        stamp = None
    if stamp is None:
        raise Refused("bad_time", f"expected a number or ISO 8601, got {shown(text)}")
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=UTC)
    value = (stamp - _EPOCH) // _MS
    if not MIN_MS <= value <= MAX_MS:
        raise Refused("time_out_of_range", f"expected 2000 to 2100, got {shown(text)}")
    return value
