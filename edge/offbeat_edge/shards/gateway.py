"""The process above the shards: finds assets, keeps the shards alive.

Rules: it sees topics, never samples; with it gone, the shards go too and
lose nothing.  ``offbeat/<gateway>/status`` is its own birth and last will,
``offbeat/<gateway>/shards`` tells of the shards; each shard has the topics
of a gateway of its own beside them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from offbeat_edge import dial
from offbeat_edge.errors import ConfigError
from offbeat_edge.notify import Notifier
from offbeat_edge.schema import SCHEMA
from offbeat_edge.shards import register as registers
from offbeat_edge.shards.finder import Finder, named
from offbeat_edge.shards.herd import Child, Herd
from offbeat_edge.shards.owner import owner
from offbeat_edge.shards.worker import Shard, all_of, check_sources, identity
from offbeat_edge.store import FILE
from offbeat_edge.voice import Topics

if TYPE_CHECKING:
    from offbeat_edge.config import Config
    from offbeat_edge.log import Log

POLL_S = 0.25
TELL_S = 60.0  # between reports of the shards
STATES = "shard-*-of-*"


class ShardReport(msgspec.Struct, frozen=True, kw_only=True):
    """One shard, as the process above it knows it."""

    gateway: str
    assets: int | None  # None: the broker shares them out
    pid: int | None
    ready: bool
    starts: int


class ShardsReport(msgspec.Struct, frozen=True, kw_only=True):
    """``offbeat/<gateway>/shards``, retained."""

    schema: str = SCHEMA
    assets: int | None
    shards: list[ShardReport]


class Gateway:
    """Finder and herd, driven by one loop.

    Parameters
    ----------
    config : the whole gateway's.
    path : its file, for the shards.
    shards : how many.
    log : where trouble is said.
    """

    def __init__(self, *, config: Config, path: Path, shards: int, log: Log) -> None:
        check_sources(config)
        self._folder = Path(config.gateway.state_dir)
        check_split(self._folder, shards)
        self.stopping = False
        self._id = config.gateway.id
        self._shards = shards
        self._topics = Topics(config.gateway.id)
        self._register = registers.load(self._folder)
        for name, place in named(config):
            self._register.add(name, place)
        registers.save(self._folder, self._register)
        self._finder = Finder(config=config, register=self._register)
        self._hashed = bool(config.mqtt.share)
        wanted = [] if self._hashed else dial.filters(config.sources)
        self._filters = [(name, 0) for name, _ in wanted]
        self._listening = True
        self._link = dial.link(
            identity(config.mqtt, "finder"),
            filters=self._filters,
            status_topic=self._topics.status,
            max_payload_bytes=config.limits.max_payload_bytes,
            log=log,
        )
        self._herd = Herd(
            commands={s.name: _command(path, s) for s in all_of(shards)},
            environ=os.environ,
            log=log,
            monotonic=time.monotonic,
        )
        self._notifier = Notifier(os.environ)
        self._told_ready = False
        self._tell_at = self._feed_at = 0.0

    def run(self) -> int:
        """Live until ``stop``; return the exit code."""
        try:
            while not self.stopping:
                self._turn(time.monotonic())
        finally:
            self._notifier.send("STOPPING=1")
            self._herd.stop()
            self._link.close(b"stopped")
        return 0

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self.stopping = True

    def reload(self) -> None:
        """Have every shard look at its bundles again; safe in a signal handler."""
        self._herd.signal(signal.SIGHUP)

    def _turn(self, now: float) -> None:
        self._herd.turn()
        if self._finder.hear(self._link.poll(POLL_S)):
            registers.save(self._folder, self._register)
            self._tell_at = 0.0
        listening = self._finder.listening(now)
        if listening != self._listening:
            self._listening = listening
            self._link.subscribe_to(self._filters if listening else ())
        self._tell(now)
        self._feed(now)

    def _tell(self, now: float) -> None:
        if self._link.connected and now >= self._tell_at:
            self._tell_at = now + TELL_S
            payload = msgspec.json.encode(self._report())
            self._link.publish(self._topics.shards, payload, qos=1, retain=True)

    def _report(self) -> ShardsReport:
        children = self._herd.children
        if self._hashed:
            rows = [_row(self._id, child, None) for child in children]
            return ShardsReport(assets=None, shards=rows)
        counts = [0] * self._shards
        for asset in self._register.assets:
            counts[owner(asset, self._shards)] += 1
        rows = [_row(self._id, *pair) for pair in zip(children, counts, strict=True)]
        return ShardsReport(assets=sum(counts), shards=rows)

    def _feed(self, now: float) -> None:
        """Feed our own watchdog: by a loop that kills whoever does not prove its work."""
        if self._herd.ready and not self._told_ready:
            self._told_ready = True
            self._tell_at = 0.0
            self._notifier.send("READY=1")
        every = self._notifier.watchdog_s
        if every is not None and now >= self._feed_at:
            self._feed_at = now + every
            self._notifier.send("WATCHDOG=1")


def _row(gateway: str, child: Child, assets: int | None) -> ShardReport:
    return ShardReport(
        gateway=f"{gateway}-{child.name}",
        assets=assets,
        pid=None if child.process is None else child.process.pid,
        ready=child.ready,
        starts=child.starts,
    )


def check_split(folder: Path, shards: int) -> None:
    """Refuse to start beside the states of another number of shards."""
    found = sorted(path.name for path in folder.glob(STATES) if path.is_dir())
    others = [name for name in found if not name.endswith(f"-of-{shards}")]
    if others:
        count = others[0].rpartition("-")[2]
        _refuse(f"expected {count}, as in {folder / others[0]}, got {shards}", shards)
    if not found and (folder / FILE).exists():
        _refuse(f"{folder / FILE} is the state of a daemon without shards", shards)


def _refuse(why: str, shards: int) -> NoReturn:
    way = f"'offbeat reshard --to {shards}' takes the assets over"
    raise ConfigError([f"--shards: {why}: {way}"])


def _command(path: Path, shard: Shard) -> list[str]:
    words = ["run", "--config", str(path), "--shard", f"{shard.number}/{shard.of}"]
    return [sys.executable, "-m", "offbeat_edge.cli", *words]
