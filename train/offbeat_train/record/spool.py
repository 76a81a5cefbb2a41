"""The write-ahead spool: what is acknowledged but not yet in the lake.

Rules: a frame is length, CRC-32 and msgpack; ``append`` returns after fsync;
a segment is written by one life of one process only, so a frame cut short
can only be its last, and was never acknowledged; sealed segments wait for
the flusher in the order of their names, which become the names of parts.

>>> import tempfile; from pathlib import Path
>>> spool = Spool(Path(tempfile.mkdtemp()), limit_bytes=1 << 20)
>>> spool.open()
>>> spool.append(Entry(samples=[("p1", 1_700_000_000_000, {"flow": 2.5})]))
>>> (segment,) = spool.seal()
>>> [entry.samples[0][0] for entry in read(segment).entries]
['p1']
>>> spool.close()
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
import zlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import msgspec

from offbeat_edge import files
from offbeat_train.errors import SpoolError
from offbeat_train.lake.layout import part_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUFFIX = ".spool"
LOCK = "lock"
HEAD_BYTES = 8  # length and CRC-32, little endian


class Entry(msgspec.Struct, array_like=True):
    """What one commit made durable; in order of arrival."""

    samples: list[tuple[str, int, dict[str, float]]] = []  # asset, event time, values
    events: list[tuple[str, bytes]] = []  # the lake's folder, JSON


class Segment(NamedTuple):
    """A segment as read."""

    entries: list[Entry]
    lost_bytes: int  # behind the last whole frame: cut short by a crash, or damaged


class Spool:
    """A folder of segments, held by one process.

    Parameters
    ----------
    folder : made when it is not there.
    limit_bytes : beyond it ``full`` is true.
    wall_ms : the wall clock, ms. tag : makes names unique, whatever the clock does.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit_bytes: int,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        tag: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self.limit_bytes = limit_bytes
        self.rows = 0  # samples in the open segment
        self._folder = folder
        self._wall_ms = wall_ms
        self._tag = tag
        self._newest_ms = 0  # names rise, whatever the clock does
        self._lock: BinaryIO | None = None
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._good = 0  # bytes of the open segment that are synced
        self._sealed: dict[Path, int] = {}  # waiting, with their sizes

    def open(self) -> None:
        """Take possession; what an earlier life left is sealed.

        Raises
        ------
        SpoolError : another recorder has it, or the disk refuses.
        """
        with _disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / LOCK).open("wb")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self._lock.close()
                raise SpoolError(f"{self._folder}: another recorder uses it") from error
            left = sorted(self._folder.glob(f"*{SUFFIX}"))
            self._sealed = {path: path.stat().st_size for path in left}
        self._newest_ms = max([0, *(_stamp(path) for path in left)])

    @property
    def bytes(self) -> int:
        """All that waits, in bytes."""
        return sum(self._sealed.values()) + self._good

    @property
    def full(self) -> bool:
        """Whether no more should be taken."""
        return self.bytes >= self.limit_bytes

    @property
    def waiting(self) -> list[Path]:
        """Sealed segments, oldest first."""
        return list(self._sealed)

    @property
    def open_bytes(self) -> int:
        """Bytes in the open segment."""
        return self._good

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest segment was begun, wall clock; None: nothing waits."""
        paths = [*self._sealed, *([self._path] if self._path else [])]
        return _stamp(paths[0]) if paths else None

    def append(self, entry: Entry) -> None:
        """Make an entry durable; raises SpoolError, after which it is not."""
        body = msgspec.msgpack.encode(entry)
        head = len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little")
        try:
            with _disk_errors(self._folder):
                file = self._file or self._begin()
                file.write(head + body)
                os.fdatasync(file.fileno())
        except SpoolError:
            self.seal()  # what stands behind a damaged frame would not be read
            raise
        self._good += HEAD_BYTES + len(body)
        self.rows += len(entry.samples)

    def seal(self) -> list[Path]:
        """End the open segment; return all that wait."""
        if self._file is not None and self._path is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            if self._good:
                self._sealed[self._path] = self._good
            else:
                self._path.unlink(missing_ok=True)
        self._file, self._path, self._good, self.rows = None, None, 0, 0
        return self.waiting

    def forget(self, path: Path) -> None:
        """A segment lies in the lake: it may go."""
        with _disk_errors(path):
            path.unlink(missing_ok=True)
        self._sealed.pop(path, None)

    def close(self) -> None:
        """Seal, and let another have it."""
        self.seal()
        if self._lock is not None:
            self._lock.close()

    def _begin(self) -> BinaryIO:
        self._newest_ms = max(self._newest_ms + 1, self._wall_ms())
        self._path = self._folder / f"{part_key(self._newest_ms, self._tag())}{SUFFIX}"
        self._file = self._path.open("xb", buffering=0)
        files.sync_folder(self._folder)
        return self._file


def read(path: Path) -> Segment:
    """Read a segment's whole frames; raises SpoolError when the disk refuses."""
    with _disk_errors(path):
        data = path.read_bytes()
    decoder = msgspec.msgpack.Decoder(Entry)
    entries, at = [], 0
    while at + HEAD_BYTES <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        body = data[at + HEAD_BYTES : at + HEAD_BYTES + size]
        checked = int.from_bytes(data[at + 4 : at + HEAD_BYTES], "little") == zlib.crc32(body)
        if len(body) < size or not checked or size == 0:
            break
        try:
            entries.append(decoder.decode(body))
        except msgspec.MsgspecError:
            break
        at += HEAD_BYTES + size
    return Segment(entries, len(data) - at)


def _stamp(path: Path) -> int:
    """Return the wall clock in a segment's name; 0 in a name of nobody's."""
    stamp = path.name.split("-")[0]
    return int(stamp) if stamp.isdecimal() else 0


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolError(f"{path}: {error.strerror or error}") from error
