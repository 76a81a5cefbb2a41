"""A daemon, put together from its configuration; nothing is connected yet.

Rules: nothing else knows all the parts.  What only few configurations ask for
is imported where it is asked for.

>>> build(configs.load("edge.toml", os.environ), log).run()  # doctest: +SKIP
0
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge import commands, dial, fleet, spare, store
from offbeat_edge.clock import StampClock
from offbeat_edge.daemon import Daemon, Parts, Settings
from offbeat_edge.durable import Durable
from offbeat_edge.engine import Engine
from offbeat_edge.errors import ConfigError
from offbeat_edge.notify import Notifier
from offbeat_edge.outbox import Outbox
from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.shards import worker
from offbeat_edge.supervise.crashes import Crashes
from offbeat_edge.supervise.models import Models, Tools
from offbeat_edge.supervise.probe import Probe
from offbeat_edge.supervise.proof import Proof
from offbeat_edge.supervise.shelf import Shelf
from offbeat_edge.supervise.watchdog import Watchdog
from offbeat_edge.voice import Rejects, Scores, States, Topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.config import Config
    from offbeat_edge.delivery.foreman import Foreman
    from offbeat_edge.homeassistant import Discovery
    from offbeat_edge.link import Link
    from offbeat_edge.log import Log
    from offbeat_edge.metrics import Exporter
    from offbeat_edge.shards.siblings import Siblings
    from offbeat_edge.shards.worker import Shard

    Filters = dict[str, int]  # what to subscribe to → QoS

TRIALS = "trials"  # bundles whose golden windows reproduced here
SHELF = "bundles"  # those that ran here
CRASHES = "crashes"  # and those that killed the process


def build(config: Config, log: Log, *, shard: Shard | None = None) -> Daemon:
    """Make a daemon of a configuration, or of a shard's part of it."""
    whole, config = config.gateway, _own(config, shard)
    folder, others = Path(whole.state_dir), {**_filters(config), **_delivery_filters(config)}
    sources = dict(worker.sources(config, shard, folder) if shard else dial.filters(config.sources))
    shares = shard if config.mqtt.share else None  # by the broker's hash
    if shares is not None:
        others |= worker.sibling_filters(whole.id, shares)
    link = _link(config, {**sources, **others}, log)
    parts = _parts(config, link, log)
    chores = [_rebirths(parts.decoder, link, log), spare.trim]
    if shard is not None and shares is None:
        chores.append(worker.follow(link=link, folder=folder, shard=shard, fixed=others, log=log))

    def subscribe() -> None:
        if shard is None or shares is not None:  # else that chore sees what has changed
            link.subscribe_to({**sources, **others}.items())

    parts = parts._replace(
        chores=chores,
        delivery=_delivery(config, parts, others, subscribe, log),
        siblings=_siblings(whole.id, shares, parts.states),
    )
    return Daemon(parts=parts, settings=_settings(config))


def drain(config: Config, log: Log, *, shard: Shard | None = None) -> Daemon:
    """Make a daemon that wants no more samples.

    It takes what the broker has kept for it, publishes what waits, and ends.
    """
    config = _own(config, shard)
    parts = _parts(config, _link(config, _filters(config), log), log)

    def end() -> None:
        if _dry(parts):
            daemon.stop()

    daemon = Daemon(parts=parts._replace(chores=[end]), settings=_settings(config))
    return daemon


def _own(config: Config, shard: Shard | None) -> Config:
    """Return a shard's configuration; its process ends with the one above it."""
    if shard is None:
        return config
    worker.die_with_parent()
    return worker.config_of(config, shard)


def _filters(config: Config) -> Filters:
    """Return what every daemon subscribes to besides its samples."""
    topics, table = Topics(config.gateway.id), config.homeassistant
    found = {topics.probe: 0, **commands.filters(topics.root)}
    if table.discovery:
        from offbeat_edge import homeassistant  # noqa: PLC0415 - few have one, and a cost

        found |= homeassistant.filters(table.prefix, config.gateway.id)
    return found


def _link(config: Config, filters: Filters, log: Log) -> Link:
    return dial.link(
        config.mqtt,
        filters=filters.items(),
        status_topic=Topics(config.gateway.id).status,
        max_payload_bytes=config.limits.max_payload_bytes,
        log=log,
        state=Path(config.gateway.state_dir),
    )


def _parts(config: Config, link: Link, log: Log) -> Parts:
    """Make what every daemon moves."""
    topics, notifier = Topics(config.gateway.id), Notifier(os.environ)
    models = _models(config, log)
    durable = _durable(config, models, topics, log)
    return Parts(
        durable=durable,
        link=link,
        decoder=Decoder(
            config.sources,
            max_payload_bytes=config.limits.max_payload_bytes,
            sensors=models.sensors,
        ),
        commands=commands.Commands(topics=topics, durable=durable),
        outbox=Outbox(durable=durable, link=link, log=log),
        states=States(link=link, topics=topics),
        scores=Scores(link=link, topics=topics) if config.publish.score else None,
        rejects=Rejects(link=link, topics=topics, per_minute=config.limits.errors_per_minute),
        topics=topics,
        log=log,
        notifier=notifier,
        stamps=StampClock(),
        probe=Probe(topic=topics.probe, link=link, log=log),
        watchdog=_watchdog(models, durable, notifier, log),
        models=models,
        discovery=_discovery(config, topics, link),
        metrics=_metrics(config),
    )


def _watchdog(models: Models, durable: Durable, notifier: Notifier, log: Log) -> Watchdog:
    return Watchdog(
        proof=Proof(models=models.loaded),
        ledger=durable,
        notifier=notifier,
        log=log,
        faulty=models.faulty,
    )


def _siblings(gateway: str, shard: Shard | None, states: States) -> Siblings | None:
    if shard is None:
        return None
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


def _delivery_filters(config: Config) -> Filters:
    if not config.delivery.root:
        return {}
    from offbeat_edge.delivery import setup  # noqa: PLC0415 - only where it is configured

    return setup.filters(config)


def _delivery(
    config: Config, parts: Parts, others: Filters, subscribe: Callable[[], None], log: Log
) -> Foreman | None:
    """Return what follows signed orders; it changes ``others`` as it needs, and has it told."""
    if not config.delivery.root:
        return None
    from offbeat_edge.delivery import setup  # noqa: PLC0415 - only where it is configured

    def renew(wanted: Filters) -> None:
        for name in [name for name in others if name.startswith(setup.ROOT)]:
            del others[name]
        others.update(wanted)
        subscribe()

    return setup.foreman(
        config=config,
        models=parts.models,
        link=parts.link,
        topics=parts.topics,
        subscribe=renew,
        log=log,
    )


def _discovery(config: Config, topics: Topics, link: Link) -> Discovery | None:
    if not config.homeassistant.discovery:
        return None
    from offbeat_edge import homeassistant  # noqa: PLC0415 - few have one, and a cost

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
            tell_scores=config.publish.score,
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
