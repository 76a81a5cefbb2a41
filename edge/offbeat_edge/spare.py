"""Memory for nothing: given back to the system, and looked for less often.

Rules: only how much is held changes, and when; a C library without
``malloc_trim`` (musl's) keeps what it has.

>>> trim()
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

# Python's collector looks for cycles whenever so many containers more are alive than at its last
# look: with the usual 700, nine times in a batch of 500 messages, which end without it.
CONTAINERS = 20_000


def trim() -> None:
    """Give back the pages that malloc has free, in the midst of its heap too.

    Half a millisecond after a burst, less than a tenth of one when there is nothing to give.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def collect_seldom() -> None:
    """Let the collector pass over what lives no longer than a batch."""
    gc.set_threshold(CONTAINERS)
