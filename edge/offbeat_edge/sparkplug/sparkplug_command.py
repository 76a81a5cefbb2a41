"""Tell SCADA what a gateway says, as an edge node of Sparkplug B.

Every asset is a device with its state, score and alert.  Runs beside the
daemon or anywhere with the broker in reach, and needs an identity of its own
(offbeat provision sparkplug).
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from offbeat_edge import config as configs
from offbeat_edge import dial
from offbeat_edge.sparkplug.bridge import Bridge, Session
from offbeat_edge.sparkplug.node import EdgeNode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from offbeat_edge.log import Log

MAX_PAYLOAD_BYTES = 1 << 20
Id = Annotated[
    str, Meta(pattern=r"\A[^/+#\x00]{1,128}\Z", description="a name without / + # (128 at most)")
]


class Sparkplug(msgspec.Struct, frozen=True, kw_only=True):
    """``[sparkplug]``: who we are to SCADA, and for whom we speak."""

    group: Id
    node: Id
    gateway: configs.Name


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file; paths are absolute and defaults resolved."""

    sparkplug: Sparkplug
    mqtt: configs.Mqtt = configs.Mqtt()
    log: configs.Log = configs.Log()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "--config", type=Path, required=True, help="a TOML file with [sparkplug] and [mqtt]"
    )


def run(args: argparse.Namespace) -> int:
    """Speak until a signal; return the exit code."""
    settings = load(args.config, os.environ)
    bridge = build(settings, dial.log(settings.log))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: bridge.stop())
    return bridge.run()


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the file with the environment over it; ConfigError holds all problems."""
    settings = configs.load_as(
        path, Settings, environ, lambda found, reader: configs.check_mqtt(found.mqtt, reader)
    )
    name = f"offbeat-sparkplug-{settings.sparkplug.node}"
    mqtt = configs.resolve_mqtt(settings.mqtt, path.absolute().parent, client_id=name)
    return msgspec.structs.replace(settings, mqtt=mqtt)


def build(settings: Settings, log: Log) -> Bridge:
    """Make a bridge of a configuration; nothing is connected yet."""
    table = settings.sparkplug
    node = EdgeNode(group=table.group, node=table.node, gateway=table.gateway)
    # Unlike the last one of an earlier life, which lasted a tenth of a second at least.
    session = Session(node, first=time.time_ns() // 100_000_000)
    link = dial.link(
        settings.mqtt,
        filters=node.filters,
        status_topic=None,
        max_payload_bytes=MAX_PAYLOAD_BYTES,
        log=log,
        will=session.will,
        lasting=False,
    )
    return Bridge(node=node, session=session, link=link, log=log)
