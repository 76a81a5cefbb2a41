"""A wall clock of the daemon's own, which can be set: libfaketime, where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

PLACES = ("/usr/lib", "/usr/local/lib")


def library() -> Path | None:
    """Return libfaketime for programs with threads; None when it is not installed."""
    found = [
        path for place in PLACES for path in Path(place).glob("**/faketime/libfaketimeMT.so.1")
    ]
    return found[0] if found else None


# Python sleeps until a moment of the monotonic clock; libfaketime moves that moment as if it were
# the wall clock's, and the kernel refuses a negative one.
PRELUDE = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds)
"""


class Clock:
    """Offsets in a file that libfaketime reads again at every call; skips without it."""

    def __init__(self, folder: Path) -> None:
        found = library()
        if found is None:
            pytest.skip("libfaketime is not installed: the clock cannot be set for one process")
        self._file = folder / "faketime"
        self.shift(0)
        self.environ = {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def shift(self, seconds: int) -> None:
        """Set the clock so many seconds ahead of the true one."""
        self._file.write_text(f"{seconds:+d}\n")
