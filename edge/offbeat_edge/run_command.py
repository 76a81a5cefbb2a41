"""The daemon: samples in, alerts out, until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import config as configs
from offbeat_edge import dial, spare
from offbeat_edge.assembly import build
from offbeat_edge.errors import ConfigError, OffbeatError
from offbeat_edge.shards.worker import MAX_SHARDS, Shard

if TYPE_CHECKING:
    import argparse

    from offbeat_edge.config import Config
    from offbeat_edge.daemon import Daemon
    from offbeat_edge.log import Log
    from offbeat_edge.shards.gateway import Gateway


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", required=True, type=Path, help="the daemon's TOML file")
    parser.add_argument(
        "--shards", type=int, metavar="N", help="split the assets among N daemons (1 to 64)"
    )
    parser.add_argument("--shard", metavar="I/N", help="be one of them; --shards starts them all")


def run(args: argparse.Namespace) -> int:
    """Run the daemon, or those that share its assets; return the exit code."""
    config = configs.load(args.config, os.environ)
    log = dial.log(config.log)
    try:
        daemon = _process(args, config, log)
        spare.collect_seldom()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: daemon.stop())
        signal.signal(signal.SIGHUP, lambda *_: daemon.reload())
        return daemon.run()
    except OffbeatError:
        raise
    except Exception as error:
        log.error("internal", why=repr(error))  # noqa: TRY400 - not the logging module
        raise


def _process(args: argparse.Namespace, config: Config, log: Log) -> Daemon | Gateway:
    if args.shards is not None:
        if not 1 <= args.shards <= MAX_SHARDS:
            raise ConfigError([f"--shards: expected 1 to {MAX_SHARDS}, got {args.shards}"])
        from offbeat_edge.shards.gateway import Gateway  # noqa: PLC0415 - a shard does without

        return Gateway(config=config, path=args.config, shards=args.shards, log=log)
    if args.shard is not None:
        return build(config, log, shard=Shard.parse(args.shard))
    return build(config, log)
