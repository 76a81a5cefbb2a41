"""The loop: events in, on disk, acknowledged; letters out, as many an hour as agreed.

Rules: one thread talks to the broker and the disk, another only waits for
Apprise, one message at a time.  An event is acknowledged after the commit that
holds its letters.  When the hour's last message is reached, all that waits
goes into it; what still comes waits for the next.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_console.notify.letters import GRADES, joined, letter
from offbeat_edge.schema import AlertEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_console.notify.ledger import Ledger, Waiting
    from offbeat_console.notify.letters import Rule
    from offbeat_console.notify.post import Post
    from offbeat_edge.link import Link, Message
    from offbeat_edge.log import Log

FILTERS = (("offbeat/+/asset/+/alert", 1),)
POLL_S = 0.2
FAREWELL_S = 15.0  # for a message that is on its way when we end

_EVENT = msgspec.json.Decoder(AlertEvent)


class OnItsWay(NamedTuple):
    """A message that the other thread sends."""

    target: str
    letters: Sequence[Waiting]
    future: Future[bool]


class Notifier:
    """One notifier.

    Parameters
    ----------
    per_hour : messages to each target.
    wall_s : the wall clock, seconds.
    """

    def __init__(
        self,
        *,
        link: Link,
        ledger: Ledger,
        post: Post,
        rule: Rule,
        per_hour: int,
        log: Log,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.stopping = False
        self._link = link
        self._ledger = ledger
        self._post = post
        self._rule = rule
        self._per_hour = per_hour
        self._log = log
        self._wall_s = wall_s
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._going: OnItsWay | None = None

    def run(self) -> int:
        """Live until ``stop``; return the exit code."""
        dropped = self._ledger.keep_only(self._post.targets)
        self._log.info(
            "notifying", targets=sorted(self._post.targets.values()),
            waiting=self._ledger.waiting, dropped=dropped,
        )  # fmt: skip
        while not self.stopping:
            self._take(self._link.poll(POLL_S))
            self._settle(0.0)
            self._send_next()
        self._settle(FAREWELL_S)
        self._pool.shutdown(wait=False)
        self._link.close(b"stopped")
        self._ledger.close()
        return 0

    def stop(self) -> None:
        """Ask the loop to end after the present turn; safe in a signal handler."""
        self.stopping = True

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._read(message)
        if messages:
            self._ledger.commit()
            self._link.ack(messages)

    def _read(self, message: Message) -> None:
        try:
            event = _EVENT.decode(message.payload)
        except ValueError as error:
            self._log.warning("refused", topic=message.topic, why=str(error))
            return
        if message.topic != f"offbeat/{event.gateway}/asset/{event.asset}/alert":
            self._log.warning("refused", topic=message.topic, why="names another asset")
            return
        told = letter(event, self._rule)
        if told is not None and self._ledger.take(told, self._post.targets, now_s=self._wall_s()):
            self._log.info("noted", alert=told.alert, stage=told.stage, title=told.title)

    def _send_next(self) -> None:
        """Hand the next message to the other thread, if that has nothing to do."""
        for target in self._post.targets if self._going is None else ():
            now = self._wall_s()
            room = self._per_hour - self._ledger.sent(target, now_s=now)
            letters = self._ledger.due(target, now_s=now) if room > 0 else []
            if letters:
                self._send(target, letters if room == 1 else letters[:1])
                return

    def _send(self, target: str, letters: Sequence[Waiting]) -> None:
        title, body = joined(
            [one.letter.title for one in letters], [one.letter.body for one in letters]
        )
        severity = max((one.letter.severity for one in letters), key=GRADES.index)
        future = self._pool.submit(
            self._post.send, target, title=title, body=body, severity=severity
        )
        self._going = OnItsWay(target, letters, future)

    def _settle(self, patience_s: float) -> None:
        """Take note of how the message on its way went."""
        if self._going is None:
            return
        target, letters, future = self._going
        try:
            took = future.result(timeout=patience_s)
        except TimeoutError:
            return
        self._going = None
        given_up = self._ledger.settle(target, letters, took=took, now_s=self._wall_s())
        say = self._log.info if took else self._log.warning
        say("sent" if took else "not sent", target=self._post.targets[target], letters=len(letters))
        for lost in given_up:
            self._log.error("given up", alert=lost.alert, stage=lost.stage, title=lost.title)
