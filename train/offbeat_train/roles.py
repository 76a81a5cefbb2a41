"""Which column is the time, the asset, a label, a sensor.

Rules: what the user names wins; otherwise types decide before names, and a
name decides only where the content agrees; whatever was decided without
being told is said in a note.

>>> Roles(time="t", sensors=("flow",)).sensors
('flow',)
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offbeat_train.errors import HistoryError
from offbeat_train.timestamps import Unit, looks_like_time, unit_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offbeat_train.tables import Table

NOTHING = "holds no value at all"
LOOK_ROWS = 100_000  # rows looked at to judge a column
LOOK_CELLS = 100  # of text
MOST_RUNS = 0.1  # a row, of what is several machines one after the other
_CLOCK = re.compile(r"\d{1,2}[:.]\d{2}([:.]\d{2}(\.\d+)?)?$")
ASSET_NAMES = frozenset({"asset", "asset_id", "machine", "machine_id", "device", "device_id",
                         "equipment", "equipment_id", "pump", "pump_id", "unit_id"})  # fmt: skip
_CALENDAR = re.compile(r"year|month|week|day|doy|date|hour|minute|second|time")
SENSOR_NAMES = frozenset({"sensor", "sensor_id", "sensor_name", "tag", "tag_name", "metric",
                          "variable", "signal", "channel", "name", "field", "parameter",
                          "point", "measurement"})  # fmt: skip
VALUE_NAMES = frozenset({"value", "val", "reading", "measurement", "y", "v"})
INDEX_NAMES = frozenset({"id", "row", "row_id", "column_1", "no", "nr", "seq", "sample"})
LABEL_NAMES = re.compile(
    r"^(is_?)?(anomal(y|ies|ous)|outlier|label|labels|change_?points?|event|events|fault|faulty|"
    r"failure|attack|target|class|ground_?truth|broken|alarm)(_?(label|flag|type|id|window))?$"
)


@dataclass(frozen=True, kw_only=True)
class HistoryOptions:
    """What the user said about the columns; everything else is found.

    ``exclude`` holds half-open ranges [start, end) in epoch ms.
    """

    sensors: tuple[str, ...] = ()
    asset_column: str | None = None
    time_column: str | None = None
    time_unit: Unit | None = None
    timezone: str | None = None
    label_columns: tuple[str, ...] = ()
    exclude: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The columns' parts.  ``sensor`` and ``value`` are set for long files."""

    time: str | None
    clock: str | None = None  # the time of day, where ``time`` is only a date
    sensors: tuple[str, ...] = ()
    asset: str | None = None
    labels: tuple[str, ...] = ()
    sensor: str | None = None
    value: str | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def find_roles(table: Table, options: HistoryOptions) -> Roles:
    """Decide what each column of ``table`` is.

    Raises
    ------
    HistoryError : a column named by the user is missing or of the wrong
        kind, or no column holds numbers.
    """
    named = (options.time_column, options.asset_column, *options.label_columns)
    for name in named:
        if name is not None:
            _require(table, name)
    time = options.time_column or _find_time(table, taken=set(named))
    asset = options.asset_column or _find_asset(table, taken={time, *options.label_columns})
    given = {*options.label_columns, *options.sensors}
    runs = None if time else _find_runs(table, asset, taken=given)
    asset, counted = runs or (asset, None)
    clock = _find_clock(table, time)
    long = _find_long(table, time=time, asset=asset)
    if long is not None:
        sensor, value = long
        note = f"long layout: one row a reading ({sensor!r} names the sensor, {value!r} holds it)"
        return Roles(time=time, clock=clock, asset=asset, labels=options.label_columns,
                     sensor=sensor, value=value, notes=(note,))  # fmt: skip
    return replace(_wide_roles(table, options, time, asset, counted), clock=clock)


def _wide_roles(
    table: Table,
    options: HistoryOptions,
    time: str | None,
    asset: str | None,
    counted: str | None,
) -> Roles:
    notes = []
    if asset is not None and options.asset_column is None:
        notes.append(f"column {asset!r} is read as the asset's name")
    if counted is not None:
        notes.append(f"column {counted!r} counts the rows of each {asset!r}; it is no sensor")
    taken = {time, asset, counted, *options.label_columns}
    if options.sensors:
        for name in options.sensors:
            _require_numbers(table, name)
        return Roles(time=time, sensors=options.sensors, asset=asset,
                     labels=options.label_columns, notes=tuple(notes))  # fmt: skip
    sensors: list[str] = []
    warnings: list[str] = []
    for name, kind in table.kinds.items():
        if name in taken:
            continue
        reason = _why_not(table, name)
        if reason is None:
            sensors.append(name)
            continue
        said = f"column {name!r} {reason}; it is not used as a sensor"
        lost = reason == NOTHING or (kind == "text" and _begins_as_number(table, name))
        (warnings if lost else notes).append(said)
    if not sensors:
        kinds = ", ".join(
            f"{name!r} ({_such_as(table, name) if kind == 'text' else kind})"
            for name, kind in table.kinds.items()
        )
        raise HistoryError(f"expected a column of numbers, got {kinds}", path=table.path)
    return Roles(time=time, sensors=tuple(sensors), asset=asset, labels=options.label_columns,
                 notes=tuple(notes), warnings=tuple(warnings))  # fmt: skip


def _why_not(table: Table, name: str) -> str | None:
    """Say why a column is no sensor, or None when it is one."""
    kind = table.kinds[name]
    if kind == "time":
        return "holds times"
    if kind == "text":
        return f"holds {_such_as(table, name)}"
    values = look(table, name)
    if not np.isfinite(values).any() and not np.isfinite(table.numbers(name)).any():
        return NOTHING
    if LABEL_NAMES.match(name.lower()) and set(np.unique(values[np.isfinite(values)])) <= {0, 1}:
        return "looks like a label (leave its rows out with --label-column)"
    if is_row_index(name, values):
        return "counts the rows"
    return None


def _such_as(table: Table, name: str) -> str:
    """Show a cell of a text column."""
    return f"text such as {_first_cell(table, name)!r}"


def _begins_as_number(table: Table, name: str) -> bool:
    """Tell whether somebody may take a text column for numbers."""
    return re.match(r"[+-]?[.,]?\d", _first_cell(table, name)) is not None


def _first_cell(table: Table, name: str) -> str:
    cells = table.columns[name].drop_null().slice(0, LOOK_CELLS).to_pylist()
    return next((str(cell).strip() for cell in cells if str(cell).strip()), "")


def is_row_index(name: str, values: NDArray[np.float64]) -> bool:
    """Tell a row number from a sensor: unnamed or named so, and counting by one."""
    plain = name.lower().strip("_ ")
    says_so = plain in INDEX_NAMES or plain.startswith(("unnamed", "index"))
    return bool(says_so and values.size > 1 and (np.diff(values) == 1).all())


def look(table: Table, name: str) -> NDArray[np.float64]:
    """Give up to ``LOOK_ROWS`` numbers of a column."""
    column = table.columns[name].slice(0, LOOK_ROWS)
    values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64)


def _find_time(table: Table, taken: set[str | None]) -> str | None:
    free = [name for name in table.kinds if name not in taken]
    dates = [name for name in free if table.kinds[name] == "time"]
    typed = [name for name in dates if not _is_clock(table, name)]
    numeric = [name for name in free if table.kinds[name] == "number"]
    epochs = [name for name in numeric if unit_of(look(table, name)) and _rises(table, name)]
    likely = [name for name in numeric if looks_like_time(name) and _rises(table, name)]
    for group in (typed, epochs, likely):
        by_name = [name for name in group if looks_like_time(name)]
        if by_name or group:
            return (by_name or group)[0]
    return None


def _find_clock(table: Table, time: str | None) -> str | None:
    """Find the time of day that belongs to a column of dates."""
    if time is None or not pa.types.is_string(table.columns[time].type):
        return None
    days = [day for day in table.columns[time].slice(0, LOOK_CELLS).to_pylist() if day]
    if not days or any(":" in day for day in days):
        return None
    return next((name for name in table.kinds if name != time and _is_clock(table, name)), None)


def _is_clock(table: Table, name: str) -> bool:
    """Tell whether a column holds times of day such as 18:00:00 or 18.00.00."""
    if table.kinds[name] not in ("text", "time") or pa.types.is_timestamp(table.columns[name].type):
        return False
    cells = [cell for cell in table.columns[name].slice(0, LOOK_CELLS).to_pylist() if cell]
    return bool(cells) and all(isinstance(c, str) and _CLOCK.match(c.strip()) for c in cells)


def _rises(table: Table, name: str) -> bool:
    values = look(table, name)
    steps = np.diff(values[np.isfinite(values)])
    return bool(steps.size == 0 or (steps >= 0).mean() > 0.5)


def _find_asset(table: Table, taken: set[str | None]) -> str | None:
    for name, kind in table.kinds.items():
        if name in taken or name.lower() not in ASSET_NAMES:
            continue
        if kind == "text":
            return name
        if kind == "number":
            values = look(table, name)
            whole = values[np.isfinite(values)]
            if whole.size and (whole == np.round(whole)).all() and np.unique(whole).size <= 1000:
                return name
    return None


def _find_runs(table: Table, asset: str | None, taken: set[str]) -> tuple[str, str] | None:
    """Find (asset, count) where a column counts rows, anew whenever the other changes.

    So turbofans and batches are written down: unit, cycle, readings.
    """
    numbers = [
        name for name, kind in table.kinds.items()
        if kind == "number" and name not in taken and not _CALENDAR.search(name.lower())
    ]  # fmt: skip
    seen = {name: look(table, name) for name in numbers}
    whole = {n: v for n, v in seen.items() if np.isfinite(v).all() and (v == np.round(v)).all()}
    for count, counts in whole.items():
        steps = np.diff(counts)
        anew = steps < 0
        if not 0 < anew.sum() <= MOST_RUNS * len(anew) or (steps[~anew] != 1).any():
            continue
        for name, values in whole.items():
            matches = asset in (None, name) and ((np.diff(values) != 0) == anew).all()
            if matches and np.unique(values).size == anew.sum() + 1:
                return name, count
    return None


def _find_long(table: Table, *, time: str | None, asset: str | None) -> tuple[str, str] | None:
    """Find (sensor, value) columns, or None for a wide table."""
    texts = [n for n, kind in table.kinds.items() if kind == "text" and n not in (time, asset)]
    numbers = [n for n, kind in table.kinds.items() if kind == "number" and n not in (time, asset)]
    sensors = [name for name in texts if name.lower().strip("_") in SENSOR_NAMES]
    values = [name for name in numbers if name.lower().strip("_") in VALUE_NAMES]
    others = [name for name in numbers if not LABEL_NAMES.match(name.lower())]
    if sensors and values:
        return sensors[0], values[0]
    return (sensors[0], others[0]) if sensors and len(others) == 1 else None


def _require(table: Table, name: str) -> None:
    if name not in table.columns:
        near = difflib.get_close_matches(name, table.columns, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        have = ", ".join(repr(column) for column in table.columns)
        raise HistoryError(f"expected a column {name!r}{hint}, got {have}", path=table.path)


def _require_numbers(table: Table, name: str) -> None:
    _require(table, name)
    if table.kinds[name] not in ("number", "flag", "empty"):
        raise HistoryError(
            f"expected numbers in the sensor's column, got {table.kinds[name]}",
            path=table.path,
            column=name,
        )
