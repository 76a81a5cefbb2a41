"""Say what an alert was: confirmed, a false alarm, or expected.

A false alarm and what was expected end the alert at once; all of it is kept
for the next training.  Exit code 0 only when the broker has taken it.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.announce.arguments import add_broker_arguments, courier_of, user
from offbeat_edge.announce.say import announce, moment
from offbeat_edge.errors import ConfigError
from offbeat_edge.schema import AssetState

if TYPE_CHECKING:
    import argparse

    from offbeat_edge.announce.courier import Courier

STATES = "offbeat/+/asset/+/state"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--alert", metavar="ID", help="the alert's name, 32 hex digits")
    parser.add_argument("--asset", help="default: found by the alert, while it is open")
    parser.add_argument(
        "--verdict", required=True, choices=["confirmed", "false_alarm", "expected"]
    )
    parser.add_argument("--start", help="of what is meant, ISO 8601 with zone")
    parser.add_argument("--end", help="likewise; default: the alert's own time")
    parser.add_argument("--by", default=user(), help="who says so; default: the user's name")
    parser.add_argument("--note", default="", help="a word for the audit trail")
    add_broker_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Say it; print the id of what was said."""
    if args.alert is None and args.asset is None:
        raise ConfigError(["expected --alert, --asset or both"])
    courier = courier_of(args)
    said = {
        "id": str(uuid.uuid4()),
        "alert": args.alert,
        "asset": args.asset or _asset_of(args.alert, courier),
        "verdict": args.verdict,
        "start_ms": None if args.start is None else moment(args.start, "--start"),
        "end_ms": None if args.end is None else moment(args.end, "--end"),
        "by": args.by,
        "note": args.note,
        "time_ms": time.time_ns() // 1_000_000,
    }
    announce(courier, "feedback", said)
    print(f"{said['id']}  {said['asset']}: {args.verdict}")
    return 0


def _asset_of(alert: str, courier: Courier) -> str:
    """Return the asset on which an alert is open, from the retained states."""
    found = courier.find(STATES, lambda payload: _state(payload).alert == alert)
    if found is None:
        raise ConfigError(
            [f"--alert: expected one that is open, or --asset beside it, got {alert}"]
        )
    return _state(found).asset


def _state(payload: bytes) -> AssetState:
    try:
        return msgspec.json.decode(payload, type=AssetState)
    except msgspec.MsgspecError:  # cleared, or not ours
        return AssetState(asset="", state="ok", since="", since_ms=0)
