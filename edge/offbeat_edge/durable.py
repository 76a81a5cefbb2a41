"""The engine and its state on disk, moving together.

Rules: samples go through ``take``, controls through ``control``; ``commit``
writes their journal, the new alert events, the control log and the delivered
events in one transaction and returns whether messages may be acknowledged.
While the disk refuses, they may not for ``GRACE_S``; after that the daemon goes
on without durability, says so in ``problem`` and keeps alerts in memory, until
a whole snapshot can be written.  ``recover`` restores the snapshot and walks
the journal again; what that leads to is thrown away, because the outbox has it
already.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from offbeat_edge import control as controls
from offbeat_edge.errors import StateRefused, StoreError
from offbeat_edge.journal import JournalDecoder, JournalEncoder
from offbeat_edge.store import ControlRow, OutboxSize, Outgoing, Rank, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from offbeat_edge.control import Control, Swap
    from offbeat_edge.journal import Entry
    from offbeat_edge.log import Log
    from offbeat_edge.model import Model
    from offbeat_edge.observed import Observed
    from offbeat_edge.outputs import Outputs
    from offbeat_edge.schema import AssetState, Sample, Stage
    from offbeat_edge.store import Opened, Store

GRACE_S = 30.0  # without acknowledgements while the disk refuses
RETRY_S = 1.0  # between attempts at a disk that refused
SNAPSHOT_RATIO = 4  # a snapshot when the journal is this many times its size
SNAPSHOT_MIN_BYTES = 1 << 20  # of journal; smaller ones are quickly walked
MAX_VOLATILE = 10_000  # events, and controls, kept in memory while the disk refuses
VOLATILE_ID = 1 << 48  # ids from here on are of rows that no disk holds


class PureEngine(Protocol):
    """What is needed of ``engine.Engine``."""

    def feed(self, samples: Sequence[Sample]) -> Outputs:
        """Take samples in order of arrival."""
        ...

    def idle(self, elapsed_ms: int) -> Outputs:
        """Count connected silence."""
        ...

    def control(self, control: Control) -> Outputs:
        """Let a control take effect; one that was heard before has none."""
        ...

    def lapsed(self) -> list[Swap]:
        """Return swaps for models that failed in the last batch."""
        ...

    def at(self, control: Control) -> dict[str, int]:
        """Return where a control would take effect now: asset → last closed step, ms."""
        ...

    def heard(self, control: Control) -> bool:
        """Whether this control came before."""
        ...

    def objection(self, control: Control) -> str | None:
        """Say why a control would have no effect."""
        ...

    def concerns(self, asset: str, *, planned: bool = False) -> bool:
        """Whether an asset is watched here; ``planned``: or would be, if it spoke."""
        ...

    @property
    def gone(self) -> dict[str, str]:
        """Names that assets once had → their new ones."""
        ...

    def snapshot(self) -> bytes:
        """Return all that the future depends on."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Take back a snapshot."""
        ...

    def states(self) -> list[AssetState]:
        """Return the present state of every asset."""
        ...

    def observed(self) -> dict[Model, Observed]:
        """Return what each model at work has achieved."""
        ...

    def adaptation(self) -> dict[Model, dict[Stage, int]]:
        """Return how many assets of each model with a warm-up are at which stage of it."""
        ...


class Recovered(NamedTuple):
    """What a start found on disk."""

    fresh: bool  # nothing: a first start, or all was lost
    samples: int  # walked again
    newest_stamp_ms: int  # the last stamp of this gateway in the journal, 0 for none


class Durable:
    """An engine whose effects survive.

    Parameters
    ----------
    store : the state database.
    engine : pure; everything it is fed goes through here.
    topic_of : alert topic of an asset.
    log : where trouble is said.
    monotonic : seconds. wall_ms : the wall clock, ms, for the control log alone.
    sleep : waits so many seconds.
    """

    def __init__(
        self,
        *,
        store: Store,
        engine: PureEngine,
        topic_of: Callable[[str], str],
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.problem: str | None = None  # why nothing is durable at present
        self.lost: list[str] = []  # what could not be recovered at the start
        self.commits = 0
        self.snapshots = 0  # of the commits
        self.commit_s = 0.0  # the last one took
        self.volatile_dropped = 0
        self._store = store
        self._engine = engine
        self._topic_of = topic_of
        self._log = log
        self._now = monotonic
        self._wall_ms = wall_ms
        self._sleep = sleep
        self._journal = JournalEncoder()
        self._log_rows: deque[ControlRow] = deque(maxlen=MAX_VOLATILE)
        self._outgoing: deque[Outgoing] = deque()
        self._volatile = 0  # rows that ever left the front of _outgoing
        self._failed_at: float | None = None
        self._retry_at = 0.0
        self._behind = False  # the disk misses samples: only a snapshot will do

    @property
    def dirty(self) -> bool:
        """Whether samples, controls or events wait for a commit."""
        return bool(self._journal.samples or self._outgoing or self._log_rows)

    def recover(self, alive: Callable[[], None]) -> Recovered:
        """Bring the engine to where the last commit left it; ``alive`` is called between steps.

        Raises
        ------
        StateRefused : another daemon, or a newer one, owns this state.
        """
        opened = self._open_within_grace(alive)
        if opened is None:
            self._lose("state_unread", f"{self.problem}; what it holds of windows is given up")
            return Recovered(fresh=True, samples=0, newest_stamp_ms=0)
        if opened.damaged:
            self._lose("state_damaged", f"{opened.damaged}; kept as {opened.aside}")
        self._restore()
        return self._walk(opened.fresh, alive)

    def take(self, samples: Sequence[Sample]) -> Outputs:
        """Feed the engine; the samples and their events join the next commit."""
        place = self._place()
        if not self._behind:
            self._journal.take(samples)
        out = self._keep(self._engine.feed(samples))
        for swap in self._engine.lapsed():
            # it failed before any row of this batch was settled: that is where it is walked
            self._record(swap, place)
            more = self._keep(self._engine.control(swap))
            out.events.extend(more.events)
            out.states.extend(more.states)
        return out

    def control(self, control: Control) -> Outputs:
        """Let a control take effect; it joins the next commit, and the control log.

        One that came before, say from a broker that missed our
        acknowledgement, or is of no use changes nothing and is not written.
        """
        if self._engine.heard(control) or self._engine.objection(control) is not None:
            return self._engine.control(control)
        self._record(control, self._place())
        return self._keep(self._engine.control(control))

    def idle(self, elapsed_ms: int) -> Outputs:
        """Let connected silence pass; it joins the next commit, but makes none due."""
        self._note_silence(elapsed_ms)
        return self._keep(self._engine.idle(elapsed_ms))

    def objection(self, control: Control) -> str | None:
        """Say why a control would have no effect; none if it had it already."""
        return None if self._engine.heard(control) else self._engine.objection(control)

    def concerns(self, asset: str, *, planned: bool = False) -> bool:
        """Whether an asset is watched here; ``planned``: or would be, if it spoke."""
        return self._engine.concerns(asset, planned=planned)

    def say(self, topic: str, payload: bytes) -> None:
        """Let a message wait for the next commit, and then for the broker."""
        self._outgoing.append(Outgoing(topic, payload, Rank.DIAGNOSTIC))

    def commit(self, *, delivered: Iterable[int] = (), snapshot: bool = False) -> bool:
        """Write; return whether what was taken may be acknowledged."""
        started = self._now()
        if self._failed_at is not None and started < self._retry_at:
            return self._volatile_now()
        try:
            self._write(list(delivered), snapshot=snapshot or self._behind or self._full())
        except StoreError as error:
            self._disk_refused(error)
            return self._volatile_now()
        self.commits += 1
        self.commit_s = self._now() - started
        return True

    def prove(self, token: bytes) -> bool:
        """Take a proof of work to the disk and back; return whether it came back the same.

        While the disk refuses, true: that is known and said, and no hang.
        """
        if self._failed_at is not None:
            return True
        try:
            self._store.commit(proof=token)
            return self._store.proof() == token
        except StoreError as error:
            self._disk_refused(error)
            return True

    def pending(self, *, after: int, limit: int) -> list[Row]:
        """Return alert events that wait for the broker, oldest first.

        Raises nothing: while the disk refuses, those in memory are all there is.
        """
        rows: list[Row] = []
        if after < VOLATILE_ID:
            try:
                rows = self._store.pending(after=after, limit=limit)
            except StoreError as error:
                self._disk_refused(error)
        if self.problem is not None and self._volatile_now():
            rows += self._volatile_rows(after)
        return rows[:limit]

    @property
    def waiting(self) -> int:
        """How many events wait for the broker."""
        return self._store.waiting + (len(self._outgoing) if self._volatile_now() else 0)

    def newest(self) -> int:
        """Return the id of the newest waiting event; 0 when none waits."""
        try:
            return self._store.newest()
        except StoreError:
            return 0

    def forget(self, row: int) -> None:
        """An event that no disk holds has reached the broker."""
        while self._outgoing and VOLATILE_ID + self._volatile <= row:
            self._outgoing.popleft()
            self._volatile += 1

    def outbox_size(self) -> OutboxSize:
        """Return how much waits for the broker; while the disk refuses, in memory."""
        try:
            size = self._store.outbox_size()
        except StoreError:
            size = OutboxSize(0, 0, None, {})
        if not self._volatile_now():
            return size
        held = sum(len(out.payload) for out in self._outgoing)
        dropped = {**size.dropped, "alert": size.dropped.get("alert", 0) + self.volatile_dropped}
        return size._replace(
            rows=size.rows + len(self._outgoing), bytes=size.bytes + held, dropped=dropped
        )

    @property
    def journal_bytes(self) -> int:
        """Bytes of journal since the last snapshot."""
        return self._store.journal_bytes

    def states(self) -> list[AssetState]:
        """Return the present state of every asset."""
        return self._engine.states()

    def observed(self) -> dict[Model, Observed]:
        """Return what each model at work has achieved."""
        return self._engine.observed()

    def adaptation(self) -> dict[Model, dict[Stage, int]]:
        """Return how many assets of each model with a warm-up are at which stage of it."""
        return self._engine.adaptation()

    def gone(self) -> list[str]:
        """Return names that assets once had."""
        return list(self._engine.gone)

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def _open_within_grace(self, alive: Callable[[], None]) -> Opened | None:
        """Open the state; a disk that refuses has the grace to come back, with what it holds."""
        while True:
            try:
                opened = self._store.open()
                break
            except StateRefused:
                raise
            except StoreError as error:
                self._disk_refused(error)
            if self._volatile_now():
                return None
            alive()
            self._sleep(RETRY_S)
        if self.problem is not None:
            self._log.warning("disk_recovered", was=self.problem)
            self.problem, self._failed_at, self._behind = None, None, False
        return opened

    def _restore(self) -> None:
        try:
            snapshot = self._store.snapshot()
            if snapshot is not None:
                self._engine.restore(snapshot)
        except (StoreError, msgspec.MsgspecError, ValueError) as error:
            self._lose("snapshot_damaged", str(error))
            self._behind = True

    def _walk(self, fresh: bool, alive: Callable[[], None]) -> Recovered:  # noqa: FBT001
        """Feed the journal; a damaged entry ends it."""
        decoder, count, stamp = JournalDecoder(), 0, 0
        try:
            for blob in self._store.journal():
                entry = decoder.decode(blob)
                self._tell_again(entry)
                count += len(entry.samples)
                stamp = max([stamp, *(s.time_ms for s in entry.samples if not s.own_time)])
                alive()
        except StoreError as error:
            self._lose("journal_damaged", str(error))
            self._behind = True
        return Recovered(fresh, count, stamp)

    def _tell_again(self, entry: Entry) -> None:
        """Tell the engine one entry, in the very order of the first time."""
        for step in entry.steps():
            if isinstance(step, int):
                self._engine.idle(step)
            elif isinstance(step, list):
                self._engine.feed(step)
            else:
                self._engine.control(step)

    def _place(self) -> tuple[int, int]:
        """Return where the journal's next entry stands now."""
        return self._journal.samples, len(self._journal.silences)

    def _record(self, control: Control, place: tuple[int, int]) -> None:
        """Write a control into journal and control log."""
        received_ms = self._wall_ms()
        logged = controls.Logged(
            received_ms=received_ms, at=self._engine.at(control), control=control
        )
        self._log_rows.append(ControlRow(received_ms, controls.encode(logged)))
        if not self._behind:
            self._journal.controls.append((*place, control))

    def _note_silence(self, elapsed_ms: int) -> None:
        if self._behind:
            return
        journal = self._journal
        position, silences, told = journal.samples, journal.silences, journal.controls
        since_control = not told or told[-1][1] < len(silences)
        if silences and silences[-1][0] == position and since_control:
            elapsed_ms += silences.pop()[1]
        silences.append((position, elapsed_ms))

    def _keep(self, out: Outputs) -> Outputs:
        for event in out.events:
            payload = msgspec.json.encode(event)
            self._outgoing.append(Outgoing(self._topic_of(event.asset), payload))
        return out

    def _write(self, delivered: list[int], *, snapshot: bool) -> None:
        journal = b""
        if self._journal and not snapshot:
            journal = self._journal.encode()
        if self.problem is not None:
            self._reopen()
        self._store.commit(
            journal=journal,
            snapshot=self._engine.snapshot() if snapshot else None,
            outgoing=self._outgoing,
            delivered=delivered,
            controls=self._log_rows,
        )
        self._journal.written()
        if snapshot:
            self._journal = JournalEncoder()
            self.snapshots += 1
        self._behind = False
        self._log_rows.clear()
        self._volatile += len(self._outgoing)
        self._outgoing.clear()
        if self.problem is not None:
            self._log.warning("disk_recovered", was=self.problem)
        self.problem, self._failed_at = None, None

    def _reopen(self) -> None:
        opened = self._store.open()
        if opened.damaged:
            self._lose("state_damaged", f"{opened.damaged}; kept as {opened.aside}")

    def _full(self) -> bool:
        limit = max(SNAPSHOT_MIN_BYTES, SNAPSHOT_RATIO * self._store.snapshot_bytes)
        return self._store.journal_bytes >= limit

    def _disk_refused(self, error: StoreError) -> None:
        now = self._now()
        if self._failed_at is None:
            self._failed_at = now
        self.problem = str(error)
        self._retry_at = now + RETRY_S
        self._behind = True
        self._journal = JournalEncoder()
        while len(self._outgoing) > MAX_VOLATILE:
            self._outgoing.popleft()
            self._volatile += 1
            self.volatile_dropped += 1
        self._log.error(
            "disk_refused", why=str(error), acknowledging=self._volatile_now(), grace_s=GRACE_S
        )

    def _volatile_now(self) -> bool:
        """Whether the grace is over and we go on without durability."""
        return self._failed_at is not None and self._now() - self._failed_at >= GRACE_S

    def _volatile_rows(self, after: int) -> list[Row]:
        first = VOLATILE_ID + self._volatile
        rows = (Row(first + n, *out[:2]) for n, out in enumerate(self._outgoing))
        return [row for row in rows if row.id > after]

    def _lose(self, what: str, why: str) -> None:
        self.lost.append(what)
        self._log.error(what, why=why)
