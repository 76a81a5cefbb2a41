"""The numbers of one JSON object.

Rules: pure; null is "no value", booleans are 0 and 1, numbers in quotes are
text.  Text, lists and unknown objects are nobody's error (units, ids,
states), unless the field is known to be a sensor: then it is refused alone.

>>> number(True)
1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_edge.payload.json_path import MISSING, follow
from offbeat_edge.payload.message import MAX_SENSOR_CHARS, NOT_FINITE
from offbeat_edge.refusal import Refused, shown

if TYPE_CHECKING:
    from offbeat_edge.payload.message import Message

MAX_DEPTH = 8  # objects in objects, where values are looked for
_SAFE = 1 << 62  # integers that certainly have a float
_NUMBERS = frozenset((float, int, bool))


def mapped(message: Message, record: dict[str, object]) -> tuple[dict[str, float], bool]:
    """Take the configured paths; also say whether a null explains a missing value."""
    values: dict[str, float] = {}
    null = False
    for name, path in message.plan.values:
        raw = follow(record, path)
        if raw is None:
            null = True
        elif raw is not MISSING:
            put(message, values, name, raw)
    return values, null


def every(
    message: Message, record: dict[str, object], asset: str, time_key: str | None
) -> tuple[dict[str, float], bool]:
    """Take every number but the time; also say whether a null explains a missing value."""
    values: dict[str, float] = {}
    null = False
    for key, raw in record.items():
        # The flat loop is what a message costs; the common case stands first.
        if type(raw) is float and len(key) <= MAX_SENSOR_CHARS:
            values[key] = raw
        elif key == time_key:
            continue
        elif type(raw) is int and -_SAFE < raw < _SAFE and len(key) <= MAX_SENSOR_CHARS:
            values[key] = float(raw)
        elif raw is None:
            null = True
        elif type(raw) is dict:
            _nested(message, asset, key, raw, values)
        elif _wanted(message, asset, key, raw):
            put(message, values, key, raw)
    if time_key is not None:
        values.pop(time_key, None)
    return values, null


def _wanted(message: Message, asset: str, name: str, raw: object) -> bool:
    """Whether a value is a number, or should be one."""
    if type(raw) in _NUMBERS or raw == NOT_FINITE:
        return True
    return message.sensors is not None and name in message.sensors(asset)


def _nested(
    message: Message, asset: str, name: str, inner: object, values: dict[str, float]
) -> None:
    """Take the numbers of an object in an object as ``outer.inner``, without recursion."""
    todo = [(name, inner, 1)]
    while todo:
        name, inner, depth = todo.pop()
        if depth > MAX_DEPTH or len(name) > MAX_SENSOR_CHARS:
            message.refuse("too_deep", f"expected at most {MAX_DEPTH} levels, got {shown(name)}")
            continue
        for key, raw in inner.items():  # type: ignore[attr-defined]  # only objects are put there
            path = f"{name}.{key}"
            if type(raw) is dict:
                todo.append((path, raw, depth + 1))
            elif _wanted(message, asset, path, raw):
                put(message, values, path, raw)


def put(message: Message, values: dict[str, float], name: str, raw: object) -> None:
    """Store one value as a float, or refuse it alone."""
    if len(name) > MAX_SENSOR_CHARS:
        detail = f"expected at most {MAX_SENSOR_CHARS} characters, got {len(name)}"
        message.refuse("sensor_name", detail)
        return
    try:
        values[name] = number(raw)
    except Refused as refused:
        message.refuse(refused.reason, f"{shown(name)}: {refused.detail}")


def number(raw: object) -> float:
    """Convert a JSON value to a finite float; ``Refused`` says why it is none."""
    if type(raw) is float:
        return raw
    if type(raw) is int or type(raw) is bool:
        try:
            return float(raw)
        except OverflowError:
            raw = NOT_FINITE
    if raw == NOT_FINITE:
        raise Refused("not_finite", "expected a finite number")
    raise Refused("wrong_type", f"expected a number, got {shown(raw)}")
