"""Rows of one asset: times and one column a sensor, and the rule that merges them.

Rules: one row a time; of several values of one sensor for one time the first
in order of arrival counts, as on the device; a sensor some rows lack is NaN
there; sensors are sorted by name.  Pure.

>>> first = rows_of([(5, {"flow": 1.0}), (3, {"heat": 2.0}), (5, {"flow": 9.0, "heat": 4.0})])
>>> first.times.tolist(), first.sensors, first.matrix.tolist()
([3, 5], ('flow', 'heat'), [[nan, 2.0], [1.0, 4.0]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from offbeat_train.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

TIME = "time"
TIME_TYPE = pa.timestamp("ms", "UTC")
COMPRESSION = "zstd"


class Rows(NamedTuple):
    """``times`` (N,) int64 ms, rising; ``matrix`` (N, F) float64, NaN where absent."""

    times: NDArray[np.int64]
    matrix: NDArray[np.float64]
    sensors: tuple[str, ...]

    def between(self, start_ms: int | None, end_ms: int | None) -> Rows:
        """Return the rows in [start, end)."""
        low = 0 if start_ms is None else int(np.searchsorted(self.times, start_ms))
        high = len(self.times) if end_ms is None else int(np.searchsorted(self.times, end_ms))
        return Rows(self.times[low:high], self.matrix[low:high], self.sensors)

    def frame(self) -> pd.DataFrame:
        """Return them with a UTC time index and a column a sensor."""
        index = pd.DatetimeIndex(self.times.astype("datetime64[ms]"), tz="UTC", name=TIME)
        return pd.DataFrame(self.matrix, index=index, columns=list(self.sensors))


NONE = Rows(np.zeros(0, np.int64), np.zeros((0, 0)), ())


def rows_of(readings: Sequence[tuple[int, Mapping[str, float]]]) -> Rows:
    """Return readings (time in ms, sensor → value) in order of arrival as rows."""
    sensors = tuple(sorted({name for _, values in readings for name in values}))
    nan = float("nan")
    table = [[values.get(name, nan) for name in sensors] for _, values in readings]
    times = np.array([time for time, _ in readings], dtype=np.int64)
    return _settle(times, np.array(table, dtype=np.float64).reshape(len(times), -1), sensors)


def merge(parts: Sequence[Rows]) -> Rows:
    """Return the union of parts in order of arrival."""
    if not parts:
        return NONE
    sensors = tuple(sorted({name for part in parts for name in part.sensors}))
    times = np.concatenate([part.times for part in parts])
    values = np.concatenate([_spread(part, sensors) for part in parts])
    return _settle(times, values, sensors)


def _spread(part: Rows, sensors: tuple[str, ...]) -> NDArray[np.float64]:
    if part.sensors == sensors:
        return part.matrix
    out = np.full((len(part.times), len(sensors)), np.nan)
    out[:, [sensors.index(name) for name in part.sensors]] = part.matrix
    return out


def _settle(
    times: NDArray[np.int64], values: NDArray[np.float64], sensors: tuple[str, ...]
) -> Rows:
    """Sort by time; where times repeat, take each sensor's first value."""
    if bool((np.diff(times) > 0).all()):
        return Rows(times, values, sensors)
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    begins = np.concatenate([[True], np.diff(times) > 0])
    place = np.cumsum(begins) - 1
    out = np.full((int(place[-1]) + 1, len(sensors)), np.nan)
    for index in range(len(sensors)):
        known = np.flatnonzero(~np.isnan(values[:, index]))[::-1]
        out[place[known], index] = values[known, index]  # of equal places the last written stays
    return Rows(times[begins], out, sensors)


# ------------------------------------------------------------------- Parquet


def column_of(sensor: str) -> str:
    """Return a sensor's column: its name, with a mark when that is the time's.

    >>> column_of("flow"), column_of("time"), column_of("time_")
    ('flow', 'time_', 'time__')
    """
    return f"{sensor}_" if sensor.rstrip("_") == TIME else sensor


def sensor_of(column: str) -> str:
    """Undo `column_of`."""
    return column[:-1] if column.rstrip("_") == TIME else column


def encode(rows: Rows) -> bytes:
    """Return the rows as a Parquet file; NaN becomes null."""
    arrays = [pa.array(rows.times).cast(TIME_TYPE)]
    arrays += [pa.array(column, from_pandas=True) for column in rows.matrix.T]
    names = [TIME, *map(column_of, rows.sensors)]
    table = pa.table(dict(zip(names, arrays, strict=True)))
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression=COMPRESSION,
        use_dictionary=names[1:],
        column_encoding={TIME: "DELTA_BINARY_PACKED"},
    )
    return bytes(sink.getvalue())


def decode(data: memoryview | bytes, path: str) -> Rows:
    """Read a Parquet file; LakeError names ``path`` when it is none of ours."""
    try:
        table = pq.read_table(pa.BufferReader(pa.py_buffer(data)))
        times = table.column(TIME).cast(TIME_TYPE).cast(pa.int64())
        columns = [name for name in table.column_names if name != TIME]
        values = [
            table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False) for name in columns
        ]
    except (pa.ArrowException, KeyError, OSError) as error:
        told = " ".join(str(error).split())
        raise LakeError(f"expected a Parquet part of samples, got: {told}", path=path) from error
    sensors = tuple(map(sensor_of, columns))
    order = sorted(range(len(sensors)), key=sensors.__getitem__)
    matrix = np.array([values[i] for i in order], dtype=np.float64).T
    return _settle(
        times.to_numpy(zero_copy_only=False).astype(np.int64),
        np.ascontiguousarray(matrix.reshape(len(times), len(sensors))),
        tuple(sensors[i] for i in order),
    )
