"""Announce work on an asset: no alerts meanwhile, on every gateway that watches it.

Prints the window's id, which --cancel takes back.  Exit code 0 only when the
broker has taken the announcement.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

from offbeat_edge.announce.arguments import add_broker_arguments, courier_of, user
from offbeat_edge.announce.say import announce, moment
from offbeat_edge.errors import ConfigError
from offbeat_edge.schema import iso

if TYPE_CHECKING:
    import argparse

UNITS_MS = {"s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("asset", metavar="ASSET")
    act = parser.add_mutually_exclusive_group(required=True)
    act.add_argument("--for", dest="length", metavar="TIME", help="how long: 90s, 30min, 2h, 1d")
    act.add_argument("--cancel", metavar="ID", help="take back the window of this id")
    parser.add_argument("--start", help="ISO 8601 with zone; default: now")
    parser.add_argument("--by", default=user(), help="who says so; default: the user's name")
    parser.add_argument("--note", default="", help="a word for the audit trail")
    add_broker_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Announce or take back; print the id."""
    now_ms = time.time_ns() // 1_000_000
    start_ms = now_ms if args.start is None else moment(args.start, "--start")
    length_ms = 1000 if args.cancel else duration_ms(args.length)
    said = {
        "id": args.cancel or str(uuid.uuid4()),
        "asset": args.asset,
        "start_ms": start_ms,
        "end_ms": start_ms + length_ms,
        "by": args.by,
        "note": args.note,
        "time_ms": now_ms,
        "cancelled": bool(args.cancel),
    }
    announce(courier_of(args), "maintenance", said)
    if args.cancel:
        print(f"{args.cancel}  {args.asset}: cancelled")
    else:
        print(f"{said['id']}  {args.asset}: {iso(start_ms)} to {iso(start_ms + length_ms)}")
    return 0


def duration_ms(text: str) -> int:
    """Read a length of time.

    >>> duration_ms("2h"), duration_ms("1.5min")
    (7200000, 90000)
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?) ?(s|m|min|h|d)", text.strip())
    if found is None or not float(found[1]):
        raise ConfigError([f"--for: expected a length such as 90s, 30min, 2h or 1d, got {text!r}"])
    return int(float(found[1]) * UNITS_MS[found[2]])
