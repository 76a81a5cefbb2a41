"""Change the number of daemons that share a gateway's assets, without losing one sample of QoS 1.

Stop the gateway first.  Its old daemons are run once more, one after the
other, until the broker has nothing left for them; then their states are split.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import assembly, dial
from offbeat_edge import config as configs
from offbeat_edge.errors import ConfigError
from offbeat_edge.shards.handover import hand_over
from offbeat_edge.shards.worker import MAX_SHARDS, check_sources

if TYPE_CHECKING:
    import argparse

    from offbeat_edge.shards.worker import Shard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", required=True, type=Path, help="the daemon's TOML file")
    parser.add_argument("--to", required=True, type=int, metavar="N", help="how many daemons")


def run(args: argparse.Namespace) -> int:
    """Hand the assets over."""
    if not 1 <= args.to <= MAX_SHARDS:
        raise ConfigError([f"--to: expected 1 to {MAX_SHARDS}, got {args.to}"])
    config = configs.load(args.config, os.environ)
    check_sources(config)
    log = dial.log(config.log)

    def drain(shard: Shard | None) -> None:
        assembly.drain(config, log, shard=shard).run()

    count = hand_over(config, to=args.to, drain=drain, log=log)
    print(f"{count} assets are handed over: start with offbeat run --shards {args.to}")
    return 0
