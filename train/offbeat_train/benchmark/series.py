"""One series of a benchmark: what may train, what is streamed, what counts.

Rules: labels are carried for counting alone; ``history`` hands out only the
rows that the protocol lets a model learn from.  Series without times get
one second a row, as ``offbeat fit`` gives a file without times.

>>> times = even_times(3)
>>> times.tolist()
[0, 1000, 2000]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from offbeat_train.history import History, Recording
from offbeat_train.parts import INDEX_PERIOD_MS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

ASSET = "asset"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows in the order of their file.

    ``times_ms`` (N,) int64, ``values`` (N, F) float64 with NaN where absent;
    ``cuts`` are rows before which others were left out.
    """

    times_ms: Ints
    values: Floats
    cuts: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def history(self, sensors: tuple[str, ...], path: Path, *, has_time: bool) -> History:
        """Give the rows as ``read_history`` would."""
        count = len(self.times_ms)
        order = np.argsort(self.times_ms, kind="stable")
        recording = Recording(
            times_ms=self.times_ms[order], values=self.values[order], row=order, cuts=self.cuts
        )
        record = np.empty(count, dtype=np.int64)
        record[order] = np.arange(count)
        return History(
            assets={ASSET: recording}, sensors=sensors, paths=(path,), rows=count, excluded=0,
            duplicates=0, time_said="as the dataset says", has_time=has_time,
            row_asset=np.zeros(count, dtype=np.int64), row_record=record, notes=(), warnings=(),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Series:
    """A recording and its protocol.

    ``train`` may be learned from, ``stream`` is replayed from its first row,
    and rows of it from ``first`` on count, against ``labels`` (N,).
    """

    name: str
    path: Path
    sensors: tuple[str, ...]
    train: Rows
    stream: Rows
    labels: Bools
    first: int
    has_time: bool

    def history(self) -> History:
        """Give what may be learned from."""
        return self.train.history(self.sensors, self.path, has_time=self.has_time)

    def recording(self) -> History:
        """Give what is replayed."""
        return self.stream.history(self.sensors, self.path, has_time=self.has_time)


def even_times(count: int) -> Ints:
    """Give (N,) times one second apart."""
    return np.arange(count, dtype=np.int64) * INDEX_PERIOD_MS


def head(rows: Rows, count: int) -> Rows:
    """Give the first rows of the file."""
    return Rows(times_ms=rows.times_ms[:count], values=rows.values[:count])


def tail(rows: Rows, start: int) -> Rows:
    """Give the last rows of the file."""
    return Rows(times_ms=rows.times_ms[start:], values=rows.values[start:])


def without(rows: Rows, left_out: Bools) -> Rows:
    """Leave rows out, and let nothing span them; rows are in order of time."""
    kept = np.flatnonzero(~left_out)
    cuts = np.flatnonzero(np.diff(kept) != 1) + 1
    return Rows(times_ms=rows.times_ms[kept], values=rows.values[kept], cuts=cuts)
