"""How long a model takes for a window, measured where it runs.

Stands in a model's place for its interpreter and changes no number.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.model import Reconstructor
    from offbeat_edge.schema import Runtime
    from offbeat_edge.window import Floats


class Stopwatch:
    """An interpreter, timed.

    Parameters
    ----------
    inner : does the work.
    seconds : a clock that only runs forward.
    """

    def __init__(
        self, inner: Reconstructor, *, seconds: Callable[[], float] = time.perf_counter
    ) -> None:
        self.inner = inner
        self._seconds = seconds
        self._spent = 0.0
        self._windows = 0

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds a window, on average; None before the first."""
        return self._spent * 1000 / self._windows if self._windows else None

    @property
    def runtime(self) -> Runtime | None:
        """The combination it runs on."""
        return getattr(self.inner, "runtime", None)

    def reconstruct(self, windows: Floats) -> Floats:
        """(N, T, F) scaled → (N, T, F) scaled."""
        started = self._seconds()
        done = self.inner.reconstruct(windows)
        self._spent += self._seconds() - started
        self._windows += len(windows)
        return done


def stopwatch_of(interpreter: object) -> Stopwatch | None:
    """Return the stopwatch among what is wrapped around an interpreter."""
    while interpreter is not None and not isinstance(interpreter, Stopwatch):
        interpreter = getattr(interpreter, "inner", None)
    return interpreter
