"""Look at a broker, or at a recorded history, and propose a configuration.

Listens for a while, tells the payloads apart, and writes a commented file
with sources, assets, sensors, rates and models, for `offbeat check-config`
and your eyes.  Nothing is published, nothing is overwritten without --force.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import bundle as bundles
from offbeat_edge import config as configs
from offbeat_edge import files
from offbeat_edge.announce.arguments import add_broker_arguments, courier_of, mqtt_of
from offbeat_edge.config import Source
from offbeat_edge.errors import ConfigError
from offbeat_edge.init import history, write
from offbeat_edge.init.recognise import SPOKEN, Heard, Proposal, recognise, slug
from offbeat_edge.init.survey import survey

if TYPE_CHECKING:
    import argparse

    from offbeat_edge.init.survey import AssetSeen

LISTEN_S = 20.0
MAX_LISTEN_S = 86_400.0
NOTHING = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("history", nargs="?", type=Path, metavar="HISTORY.csv")
    parser.add_argument("--out", type=Path, default=Path("offbeat.toml"), help="the file to write")
    parser.add_argument("--force", action="store_true", help="overwrite it")
    parser.add_argument("--id", help="the gateway's name; default: this host's")
    parser.add_argument("--bundle", type=Path, help="a bundle that is there already")
    parser.add_argument("--listen", type=float, default=LISTEN_S, metavar="SECONDS")
    parser.add_argument("--filter", action="append", metavar="TOPIC", help="default: #")
    add_broker_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Look, write, and say what is next."""
    if args.out.exists() and not args.force:
        raise ConfigError([f"{args.out}: expected a new file (--force overwrites it), got one"])
    if not 0 < args.listen <= MAX_LISTEN_S:
        raise ConfigError([f"--listen: expected up to {MAX_LISTEN_S:g} s, got {args.listen:g}"])
    found = _of_history(args) if args.history else _of_broker(args)
    if not found.assets:
        print(f"nothing that could be a sensor came: {found.origin}")
        print("  is the filter right, do the sensors publish, may this user read them?")
        for topic in found.strange[: write.STRANGE_SHOWN]:
            print(f"  not understood: {topic}")
        return NOTHING
    files.replace(args.out, write.text(found).encode())
    _say(args.out, found)
    return 0


def _of_history(args: argparse.Namespace) -> write.Found:
    assets = history.read(args.history)
    source = Proposal(Source(topic="plant/{asset}"), "object", len(assets))
    return _found(args, f"{args.history.name}, with a topic that is a guess", [source], assets)


def _of_broker(args: argparse.Namespace) -> write.Found:
    mqtt, filters = mqtt_of(args), args.filter or ["#"]
    print(f"listening to {', '.join(filters)} at {mqtt.host}:{mqtt.port} for {args.listen:g} s …")
    messages = courier_of(args).hear(filters, seconds=args.listen)
    heard = [Heard(m.topic, m.payload, at_ms, m.retain) for m, at_ms in messages]
    understood = recognise(heard)
    sources, assets = survey([p.source for p in understood.proposals], heard)
    proposals = [p._replace(source=s) for p, s in zip(understood.proposals, sources, strict=True)]
    origin = f"{args.listen:g} s of {', '.join(filters)} at {mqtt.host}: {len(heard)} messages"
    return _found(args, origin, proposals, assets)._replace(strange=understood.strange)


def _found(
    args: argparse.Namespace,
    origin: str,
    proposals: list[Proposal],
    assets: dict[str, AssetSeen],
) -> write.Found:
    name, sensors = "", []
    if args.bundle is not None:
        name = os.path.relpath(args.bundle, args.out.parent)
        sensors = [sensor.name for sensor in bundles.load(args.bundle).manifest.sensors]
    return write.Found(
        gateway=args.id or slug(socket.gethostname().split(".")[0], ()),
        origin=origin,
        mqtt=mqtt_of(args),
        proposals=proposals,
        assets=assets,
        models=write.models(assets, bundle=name, sensors=sensors),
    )


def _say(path: Path, found: write.Found) -> None:
    for proposal in found.proposals:
        print(f"found   {SPOKEN[proposal.kind]}: {proposal.source.topic}")
    print(f"        {len(found.assets)} assets")
    _, problems = configs.read(path, {})
    for problem in problems:
        print(f"problem {problem}")
    print(f"wrote   {path}")
    for model in found.models:
        if not model.there:
            print(f"next    offbeat fit HISTORY.csv --out {path.parent / model.bundle}")
        if not model.heard:
            print(f"problem {model.bundle}: {write.unheard(model)}")
    print(f"then    offbeat check-config {path}")
