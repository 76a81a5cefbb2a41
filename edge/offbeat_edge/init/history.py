"""A recorded history → what assets and sensors are in it.

Rules: CSV only, with the standard library: a device has no more.  The first
rows decide; `offbeat fit` reads all of it, and more formats.

>>> read(Path("pump.csv"))["pump1"].every_ms  # doctest: +SKIP
1000
"""

from __future__ import annotations

import csv
import math
from itertools import islice
from typing import TYPE_CHECKING

from offbeat_edge.errors import ConfigError
from offbeat_edge.init.recognise import ASSET_KEYS, slug
from offbeat_edge.init.survey import AssetSeen
from offbeat_edge.payload.records import TIME_NAMES
from offbeat_edge.refusal import Refused
from offbeat_edge.timestamps import to_ms
from offbeat_edge.topics import NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_ROWS = 20_000
SAMPLE_CHARS = 64 * 1024  # that tell the delimiter


def read(path: Path) -> dict[str, AssetSeen]:
    """Look into a CSV file.

    Raises
    ------
    ConfigError : it is no CSV with a head, a column of times and one of numbers.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            dialect = csv.Sniffer().sniff(file.read(SAMPLE_CHARS), delimiters=",;\t|")
            file.seek(0)
            rows = list(islice(csv.reader(file, dialect), MAX_ROWS + 1))
    except (UnicodeDecodeError, csv.Error) as error:
        told = f"{path}: expected CSV (`offbeat fit` reads other formats), got: {error}"
        raise ConfigError([told]) from error
    if len(rows) < 2:
        raise ConfigError([f"{path}: expected a head and rows, got {len(rows)} lines"])
    return _survey(path, rows[0], [row for row in rows[1:] if len(row) == len(rows[0])])


def _survey(path: Path, head: list[str], rows: list[list[str]]) -> dict[str, AssetSeen]:
    time = _time_column(head, rows)
    if time is None:
        raise ConfigError([f"{path}: expected a column of times, got {', '.join(head)}"])
    asset = next((i for key in ASSET_KEYS for i, name in enumerate(head) if name.lower() == key),
                 None)  # fmt: skip
    seen: dict[str, AssetSeen] = {}
    names: dict[str, str] = {}
    for row in rows:
        stamp = _stamp(row[time])
        if stamp is None:
            continue
        own = row[asset] if asset is not None else path.stem
        name = names.get(own) or names.setdefault(
            own, own if NAME.fullmatch(own) else slug(own, names.values())
        )
        values = {
            head[i]: number
            for i, text in enumerate(row)
            if i not in (time, asset) and (number := _number(text)) is not None
        }
        seen.setdefault(name, AssetSeen(0)).take(values, stamp)
    if not any(found.sensors for found in seen.values()):
        raise ConfigError([f"{path}: expected columns of numbers, got {', '.join(head)}"])
    return seen


def _time_column(head: Sequence[str], rows: Sequence[Sequence[str]]) -> int | None:
    """Return the column that holds the time: by its name, else the first that reads as one."""
    usual = {name.lower() for name in TIME_NAMES}
    order = sorted(range(len(head)), key=lambda i: (head[i].strip().lower() not in usual, i))
    return next((i for i in order if all(_stamp(row[i]) is not None for row in rows[:20])), None)


def _stamp(text: str) -> int | None:
    try:
        return to_ms(text.strip())
    except (Refused, ValueError):
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
