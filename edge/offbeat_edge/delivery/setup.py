"""From the configuration to a foreman: the one door through which the daemon comes in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from offbeat_edge.delivery import courier as couriers
from offbeat_edge.delivery import wire
from offbeat_edge.delivery.courier import AGAIN_S, Courier, Ports
from offbeat_edge.delivery.foreman import Foreman, Place, Tools
from offbeat_edge.delivery.inbox import Inbox
from offbeat_edge.delivery.report import resident_mb
from offbeat_edge.delivery.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.config import Config
    from offbeat_edge.delivery.foreman import Models
    from offbeat_edge.link import Link
    from offbeat_edge.log import Log
    from offbeat_edge.voice import Topics

ROOT = wire.ROOT  # topics below it are delivery's
FOLDER = "tuf"  # below the state folder
MQTT = "mqtt"


def foreman(
    *,
    config: Config,
    models: Models,
    link: Link,
    topics: Topics,
    subscribe: Callable[[dict[str, int]], None],
    log: Log,
) -> Foreman:
    """Return what follows signed orders on this gateway.

    Parameters
    ----------
    subscribe : takes all that delivery wants to hear, filter → QoS.
    """
    state = Path(config.gateway.state_dir)
    folder = state / FOLDER
    https = config.delivery.source != MQTT
    courier = Courier(
        ports=Ports(
            task=lambda: _task(config, models, folder),
            start=couriers.children(folder),
            subscribe=lambda filters: subscribe(dict(filters)),
            log=log,
        ),
        inbox=None if https else Inbox(folder / "inbox"),
        every_s=config.delivery.poll_s if https else AGAIN_S,
    )
    return Foreman(
        courier=courier,
        place=Place(
            gateway=config.gateway.id,
            site=config.gateway.site,
            shelf=state / "bundles",
            state=folder / "rollouts.json",
            max_assets=config.limits.max_assets,
        ),
        tools=Tools(
            models=models,
            publish=lambda model, payload: (
                link.publish(topics.rollout(model), payload, qos=1, retain=True) is not None
            ),
            log=log,
            memory_mb=lambda: resident_mb(Path("/proc/self/statm")),
        ),
    )


def filters(config: Config) -> dict[str, int]:
    """Return what to subscribe to from the start."""
    return {wire.META_FILTER: 1} if config.delivery.source == MQTT else {}


def _task(config: Config, models: Models, folder: Path) -> Task:
    state = Path(config.gateway.state_dir)
    return Task(
        folder=str(folder),
        bundles=str(folder / "bundles"),
        trials=str(state / "trials"),
        root=config.delivery.root,
        source="" if config.delivery.source == MQTT else config.delivery.source.rstrip("/"),
        gateway=config.gateway.id,
        models=sorted({model.ref.name for model in models.loaded()}),
    )
