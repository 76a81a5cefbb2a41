"""What we want the broker to send us, and what its session may hold from before.

Rules: the bookkeeping is pure; `load` and `save` keep ``held`` on disk.  A
session that the broker keeps for us outlives our configuration: what it
holds is remembered before it is asked for and forgotten when the broker has
let go of it, so a filter that nobody wants any more is always known and
unsubscribed.  Every connection asks for all that is wanted; a filter added
later is asked for alone.  After an answer, ask again: something may have
been wanted otherwise while it was under way.

>>> subs = Subscriptions(wanted={"plant/+": 1}, held=["old/#"])
>>> subs.connected(session_present=True)
>>> subs.unsubscribe(), subs.subscribe()
([['old/#']], [[('plant/+', 1)]])
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from offbeat_edge import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

FILE = "subscriptions.json"  # in a state folder
BATCH = 100  # filters in one packet: brokers bound its size

T = TypeVar("T")


class Subscriptions:
    """The filters of one client id.

    Parameters
    ----------
    wanted : filter → QoS.
    held : filters that a session from before may hold.
    """

    def __init__(self, *, wanted: Mapping[str, int], held: Iterable[str] = ()) -> None:
        self.wanted = dict(wanted)
        self.held = set(held)
        self.refused: dict[str, str] = {}  # filter → why
        self._asked: set[str] = set()  # on this connection
        self._pending: dict[int, list[str]] = {}  # packet id → filters under way

    @property
    def ready(self) -> bool:
        """Whether the broker has answered for all that is wanted."""
        return not self._pending and self.wanted.keys() <= self._asked

    def want(self, wanted: Mapping[str, int]) -> None:
        """Change what is wanted; `unsubscribe` and `subscribe` say what to ask."""
        changed = {name for name, qos in wanted.items() if self.wanted.get(name, qos) != qos}
        self.wanted = dict(wanted)
        self._asked -= changed
        self.refused = {name: why for name, why in self.refused.items() if name in wanted}

    def connected(self, *, session_present: bool) -> None:
        """Begin a connection: nothing is asked for yet."""
        self._asked, self._pending = set(), {}
        if not session_present:
            self.held = set()

    def unsubscribe(self) -> list[list[str]]:
        """Return, in batches, what to let go of."""
        return _batches(sorted(self.held - self.wanted.keys() - self._under_way()))

    def subscribe(self) -> list[list[tuple[str, int]]]:
        """Return, in batches, what to ask for, with QoS."""
        return _batches([(n, qos) for n, qos in self.wanted.items() if n not in self._asked])

    def hold(self, names: Iterable[str]) -> bool:
        """Take note of what is about to be asked for; return whether that is new."""
        new = set(names) - self.held
        self.held |= new
        return bool(new)

    def asked(self, mid: int, names: Sequence[str]) -> None:
        """Take note of a packet that is under way."""
        self._pending[mid] = list(names)
        self._asked.update(name for name in names if name in self.wanted)

    def granted(self, mid: int, refusals: Sequence[str | None]) -> dict[str, str]:
        """Take a SUBACK; return what was refused, and why."""
        names = self._pending.pop(mid, [])
        answers = zip(names, refusals, strict=False)
        for name in names:
            self.refused.pop(name, None)
        refused = {name: why for name, why in answers if why is not None}
        self.refused.update(refused)
        return refused

    def released(self, mid: int) -> None:
        """Take an UNSUBACK."""
        names = set(self._pending.pop(mid, []))
        self.held -= names - self.wanted.keys() - self._under_way()
        self._asked -= names

    def _under_way(self) -> set[str]:
        return {name for names in self._pending.values() for name in names}

    def ask_again(self) -> None:
        """Let `subscribe` name the refused filters once more."""
        self._asked -= self.refused.keys()


def _batches(items: list[T]) -> list[list[T]]:
    return [items[i : i + BATCH] for i in range(0, len(items), BATCH)]


def load(path: Path) -> list[str]:
    """Return the filters that `save` kept; none when nothing readable is there."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])
    except (OSError, ValueError):  # ValueError: of msgspec, and of bytes that are no UTF-8
        return []


def save(path: Path, held: Iterable[str]) -> None:
    """Keep what a session may hold; a disk that refuses costs a filter too many at the broker."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, msgspec.json.encode(list(held)))
