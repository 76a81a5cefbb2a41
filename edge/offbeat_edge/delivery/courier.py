"""Brings signed files in, one small step a turn; never waits, never verifies.

Rules: metadata is subscribed always, chunks only of targets that verified
metadata asked for, ``WINDOW`` at a time, so that a burst of retained messages
cannot fill the memory.  A child looks at what came once it has been quiet for
``QUIET_S``; what it says is kept in ``orders``.  A failure is a line in
``problem`` and a later try, never an exception.

::

    messages ─▶ take ─▶ inbox        turn ─▶ child ─▶ orders
                                      └────▶ subscriptions to missing chunks
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from offbeat_edge.delivery import wire
from offbeat_edge.delivery.child import Child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from offbeat_edge.delivery.inbox import Inbox
    from offbeat_edge.delivery.task import Answer, Order, Task
    from offbeat_edge.log import Log

QUIET_S = 1.0  # without a new file, then it is worth a look
RETRY_S = 300.0  # after a look that led to nothing, or to an error
AGAIN_S = 3600.0  # between looks at what has not changed: it may have expired
WINDOW = 8  # chunks asked for at a time: 768 KiB


class Verifier(Protocol):
    """What is needed of ``child.Child``."""

    def poll(self) -> Answer | None:
        """Return the answer once there is one."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Ports(NamedTuple):
    """What the courier is connected to."""

    task: Callable[[], Task]  # what to verify, as of now
    start: Callable[[Task], Verifier]
    subscribe: Callable[[list[tuple[str, int]]], None]  # all that delivery wants to hear
    log: Log


class Courier:
    """Delivery's part in the daemon's loop.

    Parameters
    ----------
    ports : as above.
    inbox : received files; None when they come over HTTPS.
    every_s : seconds between looks.
    monotonic : seconds.
    """

    def __init__(
        self,
        *,
        ports: Ports,
        inbox: Inbox | None,
        every_s: float = AGAIN_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.orders: list[Order] | None = None  # None: nothing was verified yet
        self.fresh = False  # set when orders were verified anew; whoever acts clears it
        self.error: str | None = None  # why nothing new is trusted
        self.problems: dict[str, str] = {}  # model → why its word is not followed
        self.looks = 0
        self._ports = ports
        self._inbox = inbox
        self._every_s = every_s
        self._now = monotonic
        self._child: Verifier | None = None
        self._again = False  # something came while the child was at work
        self._due_at = monotonic() + QUIET_S
        self._asked: list[wire.Chunk] = []

    @property
    def busy(self) -> bool:
        """Whether a child is at work."""
        return self._child is not None

    @property
    def filters(self) -> list[tuple[str, int]]:
        """What to subscribe to at present."""
        if self._inbox is None:
            return []
        topics = [wire.chunk_topic(*chunk) for chunk in self._asked]
        return [(topic, 1) for topic in (wire.META_FILTER, *topics)]

    def take(self, topic: str, payload: bytes) -> bool:
        """Keep a message if it is ours; tell whether it was."""
        if self._inbox is None or not topic.startswith(wire.ROOT):
            return False
        try:
            self._keep(self._inbox, topic, payload)
        except OSError as error:
            self._fail(f"disk: {error}")
        return True

    def turn(self) -> None:
        """Do the next small thing."""
        if self._child is None:
            if self._now() >= self._due_at:
                self._look()
            return
        answer = self._child.poll()
        if answer is not None:
            self._child = None
            self._heard(answer)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _keep(self, inbox: Inbox, topic: str, payload: bytes) -> None:
        name, chunk = wire.meta_name(topic), wire.chunk_of(topic)
        if name is not None and inbox.put_meta(name, payload):
            self._soon()
        elif chunk is not None and inbox.put_chunk(chunk, payload):
            if not any(inbox.lacks(asked) for asked in self._asked):
                self._ask()
            if not self._asked:
                self._soon()

    def _soon(self) -> None:
        self._again = True
        self._due_at = self._now() + QUIET_S

    def _look(self) -> None:
        self._again = False
        self._due_at = self._now() + self._every_s
        try:
            self._child = self._ports.start(self._ports.task())
            self.looks += 1
        except OSError as error:
            self._fail(f"expected to start a child process, got: {error}")

    def _heard(self, answer: Answer) -> None:
        """Take the child's word."""
        if answer.error is not None:
            self._fail(answer.error)
            return
        self._say_changes(answer)
        self.problems = answer.problems
        if answer.waiting is None:
            self.error = None
            self.orders, self.fresh = answer.orders, True
        if self._inbox is not None:
            self._inbox.expect({w.sha256: w.length for w in answer.wanted})
            self._ask()
        if answer.waiting is not None or answer.wanted:
            self._retry()

    def _ask(self) -> None:
        """Subscribe to the next chunks, and let go of those that came."""
        if self._inbox is None:
            return
        before = self.filters
        self._asked = [
            chunk for chunk, _ in zip(self._inbox.missing(), range(WINDOW), strict=False)
        ]
        if before != self.filters:
            self._ports.subscribe(self.filters)

    def _fail(self, why: str) -> None:
        if why != self.error:
            self._ports.log.error("delivery_refused", why=why)
        self.error = why
        self._retry()

    def _retry(self) -> None:
        if not self._again:
            self._due_at = min(self._due_at, self._now() + RETRY_S)

    def _say_changes(self, answer: Answer) -> None:
        for model, why in answer.problems.items():
            if self.problems.get(model) != why:
                self._ports.log.error("delivery_refused", model=model, why=why)


def children(folder: Path) -> Callable[[Task], Verifier]:
    """Return what starts verifying children, their files in ``folder``."""
    return lambda task: Child(task, folder=folder)
