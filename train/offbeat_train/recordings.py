"""Rows of files into one recording per asset, in event-time order.

Rules: files that follow one another in time continue one asset; files that
overlap are assets of their own, named after the file (unless they hold
different sensors of one machine); equal times keep the order of the input.

>>> Recording(times_ms=np.arange(3), values=np.zeros((3, 1)), row=np.arange(3)).stretches()
[slice(0, 3, None)]
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from offbeat_train.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from offbeat_train.parts import Findings, Part

WEEK_MS = 7 * 24 * 3_600_000
DEFAULT_ASSET = "asset"
MAX_CELLS = 400_000_000  # records x sensors of one long history; 3.2 GB


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One asset's history in event-time order.

    ``times_ms`` (N,) int64 never falls; ``values`` (N, F) float64 is NaN
    where absent; ``row`` (N,) int64 is the input row (from 0, over all
    files) each record came from; ``cuts`` are the indices before which
    rows were left out on purpose, so that nothing may span them.
    """

    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    row: NDArray[np.int64]
    cuts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def stretches(self) -> list[slice]:
        """Return the runs of records between cuts, in order."""
        edges = [0, *(int(cut) for cut in self.cuts), len(self.times_ms)]
        return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def asset_weeks(recordings: Iterable[Recording]) -> float:
    """Add up how long recordings are, weeks."""
    spans = [int(r.times_ms[-1] - r.times_ms[0]) for r in recordings if len(r.row)]
    return sum(spans) / WEEK_MS


@dataclass(frozen=True, kw_only=True)
class Joined:
    """All recordings and the way back to the input rows (see ``History``)."""

    assets: dict[str, Recording]
    sensors: tuple[str, ...]
    row_asset: NDArray[np.int64]
    row_record: NDArray[np.int64]
    duplicates: int


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """The rows of all files, one after the other: R rows."""

    times: NDArray[np.int64]
    values: NDArray[np.float64]
    sensor: NDArray[np.int64] | None
    asset: NDArray[np.int64]
    left_out: NDArray[np.bool_]


def join(parts: list[Part], wanted: tuple[str, ...], found: Findings) -> Joined:
    """Join files' rows into recordings.

    Parameters
    ----------
    parts : one per file, in order; they are emptied to save memory.
    wanted : the sensors to keep, in order; empty means all.

    Raises
    ------
    HistoryError : the files do not belong together, or nothing is left.
    """
    if len({part.sensor_code is None for part in parts}) > 1:
        paths = ", ".join(str(part.path) for part in parts if part.sensor_code is not None)
        raise HistoryError(f"expected all files wide or all long, got both (long: {paths})")
    sensors = _sensors(parts, wanted, found)
    codes, names = _assets(parts, found)
    stack = _stack(parts, sensors, codes)
    parts.clear()
    return _recordings(stack, sensors, names)


def _sensors(parts: Sequence[Part], wanted: tuple[str, ...], found: Findings) -> tuple[str, ...]:
    seen = tuple(dict.fromkeys(name for part in parts for name in part.sensors))
    missing = [name for name in wanted if name not in seen]
    if missing:
        have = ", ".join(map(repr, seen))
        raise HistoryError(f"expected sensors {missing}, got only {have}", path=parts[0].path)
    sensors = wanted or seen
    for part in parts:
        absent = [name for name in sensors if name not in part.sensors]
        if absent:
            found.doubt(
                f"{part.path}: has no {', '.join(map(repr, absent))}; read as missing there"
            )
    return sensors


def _assets(parts: Sequence[Part], found: Findings) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Give each file's asset codes and the names they stand for."""
    names: dict[str, int] = {}
    alone = _names_of_files(parts, found)
    out = []
    for part, default in zip(parts, alone, strict=True):
        if part.asset is None:
            code = names.setdefault(default, len(names))
            out.append(np.full(part.times.ms.shape, code, dtype=np.int64))
            continue
        codes, words = part.asset
        table = [names.setdefault(word.strip() or DEFAULT_ASSET, len(names)) for word in words]
        table.append(names.setdefault(DEFAULT_ASSET, len(names)) if (codes < 0).any() else -1)
        out.append(np.array(table, dtype=np.int64)[codes])
    return out, list(names)


def _names_of_files(parts: Sequence[Part], found: Findings) -> list[str]:
    """Name the asset of each file that does not name it itself."""
    spans = [_span(part) for part in parts]
    order = sorted(range(len(parts)), key=lambda index: spans[index])
    pairs = itertools.pairwise(order)
    overlap = any(spans[b][0] < spans[a][1] for a, b in pairs)
    owners = [name for part in parts for name in part.sensors]
    if not overlap or len(parts) == 1 or any(part.asset is not None for part in parts):
        return [DEFAULT_ASSET] * len(parts)
    if len(owners) == len(set(owners)):
        found.note("files overlap in time and hold different sensors: read as one asset")
        return [DEFAULT_ASSET] * len(parts)
    found.note("files overlap in time: each is read as an asset of its own, named after the file")
    names: list[str] = []
    for part in parts:
        stem, copy = part.path.name.split(".")[0] or DEFAULT_ASSET, 2
        name = stem
        while name in names:
            name, copy = f"{stem}_{copy}", copy + 1
        names.append(name)
    return names


def _span(part: Part) -> tuple[int, int]:
    known = part.times.ms[~part.left_out]
    return (int(known.min()), int(known.max())) if known.size else (0, 0)


def _stack(parts: list[Part], sensors: tuple[str, ...], codes: list[NDArray[np.int64]]) -> _Stack:
    one = len(parts) == 1
    long = parts[0].sensor_code is not None
    values = [part.values if long else _columns(part, sensors) for part in parts]
    return _Stack(
        times=parts[0].times.ms if one else np.concatenate([part.times.ms for part in parts]),
        values=values[0] if one else np.concatenate(values),
        sensor=np.concatenate([_recode(part, sensors) for part in parts]) if long else None,
        asset=codes[0] if one else np.concatenate(codes),
        left_out=np.concatenate([part.left_out for part in parts]),
    )


def _columns(part: Part, sensors: tuple[str, ...]) -> NDArray[np.float64]:
    if part.sensors == sensors:
        return part.values
    out = np.full((len(part.values), len(sensors)), np.nan)
    for index, name in enumerate(sensors):
        if name in part.sensors:
            out[:, index] = part.values[:, part.sensors.index(name)]
    return out


def _recode(part: Part, sensors: tuple[str, ...]) -> NDArray[np.int64]:
    table = [sensors.index(name) if name in sensors else -1 for name in part.sensors]
    codes = part.sensor_code if part.sensor_code is not None else np.zeros(0, dtype=np.int64)
    return np.array([*table, -1], dtype=np.int64)[codes]


def _recordings(stack: _Stack, sensors: tuple[str, ...], names: list[str]) -> Joined:
    rows = len(stack.times)
    row_asset = np.full(rows, -1, dtype=np.int64)
    row_record = np.full(rows, -1, dtype=np.int64)
    assets: dict[str, Recording] = {}
    duplicates = 0
    kept = ~stack.left_out
    if stack.sensor is not None:
        kept &= stack.sensor >= 0
    for code, name in enumerate(names):
        mine = stack.asset == code if len(names) > 1 else np.ones(rows, dtype=bool)
        index = np.flatnonzero(mine & kept)
        if not index.size:
            continue
        lost = stack.times[mine & stack.left_out]
        if stack.sensor is None:
            recording, place = _wide(stack, index, lost)
        else:
            recording, place, repeats = _long(stack, stack.sensor, index, lost, len(sensors))
            duplicates += repeats
        row_asset[index], row_record[index] = len(assets), place
        assets[name] = recording
    if not assets:
        raise HistoryError("expected rows to be left after leaving some out, got none")
    return Joined(assets=assets, sensors=sensors, row_asset=row_asset, row_record=row_record,
                  duplicates=duplicates)  # fmt: skip


def _wide(
    stack: _Stack, index: NDArray[np.int64], lost: NDArray[np.int64]
) -> tuple[Recording, NDArray[np.int64]]:
    times = stack.times[index]
    place = np.arange(len(index), dtype=np.int64)
    if (np.diff(times) < 0).any():
        order = np.argsort(times, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        index, times = index[order], times[order]
    whole = len(index) == len(stack.times) and bool((np.diff(index) == 1).all())
    values = stack.values if whole else stack.values[index]
    recording = Recording(times_ms=times, values=values, row=index, cuts=_cuts(times, lost))
    return recording, place


def _long(
    stack: _Stack, sensor: NDArray[np.int64], index: NDArray[np.int64], lost: NDArray[np.int64],
    width: int,
) -> tuple[Recording, NDArray[np.int64], int]:  # fmt: skip
    times, first, place = np.unique(stack.times[index], return_index=True, return_inverse=True)
    if len(times) * width > MAX_CELLS:
        raise HistoryError(
            f"expected at most {MAX_CELLS} cells (times x sensors), got {len(times)} x {width}; "
            "choose fewer sensors with --sensors"
        )
    values = np.full((len(times), width), np.nan)
    cell = place * width + sensor[index]
    values.reshape(-1)[cell] = stack.values[index, 0]  # the last of equals stays
    repeats = len(cell) - len(np.unique(cell))
    recording = Recording(times_ms=times, values=values, row=index[first], cuts=_cuts(times, lost))
    return recording, place.astype(np.int64), repeats


def _cuts(times: NDArray[np.int64], lost: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the records before which something was left out."""
    spots = np.unique(np.searchsorted(times, lost, side="left"))
    return spots[(spots > 0) & (spots < len(times))].astype(np.int64)
