"""What the daemon publishes beside alerts: states, scores and rejects.

Rules: states are retained and the last word counts, so a waiting state is
replaced by a newer one, and all are said again on a new connection; scores
and rejects are QoS 0, and rejects are limited in number.  Nothing here is
kept on disk.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.schema import SCHEMA, iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from offbeat_edge.link import Link
    from offbeat_edge.schema import AssetState, Reject, ScoreRecord

FIRST_BYTES = 64  # of a rejected payload, shown on the errors topic


class Topics:
    """Names of what one gateway publishes."""

    def __init__(self, gateway: str) -> None:
        self.root = f"offbeat/{gateway}"
        self.status = f"{self.root}/status"
        self.health = f"{self.root}/health"
        self.probe = f"{self.root}/probe"
        self.errors = f"{self.root}/errors"
        self.shards = f"{self.root}/shards"

    def alert(self, asset: str) -> str:
        """Return where an asset's alert events go."""
        return f"{self.root}/asset/{asset}/alert"

    def state(self, asset: str) -> str:
        """Return where an asset's state is retained."""
        return f"{self.root}/asset/{asset}/state"

    def rollout(self, model: str) -> str:
        """Return where a gateway tells of the bundles it was sent for a model."""
        return f"{self.root}/rollout/{model}"

    def score(self, asset: str) -> str:
        """Return where an asset's scores go."""
        return f"{self.root}/asset/{asset}/score"

    def result(self, verb: str) -> str:
        """Return where a command's answer goes."""
        return f"{self.root}/result/{verb}"


class States:
    """The last state of every asset, and which of them the broker lacks."""

    def __init__(self, *, link: Link, topics: Topics) -> None:
        self._link = link
        self._topics = topics
        self._generation = 0
        self._waiting: dict[str, AssetState | None] = {}
        self._known: dict[str, AssetState | None] = {}

    def say(self, states: Iterable[AssetState]) -> None:
        """Queue states; a newer one of an asset replaces one that waits."""
        for state in states:
            self._known[state.asset] = self._waiting[state.asset] = state

    def clear(self, assets: Iterable[str]) -> None:
        """Let the broker forget assets that have another name now."""
        for asset in assets:
            if self._known.get(asset, True) is not None:
                self._known[asset] = self._waiting[asset] = None

    def since(self, asset: str) -> int | None:
        """Return when an asset's present state began, ms of event time; None: it has none."""
        state = self._known.get(asset)
        return None if state is None else state.since_ms

    def drain(self) -> None:
        """Publish what waits, as far as the broker takes it."""
        if not self._link.connected:
            return
        if self._link.generation != self._generation:
            self._generation = self._link.generation
            self._waiting = dict(self._known)
        for asset in list(islice(self._waiting, self._link.room // 2)):
            state = self._waiting.pop(asset)
            payload = b"" if state is None else msgspec.json.encode(state)
            self._link.publish(self._topics.state(asset), payload, qos=1, retain=True)


class Scores:
    """The score stream."""

    def __init__(self, *, link: Link, topics: Topics) -> None:
        self._link = link
        self._topics = topics

    def say(self, scores: Iterable[ScoreRecord]) -> None:
        """Publish scores; none are kept for a broker that is away."""
        for score in scores:
            self._link.publish(self._topics.score(score.asset), msgspec.json.encode(score), qos=0)


class Rejects:
    """Rejected messages, at a limited rate.

    Parameters
    ----------
    per_minute : messages on the errors topic, at most.
    wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        link: Link,
        topics: Topics,
        per_minute: int,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._link = link
        self._topic = topics.errors
        self._limit = per_minute
        self._wall_ms = wall_ms
        self._minute = 0
        self._said = 0
        self._silent = 0  # not said since the last one that was

    def say(self, reject: Reject, payload: bytes) -> None:
        """Publish one reject with the payload's first bytes, or count it."""
        now = self._wall_ms()
        if now // 60_000 != self._minute:
            self._minute, self._said = now // 60_000, 0
        if self._said >= self._limit:
            self._silent += 1
            return
        self._said += 1
        entry = {
            "schema": SCHEMA,
            "time": iso(now),
            "time_ms": now,
            **reject._asdict(),
            "payload": payload[:FIRST_BYTES].decode("utf-8", "backslashreplace"),
            "suppressed": self._silent,
        }
        self._silent = 0
        self._link.publish(self._topic, msgspec.json.encode(entry), qos=0)
