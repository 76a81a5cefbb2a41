"""The shapes of JSON (and points of lines) to samples; after parsing, before ``Sample``.

Rules: pure; a part that cannot be taken is refused alone and the rest is
taken; the work is linear in the payload.  An object of sensors, a list of
such objects, an object of columns, a number: whichever comes.

>>> from offbeat_edge.config import Source
>>> from offbeat_edge.payload.message import Message, Plan
>>> plan = Plan(Source(topic="plant/{asset}"))
>>> message = Message(plan, "plant/p1", "p1", None, 0, False, None, [], [])
>>> take(message, [{"ts": 1700000000, "speed": 1}, {"ts": "soon", "speed": 2}])
>>> message.samples
[Sample(asset='p1', time_ms=1700000000000, values={'speed': 1.0}, own_time=True)]
>>> message.rejects[0].reason, message.rejects[0].detail
('bad_time', "sample 1: expected a number or ISO 8601, got 'soon'")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_edge.payload.fields import every, mapped, number, put
from offbeat_edge.payload.json_path import MISSING, follow
from offbeat_edge.refusal import Refused, shown
from offbeat_edge.schema import Sample
from offbeat_edge.timestamps import to_ms
from offbeat_edge.topics import NAME

if TYPE_CHECKING:
    from offbeat_edge.payload.influx import Line
    from offbeat_edge.payload.message import Message, Plan

TIME_NAMES = (
    "ts",
    "time",
    "timestamp",
    "Time",
    "Timestamp",
    "TIMESTAMP",
    "datetime",
    "DateTime",
    "@timestamp",
    "_time",
    "ts_ms",
    "time_ms",
    "timestamp_ms",
)
SHORT_TIME = "t"  # also the name of many a temperature: a time only if it looks like one
VALUE_PATHS = (("value",), ("v",), ("val",), ("Value",))  # of a sensor topic's object
BATCH_NAME = "samples"  # {"samples": [{…}, …]}


def take(message: Message, tree: object) -> None:
    """Read decoded JSON of any shape; never raises."""
    try:
        _take(message, tree)
    except Refused as refused:
        message.refuse(refused.reason, refused.detail)


def take_line(message: Message, line: Line) -> None:
    """Read one point of line protocol; never raises.

    A point without numbers, or none that ``values`` wants, is passed over.
    """
    plan = message.plan
    try:
        asset = message.asset or _asset(plan, line.tags.get(plan.asset, MISSING))
        stamp = None if line.stamp is None else to_ms(line.stamp, plan.unit)
        values: dict[str, float] = {}
        for field, value in line.fields.items():
            name = _field_name(plan, line.measurement, field)
            if name is not None:
                put(message, values, name, value)
        _add(message, asset, stamp, values, silent=True)
    except Refused as refused:
        message.refuse(refused.reason, refused.detail)


def _field_name(plan: Plan, measurement: str, field: str) -> str | None:
    """Name a field's sensor; None when ``values`` does not want it."""
    if plan.fields:
        return plan.fields.get(f"{measurement}.{field}") or plan.fields.get(field)
    return measurement if field == "value" else field


def _take(message: Message, tree: object) -> None:
    plan = message.plan
    if message.sensor is not None:
        _of_sensor(message, tree)
        return
    inner = follow(tree, plan.prefix) if plan.prefix and type(tree) is dict else tree
    if inner is MISSING:
        raise Refused("no_values", f"expected something at {'.'.join(plan.prefix)!r}, got nothing")
    if type(inner) is dict:
        batch = inner.get(BATCH_NAME)
        if type(batch) is list and not plan.values:
            _batch(message, batch, inner)
        else:
            _record(message, inner, tree if type(tree) is dict else inner)
    elif type(inner) is list:
        _batch(message, inner, tree)
    else:
        raise Refused("wrong_type", f"expected an object or a list of them, got {shown(inner)}")


def _batch(message: Message, batch: list[object], root: object) -> None:
    """Read a list of objects; what an object lacks (time, asset) the root may say."""
    if not batch:
        raise Refused("no_values", "expected samples, got an empty list")
    outer = root if type(root) is dict else None
    for index, item in enumerate(batch):
        try:
            _item(message, item, outer)
        except Refused as refused:
            message.refuse(refused.reason, f"sample {index}: {refused.detail}")


def _item(message: Message, item: object, outer: dict[str, object] | None) -> None:
    if type(item) is not dict:
        raise Refused("wrong_type", f"expected an object, got {shown(item)}")
    inner = follow(item, message.plan.prefix) if outer is None else item
    _record(message, inner if type(inner) is dict else item, item, outer)


def _record(
    message: Message,
    record: dict[str, object],
    root: dict[str, object],
    outer: dict[str, object] | None = None,
) -> None:
    """Read one object of sensors (or of columns, when its time is a list)."""
    key, raw = _find_time(message.plan, record, root)
    if raw is MISSING and outer is not None:
        raw = _find_time(message.plan, outer, outer)[1]
    asset = message.asset or _asset(message.plan, _find_asset(message.plan, record, root, outer))
    if type(raw) is list:
        _columns(message, asset, record, key, raw)
    else:
        _row(message, asset, record, key, raw)


def _row(
    message: Message, asset: str, record: dict[str, object], key: str | None, raw: object
) -> None:
    """Read one object whose time (under ``key``, if it is its own) is found."""
    plan, rejects = message.plan, len(message.rejects)
    stamp = None if raw is MISSING or raw is None else to_ms(raw, plan.unit)
    if plan.values:
        values, silent = mapped(message, record)
    else:
        values, silent = every(message, record, asset, key)
    _add(message, asset, stamp, values, silent=silent or len(message.rejects) > rejects)


def _add(
    message: Message, asset: str, stamp: int | None, values: dict[str, float], *, silent: bool
) -> None:
    """Add a sample; one without values is refused unless that is explained."""
    if not values:
        if not silent:
            raise Refused("no_values", "expected one number at least, got none")
        return
    if stamp is not None:
        message.samples.append(Sample(asset, stamp, values))
    elif message.retained:
        raise Refused("retained", "expected a time in a retained message, got none")
    else:
        message.samples.append(Sample(asset, message.received_ms, values, own_time=False))


def _find_time(plan: Plan, record: dict[str, object], root: object) -> tuple[str | None, object]:
    """Return the key (when it is the record's own) and the raw time, or MISSING."""
    if plan.time:
        found = follow(record, plan.time)
        key = plan.time[0] if len(plan.time) == 1 else None
        return key, follow(root, plan.time) if found is MISSING else found
    for name in TIME_NAMES:
        if name in record:
            return name, record[name]
    if record is not root and type(root) is dict:
        return None, _find_time(plan, root, root)[1]
    return _short_time(plan, record)


def _short_time(plan: Plan, record: dict[str, object]) -> tuple[str | None, object]:
    raw = record.get(SHORT_TIME, MISSING)
    probe = raw[0] if type(raw) is list and raw else raw
    if type(probe) not in (int, float, str):
        return None, MISSING
    try:
        to_ms(probe, plan.unit)
    except Refused:
        return None, MISSING
    return SHORT_TIME, raw


def _find_asset(plan: Plan, *places: object) -> object:
    for where in places:
        found = follow(where, plan.asset_path)
        if found is not MISSING:
            return found
    return MISSING


def _asset(plan: Plan, raw: object) -> str:
    """Check an asset's name that the payload holds."""
    if type(raw) is int and raw.bit_length() < 64:
        raw = str(raw)
    if type(raw) is str:
        name = plan.assets.get(raw, raw)
        if NAME.fullmatch(name):
            return name
    got = "nothing" if raw is MISSING else shown(raw)
    raise Refused("asset_name", f"expected a name of a-z 0-9 _ . - at {plan.asset!r}, got {got}")


def _of_sensor(message: Message, tree: object) -> None:
    """Read a sensor topic: a number, an object with one, or a list of such objects."""
    if type(tree) is list:
        for item in tree:
            try:
                _one_value(message, _timed(item))
            except Refused as refused:
                message.refuse(refused.reason, refused.detail)
        if not tree:
            raise Refused("no_values", "expected samples, got an empty list")
    else:
        _one_value(message, tree)


def _timed(item: object) -> object:
    """Refuse bare numbers in a list: nothing says in which order they were."""
    if type(item) is not dict:
        raise Refused("wrong_type", f"expected an object with value and time, got {shown(item)}")
    return item


def _one_value(message: Message, tree: object) -> None:
    plan = message.plan
    stamp, raw = None, tree
    if type(tree) is dict and plan.format != "number":
        raw = _named_value(plan, tree)
        time = _find_time(plan, tree, tree)[1]
        stamp = None if time is MISSING or time is None else to_ms(time, plan.unit)
    asset = message.asset or _asset(plan, _find_asset(plan, tree))
    if raw is not None:
        _add(message, asset, stamp, {str(message.sensor): number(raw)}, silent=False)


def _named_value(plan: Plan, tree: dict[str, object]) -> object:
    """Find the value in a sensor topic's object."""
    for path in [plan.prefix] if plan.prefix else VALUE_PATHS:
        found = follow(tree, path)
        if found is not MISSING:
            return found
    name = plan.prefix[-1] if plan.prefix else VALUE_PATHS[0][0]
    raise Refused("no_values", f"expected {name!r} in the object, got none")


def _columns(
    message: Message, asset: str, record: dict[str, object], key: str | None, times: list[object]
) -> None:
    """Read columns ({"ts": […], "speed": […]}) row by row."""
    columns = {}
    for name, column in record.items():
        if type(column) is list and len(column) == len(times):
            columns[name] = column
        elif type(column) is list:
            detail = f"expected {len(times)} values as there are times, got {len(column)}"
            message.refuse("wrong_type", f"{shown(name)}: {detail}")
    if not times:
        raise Refused("no_values", "expected samples, got an empty list of times")
    for index, time in enumerate(times):
        row = {name: column[index] for name, column in columns.items()}
        try:
            _row(message, asset, row, key, time)
        except Refused as refused:
            message.refuse(refused.reason, f"row {index}: {refused.detail}")
