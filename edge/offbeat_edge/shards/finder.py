"""The low-rate listener: finds assets that no shard subscribes to yet.

Rules: it looks at topics only, at QoS 0, with a client id of its own.  It
listens all the time where little is said; where more comes than
``RATE`` messages a second on average, it lets go of its subscriptions and
rests, so that it costs a small part of a core however busy the broker is.
An asset that speaks rarely on a busy broker is therefore found late: one
that is named without wildcards in ``[[model]] assets`` is known at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_edge.payload.decoder import Decoder
from offbeat_edge.shards.register import Place
from offbeat_edge.topics import Template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from offbeat_edge.config import Config
    from offbeat_edge.link import Message
    from offbeat_edge.shards.register import Register

RATE = 200.0  # messages a second, on average
LOOK = 1000  # messages of one look; then it rests until the average is kept
MAX_TOPICS = 65_536  # topics remembered as seen


class Finder:
    """Adds to a register what it hears of.

    Parameters
    ----------
    config : the gateway's; its sources say what a topic means.
    register : the known assets.
    """

    def __init__(self, *, config: Config, register: Register) -> None:
        self.register = register
        self._decoder = Decoder(config.sources, max_payload_bytes=0)
        self._limit = config.limits.max_assets
        self._seen: set[str] = set()
        self._heard = 0
        self._rest_until = 0.0

    def hear(self, messages: Sequence[Message]) -> bool:
        """Look at topics; return whether the register has something new."""
        self._heard += len(messages)
        new = [topic for topic in {m.topic for m in messages} - self._seen if self._find(topic)]
        return bool(new)

    def listening(self, now: float) -> bool:
        """Tell whether to be subscribed; ``now`` in seconds, monotonic."""
        if self._heard >= LOOK:
            self._rest_until, self._heard = now + self._heard / RATE, 0
        return now >= self._rest_until

    def _find(self, topic: str) -> bool:
        if len(self._seen) >= MAX_TOPICS:
            self._seen.clear()
        self._seen.add(topic)
        found = self._decoder.place(topic)
        if found is None:
            return False
        asset, name, qos = found
        full = len(self.register.places) >= self._limit and name not in self.register.places
        return not full and self.register.add(name, Place(asset, qos))


def named(config: Config) -> Iterator[tuple[str, Place]]:
    """Yield filter and place of the assets that the configuration names without wildcards."""
    patterns = {pattern for model in config.models for pattern in model.assets}
    literal = {pattern for pattern in patterns if not set(pattern) & set("*?[")}
    mapped = {name for source in config.sources for name in source.assets.values()}
    return places(config, literal | mapped)


def places(config: Config, assets: Iterable[str]) -> Iterator[tuple[str, Place]]:
    """Yield where each source would have these assets: filter and place."""
    for source in config.sources:
        template = Template.parse(source.topic)
        paths = {name: path for path, name in source.assets.items()}
        for asset in sorted(assets):
            path = paths.get(asset, asset.replace(".", "/") if template.many else asset)
            yield template.of_asset(path), Place(asset, source.qos)
