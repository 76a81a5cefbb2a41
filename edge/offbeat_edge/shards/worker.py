"""One shard: the daemon's configuration, made its own.

Rules: pure but for the register's modification time.  A shard is a gateway
of its own to the broker: ``gw1-0of4`` has its own client id, state and
topics, so two ways of sharing never meet in one session; ``{shard}`` in the
file names of its certificate stands for ``0of4``.

>>> Shard.parse("2/4")
Shard(number=2, of=4)
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from offbeat_edge.dial import filters
from offbeat_edge.errors import ConfigError, StoreError
from offbeat_edge.shards import register as registers
from offbeat_edge.topics import ROOT, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from offbeat_edge.config import Config, Mqtt
    from offbeat_edge.link import Link
    from offbeat_edge.log import Log

MAX_SHARDS = 64
PR_SET_PDEATHSIG = 1
MARK = "{shard}"


class Shard(NamedTuple):
    """Which of how many."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "I/N"; ConfigError says what is wrong with it."""
        number, _, of = text.partition("/")
        if number.isdecimal() and of.isdecimal() and int(number) < int(of) <= MAX_SHARDS:
            return cls(int(number), int(of))
        raise ConfigError([f"--shard: expected I/N with I < N <= {MAX_SHARDS}, got {text!r}"])

    @property
    def name(self) -> str:
        """What stands behind the gateway's own name."""
        return f"{self.number}of{self.of}"

    @property
    def folder(self) -> str:
        """The name of its state folder."""
        return f"shard-{self.number}-of-{self.of}"


def all_of(shards: int) -> list[Shard]:
    """Return the shards of one way of sharing."""
    return [Shard(number, shards) for number in range(shards)]


def config_of(config: Config, shard: Shard) -> Config:
    """Return the configuration of one shard.

    Raises
    ------
    ConfigError : a source whose topics do not tell the asset, or one
        certificate for all shards where the broker would take them for one.
    """
    check_sources(config)
    return replace(
        config,
        gateway=replace(
            config.gateway,
            id=f"{config.gateway.id}-{shard.name}",
            state_dir=str(Path(config.gateway.state_dir) / shard.folder),
        ),
        mqtt=replace(
            identity(config.mqtt, shard.name),
            protocol="5" if config.mqtt.share else config.mqtt.protocol,
        ),
        limits=replace(config.limits, spool_mb=max(1.0, config.limits.spool_mb / shard.of)),
    )


def identity(mqtt: Mqtt, name: str) -> Mqtt:
    """Return the broker's table with the client id and certificate of one process."""
    return replace(
        mqtt,
        client_id=f"{mqtt.client_id}-{name}",
        cert_file=mqtt.cert_file.replace(MARK, name),
        key_file=mqtt.key_file.replace(MARK, name),
    )


def check_sources(config: Config) -> None:
    """Refuse sources that cannot be split by topic."""
    problems = [
        f"source[{n}].topic: expected {{asset}} in it with --shards, got {source.topic!r}"
        for n, source in enumerate(config.sources)
        if Template.parse(source.topic).asset is None
    ]
    problems += [
        f"source[{n}]: expected no Sparkplug with --shards: a device needs its node's births"
        for n, source in enumerate(config.sources)
        if source.format == "sparkplug"
    ]
    if problems:
        raise ConfigError(problems)


def sources(config: Config, shard: Shard, folder: Path) -> list[tuple[str, int]]:
    """Return what a shard of the gateway in ``folder`` subscribes to for samples.

    It must do so from its first word on: a session that the broker kept is
    asked to let go of all that is not in it.  Raises StoreError.
    """
    part = registers.load(folder).part(shard.number, shard.of)
    return shared(config) or list(part.items())


def shared(config: Config) -> list[tuple[str, int]]:
    """Return the subscriptions by which the broker shares the assets out; none without a group."""
    group = config.mqtt.share
    return (
        [(f"$share/{group}/{name}", qos) for name, qos in filters(config.sources)] if group else []
    )


def siblings(gateway: str, shard: Shard) -> dict[str, str]:
    """Return where the other shards speak of their assets → their names."""
    others = [other.name for other in all_of(shard.of) if other != shard]
    return {f"{ROOT}/{gateway}-{other}/asset": other for other in others}


def sibling_filters(gateway: str, shard: Shard) -> dict[str, int]:
    """Return what to subscribe to, to hear of the other shards' assets, filter → QoS.

    >>> sibling_filters("gw1", Shard(0, 2))
    {'offbeat/gw1-1of2/asset/+/state': 0}
    """
    return {f"{root}/+/state": 0 for root in siblings(gateway, shard)}


def follow(
    *, link: Link, folder: Path, shard: Shard, fixed: Mapping[str, int], log: Log
) -> Callable[[], None]:
    """Return a chore that subscribes to what the register in ``folder`` gives this shard.

    Parameters
    ----------
    fixed : filters wanted besides, with QoS; it may change.
    """
    seen: int | None = None
    part: dict[str, int] = {}
    told: dict[str, int] = {}

    def chore() -> None:
        nonlocal told
        look()
        if seen is not None and told != {**part, **fixed}:
            told = {**part, **fixed}
            link.subscribe_to(told.items())

    def look() -> None:
        nonlocal seen, part
        try:
            changed = (folder / registers.FILE).stat().st_mtime_ns
            if changed == seen:
                return
            part = registers.load(folder).part(shard.number, shard.of)
        except (OSError, StoreError) as error:
            log.error("register_unreadable", why=str(error))  # noqa: TRY400 - not logging's
            return
        seen = changed

    return chore


def die_with_parent() -> None:
    """Ask the kernel to end this process with the one above it (prctl(2)); Linux only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
