"""Recorded sensor history, however it was written down, as arrays per asset.

Rules: one or many files, or a directory; long or wide; every assumption is
in ``notes`` and every oddity in ``warnings``, each once; nothing is dropped
in silence.  ``fit`` and ``replay`` read through this module alone.

>>> history = read_history([Path("pump.csv")])  # doctest: +SKIP
>>> history.assets["asset"].values.shape  # doctest: +SKIP
(86400, 8)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from offbeat_train.errors import HistoryError
from offbeat_train.parts import Findings, read_part
from offbeat_train.recordings import Recording, join
from offbeat_train.roles import HistoryOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["History", "HistoryOptions", "Recording", "read_history"]

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".gz", ".bz2", ".zst", ".parquet", ".pq")
FILE_GAP_MS = 3_600_000  # between files whose rows have no time


@dataclass(frozen=True, kw_only=True)
class History:
    """All that was read.

    ``row_asset`` and ``row_record`` (R,) lead from input row ``r`` to record
    ``assets[asset_names[row_asset[r]]]`` at index ``row_record[r]``; both
    are -1 for a row that was left out.  ``has_time`` is false when rows
    were taken as evenly spaced.
    """

    assets: dict[str, Recording]
    sensors: tuple[str, ...]
    paths: tuple[Path, ...]
    rows: int
    excluded: int
    duplicates: int  # readings of a long file that repeat (asset, sensor, time)
    time_said: str
    has_time: bool
    row_asset: NDArray[np.int64]
    row_record: NDArray[np.int64]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    named: bool = False  # somebody asked for these sensors, and for no others

    @property
    def asset_names(self) -> tuple[str, ...]:
        """The assets' names, in the order of ``row_asset``'s codes."""
        return tuple(self.assets)


def read_history(paths: Sequence[Path], options: HistoryOptions | None = None) -> History:
    """Read files and directories as one history.

    Raises
    ------
    HistoryError : something cannot be read, with file, line and column.
    """
    chosen = options or HistoryOptions()
    found = Findings()
    files = _files(paths)
    parts = []
    next_start = 0
    for path in files:
        part = read_part(path, chosen, found, start_ms=next_start)
        parts.append(part)
        if not part.has_time:
            next_start = int(part.times.ms[-1]) + FILE_GAP_MS
    said, timed = parts[0].times.said, all(part.has_time for part in parts)
    joined = join(parts, chosen.sensors, found)
    pa.default_memory_pool().release_unused()  # what the files needed, training may use
    return History(
        assets=joined.assets,
        sensors=joined.sensors,
        paths=files,
        rows=len(joined.row_asset),
        excluded=int((joined.row_asset < 0).sum()),
        duplicates=joined.duplicates,
        time_said=said,
        has_time=timed,
        row_asset=joined.row_asset,
        row_record=joined.row_record,
        notes=tuple(found.notes),
        warnings=tuple(found.warnings),
        named=bool(chosen.sensors),
    )


def _files(paths: Sequence[Path]) -> tuple[Path, ...]:
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [p for p in path.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES]
        if not inside:
            kinds = ", ".join(SUFFIXES)
            raise HistoryError(f"expected files ({kinds}), got a directory without any", path=path)
        found += sorted(inside, key=_natural)
    if not found:
        raise HistoryError("expected at least one file, got none")
    return tuple(found)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort ``2.csv`` before ``10.csv``."""
    return [(int(p), "") if p.isdigit() else (0, p) for p in re.split(r"(\d+)", path.name)]
