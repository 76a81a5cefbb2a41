"""Where the broker shares the assets out (``mqtt.share``): who has which now.

Rules: a shard hears what its siblings retain of their assets' states.  An
asset belongs to whoever began its present state last, in event time: the
broker sends it there now.  Who had it before lets it go, by a control of its
own: what is open ends, its window is forgotten, and if it comes back it warms
up again.  One asset is let go once in ``AGAIN_S`` at most: where it comes and
goes faster the broker does not hash by topic, and health says so.

>>> from offbeat_edge.shards.worker import Shard
>>> Siblings(gateway="gw1", shard=Shard(0, 2), since={"p1": 5000}.get).problems
[]
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge.control import FIRST_MS, LAST_MS, Release
from offbeat_edge.shards.worker import siblings
from offbeat_edge.topics import NAME, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_edge.mqtt_intake import Message
    from offbeat_edge.shards.worker import Shard

AGAIN_S = 60.0  # between two times that one asset is let go
MAX_KNOWN = 100_000  # assets remembered as let go


class _State(msgspec.Struct):
    """What counts of a state."""

    since_ms: int


class Siblings:
    """The other shards of a gateway, as far as they tell of their assets.

    Parameters
    ----------
    gateway : the whole gateway's id. shard : which of its daemons we are.
    since : event time, ms, at which the present state of one of our assets
        began; None: it is none of ours.
    monotonic : seconds. wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        gateway: str,
        shard: Shard,
        since: Callable[[str], int | None],
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._shard = shard.name
        self._roots = siblings(gateway, shard)
        self._prefix = f"{ROOT}/{gateway}-"
        self._since = since
        self._now = monotonic
        self._wall_ms = wall_ms
        # asset of ours → since when, ms of event time, another shard has it, and which
        self._claims: dict[str, tuple[int, str]] = {}
        self._let_go: dict[str, float] = {}  # asset → when

    @property
    def problems(self) -> list[str]:
        """Reasons to worry."""
        torn = sorted(self._claims)  # those that came back too soon: others are let go at once
        if not torn:
            return []
        got = f"{torn[0]} and {len(torn) - 1} others" if len(torn) > 1 else torn[0]
        return [f"shards: {got} by turns here and at another shard: the broker does not hash"]

    def sift(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Take the siblings' states out of what arrived."""
        return [message for message in messages if not self._takes(message)]

    def moved(self) -> list[Release]:
        """Return, once, controls for the assets that others have now."""
        now = self._now()
        self._claims = {a: c for a, c in self._claims.items() if self._holds(a, c)}
        moved = [a for a in self._claims if now - self._let_go.get(a, -AGAIN_S) >= AGAIN_S]
        return [self._release(asset, now) for asset in moved]

    def _holds(self, asset: str, claim: tuple[int, str]) -> bool:
        """Tell whether another shard has begun with an asset later than we have."""
        ours = self._since(asset)
        return ours is not None and claim > (ours, self._shard)

    def _release(self, asset: str, now: float) -> Release:
        if len(self._let_go) >= MAX_KNOWN:
            self._let_go.clear()
        self._let_go[asset] = now
        _, other = self._claims.pop(asset)
        time_ms = min(max(self._wall_ms(), FIRST_MS), LAST_MS)
        return Release(
            id=uuid.uuid4().hex, time_ms=time_ms, by="offbeat", note=f"to {other}", asset=asset
        )

    def _takes(self, message: Message) -> bool:
        if not message.topic.startswith(self._prefix):
            return False
        parent, _, tail = message.topic.rpartition("/")
        root, _, asset = parent.rpartition("/")
        other = self._roots.get(root)
        if other is None or tail != "state":
            return False
        if NAME.fullmatch(asset):
            self._hear(asset, other, message.payload)
        return True

    def _hear(self, asset: str, other: str, payload: bytes) -> None:
        if not payload:
            return  # it was let go there
        try:
            claim = msgspec.json.decode(payload, type=_State).since_ms, other
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        if self._holds(asset, claim):
            self._claims[asset] = max(claim, self._claims.get(asset, claim))
