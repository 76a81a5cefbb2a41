"""History that others wrote down → rows and labels of assets.

Three layouts, told apart by looking:

* *history*: whatever ``fit`` reads;
* *Lookout for Equipment*: ``<asset>/<component>/*.csv``, or one asset's
  ``<component>/*.csv``, each with a column of times;
* *Anomaly Detector, multivariate*: a folder or zip of one CSV a variable,
  with the columns ``timestamp`` and ``value``.

Rules: files are read one by one and merged by time; a sensor has its
column's (or file's) name, ``component.column`` where two components share it;
nothing is repaired: a name that is none, or a file without times, is an error.
"""

from __future__ import annotations

import csv
import hashlib
import re
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offbeat_edge.control import Feedback, Maintenance
from offbeat_edge.timestamps import MAX_MS, MIN_MS
from offbeat_edge.topics import NAME
from offbeat_train.errors import HistoryError
from offbeat_train.history import read_history
from offbeat_train.lake.rows import Rows, merge
from offbeat_train.timestamps import parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from offbeat_train.roles import HistoryOptions

MAX_UNZIPPED_BYTES = 16 << 30
BY = "import"
OFF = re.compile(r"\s*(.+?)\s*([<>])\s*(-?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*")


class Imported(NamedTuple):
    """One asset's rows, and the digest of the files they came from."""

    asset: str
    rows: Rows
    digest: str


class Found(NamedTuple):
    """A file of an asset, and what its columns are called."""

    asset: str
    path: Path
    component: str | None
    variable: str | None  # of a file with the one column ``value``


def read(
    sources: Sequence[Path], options: HistoryOptions, *, asset: str | None
) -> tuple[list[Imported], list[str]]:
    """Read everything; return the assets and what was assumed.

    Raises
    ------
    HistoryError : a file cannot be read, has no times, or a name is none.
    """
    found = _files(sources[0], asset) if len(sources) == 1 and sources[0].is_dir() else []
    assets, notes = _apart(found, options) if found else _history(sources, options, asset)
    for item in assets:
        if not NAME.fullmatch(item.asset):
            raise HistoryError(
                f"expected an asset's name of a-z 0-9 _ . - (64 at most), got {item.asset!r}; "
                "name it with --asset"
            )
    return assets, notes


def unpack(path: Path, folder: Path) -> None:
    """Write a zip's CSV files into a folder, flat; raises HistoryError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if _is_csv(PurePosixPath(m.filename))]
            if sum(m.file_size for m in members) > MAX_UNZIPPED_BYTES:
                raise HistoryError(f"expected at most {MAX_UNZIPPED_BYTES} bytes", path=path)
            for member in members:
                (folder / PurePosixPath(member.filename).name).write_bytes(archive.read(member))
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise HistoryError(f"expected a zip of CSV files, got: {error}", path=path) from error


# ---------------------------------------------------------------- samples


def _files(folder: Path, asset: str | None) -> list[Found]:
    """Return the files of a layout with several files an asset; none: it is a plain history."""
    flat = _csvs(folder)
    if flat and all(_is_variable(path) for path in flat):
        return [Found(asset or folder.name, p, None, p.name.split(".")[0]) for p in flat]
    inner = [sub for sub in sorted(folder.iterdir()) if sub.is_dir()]
    one = [Found(asset or folder.name, p, sub.name, None) for sub in inner for p in _csvs(sub)]
    if flat or one:
        return [] if flat else one
    many = [
        Found(sub.name, path, component.name, None)
        for sub in inner
        for component in sorted(sub.iterdir())
        if component.is_dir()
        for path in _csvs(component)
    ]
    if asset is not None and len({item.asset for item in many}) > 1:
        names = ", ".join(sorted({item.asset for item in many}))
        raise HistoryError(f"expected one asset beside --asset, got {names}", path=folder)
    return [item._replace(asset=asset or item.asset) for item in many]


def _csvs(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and _is_csv(PurePosixPath(p.name)))


def _is_csv(path: PurePosixPath) -> bool:
    return path.suffix.lower() == ".csv" and not any(part[0] in "._" for part in path.parts)


def _is_variable(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = [name.strip().strip('"').lower() for name in file.readline().split(",")]
    return head == ["timestamp", "value"]


def _apart(found: Sequence[Found], options: HistoryOptions) -> tuple[list[Imported], list[str]]:
    """Read files one by one; merge those of an asset."""
    notes: dict[str, None] = {}
    parts: dict[str, list[tuple[Found, Rows]]] = {}
    for item in found:
        history = read_history([item.path], options)
        if not history.has_time:
            raise HistoryError("expected a column of times, got none", path=item.path)
        notes |= dict.fromkeys((*history.notes, *history.warnings))
        (recording,) = history.assets.values()
        rows = Rows(recording.times_ms, recording.values, history.sensors)
        parts.setdefault(item.asset, []).append((item, rows))
    return [_merged(asset, of_one) for asset, of_one in parts.items()], list(notes)


def _merged(asset: str, parts: Sequence[tuple[Found, Rows]]) -> Imported:
    owners = Counter(
        name for _, name in {(f.component, name) for f, rows in parts for name in rows.sensors}
    )
    named = [rows._replace(sensors=_named(item, rows, owners)) for item, rows in parts]
    return Imported(asset, merge(named), digest(item.path for item, _ in parts))


def _named(item: Found, rows: Rows, owners: Counter[str]) -> tuple[str, ...]:
    if item.variable is not None:
        return (item.variable,)
    return tuple(f"{item.component}.{n}" if owners[n] > 1 else n for n in rows.sensors)


def _history(
    sources: Sequence[Path], options: HistoryOptions, asset: str | None
) -> tuple[list[Imported], list[str]]:
    history = read_history(sources, options)
    if not history.has_time:
        raise HistoryError("expected a column of times, got none", path=history.paths[0])
    if asset is not None and len(history.assets) > 1:
        names = ", ".join(history.asset_names)
        raise HistoryError(f"expected one asset beside --asset, got {names}")
    key = digest(history.paths)
    assets = [
        Imported(asset or name, merge([Rows(item.times_ms, item.values, history.sensors)]), key)
        for name, item in history.assets.items()
    ]
    return assets, [*history.notes, *history.warnings]


def digest(paths: Iterable[Path]) -> str:
    """Return a digest of files' contents, in order, hex."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


# ---------------------------------------------------------------- labels


def labels(path: Path, asset: str, zone: str | None) -> list[Feedback]:
    """Read a file of ``start,end`` lines as confirmed anomalies, both ends within.

    Raises
    ------
    HistoryError : with the line, where a time is none or ends before it starts.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [(n, cells) for n, cells in enumerate(csv.reader(file), 1) if any(cells)]
    found = []
    for number, cells in lines:
        try:
            start, end = (_instant(cell, zone) for cell in cells[:2])
        except (ValueError, HistoryError) as error:
            told = f"expected two times, start and end, got {','.join(cells[:2])!r}"
            raise HistoryError(told, path=path, line=number) from error
        if end < start:
            raise HistoryError("expected start before end", path=path, line=number)
        found.append(_confirmed(asset, start, end + 1))
    return found


def _instant(text: str, zone: str | None) -> int:
    plain = re.sub(r"^(\d{4}-\d\d-\d\d)-(\d\d)-(\d\d)-(\d\d)$", r"\1T\2:\3:\4", text.strip())
    stamp = parse_instant(plain, zone)
    if not MIN_MS <= stamp <= MAX_MS:
        raise ValueError(f"expected 2000 to 2100, got {text}")
    return stamp


def _confirmed(asset: str, start_ms: int, end_ms: int) -> Feedback:
    return Feedback(
        id=_id(asset, start_ms, end_ms), asset=asset, verdict="confirmed", start_ms=start_ms,
        end_ms=end_ms, by=BY, note="labelled in the imported data set", time_ms=end_ms,
    )  # fmt: skip


def off_times(item: Imported, rule: str) -> list[Maintenance]:
    """Return the stretches in which a sensor says that the machine was off.

    Parameters
    ----------
    rule : ``SENSOR<VALUE`` or ``SENSOR>VALUE``.

    Raises
    ------
    HistoryError : it is no such rule, or there is no such sensor.
    """
    read_rule = OFF.fullmatch(rule)
    if not read_rule:
        raise HistoryError(f"--off: expected SENSOR<VALUE or SENSOR>VALUE, got {rule!r}")
    sensor, sign, value = read_rule.groups()
    names = item.rows.sensors
    if sensor not in names:
        raise HistoryError(f"--off: expected a sensor of {', '.join(names)}, got {sensor!r}")
    column = item.rows.matrix[:, names.index(sensor)]
    known = ~np.isnan(column)
    off = (column < float(value)) if sign == "<" else (column > float(value))
    times, state = item.rows.times[known], off[known].astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], state, [0]])))
    ends = np.append(times, times[-1:] + 1)
    return [
        Maintenance(id=_id(item.asset, int(times[low]), int(ends[high])), asset=item.asset, by=BY,
                    start_ms=int(times[low]), end_ms=int(ends[high]), note=f"off: {rule}",
                    time_ms=int(times[low]))
        for low, high in edges.reshape(-1, 2).tolist()
    ]  # fmt: skip


def _id(asset: str, start_ms: int, end_ms: int) -> str:
    """Return the same id for the same range of the same asset."""
    return hashlib.sha256(f"{asset}\n{start_ms}\n{end_ms}".encode()).hexdigest()[:32]
