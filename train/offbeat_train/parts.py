"""One file's rows: times, values and what is to be left out.

Rules: the file's columns are given their parts by ``roles``; every guess
is a note, every oddity a warning with its line; nothing is sorted here.

>>> part = read_part(Path("pump.csv"), HistoryOptions(), Findings())  # doctest: +SKIP
>>> part.values.shape  # doctest: +SKIP
(86400, 8)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offbeat_train.errors import HistoryError
from offbeat_train.roles import HistoryOptions, Roles, find_roles, is_row_index
from offbeat_train.tables import BAD_SHARE, Table, read_table
from offbeat_train.timestamps import (
    ABSENT,
    Times,
    Unit,
    convert_numbers,
    convert_stamps,
    convert_texts,
    unit_from_name,
    unit_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INDEX_PERIOD_MS = 1000  # between rows that have no time
CALM_LABELS = ("", "0", "0.0", "normal", "ok", "none", "false", "no", "good")


class Findings:
    """Notes and warnings, each once, in order of appearance."""

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}
        self.warnings: dict[str, None] = {}

    def note(self, text: str) -> None:
        """Remember something assumed."""
        self.notes.setdefault(text)

    def doubt(self, text: str) -> None:
        """Remember something odd."""
        self.warnings.setdefault(text)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file's N rows, before assets are told apart.

    ``values`` is (N, F) for a wide file, (N, 1) for a long one, whose
    ``sensor_code`` (N,) points into ``sensors`` (-1: none); ``asset`` is
    (codes (N,), names) or None; ``left_out`` (N,) marks rows not used.
    """

    path: Path
    times: Times
    values: NDArray[np.float64]
    sensors: tuple[str, ...]
    sensor_code: NDArray[np.int64] | None
    asset: tuple[NDArray[np.int64], tuple[str, ...]] | None
    left_out: NDArray[np.bool_]
    has_time: bool


def read_part(path: Path, options: HistoryOptions, found: Findings, *, start_ms: int = 0) -> Part:
    """Read one file's rows and decide what its columns are.

    ``start_ms`` is where rows without times begin.
    """
    table = read_table(path)
    if table.rows == 0:
        raise HistoryError("expected rows below the header, got none", path=path)
    roles = find_roles(table, options)
    for text in (*table.warnings, *(f"{path}: {text}" for text in roles.warnings)):
        found.doubt(text)
    for text in roles.notes:
        found.note(text)
    times = _times(table, roles, options, found, start_ms)
    left_out = _bad_times(table, roles, times, found) | _labelled(table, roles, found)
    left_out |= _in_ranges(times.ms, options.exclude)
    if roles.sensor is not None and roles.value is not None:
        code, names = _codes(table, roles.sensor)
        values = _finite(table.numbers(roles.value))[:, None]
    else:
        code, names = None, roles.sensors
        values = _matrix(table, names, found)
    asset = None if roles.asset is None else _codes(table, roles.asset)
    return Part(path=path, times=times, values=values, sensors=names, sensor_code=code,
                 asset=asset, left_out=left_out, has_time=roles.time is not None)  # fmt: skip


def _times(
    table: Table, roles: Roles, options: HistoryOptions, found: Findings, start_ms: int
) -> Times:
    if roles.time is None:
        ms = np.arange(table.rows, dtype=np.int64) * INDEX_PERIOD_MS
        found.doubt(
            f"{table.path}: no column holds times; rows are taken as one second apart "
            "(name the column with --time-column if there is one)"
        )
        return Times(ms=ms + start_ms, said="no times: rows one second apart", relative=True)
    column, kind = table.columns[roles.time], table.kinds[roles.time]
    if kind == "number":
        values = table.numbers(roles.time)
        if is_row_index(roles.time, values) and options.time_unit is None:
            found.doubt(f"{table.path}: column {roles.time!r} only counts rows; they are taken as "
                     "one second apart")  # fmt: skip
        times = convert_numbers(values, options.time_unit or _named_unit(values, roles.time))
    elif roles.clock is not None:
        times = convert_texts(_joined(column, table.columns[roles.clock]), options.timezone)
        found.note(f"the time of day is column {roles.clock!r}")
    elif pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
        times = convert_texts(column, options.timezone)
    else:
        times = convert_stamps(column, options.timezone)
    if times.relative:
        found.doubt(f"{table.path}: column {roles.time!r} holds {times.said}")
    found.note(f"time is column {roles.time!r}: {times.said}")
    for text in times.warnings:
        found.doubt(f"{table.path}: {text}")
    return times


def _joined(days: Any, clocks: Any) -> Any:  # noqa: ANN401 - Arrow arrays
    """Join dates and times of day cell by cell."""
    clocks = pc.utf8_trim_whitespace(pc.cast(clocks, pa.string()))
    colons = pc.replace_substring_regex(clocks, r"^(\d+)\.(\d+)\.", r"\1:\2:")
    return pc.binary_join_element_wise(days, colons, " ")


def _named_unit(values: NDArray[np.float64], name: str) -> Unit | None:
    """Use the unit in a column's name only where the size does not tell."""
    return None if unit_of(values) is not None else unit_from_name(name)


def _bad_times(table: Table, roles: Roles, times: Times, found: Findings) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = times.ms == ABSENT
    rows = np.flatnonzero(bad)
    if not rows.size:
        return bad
    cell = table.columns[str(roles.time)][int(rows[0])].as_py()
    line = table.line(int(rows[0]))
    if rows.size > max(1, BAD_SHARE * table.rows):
        raise HistoryError(
            f"expected a time, got {cell!r} ({rows.size} such cells of {table.rows})",
            path=table.path, line=line, column=roles.time,
        )  # fmt: skip
    found.doubt(
        f"{table.path}, line {line}, column {roles.time!r}: expected a time, got {cell!r}; "
        f"{rows.size} such rows are left out"
    )
    return bad


def _labelled(table: Table, roles: Roles, found: Findings) -> NDArray[np.bool_]:
    """Mark the rows whose label is set: not 0, not false, not empty, not 'normal'."""
    marked: NDArray[np.bool_] = np.zeros(table.rows, dtype=bool)
    for name in roles.labels:
        if table.kinds[name] in ("number", "flag", "empty"):
            marked |= np.nan_to_num(table.numbers(name)) != 0.0
        else:
            words = pc.utf8_lower(
                pc.utf8_trim_whitespace(pc.cast(table.columns[name], pa.string()))
            )
            loud = pc.invert(pc.is_in(pc.fill_null(words, ""), pa.array(CALM_LABELS)))
            marked |= np.asarray(loud.to_numpy(zero_copy_only=False), dtype=bool)
        found.note(f"rows whose {name!r} is set are left out")
    return marked


def _in_ranges(times: NDArray[np.int64], ranges: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.zeros(times.shape, dtype=bool)
    for start, end in ranges:
        inside |= (times >= start) & (times < end)
    return inside


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.isinf(values).any():
        return np.where(np.isinf(values), np.nan, values)
    return values


def _matrix(table: Table, names: tuple[str, ...], found: Findings) -> NDArray[np.float64]:
    out = np.empty((table.rows, len(names)), dtype=np.float64)
    for index, name in enumerate(names):
        column = table.numbers(name)
        infinite = int(np.isinf(column).sum())
        if infinite:
            found.doubt(
                f"{table.path}, column {name!r}: {infinite} infinite values are read as missing"
            )
        out[:, index] = _finite(column)
        del table.columns[name]  # a table and its matrix need not live side by side
    return out


def _codes(table: Table, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Give (codes (N,), names) of a text column; an empty cell gets code -1."""
    if table.kinds[name] in ("number", "flag"):
        unique, inverse = np.unique(table.numbers(name), return_inverse=True)
        return inverse.astype(np.int64), tuple(f"{value:.15g}" for value in unique)
    chunked = table.columns[name].combine_chunks()
    coded = chunked if pa.types.is_dictionary(chunked.type) else chunked.dictionary_encode()
    indices = pc.fill_null(pc.cast(coded.indices, pa.int64()), -1)
    names = tuple(str(word) for word in coded.dictionary.to_pylist())
    return np.array(indices.to_numpy(zero_copy_only=False), dtype=np.int64), names
