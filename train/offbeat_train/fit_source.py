"""Where ``offbeat fit`` takes its rows from: files, or what is normal of a lake."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from offbeat_train.errors import DataError, HistoryError
from offbeat_train.history import read_history
from offbeat_train.history_arguments import add_history_arguments, history_options
from offbeat_train.lake import open_lake
from offbeat_train.lake.normal import normal_history
from offbeat_train.timestamps import parse_instant

if TYPE_CHECKING:
    import argparse

    from offbeat_train.history import History

OF_FILES = ("time_column", "time_unit", "timezone", "asset_column", "label_column", "exclude")


class Source(NamedTuple):
    """Rows, and what rebuilds them when they came from no file."""

    history: History
    lake: dict[str, object] | None


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare HISTORY and how it is written down, or the lake."""
    parser.add_argument("history", nargs="*", type=Path, metavar="HISTORY",
                        help="CSV or Parquet files, or directories of them")  # fmt: skip
    add_history_arguments(parser)
    lake = parser.add_argument_group("a lake, in place of HISTORY")
    lake.add_argument("--lake", metavar="URI", help="what offbeat record and import wrote")
    lake.add_argument("--asset", default="*", metavar="PATTERN", help="of its assets: 'pump*'")
    lake.add_argument("--since", metavar="TIME", help="rows from this ISO 8601 time on")


def read_source(args: argparse.Namespace) -> Source:
    """Read what was asked for.

    Raises
    ------
    HistoryError : it is neither or both, or cannot be read.
    DataError : the lake has nothing normal of these assets.
    """
    if bool(args.history) == (args.lake is not None):
        got = "both" if args.history else "neither"
        raise HistoryError(f"expected HISTORY or --lake, got {got}")
    if args.lake is None:
        return Source(read_history(args.history, history_options(args, sensors=args.sensors)), None)
    given = [name for name in OF_FILES if getattr(args, name)]
    if given:
        told = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise HistoryError(f"expected none beside --lake, got {told}: a lake's columns are known")
    return _of_lake(args)


def _of_lake(args: argparse.Namespace) -> Source:
    lake = open_lake(args.lake)
    assets = [name for name in lake.assets() if fnmatchcase(name, args.asset)]
    if not assets:
        have = ", ".join(lake.assets()) or "none"
        raise DataError(f"expected assets like {args.asset!r} in the lake, got {have}", got=0)
    since_ms = None if args.since is None else parse_instant(args.since)
    end_ms = int(datetime.now(UTC).timestamp() * 1000)
    normal = normal_history(lake, assets, since_ms, end_ms)
    rows: Counter[str] = Counter()
    for edit in normal.edits:
        rows[edit.why] += edit.rows
    made: dict[str, object] = {
        "assets": assets, "since_ms": since_ms, "end_ms": end_ms, "edited_rows": dict(rows),
    }  # fmt: skip
    return Source(normal.history(args.sensors), made)
