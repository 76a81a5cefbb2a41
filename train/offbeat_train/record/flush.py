"""Segments of the spool → parts of the lake, and the lake's upkeep, on a thread of its own.

Rules: ``flush`` and ``tidy`` are plain functions; the thread only calls them
and waits longer after each failure; a segment goes only after all its parts
are in the lake.  A part somebody else damaged stops the upkeep of its day,
never the recording.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

import msgspec

from offbeat_train.errors import LakeError, SpoolError
from offbeat_train.lake.compact import MAX_PARTS, closed_folders, compact
from offbeat_train.lake.events import KINDS
from offbeat_train.lake.writer import Writer
from offbeat_train.record import spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from offbeat_edge.log import Log
    from offbeat_train.lake.store import Store

RETRY_BASE_S = 1.0  # after a first failure
RETRY_CAP_S = 60.0
TIDY_S = 3600.0  # between looks for days that are over
TIDY_BACK_MS = 7 * 86_400_000  # days older than this are left as they are
TIDY_GRACE_MS = 3_600_000  # a day is over this long after midnight
IDLE_S = 0.5  # between looks for work


def flush(store: Store, path: Path) -> tuple[list[str], int]:
    """Write a segment's rows under its own name; return the folders and the bytes lost.

    Raises
    ------
    LakeUnavailable, SpoolError : try again later, nothing is lost.
    """
    segment = spool.read(path)
    key = path.name.removesuffix(spool.SUFFIX)
    readings: defaultdict[str, list[tuple[int, dict[str, float]]]] = defaultdict(list)
    events: defaultdict[str, list[bytes]] = defaultdict(list)
    for entry in segment.entries:
        for asset, time_ms, values in entry.samples:
            readings[asset].append((time_ms, values))
        for folder, text in entry.events:
            events[folder].append(text)
    writer = Writer(store)
    folders = writer.samples(key, readings)
    for kind in KINDS:
        decoded = [msgspec.json.decode(text, type=kind.record) for text in events[kind.folder]]
        folders += writer.events(key, kind, decoded)
    return folders, segment.lost_bytes


def tidy(store: Store, *, now_ms: int, going: Callable[[], bool] = lambda: True) -> list[str]:
    """Make each day that is over one part; return what could not be, and why."""
    problems = []
    until = now_ms - TIDY_GRACE_MS
    for folder in closed_folders(store, since_ms=now_ms - TIDY_BACK_MS, until_ms=until):
        if not going():
            break
        try:
            compact(store, folder)
        except LakeError as error:
            problems.append(str(error))
    return problems


class Flusher(threading.Thread):
    """Does what waits, one thing at a time.

    Parameters
    ----------
    store : the lake's. log : where trouble is said.
    wall_ms : the wall clock, ms.
    """

    def __init__(
        self,
        *,
        store: Store,
        log: Log,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        super().__init__(name="flusher", daemon=True)
        self.problem: str | None = None  # why the last attempt failed
        self.damaged: list[str] = []  # parts that upkeep could not read
        self._store = store
        self._log = log
        self._wall_ms = wall_ms
        self._queue: deque[Path] = deque()
        self._done: deque[Path] = deque()
        self._known: set[Path] = set()
        self._ending = threading.Event()
        self._failures = 0
        self._tidy_at = time.monotonic() + TIDY_S

    def offer(self, waiting: list[Path]) -> None:
        """Take on segments; those already taken on are passed over."""
        for path in waiting:
            if path not in self._known:
                self._known.add(path)
                self._queue.append(path)

    def done(self) -> list[Path]:
        """Return, once, segments whose rows are in the lake."""
        paths = [self._done.popleft() for _ in range(len(self._done))]
        self._known.difference_update(paths)
        return paths

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not self._queue

    def end(self) -> None:
        """Stop after the present step; what waits stays in the spool."""
        self._ending.set()

    def run(self) -> None:
        """Work until the end."""
        while not self._ending.is_set():
            if self._queue:
                self._work(self._queue[0])
            elif time.monotonic() >= self._tidy_at:
                self._tidy()
            else:
                self._ending.wait(IDLE_S / 10)

    def _work(self, path: Path) -> None:
        try:
            folders, lost = flush(self._store, path)
        except (LakeError, SpoolError) as error:
            self._failed(str(error))
            return
        except Exception as error:  # noqa: BLE001 - a thread that died would be missed too late
            self._failed(repr(error))
            return
        if lost:
            self._log.warning("spool_cut", segment=path.name, bytes=lost)
        if self.problem is not None:
            self._log.info("lake_recovered", was=self.problem)
        self.problem, self._failures = None, 0
        self._queue.popleft()
        self._done.append(path)
        self._upkeep(folders)

    def _upkeep(self, folders: list[str]) -> None:
        try:
            for folder in folders:
                compact(self._store, folder, most=MAX_PARTS)
        except LakeError as error:
            self._log.error("lake_damaged", why=str(error))

    def _tidy(self) -> None:
        self._tidy_at = time.monotonic() + TIDY_S
        try:
            going = lambda: not (self._ending.is_set() or self._queue)  # noqa: E731
            self.damaged = tidy(self._store, now_ms=self._wall_ms(), going=going)
        except LakeError as error:
            self.damaged = [str(error)]
        for problem in self.damaged:
            self._log.error("lake_damaged", why=problem)

    def _failed(self, why: str) -> None:
        self.problem = why
        wait = min(RETRY_CAP_S, RETRY_BASE_S * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        self._log.error("lake_refused", why=why, retry_s=wait)
        self._ending.wait(wait)
