"""Recent numbers of an asset: in memory for pages, in chunks for the store.

Rules: times are event time; a series is a column beside its times, with NaN
where nothing was said; what is older than ``MAX_POINTS`` leaves memory but
is in the store by then.  Chunks are float32: they are drawn, not judged.

>>> trace = Trace()
>>> trace.take(1000, {"speed": 2.0})
>>> trace.take(2000, {"flow": 1.0})
>>> trace.since(0).columns["flow"]
[nan, 1.0]
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_POINTS = 900  # a quarter of an hour at one a second
SLACK = 100  # points beyond, before the oldest are cut off
MAX_COLUMNS = 64  # of one asset
NAN = math.nan


class Points(NamedTuple):
    """Times in ms and, for each series, as many values (NaN: none)."""

    times: list[int]
    columns: dict[str, list[float]]


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Points as bytes: int64 times, float32 columns."""

    times: bytes
    columns: dict[str, bytes]


class Trace:
    """The newest points of one asset; late ones are left out."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.columns: dict[str, list[float]] = {}
        self._stored_ms = -1  # newest time that `unstored` has given

    def take(self, time_ms: int, values: Mapping[str, float]) -> None:
        """Add one point; two of the same moment become one."""
        times = self.times
        if not times or time_ms > times[-1]:
            times.append(time_ms)
            for column in self.columns.values():
                column.append(NAN)
        elif time_ms < times[-1]:
            return
        size = len(times)
        for name, value in values.items():
            column = self.columns.get(name) or self._column(name, size)
            column[-1] = value
        if size > MAX_POINTS + SLACK:
            self._cut(size - MAX_POINTS)

    def since(self, time_ms: int) -> Points:
        """Return what came after ``time_ms``."""
        first = bisect_right(self.times, time_ms)
        return Points(self.times[first:], {n: c[first:] for n, c in self.columns.items()})

    @property
    def pending(self) -> int:
        """How many points `unstored` would give."""
        return len(self.times) - bisect_right(self.times, self._stored_ms)

    def unstored(self) -> Points | None:
        """Return, once, what has not been given to the store yet."""
        if not self.times or self.times[-1] <= self._stored_ms:
            return None
        points = self.since(self._stored_ms)
        self._stored_ms = points.times[-1]
        return points

    def _column(self, name: str, size: int) -> list[float]:
        column = [NAN] * size
        if len(self.columns) < MAX_COLUMNS:
            self.columns[name] = column
        return column

    def _cut(self, count: int) -> None:
        del self.times[:count]
        for name in list(self.columns):
            del self.columns[name][:count]
            if all(map(math.isnan, self.columns[name])):
                del self.columns[name]


def pack(points: Points) -> bytes:
    """Return points as one blob."""
    columns = {
        name: np.asarray(column, np.float32).tobytes() for name, column in points.columns.items()
    }
    return msgspec.msgpack.encode(Chunk(np.asarray(points.times, np.int64).tobytes(), columns))


def unpack(blob: bytes) -> Points:
    """Return the points of a blob."""
    chunk = msgspec.msgpack.decode(blob, type=Chunk)
    columns = {
        name: np.frombuffer(column, np.float32).astype(float).tolist()
        for name, column in chunk.columns.items()
    }
    return Points(np.frombuffer(chunk.times, np.int64).tolist(), columns)


def join(parts: list[Points]) -> Points:
    """Return points in the order of their times, each moment once (the later part wins)."""
    rows: dict[int, dict[str, float]] = {}
    for part in parts:
        for n, time_ms in enumerate(part.times):
            row = rows.setdefault(time_ms, {})
            row.update({k: c[n] for k, c in part.columns.items() if not math.isnan(c[n])})
    times = sorted(rows)
    names = {name for row in rows.values() for name in row}
    return Points(times, {n: [rows[t].get(n, NAN) for t in times] for n in sorted(names)})


def thin(points: Points, limit: int) -> Points:
    """Return at most about ``limit`` points: of each stretch, each series' lowest and highest."""
    size = len(points.times)
    if size <= limit:
        return points
    step = math.ceil(2 * size / limit)
    kept: set[int] = {0, size - 1}
    for column in points.columns.values():
        values = np.asarray(column)
        for start in range(0, size, step):
            part = values[start : start + step]
            if not np.isnan(part).all():
                kept |= {start + int(np.nanargmin(part)), start + int(np.nanargmax(part))}
    order = sorted(kept)
    columns = {n: [c[i] for i in order] for n, c in points.columns.items()}
    return Points([points.times[i] for i in order], columns)
