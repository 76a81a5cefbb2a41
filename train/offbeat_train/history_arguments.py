"""The options that say how a history was written down; ``fit`` and ``replay`` share them."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from offbeat_train.errors import HistoryError
from offbeat_train.roles import HistoryOptions
from offbeat_train.timestamps import Unit, parse_instant

if TYPE_CHECKING:
    import argparse

RANGE_SEPARATOR = "/"


def add_history_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how to read the columns; all of it is found when left out."""
    group = parser.add_argument_group("how the history is written down (found when left out)")
    group.add_argument("--time-column", metavar="NAME")
    group.add_argument("--time-unit", choices=get_args(Unit))
    group.add_argument("--timezone", metavar="ZONE", help="of times without one; default UTC")
    group.add_argument("--asset-column", metavar="NAME")
    group.add_argument(
        "--label-column",
        action="append",
        default=[],
        metavar="NAME",
        help="leave out the rows where it is not zero; may be repeated",
    )
    group.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="START/END",
        help="leave out a range of ISO 8601 times (in --timezone); may be repeated",
    )


def history_options(args: argparse.Namespace, *, sensors: tuple[str, ...] = ()) -> HistoryOptions:
    """Return what the user said; raises HistoryError on a range that is none."""
    return HistoryOptions(
        sensors=sensors,
        asset_column=args.asset_column,
        time_column=args.time_column,
        time_unit=args.time_unit,
        timezone=args.timezone,
        label_columns=tuple(args.label_column),
        exclude=tuple(_range(text, args.timezone) for text in args.exclude),
    )


def _range(text: str, zone: str | None) -> tuple[int, int]:
    """Parse START/END to [start, end) in epoch ms.

    >>> _range("2024-01-01T00:00:00/2024-01-01T00:00:01", "Europe/Berlin")
    (1704063600000, 1704063601000)
    """
    start, separator, end = text.partition(RANGE_SEPARATOR)
    if not separator:
        raise HistoryError(f"--exclude: expected START/END, got {text!r}")
    bounds = parse_instant(start, zone), parse_instant(end, zone)
    if bounds[0] >= bounds[1]:
        raise HistoryError(f"--exclude: expected START before END, got {text!r}")
    return bounds
