"""Simulate a plant of pumps: its history as a file, or live over MQTT, with faults.

Examples
--------
  offbeat simulate --out history.parquet --duration 30d
  offbeat simulate --out week.csv --duration 7d --random-faults 2 --truth truth.jsonl
  offbeat simulate --mqtt localhost:1883 --speed-up 60

--faults reads one fault a line, magnitudes in sigmas of the sensor's normal running:
  {"asset": "pump1", "kind": "leak", "start_ms": 1736150400000,
   "end_ms": 1736154000000, "magnitude": 1.5}
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_broker import faults, recording, schedule
from offbeat_broker.plant import MAX_PUMPS, MIN_PERIOD_MS, Plant
from offbeat_broker.publish import Pace, connected
from offbeat_broker.signals import DAY_MS, HOUR_MS
from offbeat_edge import dial
from offbeat_edge.config import Mqtt
from offbeat_edge.errors import ConfigError
from offbeat_edge.schema import iso

if TYPE_CHECKING:
    import argparse

    from offbeat_broker.faults import Fault

EPOCH = "2025-01-06T00:00:00Z"  # a Monday: a file does not depend on today
FILE_DURATION_MS = 30 * DAY_MS
CHUNK_MS = 6 * HOUR_MS  # computed at a time when live
MAX_READINGS = 400_000_000  # of one file: 3.2 GB of memory
DEFAULT_PORT = 1883
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS}


class Span(NamedTuple):
    """Event time to simulate; no duration is endless."""

    start_ms: int
    duration_ms: int | None
    period_ms: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument("--out", type=Path, metavar="FILE", help="write .csv or .parquet")
    to.add_argument(
        "--mqtt", metavar="WHERE", help="publish live: HOST[:PORT], or a TOML file with [mqtt]"
    )
    parser.add_argument("--pumps", type=int, default=3, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="decides everything (%(default)s)")
    parser.add_argument("--start", help=f"ISO 8601 with zone, or now (file: {EPOCH}, live: now)")
    parser.add_argument("--duration", help="90s, 2h, 30d … (file: 30d, live: endless)")
    parser.add_argument("--period", default="10s", help="between readings (%(default)s)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--faults", type=Path, metavar="FILE", help="schedule, one JSON a line")
    which.add_argument(
        "--random-faults", type=int, default=0, metavar="N", help="N of each kind, spread out"
    )
    parser.add_argument("--truth", type=Path, metavar="FILE", help="write the ground truth (JSONL)")
    parser.add_argument("--layout", choices=("wide", "long"), default="wide", help="of the file")
    parser.add_argument(
        "--speed-up",
        type=float,
        default=1.0,
        metavar="X",
        help="live: event time runs X times faster; 0 as fast as the broker takes it",
    )
    parser.add_argument("--topic", default="plant/{asset}", help="live (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write or publish."""
    span, plant = _span(args), _plant(args)
    plan = _faults(args, plant, span)
    if args.truth:
        write_truth(args.truth, plant, plan, period_ms=span.period_ms)
    if args.out:
        return _write(args, plant, plan, span)
    return _publish(args, plant, plan, span)


def duration_ms(text: str, *, where: str) -> int:
    """Return milliseconds of ``90s``, ``2h``, ``30d``.

    >>> duration_ms("1.5h", where="--duration")
    5400000
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text.strip())
    if match is None:
        raise ConfigError([f"{where}: expected a length such as 90s, 2h or 30d, got {text!r}"])
    return round(float(match[1]) * UNITS_MS[match[2]])


def moment_ms(text: str, *, where: str) -> int:
    """Return epoch milliseconds of an ISO 8601 time with its zone, or of ``now``."""
    if text == "now":
        return time.time_ns() // 1_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(
            [f"{where}: expected now or an ISO 8601 time with zone, such as {EPOCH}, got {text!r}"]
        )
    return round(moment.astimezone(UTC).timestamp() * 1000)


def write_truth(path: Path, plant: Plant, plan: list[Fault], *, period_ms: int) -> None:
    """Write one line of ground truth for each fault."""
    lines = [schedule.truth(plant, fault, period_ms=period_ms) for fault in plan]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def _span(args: argparse.Namespace) -> Span:
    start = args.start or ("now" if args.mqtt else EPOCH)
    duration = duration_ms(args.duration, where="--duration") if args.duration else None
    period = duration_ms(args.period, where="--period")
    if period < MIN_PERIOD_MS:
        raise ConfigError([f"--period: expected at least {MIN_PERIOD_MS}ms, got {args.period}"])
    if args.out:
        duration = duration or FILE_DURATION_MS
    start_ms = moment_ms(start, where="--start")
    return Span(start_ms - start_ms % period, duration, period)


def _plant(args: argparse.Namespace) -> Plant:
    try:
        return Plant(seed=args.seed, pumps=args.pumps)
    except ValueError as error:
        raise ConfigError([f"--{error} (--pumps goes to {MAX_PUMPS})"]) from error


def _faults(args: argparse.Namespace, plant: Plant, span: Span) -> list[Fault]:
    """Return the schedule asked for."""
    if args.random_faults:
        if span.duration_ms is None:
            raise ConfigError(["--random-faults: expected a --duration to spread them over"])
        try:
            return schedule.draw(
                plant,
                seed=args.seed,
                start_ms=span.start_ms,
                duration_ms=span.duration_ms,
                each=args.random_faults,
                period_ms=span.period_ms,
            )
        except ValueError as error:
            raise ConfigError([f"--{error}"]) from error
    if not args.faults:
        return []
    try:
        plan = faults.read_schedule(args.faults)
    except (OSError, ValueError) as error:
        raise ConfigError([f"--faults: {error}"]) from error
    problems = faults.check(plan, plant.assets, plant.sensors)
    if problems:
        raise ConfigError([f"--faults: {args.faults}: {problem}" for problem in problems])
    return plan


def _write(args: argparse.Namespace, plant: Plant, plan: list[Fault], span: Span) -> int:
    path: Path = args.out
    duration = span.duration_ms or FILE_DURATION_MS
    problems = []
    if path.suffix not in recording.SUFFIXES:
        problems.append(f"--out: expected a name ending in .csv or .parquet, got {path.name}")
    if not path.parent.is_dir():
        problems.append(f"--out: expected an existing directory, got {path.parent}")
    readings = duration // span.period_ms * len(plant.assets) * len(plant.sensors)
    if readings > MAX_READINGS:
        problems.append(f"--duration: expected at most {MAX_READINGS} readings, got {readings}")
    if duration < span.period_ms:
        problems.append(f"--duration: expected at least one period, got {duration} ms")
    if problems:
        raise ConfigError(problems)
    history = plant.history(
        start_ms=span.start_ms, duration_ms=duration, period_ms=span.period_ms, schedule=plan
    )
    rows = recording.write(history, path, layout=args.layout)
    last = iso(int(history.time_ms[-1]))
    print(f"{path}: {rows} rows, {iso(span.start_ms)} to {last}, {len(plan)} faults")
    return 0


def _publish(args: argparse.Namespace, plant: Plant, plan: list[Fault], span: Span) -> int:
    mqtt = _broker(args.mqtt)
    if "{asset}" not in args.topic:
        raise ConfigError([f"--topic: expected {{asset}} in it, got {args.topic}"])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pace = Pace(speed_up=args.speed_up, stop=stop)
    sent = 0
    with connected(mqtt, topic=args.topic) as publisher:
        where = f"{mqtt.host}:{mqtt.port}"
        print(f"publishing to {where}, {len(plan)} faults", file=sys.stderr, flush=True)
        at, end = span.start_ms, span.duration_ms
        while not stop.is_set() and (end is None or at < span.start_ms + end):
            left = CHUNK_MS if end is None else min(CHUNK_MS, span.start_ms + end - at)
            chunk = max(left - left % span.period_ms, span.period_ms)
            sent += publisher.send(
                plant.history(
                    start_ms=at, duration_ms=chunk, period_ms=span.period_ms, schedule=plan
                ),
                pace,
            )
            at += chunk
    print(f"{sent} messages", file=sys.stderr)
    return 0


def _broker(where: str) -> Mqtt:
    """Read where to publish.

    >>> _broker("plant:1884").port, _broker("plant").port
    (1884, 1883)
    """
    if where.endswith(".toml"):
        return dial.read_mqtt(Path(where))
    host, _, port = where.rpartition(":")
    if not host:
        host, port = where, str(DEFAULT_PORT)
    if not port.isdecimal():
        raise ConfigError([f"--mqtt: expected HOST:PORT or a .toml file, got {where}"])
    return Mqtt(host=host, port=int(port))
