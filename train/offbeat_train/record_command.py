"""Write what the fleet sends, and what people say of it, into the lake, until SIGTERM or SIGINT.

The configuration is a daemon's file: [gateway] id names the recorder,
[[source]] says what to follow; [[model]] is not needed.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import dial
from offbeat_edge.clock import StampClock
from offbeat_edge.errors import OffbeatError
from offbeat_edge.notify import Notifier
from offbeat_edge.voice import Topics
from offbeat_train.lake.store import open_store
from offbeat_train.record import settings
from offbeat_train.record.flush import Flusher
from offbeat_train.record.intake import EVENT_FILTERS, Intake
from offbeat_train.record.recorder import Parts, Recorder, Settings
from offbeat_train.record.spool import Spool

if TYPE_CHECKING:
    from offbeat_edge.config import Config
    from offbeat_edge.log import Log

FOLDER = "record"  # of the spool, below the state folder
FLUSH_S = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", required=True, type=Path, help="a daemon's TOML file")
    parser.add_argument("--lake", required=True, metavar="URI",
                        help="a folder, or s3://bucket/prefix?region=...")  # fmt: skip
    parser.add_argument("--flush", type=_seconds, default=FLUSH_S, metavar="TIME",
                        help="write to the lake this often: 30s, 5min (default), 1h")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Record; return the exit code."""
    config = settings.load(args.config, os.environ)
    log = dial.log(config.log)
    try:
        recorder = build(config, lake=args.lake, flush_s=args.flush, log=log)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: recorder.stop())
        return recorder.run()
    except OffbeatError:
        raise
    except Exception as error:
        log.error("internal", why=repr(error))  # noqa: TRY400 - not the logging module
        raise


def build(config: Config, *, lake: str, flush_s: float, log: Log) -> Recorder:
    """Make a recorder of a configuration; nothing is connected yet."""
    name = f"{settings.PREFIX}{config.gateway.id}"
    topics = Topics(name)
    folder = Path(config.gateway.state_dir) / FOLDER
    limits = config.limits
    parts = Parts(
        link=dial.link(
            config.mqtt,
            filters=[*dial.filters(config.sources), *EVENT_FILTERS],
            status_topic=topics.status,
            max_payload_bytes=limits.max_payload_bytes,
            log=log,
            state=folder,
        ),
        intake=Intake(
            sources=config.sources,
            max_payload_bytes=limits.max_payload_bytes,
            max_assets=limits.max_assets,
        ),
        spool=Spool(folder, limit_bytes=int(limits.spool_mb * 1e6)),
        flusher=Flusher(store=open_store(lake), log=log),
        stamps=StampClock(),
        notifier=Notifier(os.environ),
        log=log,
    )
    return Recorder(
        parts=parts,
        settings=Settings(
            recorder=config.gateway.id,
            lake=settings.shown(lake),
            health_topic=topics.health,
            receive_maximum=config.mqtt.receive_maximum,
            flush_s=flush_s,
            health_interval_s=config.publish.health_interval_s,
        ),
    )


def _seconds(text: str) -> float:
    """Read a time span.

    >>> _seconds("5min")
    300.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|min|h)", text.strip())
    sizes = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
    span = float(found.group(1)) * sizes[found.group(2)] if found else 0.0
    if span <= 0:
        raise argparse.ArgumentTypeError(f"expected a time such as 30s or 5min, got {text!r}")
    return span
