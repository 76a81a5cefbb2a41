"""A plant's history as a file: CSV or Parquet, wide or long.

Rules: the suffix decides the format.  Wide: ``time,asset`` and one column a
sensor, an empty cell where a reading never came, no row where none did.
Long: ``time,asset,sensor,value``, only readings that came.  Times are
ISO 8601 UTC in CSV and timestamps in Parquet.  A file is complete or absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from offbeat_broker.plant import SENSORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    import pyarrow as pa

    from offbeat_broker.plant import History
    from offbeat_broker.signals import Floats

Layout = Literal["wide", "long"]
SUFFIXES = (".csv", ".parquet")
ROWS = 20_000  # formatted at a time


def write(history: History, path: Path, *, layout: Layout = "wide") -> int:
    """Write one file; return its rows."""
    part = path.with_name(f".{path.name}.part")
    if path.suffix == ".parquet":
        rows = _write_parquet(history, part, layout)
    else:
        with part.open("w", encoding="utf-8", newline="") as out:
            rows = _write_csv(history, out, layout)
    part.replace(path)
    return rows


def _write_csv(history: History, out: TextIO, layout: Layout) -> int:
    wide = layout == "wide"
    head = ["time", "asset", *(history.sensors if wide else ("sensor", "value"))]
    out.write(",".join(head) + "\n")
    rows = 0
    for times, values in _blocks(history):
        stamps = np.datetime_as_string(times.astype("datetime64[ms]"), timezone="UTC").tolist()
        lines = (
            _wide_lines(history, stamps, values) if wide else _long_lines(history, stamps, values)
        )
        for line in lines:
            out.write(line)
            rows += 1
    return rows


def _blocks(
    history: History,
) -> Iterator[tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Floats]]:
    for first in range(0, len(history.time_ms), ROWS):
        block = slice(first, first + ROWS)
        yield history.time_ms[block], history.values[:, block]


def _wide_lines(history: History, stamps: list[str], values: Floats) -> Iterator[str]:
    """Yield rows in time order, the assets of one moment together."""
    form = "%s,%s," + ",".join(f"%.{SENSORS[name].decimals}f" for name in history.sensors) + "\n"
    seen = np.asarray(~np.isnan(values).all(axis=2))
    readings = values.tolist()
    for i, stamp in enumerate(stamps):
        for a, asset in enumerate(history.assets):
            if seen[a, i]:
                yield (form % (stamp, asset, *readings[a][i])).replace("nan", "")


def _long_lines(history: History, stamps: list[str], values: Floats) -> Iterator[str]:
    forms = [f"%s,%s,{name},%.{SENSORS[name].decimals}f\n" for name in history.sensors]
    readings = values.tolist()
    for i, stamp in enumerate(stamps):
        for a, asset in enumerate(history.assets):
            for form, value in zip(forms, readings[a][i], strict=True):
                if value == value:  # noqa: PLR0124 - NaN is the reading that never came
                    yield form % (stamp, asset, value)


def _write_parquet(history: History, path: Path, layout: Layout) -> int:
    import pyarrow.parquet as pq  # noqa: PLC0415 - of the extra "train", CSV needs none

    table = _wide_table(history) if layout == "wide" else _long_table(history)
    pq.write_table(table, path)
    return int(table.num_rows)


def _wide_table(history: History) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415

    assets, steps, width = history.values.shape
    rows = history.values.swapaxes(0, 1).reshape(steps * assets, width)
    seen = np.asarray(~np.isnan(rows).all(axis=1))
    time = np.repeat(history.time_ms, assets)[seen]
    names = np.tile(np.array(history.assets), steps)[seen]
    columns = {
        "time": pa.array(time).cast(pa.timestamp("ms", tz="UTC")),
        "asset": pa.array(names.tolist()).dictionary_encode(),
    }
    for i, sensor in enumerate(history.sensors):
        columns[sensor] = pa.array(rows[seen, i], from_pandas=True)
    return pa.table(columns)


def _long_table(history: History) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415

    assets, steps, width = history.values.shape
    flat = history.values.swapaxes(0, 1).reshape(-1)
    seen = ~np.isnan(flat)
    time = np.repeat(history.time_ms, assets * width)[seen]
    asset = np.tile(np.repeat(np.arange(assets), width), steps)[seen]
    sensor = np.tile(np.arange(width), steps * assets)[seen]
    return pa.table(
        {
            "time": pa.array(time).cast(pa.timestamp("ms", tz="UTC")),
            "asset": pa.DictionaryArray.from_arrays(asset, list(history.assets)),
            "sensor": pa.DictionaryArray.from_arrays(sensor, list(history.sensors)),
            "value": pa.array(flat[seen]),
        }
    )
