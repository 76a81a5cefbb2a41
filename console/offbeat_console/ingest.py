"""The thread that talks to the broker and writes the store.

Rules: it alone changes the board and the store; what people ask for comes as
jobs and is answered by futures.  A message is acknowledged after the commit
that holds it, once a second or at half the receive window.  What people say
waits in the store until the broker has it, over restarts too.

A life::

    ingest = Ingest(link=link, store=store, board=board, decoder=decoder, log=log)
    ingest.start()
    ingest.ask(lambda: ...).result()
    ingest.stop()
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from offbeat_console import wire
from offbeat_console.alarm import Shelf
from offbeat_console.board import Gateway, Wire
from offbeat_console.wire import Feedback, Maintenance
from offbeat_edge.schema import AlertEvent, AssetState

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_console.board import Board, Watched
    from offbeat_console.store import Store
    from offbeat_console.wire import Said
    from offbeat_edge.link import Link, Message, Token
    from offbeat_edge.log import Log
    from offbeat_edge.payload.decoder import Decoder

POLL_S = 0.05  # how long a job may wait
COMMIT_S = 1.0
HALF_WINDOW = 500  # acknowledgements owed
FLUSH_POINTS = 32  # of one asset, or ...
FLUSH_S = 10.0  # ... so long after the last chunk, whichever is first
BEFORE_MS = 30 * 60_000  # of event time before an alert that is spared
TRIM_S = 600.0
OURS = wire.ROOT + "/"

T = TypeVar("T")


class Ingest:
    """See the module.

    Parameters
    ----------
    link : not connected yet; it is driven here and nowhere else.
    host, port : of the broker, for people.
    decoder : reads the sources' topics, None without sources.
    wall_ms : the wall clock, ms. monotonic : seconds.
    """

    def __init__(
        self,
        *,
        link: Link,
        host: str,
        port: int,
        store: Store,
        board: Board,
        decoder: Decoder | None,
        log: Log,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._store = store
        self._board = board
        self._decoder = decoder
        self._log = log
        self._wall_ms = wall_ms
        self._now = monotonic
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._owed: list[Message] = []
        self._committed_at = self._trimmed_at = 0.0
        self._flushed: dict[tuple[str, str], float] = {}
        self._flying: dict[Token, str] = {}
        self._posted = True  # something may wait in the outbox
        self._generation = -1
        self.failed: BaseException | None = None
        board.wire = Wire(host, port)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Keep everything, disconnect and end."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def ask(self, job: Callable[[], T]) -> Future[T]:
        """Run a job in the thread; what it raises goes to the future."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # whoever asked may go away: it is done all the same

        def run() -> None:
            try:
                future.set_result(job())
            except Exception as error:  # noqa: BLE001 - it is the asker's
                future.set_exception(error)

        self._jobs.put(run)
        return future

    def post(self, name: str, topic: str, payload: bytes) -> None:
        """Say something to the fleet, now or when the broker is back; in a job."""
        self._store.post(name=name, topic=topic, payload=payload, now_ms=self._wall_ms())
        self._posted = True

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
            self._commit(everything=True)
            self._link.close(b"stopped")
        except Exception as error:
            self.failed = error
            self._board.wire = self._board.wire._replace(connected=False, problem=repr(error))
            self._log.error("ingest_failed", why=repr(error))
            raise
        finally:
            self._link.close(b"stopped")

    def _step(self) -> None:
        messages = self._link.poll(POLL_S)
        now_ms = self._wall_ms()
        for message in messages:
            self._take(message, now_ms)
        self._owed += [message for message in messages if message.qos]
        while not self._jobs.empty():
            self._jobs.get()()
        self._watch_link(now_ms)
        self._send()
        now = self._now()
        if now - self._committed_at >= COMMIT_S or len(self._owed) >= HALF_WINDOW:
            self._committed_at = now
            self._commit(everything=False)

    def _take(self, message: Message, now_ms: int) -> None:
        self._board.messages += 1
        if message.topic.startswith(OURS):
            said = wire.read(message.topic, message.payload)
            if said is not None:
                self._hear(said, now_ms)
        elif self._decoder is not None:
            samples, _ = self._decoder.decode(
                message.topic, message.payload, now_ms, message.retain
            )
            for sample in samples:
                self._board.sample(sample.asset, sample.time_ms, sample.values)

    def _hear(self, said: Said, now_ms: int) -> None:
        self._board.take(said, now_ms=now_ms)
        body = said.body
        if isinstance(body, AlertEvent):
            self._keep_alert(body)
        elif isinstance(body, AssetState):
            self._store.keep("state", f"{said.gateway}/{body.asset}", body, now_ms=now_ms)
        elif isinstance(body, Feedback | Maintenance):
            self._store.tell(body)
            self._keep_verdict(body)
        elif said.what in ("status", "health"):
            self._store.keep("gateway", said.gateway, self._gateway(said.gateway), now_ms=now_ms)
        elif said.what == "rollout":
            name = f"{said.gateway}/{said.name}"
            self._store.keep("rollout", name, body or None, now_ms=now_ms)

    def _gateway(self, name: str) -> Gateway | None:
        return self._board.gateways.get(name)

    def _keep_alert(self, event: AlertEvent) -> None:
        alert = self._board.alerts.get(event.alert)
        if alert is not None and self._store.alert(event, alert) and event.type == "new":
            self._store.pin(event.asset, event.start_ms - BEFORE_MS)

    def _keep_verdict(self, body: Feedback | Maintenance) -> None:
        about = body.alert if isinstance(body, Feedback) else None
        alert = self._board.alerts.get(about or "")
        if alert is not None:
            self._store.alter(alert)

    def _watch_link(self, now_ms: int) -> None:
        """Show our own connection."""
        wire_now, link = self._board.wire, self._link
        problem = "; ".join(f"{what}: {why}" for what, why in link.problems.items())
        if (wire_now.connected, wire_now.problem) != (link.connected, problem):
            tried = link.connected or bool(problem)
            self._board.wire = wire_now._replace(
                connected=link.connected, problem=problem, since_ms=now_ms, tried=tried
            )
            self._board.touch()

    def _send(self) -> None:
        """Publish what waits, and note what the broker said to it."""
        link = self._link
        if link.generation != self._generation:
            self._generation, self._flying, self._posted = link.generation, {}, True
        if self._posted and link.connected:
            self._posted = False
            flying = set(self._flying.values())
            for name, topic, payload in self._store.waiting():
                if name not in flying:
                    token = link.publish(topic, payload, qos=1)
                    if token is not None:
                        self._flying[token] = name
        for token in link.delivered():
            self._landed(token, None)
        for token, why in link.refused():
            self._landed(token, why)

    def _landed(self, token: Token, refused: str | None) -> None:
        name = self._flying.pop(token, None)
        if name is not None:
            self._store.posted(name, now_ms=self._wall_ms(), refused=refused)
            self._board.touch()
            if refused:
                self._log.error("publish_refused", id=name, why=refused)

    def _commit(self, *, everything: bool) -> None:
        now = self._now()
        self._flush(now, everything=everything)
        self._store.prune()
        if now - self._trimmed_at > TRIM_S:
            self._trimmed_at = now
            self._store.trim()
        self._store.commit()
        self._link.ack(self._owed)
        self._owed = []

    def _flush(self, now: float, *, everything: bool) -> None:
        """Turn what traces hold beyond the store into chunks."""
        for watched in list(self._board.assets.values()):
            self._flush_scores(watched, now, everything=everything)
        alarmed = {w.name for w in self._board.assets.values() if self._alarmed(w)}
        for asset, trace in self._board.signals.items():
            if everything or self._due(("signal", asset), trace.pending, now):
                points = trace.unstored()
                if points is not None:
                    self._store.chunk(asset, "signal", points, pinned=asset in alarmed)

    def _flush_scores(self, watched: Watched, now: float, *, everything: bool) -> None:
        key = (watched.gateway, watched.name)
        if everything or self._due(key, watched.scores.pending, now):
            points = watched.scores.unstored()
            if points is not None:
                what = f"score {watched.gateway}"
                self._store.chunk(watched.name, what, points, pinned=self._alarmed(watched))

    def _alarmed(self, watched: Watched) -> bool:
        """Whether an alert of the asset goes on."""
        alerts = self._board.alerts
        return any(name in alerts and alerts[name].alarm.active for name in watched.open)

    def _due(self, key: tuple[str, str], pending: int, now: float) -> bool:
        if not pending:
            return False
        if pending >= FLUSH_POINTS or now - self._flushed.setdefault(key, now) >= FLUSH_S:
            self._flushed[key] = now
            return True
        return False


def recover(board: Board, store: Store) -> None:
    """Put back on the board what the store has; before the thread starts."""
    for _, _, gateway in store.kept("gateway", Gateway):
        board.gateways[gateway.name] = gateway
    for name, heard_ms, state in store.kept("state", AssetState):
        board.take(wire.Said("state", name.partition("/")[0], "", state), now_ms=heard_ms)
    for watched in board.assets.values():
        watched.spark.extend(store.newest_scores(watched.gateway, watched.name))
    for alert in store.recover():
        board.restore(alert)
    for _, _, shelf in store.kept("shelf", Shelf):
        board.shelve(shelf)
    for name, _, body in store.kept("rollout", dict[str, object]):
        gateway_name, _, model = name.partition("/")
        board.take(wire.Said("rollout", gateway_name, model, body), now_ms=0)
    for feedback in store.told("feedback", Feedback):
        board.hear_feedback(feedback)
    for window in store.told("maintenance", Maintenance):
        board.take(wire.Said("maintenance", "", window.asset, window), now_ms=0)
