"""One ``[[model]]`` at work: what it should run, what it runs, when to look again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offbeat_edge.bundle import Bundle
    from offbeat_edge.config import Model as Entry
    from offbeat_edge.model import Model
    from offbeat_edge.schema import Runs
    from offbeat_edge.supervise.background import Background
    from offbeat_edge.supervise.examine import Choice

RETRY_S = 30.0  # before what failed is examined again, doubling ...
RETRY_CAP_S = 600.0  # ... up to this; what worked for so long starts anew

Fingerprint = tuple[int, int, int] | None  # mtime, size, inode; None: no file


class Post:
    """The place that a model fills.

    Parameters
    ----------
    index : of the ``[[model]]``. entry : what it says.
    """

    def __init__(self, index: int, entry: Entry) -> None:
        self.index = index
        self.entry = entry
        self.model: Model | None = None
        self.runs: Runs | None = None  # as told; the model at work, once it could be opened
        self.wanted: Runs | None = None  # what should run
        self.why = ""  # it is not simply the configured bundle
        self.ready: Bundle | None = None  # examined, until it is opened
        self.problem: str | None = None  # what the last examination found amiss
        self.failed: str | None = None  # at run time, since then
        self.since = 0.0  # monotonic: the model at work was opened
        self.seen: Fingerprint = None  # of the file last examined
        self.changing: Fingerprint = None  # at the last look
        self.look: Background[Choice] | None = None  # an examination under way
        self.retry_at: float | None = None
        self._retry_s = RETRY_S

    def again(self, now: float) -> None:
        """Examine at once."""
        self.retry_at, self._retry_s = now, RETRY_S

    def fell(self, now: float) -> None:
        """Examine again after a while what failed at work; what had stood long, soon."""
        if now - self.since > RETRY_CAP_S:
            self._retry_s = RETRY_S
        self.later(now)

    def later(self, now: float) -> None:
        """Examine again after a while, longer each time."""
        self.retry_at = now + self._retry_s
        self._retry_s = min(RETRY_CAP_S, 2 * self._retry_s)


def fingerprint(path: str) -> Fingerprint:
    """Return what changes when a file is replaced or rewritten."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
