"""The daemon: samples in, alerts out, until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import commands, dial, fleet, homeassistant, store
from offbeat_edge import config as configs
from offbeat_edge.clock import StampClock
from offbeat_edge.daemon import Daemon, Parts, Settings
from offbeat_edge.durable import Durable
from offbeat_edge.engine import Engine
from offbeat_edge.errors import ConfigError, OffbeatError
from offbeat_edge.notify import Notifier
from offbeat_edge.outbox import Outbox
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.shards import worker
from offbeat_edge.shards.worker import MAX_SHARDS, Shard, config_of, die_with_parent, follow
from offbeat_edge.supervise.crashes import Crashes
from offbeat_edge.supervise.models import Models, Tools
from offbeat_edge.supervise.probe import Probe
from offbeat_edge.supervise.proof import Proof
from offbeat_edge.supervise.shelf import Shelf
from offbeat_edge.supervise.watchdog import Watchdog
from offbeat_edge.voice import Rejects, Scores, States, Topics

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from offbeat_edge.config import Config
    from offbeat_edge.link import Link
    from offbeat_edge.log import Log
    from offbeat_edge.metrics import Exporter
    from offbeat_edge.shards.gateway import Gateway
    from offbeat_edge.shards.siblings import Siblings

TRIALS = "trials"  # bundles whose golden windows reproduced here
SHELF = "bundles"  # those that ran here
CRASHES = "crashes"  # and those that killed the process


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


def build(config: Config, log: Log, *, shard: Shard | None = None, drain: bool = False) -> Daemon:
    """Make a daemon of a configuration, or of a part of it; nothing is connected yet.

    With ``drain`` it wants no more samples, takes what the broker has kept
    for it, publishes what waits, and ends.
    """
    gateway, gateway_folder = config.gateway.id, Path(config.gateway.state_dir)
    if shard is not None:
        die_with_parent()
        config = config_of(config, shard)
    models = _models(config, log)
    topics = Topics(config.gateway.id)
    always = {topics.probe: 0, **commands.filters(topics.root)}
    always |= {**_discovery_filters(config), **_delivery_filters(config, drain)}
    shares = shard if config.mqtt.share and not drain else None  # by the broker's hash
    if shares is not None:
        always |= worker.sibling_filters(gateway, shares)
    sources = dial.filters(config.sources)
    if shard is not None:
        sources = worker.sources(config, shard, gateway_folder)
    link = dial.link(
        config.mqtt,
        filters=(always if drain else {**dict(sources), **always}).items(),
        status_topic=topics.status,
        max_payload_bytes=config.limits.max_payload_bytes,
        log=log,
        state=Path(config.gateway.state_dir),
    )
    chores: list[Callable[[], None]] = []
    if shard is not None and shares is None and not drain:
        chores.append(follow(link=link, folder=gateway_folder, shard=shard, fixed=always, log=log))
    delivery = None
    if config.delivery.root and not drain:
        from offbeat_edge.delivery import setup  # noqa: PLC0415 - only where it is configured

        delivery = setup.foreman(
            config=config,
            models=models,
            link=link,
            topics=topics,
            # what a shard asks for changes: its chore sees this change too
            subscribe=_renewal(link, always, [] if chores else sources, setup.ROOT),
            log=log,
        )
    durable = _durable(config, models, topics, log)
    states = States(link=link, topics=topics)
    decoder = Decoder(
        config.sources,
        max_payload_bytes=config.limits.max_payload_bytes,
        sensors=models.sensors,
    )
    chores.append(_rebirths(decoder, link, log))
    notifier = Notifier(os.environ)
    parts = Parts(
        durable=durable,
        link=link,
        decoder=decoder,
        commands=commands.Commands(topics=topics, durable=durable),
        outbox=Outbox(durable=durable, link=link, log=log),
        states=states,
        scores=Scores(link=link, topics=topics) if config.publish.score else None,
        rejects=Rejects(link=link, topics=topics, per_minute=config.limits.errors_per_minute),
        topics=topics,
        log=log,
        notifier=notifier,
        stamps=StampClock(),
        probe=Probe(topic=topics.probe, link=link, log=log),
        watchdog=Watchdog(
            proof=Proof(models=models.loaded),
            ledger=durable,
            notifier=notifier,
            log=log,
            faulty=models.faulty,
        ),
        discovery=_discovery(config, topics, link),
        metrics=_metrics(config),
        models=models,
        chores=chores,
        delivery=delivery,
        siblings=None if shares is None else _siblings(gateway, shares, states),
    )
    daemon = Daemon(parts=parts, settings=_settings(config))
    if drain:
        chores.append(lambda: daemon.stop() if _dry(parts) else None)
    return daemon


def _siblings(gateway: str, shard: Shard, states: States) -> Siblings:
    from offbeat_edge.shards.siblings import Siblings  # noqa: PLC0415 - few brokers hash

    return Siblings(gateway=gateway, shard=shard, since=states.since)


def _rebirths(decoder: Decoder, link: Link, log: Log) -> Callable[[], None]:
    """Return a chore that asks Sparkplug's edge nodes for births that we lack."""

    def chore() -> None:
        for topic in decoder.asks():
            from offbeat_edge.sparkplug.host import rebirth  # noqa: PLC0415 - an extra

            link.publish(topic, rebirth(time.time_ns() // 1_000_000), qos=0)
            log.info("rebirth_asked", topic=topic)

    return chore


def _discovery_filters(config: Config) -> dict[str, int]:
    table = config.homeassistant
    return homeassistant.filters(table.prefix, config.gateway.id) if table.discovery else {}


def _discovery(config: Config, topics: Topics, link: Link) -> homeassistant.Discovery | None:
    if not config.homeassistant.discovery:
        return None
    return homeassistant.Discovery(
        link=link,
        topics=topics,
        prefix=config.homeassistant.prefix,
        gateway=config.gateway.id,
        scores=config.publish.score,
    )


def _metrics(config: Config) -> Exporter | None:
    if not config.metrics.port:
        return None
    try:
        from offbeat_edge.metrics import Exporter  # noqa: PLC0415 - an extra, and a cost
    except ModuleNotFoundError as error:
        need = f"metrics.port: needs {error.name}: pip install 'offbeat[metrics]'"
        raise ConfigError([need]) from error
    return Exporter(host=config.metrics.host, port=config.metrics.port)


def _delivery_filters(config: Config, drain: bool) -> dict[str, int]:  # noqa: FBT001
    if drain or not config.delivery.root:
        return {}
    from offbeat_edge.delivery import setup  # noqa: PLC0415 - only where it is configured

    return setup.filters(config)


def _renewal(
    link: Link, always: dict[str, int], sources: Sequence[tuple[str, int]], root: str
) -> Callable[[dict[str, int]], None]:
    """Return what exchanges the filters below ``root``, in ``always`` and at the broker."""

    def subscribe(wanted: dict[str, int]) -> None:
        for name in [name for name in always if name.startswith(root)]:
            del always[name]
        always.update(wanted)
        if sources:
            link.subscribe_to({**dict(sources), **always}.items())

    return subscribe


def _dry(parts: Parts) -> bool:
    """Tell whether neither the broker nor the outbox holds anything more."""
    link, durable = parts.link, parts.durable
    return link.ready and link.drained and not durable.dirty and not durable.waiting


def _models(config: Config, log: Log) -> Models:
    state = Path(config.gateway.state_dir)
    tools = Tools(
        shelf=Shelf(state / SHELF),
        crashes=Crashes(state / CRASHES),
        trials=state / TRIALS,
        keys=fleet.trusted(config),
    )
    return Models(config=config, tools=tools, log=log)


def _durable(config: Config, models: Models, topics: Topics, log: Log) -> Durable:
    return Durable(
        store=store.Store(
            path=Path(config.gateway.state_dir) / store.FILE,
            outbox_limit_bytes=_spool_bytes(config),
        ),
        engine=Engine(
            site=config.gateway.site,
            gateway=config.gateway.id,
            route=models.route,
            fleet=models,
            contributions=config.publish.explain_top,
            max_assets=config.limits.max_assets,
        ),
        topic_of=topics.alert,
        log=log,
    )


def _settings(config: Config) -> Settings:
    return Settings(
        gateway=config.gateway.id,
        site=config.gateway.site,
        receive_maximum=config.mqtt.receive_maximum,
        health_interval_s=config.publish.health_interval_s,
        spool_bytes=_spool_bytes(config),
    )


def _spool_bytes(config: Config) -> int:
    return int(config.limits.spool_mb * 1e6)
