"""Which bundles killed the process: seen at the next start, and put aside when it repeats.

Rules: while a model's interpreter runs, Python's fault handler writes into a
file of that bundle; SIGSEGV, SIGABRT (systemd's watchdog sends it to a
process that hangs), SIGBUS, SIGFPE and SIGILL leave a traceback there.  At a
start every such file whose traceback ends in the interpreter counts as one
death.  A bundle of ``DEATHS`` within ``WITHIN_S`` is *aside* until somebody
asks for another try.  SIGKILL, a power cut and a full memory leave no trace
and count for nothing.  While nothing dies, nothing is written.

>>> crashes = Crashes(folder, wall_s=time.time)  # doctest: +SKIP
>>> crashes.take_note(), crashes.aside  # doctest: +SKIP
(['9f2c...'], {})
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import os
import time
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from offbeat_edge.model import Reconstructor
    from offbeat_edge.schema import Runtime
    from offbeat_edge.window import Floats

DEATHS = 3  # of a process, in a bundle's interpreter ...
WITHIN_S = 15 * 60  # ... within so many seconds: it is put aside
RECORD = "crashes.json"
TRACE = ".trace"
TRACE_MAX = 65_536  # bytes read of a traceback
FRAME = "offbeat_edge/interpreter.py"  # a fault in here is the model's


class _Record(msgspec.Struct, kw_only=True):
    schema: str = "1.0"
    deaths: dict[str, list[float]] = {}  # digest → wall clock, s
    aside: dict[str, str] = {}  # digest → why


class Crashes:
    """The record of one state folder.

    Parameters
    ----------
    folder : made when needed.
    wall_s : the wall clock, seconds; only differences count.
    watch : has fatal faults told to a descriptor from now on.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wall_s: Callable[[], float] = time.time,
        watch: Callable[[int], None] = lambda trace: faulthandler.enable(trace, all_threads=False),
    ) -> None:
        self._folder = folder
        self._wall_s = wall_s
        self._watch = watch
        self._record = self._load()
        self._traces: dict[str, int] = {}  # digest → descriptor

    @property
    def aside(self) -> dict[str, str]:
        """Digest → why it is not tried."""
        return dict(self._record.aside)

    def take_note(self) -> list[str]:
        """Count the deaths since the last start; return the digests that were at fault."""
        guilty = []
        for path in sorted(self._folder.glob(f"*{TRACE}")):
            with contextlib.suppress(OSError):
                with path.open("rb") as file:
                    told = file.read(TRACE_MAX)
                if FRAME.encode() in told:
                    guilty.append(path.name.removesuffix(TRACE))
                path.unlink()
        for digest in guilty:
            self._died(digest)
        if guilty:
            self._save()
        return guilty

    def forgive(self) -> None:
        """Let everything be tried again."""
        if self._record.aside or self._record.deaths:
            self._record = _Record()
            self._save()

    def guard(self, digest: str, make: Callable[[], Reconstructor]) -> Reconstructor:
        """Make an interpreter whose fatal faults will be known to be this bundle's."""
        try:
            if digest not in self._traces:
                self._folder.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._traces[digest] = os.open(self._folder / f"{digest}{TRACE}", flags, 0o600)
        except OSError:
            return make()
        watch = functools.partial(self._watch, self._traces[digest])
        watch()  # making it can kill as well
        return _Guarded(make(), watch)

    def close(self) -> None:
        """Leave no trace of a life that ended well."""
        if self._traces:
            faulthandler.disable()
        for digest, descriptor in self._traces.items():
            os.close(descriptor)
            with contextlib.suppress(OSError):
                (self._folder / f"{digest}{TRACE}").unlink()
        self._traces = {}

    def _died(self, digest: str) -> None:
        now = self._wall_s()
        recent = [at for at in self._record.deaths.get(digest, []) if abs(now - at) <= WITHIN_S]
        self._record.deaths[digest] = [*recent, now][-DEATHS:]
        if len(recent) + 1 >= DEATHS:
            why = f"crashed or hung the process {DEATHS} times within {WITHIN_S // 60} minutes"
            self._record.aside[digest] = why

    def _save(self) -> None:
        with contextlib.suppress(OSError):
            files.replace(self._folder / RECORD, msgspec.json.encode(self._record))

    def _load(self) -> _Record:
        try:
            return msgspec.json.decode((self._folder / RECORD).read_bytes(), type=_Record)
        except (OSError, msgspec.MsgspecError):
            return _Record()


class _Guarded:
    """An interpreter that names its bundle to the fault handler before it runs."""

    def __init__(self, inner: Reconstructor, watch: Callable[[], None]) -> None:
        self.inner = inner
        self._watch = watch

    @property
    def runtime(self) -> Runtime | None:
        """The combination it runs on."""
        return getattr(self.inner, "runtime", None)

    def reconstruct(self, windows: Floats) -> Floats:
        """(N, T, F) scaled → (N, T, F) scaled."""
        self._watch()
        return self.inner.reconstruct(windows)
