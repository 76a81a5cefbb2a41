"""Whether anybody keeps this machine's clock right.

Rules: asks the kernel (adjtimex(2), which changes nothing when asked so),
or, where a sandbox forbids that, looks for the file that systemd-timesyncd
leaves; ``None`` is "cannot be known".  A clock before this program was
written is wrong, whoever keeps it.

>>> synchronized(wall_ms=lambda: 0)
False
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BUILT_MS = 1_760_000_000_000  # October 2025: no clock is right before
TIMESYNCD = Path("/run/systemd/timesync/synchronized")
TIMEX_BYTES = 512  # struct timex is smaller everywhere
TIME_ERROR = 5  # what adjtimex returns for an unsynchronized clock


def synchronized(
    *,
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    kernel: Callable[[], int] | None = None,
    mark: Path = TIMESYNCD,
) -> bool | None:
    """Return whether the clock is kept right; None: it cannot be known.

    Parameters
    ----------
    wall_ms : the wall clock, ms.
    kernel : adjtimex's answer, -1 when it may not be asked.
    mark : a file that exists once systemd-timesyncd has set the clock.
    """
    if wall_ms() < BUILT_MS:
        return False
    state = (kernel or _adjtimex)()
    if state >= 0:
        return state != TIME_ERROR
    return True if mark.exists() else None


def _adjtimex() -> int:
    """Ask the kernel; zeros ask without setting anything."""
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))
    except (OSError, AttributeError):
        return -1
