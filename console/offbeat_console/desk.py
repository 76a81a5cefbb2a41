"""What people can do here, and what pages may ask for.

Rules: every deed needs the right of an operator, is noted with its doer, and
is in the store before it is answered; what goes to the fleet leaves through
the outbox, so that it is sent once the broker is there.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, get_args

import msgspec

from offbeat_console import alarm as alarms
from offbeat_console import views, wire
from offbeat_console.alarm import MAX_SHELF_MS, Shelf
from offbeat_console.errors import RequestError
from offbeat_console.wire import Feedback, Maintenance, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_console.board import Alert, Board
    from offbeat_console.ingest import Ingest
    from offbeat_console.store import Reader, Store
    from offbeat_console.users import Person

MAX_NOTE_CHARS = 500
MAX_WINDOW_MS = 31 * 86_400_000  # of announced work


class Desk:
    """The one way from pages to everything else.

    Parameters
    ----------
    title : of the site, for people.
    board, store, ingest : as they are.
    reader : of the store, for the web server's thread.
    hints : whether sources are configured, so that pages can say what is missing.
    wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        title: str,
        board: Board,
        store: Store,
        ingest: Ingest,
        reader: Reader,
        sources: bool,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.title = title
        self.board = board
        self.reader = reader
        self.sources = sources
        self._store = store
        self._ingest = ingest
        self.now_ms = wall_ms

    def alert(self, name: str) -> Alert | None:
        """Return an alert, from memory or the store."""
        return self.board.alerts.get(name) or self.reader.alert(name)

    def counters(self) -> dict[str, object]:
        """Return how we are, for a watcher."""
        board = self.board
        return {
            "connected": board.wire.connected,
            "messages": board.messages,
            "assets": len(board.assets),
            "alerts_waiting": views.waiting(board, self.now_ms()),
        }

    async def acknowledge(self, name: str, by: Person) -> None:
        """Say that somebody has seen it."""
        _operator(by)
        await self._do(lambda: self._acknowledge(name, by.name), by, "acknowledge", name)

    async def shelve(self, name: str, by: Person, *, duration_ms: int, note: str) -> None:
        """Put the alert's asset and kind aside for a while; 0 takes it back."""
        _operator(by)
        if not 0 <= duration_ms <= MAX_SHELF_MS:
            raise RequestError(f"expected 0 to {MAX_SHELF_MS} ms, got {duration_ms}")
        what = "shelve" if duration_ms else "unshelve"
        job = lambda: self._shelve(name, by.name, duration_ms, _note(note))  # noqa: E731
        await self._do(job, by, what, name)

    async def judge(self, name: str, by: Person, *, verdict: Verdict, note: str = "") -> str:
        """Tell the fleet what an alert was; return the feedback's id."""
        _operator(by)
        if verdict not in get_args(Verdict):
            raise RequestError(f"expected one of {', '.join(get_args(Verdict))}, got {verdict!r}")
        job = lambda: self._judge(name, by.name, verdict, _note(note))  # noqa: E731
        return await self._do(job, by, f"feedback {verdict}", name)

    async def maintain(
        self, asset: str, by: Person, *, start_ms: int, end_ms: int, note: str = ""
    ) -> str:
        """Announce work on an asset; return the window's id."""
        _operator(by)
        if not 0 < end_ms - start_ms <= MAX_WINDOW_MS:
            raise RequestError("expected an end after the start, and 31 days at most")
        now = self.now_ms()
        window = Maintenance(
            id=str(uuid.uuid4()), asset=asset, start_ms=start_ms, end_ms=end_ms, by=by.name,
            note=_note(note), time_ms=now,
        )  # fmt: skip
        await self._do(lambda: self._announce(window), by, "maintenance", asset)
        return window.id

    async def cancel(self, window: str, by: Person) -> None:
        """Take back announced work."""
        _operator(by)
        known = self.board.maintenance.get(window)
        if known is None:
            raise RequestError(f"expected a known window, got {window}")
        over = msgspec.structs.replace(known, cancelled=True, time_ms=self.now_ms(), by=by.name)
        await self._do(lambda: self._announce(over), by, "maintenance cancelled", known.asset)

    async def _do(self, job: Callable[[], str], by: Person, what: str, about: str) -> str:
        """Run a deed in the writer's thread and wait until it is on disk."""

        def run() -> str:
            done = job()
            self._store.act(now_ms=self.now_ms(), who=by.name, what=what, about=about)
            self._store.commit()
            return done

        return await asyncio.wrap_future(self._ingest.ask(run))

    def _found(self, name: str) -> Alert:
        alert = self.board.alerts.get(name) or self.reader.alert(name)
        if alert is None:
            raise RequestError(f"expected a known alert, got {name}")
        if name not in self.board.alerts:
            self.board.alerts[name] = alert
        return alert

    def _acknowledge(self, name: str, by: str) -> str:
        alert = self._found(name)
        self.board.alter(name, alarms.acknowledge(alert.alarm, by=by, now_ms=self.now_ms()))
        self._store.alter(self.board.alerts[name])
        return name

    def _shelve(self, name: str, by: str, duration_ms: int, note: str) -> str:
        event, now = self._found(name).event, self.now_ms()
        until = now + duration_ms
        shelf = Shelf(asset=event.asset, kind=event.kind, until_ms=until, by=by, note=note)
        self.board.shelve(shelf)
        self._store.keep("shelf", f"{event.asset}/{event.kind}", shelf, now_ms=now)
        return name

    def _judge(self, name: str, by: str, verdict: Verdict, note: str) -> str:
        event, now = self._found(name).event, self.now_ms()
        newest = max(event.time_ms, event.start_ms)
        feedback = Feedback(
            id=str(uuid.uuid4()), alert=event.alert, asset=event.asset, verdict=verdict,
            start_ms=event.start_ms, end_ms=event.end_ms or newest, by=by, note=note, time_ms=now,
        )  # fmt: skip
        self.board.hear_feedback(feedback)
        self._acknowledge(name, by)
        self._store.tell(feedback)
        topic = wire.feedback_topic(event.asset)
        self._ingest.post(feedback.id, topic, msgspec.json.encode(feedback))
        return feedback.id

    def _announce(self, window: Maintenance) -> str:
        self.board.take(wire.Said("maintenance", "", window.asset, window), now_ms=self.now_ms())
        self._store.tell(window)
        name = f"{window.id}/{window.time_ms}"
        topic = wire.maintenance_topic(window.asset)
        self._ingest.post(name, topic, msgspec.json.encode(window))
        return window.id


def _operator(by: Person) -> None:
    if by.role != "operator":
        raise RequestError(f"{by.name} may look; this needs an operator")


def _note(text: str) -> str:
    return " ".join(text.split())[:MAX_NOTE_CHARS]
