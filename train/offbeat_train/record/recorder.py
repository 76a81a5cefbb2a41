"""The recorder's life: startup, main loop, shutdown.

Rules: one thread reads, decodes, appends and acknowledges; another writes to
the lake.  A commit is due when the socket is dry, when half the receive
window is owed, after a second or 256 KiB; acknowledgements follow it.  A spool that
is full, or a disk that refuses, means that nothing more is acknowledged: the
broker keeps what it has not been told is safe.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_edge import __version__
from offbeat_edge.health import Tally, mqtt_health
from offbeat_edge.schema import Reject, iso
from offbeat_train.errors import SpoolError
from offbeat_train.record.health import RecorderHealth, SpoolState
from offbeat_train.record.spool import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from offbeat_edge.clock import StampClock
    from offbeat_edge.link import Link, Message
    from offbeat_edge.log import Log
    from offbeat_edge.notify import Notifier
    from offbeat_train.record.flush import Flusher
    from offbeat_train.record.intake import Intake
    from offbeat_train.record.spool import Spool

COMMIT_S = 1.0  # nothing waits longer for its commit
COMMIT_BYTES = 256 << 10  # of payloads; more are committed at once
DRY_S = 0.020  # the socket is dry when it was quiet for this long
POLL_S = 0.25  # the longest sleep of an idle loop
SEGMENT_ROWS = 500_000  # a segment with more is sealed at once
SEGMENTS = 4  # at least so many fit into the spool
FAREWELL_S = 60.0  # for the lake to take what waits, at the end
RETRY_S = 1.0  # before a disk that refused is asked again


class Parts(NamedTuple):
    """What the loop moves."""

    link: Link
    intake: Intake
    spool: Spool
    flusher: Flusher
    stamps: StampClock
    notifier: Notifier
    log: Log


class Settings(NamedTuple):
    """What the loop needs to know."""

    recorder: str
    lake: str
    health_topic: str
    receive_maximum: int
    flush_s: float
    health_interval_s: float


class Recorder:
    """One recorder.

    Parameters
    ----------
    parts, settings : what it is made of.
    monotonic : seconds. wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        parts: Parts,
        settings: Settings,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.stopping = False
        self._parts = parts
        self._settings = settings
        self._now = monotonic
        self._wall_ms = wall_ms
        self._tally = Tally()
        self._counters = Counter({"events": 0, "commits": 0, "segments": 0, "refused_qos0": 0})
        self._entry = Entry(samples=[], events=[])
        self._unsaved_bytes = 0  # of payloads in the entry
        self._owed: list[Message] = []
        self._held: list[Message] = []  # arrived while nothing could be taken
        self._generation = 0
        self._disk: str | None = None  # why the spool refuses
        self._started = self._committed_at = self._sealed_at = monotonic()
        self._health_at = self._pulse_at = self._retry_at = self._started

    def run(self) -> int:
        """Live until ``stop``; return the exit code."""
        parts = self._parts
        parts.spool.open()
        parts.flusher.offer(parts.spool.waiting)
        parts.flusher.start()
        parts.notifier.send("READY=1")
        parts.log.info("recording", lake=self._settings.lake, waiting=len(parts.spool.waiting))
        while not self.stopping:
            messages = parts.link.poll(DRY_S if self._owed or self._held else POLL_S)
            self._take(messages)
            if self._commit_due(dry=not messages):
                self._commit()
            self._move_segments()
            self._publish()
        return self._shut_down()

    def stop(self) -> None:
        """Ask the loop to end after the present turn; safe in a signal handler."""
        self.stopping = True

    def _take(self, messages: Sequence[Message]) -> None:
        """Read what may be taken; hold the rest, which the broker keeps as well."""
        self._turn_over()
        todo, self._held = [*self._held, *messages], []
        for place, message in enumerate(todo):
            if self._parts.spool.full or self._disk is not None:
                self._hold(todo[place:])
                return
            self._read(message)
            if self._unsaved_bytes >= COMMIT_BYTES:
                self._commit()

    def _hold(self, messages: Sequence[Message]) -> None:
        self._held = [message for message in messages if message.qos]
        self._counters["refused_qos0"] += len(messages) - len(self._held)

    def _turn_over(self) -> None:
        """Forget what an old connection owes: it comes again on the new one."""
        generation = self._parts.link.generation
        if generation != self._generation:
            self._generation = generation
            self._owed, self._held = [], []

    def _read(self, message: Message) -> None:
        self._unsaved_bytes += len(message.payload)
        stamp = self._parts.stamps.stamp_ms()
        taken = self._parts.intake.take(
            message.topic, message.payload, stamp, retained=message.retain
        )
        self._tally.message(message, taken.samples)
        for reject in taken.rejects:
            self._refuse(reject)
        self._entry.samples += [(s.asset, s.time_ms, s.values) for s in taken.samples]
        self._entry.events += taken.events
        self._counters["events"] += len(taken.events)
        if message.qos:
            self._owed.append(message._replace(payload=b""))

    def _refuse(self, reject: Reject) -> None:
        self._tally.reject(reject)
        if reject.reason in ("bad_event", "internal"):
            self._parts.log.warning("refused", topic=reject.topic, why=reject.detail)

    def _commit_due(self, *, dry: bool) -> bool:
        now = self._now()
        if not (self._owed or self._entry.samples or self._entry.events):
            self._committed_at = now
            return False
        if self._disk is not None:
            return now >= self._retry_at
        full = len(self._owed) * 2 >= self._settings.receive_maximum
        return dry or full or now - self._committed_at >= COMMIT_S

    def _commit(self) -> None:
        """Make durable what was read, then acknowledge it."""
        self._committed_at = self._now()
        try:
            if self._entry.samples or self._entry.events:
                self._parts.spool.append(self._entry)
        except SpoolError as error:
            self._disk = str(error)
            self._retry_at = self._now() + RETRY_S
            self._parts.log.error(  # noqa: TRY400 - not the logging module
                "disk_refused", why=str(error)
            )
            return
        self._disk = None
        self._counters["commits"] += 1
        self._entry, self._unsaved_bytes = Entry(samples=[], events=[]), 0
        owed, self._owed = self._owed, []
        self._parts.link.ack(owed)

    def _move_segments(self) -> None:
        """Seal the open segment when it is due; let go of those in the lake."""
        spool, now = self._parts.spool, self._now()
        large = spool.rows >= SEGMENT_ROWS or spool.open_bytes * SEGMENTS >= spool.limit_bytes
        if large or now - self._sealed_at >= self._settings.flush_s:
            self._sealed_at = now
            self._parts.flusher.offer(spool.seal())
        for path in self._parts.flusher.done():
            spool.forget(path)
            self._counters["segments"] += 1

    def _publish(self) -> None:
        notifier, link, now = self._parts.notifier, self._parts.link, self._now()
        if notifier.watchdog_s is not None and now >= self._pulse_at:
            self._pulse_at = now + notifier.watchdog_s
            notifier.send("WATCHDOG=1")
        link.delivered()
        for _, why in link.refused():
            self._parts.log.error("publish_refused", why=why)
        if link.connected and now >= self._health_at:
            self._health_at = now + self._settings.health_interval_s
            payload = msgspec.json.encode(self.health())
            link.publish(self._settings.health_topic, payload, qos=1, retain=True)

    def _shut_down(self) -> int:
        parts = self._parts
        parts.notifier.send("STOPPING=1")
        self._commit()
        parts.flusher.offer(parts.spool.seal())
        deadline = self._now() + FAREWELL_S
        while not parts.flusher.idle and parts.flusher.problem is None and self._now() < deadline:
            parts.link.poll(DRY_S)
        parts.flusher.end()
        parts.link.close(b"stopped")
        parts.flusher.join(FAREWELL_S)
        self._move_segments()
        left = len(parts.spool.waiting)
        parts.spool.close()
        parts.log.info("stopped", waiting=left, **self._counters)
        return 0

    def health(self) -> RecorderHealth:
        """Return the recorder's condition."""
        now, tally, spool = self._wall_ms(), self._tally, self._parts.spool
        oldest = spool.oldest_ms
        counted = {
            name: tally.counters[name]
            for name in ("messages", "samples", "rejects", "qos0", "gaps")
        }
        return RecorderHealth(
            recorder=self._settings.recorder,
            lake=self._settings.lake,
            time=iso(now),
            time_ms=now,
            uptime_s=round(self._now() - self._started, 1),
            version=__version__,
            degraded=self._degraded(),
            mqtt=mqtt_health(self._parts.link, None, None),
            spool=SpoolState(
                segments=len(spool.waiting),
                bytes=spool.bytes,
                limit_bytes=spool.limit_bytes,
                oldest_s=0.0 if oldest is None else max(0.0, (now - oldest) / 1000),
            ),
            counters={**self._counters, **counted},
            rejects=dict(tally.rejects),
            gaps=list(tally.gaps),
            lag_ms=None if tally.newest_ms is None else now - tally.newest_ms,
            qos0_assets=tally.qos0(),
            stamped_assets=tally.stamped(),
        )

    def _degraded(self) -> list[str]:
        flusher, link = self._parts.flusher, self._parts.link
        reasons = [f"disk: {self._disk}"] if self._disk else []
        reasons += ["spool: full, nothing is acknowledged"] if self._parts.spool.full else []
        reasons += [f"lake: {flusher.problem}"] if flusher.problem else []
        reasons += [f"lake: {what}" for what in flusher.damaged]
        return reasons + [f"broker: {what}: {why}" for what, why in link.problems.items()]
