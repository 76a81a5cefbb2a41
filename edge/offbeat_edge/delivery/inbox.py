"""What came from the broker, unverified, in a folder that cannot grow without end.

Rules: metadata by file name, targets by chunk, and chunks only of targets
that verified metadata asked for (``expect``).  Every file is written whole
or not at all; none is trusted, so none is synced: what a power cut eats, the
broker has.

::

    FOLDER/meta/3.root.json  FOLDER/meta/timestamp.json  FOLDER/target/<sha256>/0
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from offbeat_edge.delivery import wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from offbeat_edge.delivery.wire import Chunk

PART = ".part"  # a file that is being written


class Inbox:
    """Received files.

    Parameters
    ----------
    folder : made when needed; ours alone.
    """

    def __init__(self, folder: Path) -> None:
        self._meta = folder / "meta"
        self._target = folder / "target"
        self._expected: dict[str, int] = {}  # SHA-256 → bytes

    def put_meta(self, name: str, data: bytes) -> bool:
        """Keep a metadata file, or forget it when empty; tell whether anything changed.

        Raises
        ------
        OSError : the disk refuses.
        """
        path = self._meta / name
        if not data:
            existed = path.exists()
            path.unlink(missing_ok=True)
            return existed
        if len(data) > wire.META_MAX or self._full(path) or self.meta(name) == data:
            return False
        _write(path, data)
        return True

    def put_chunk(self, chunk: Chunk, data: bytes) -> bool:
        """Keep a chunk of an expected target; tell whether it was one, and of the right size."""
        length = self._expected.get(chunk.sha256)
        if length is None or len(data) != _chunk_bytes(length, chunk.number):
            return False
        _write(self._target / chunk.sha256 / str(chunk.number), data)
        return True

    def expect(self, lengths: dict[str, int]) -> None:
        """Take chunks of these targets (SHA-256 → bytes), and drop those of all others."""
        self._expected = {k: n for k, n in lengths.items() if n <= wire.TARGET_MAX}
        with contextlib.suppress(FileNotFoundError):
            for path in self._target.iterdir():
                if path.name not in self._expected:
                    shutil.rmtree(path, ignore_errors=True)

    def missing(self) -> Iterator[Chunk]:
        """Walk the chunks of expected targets that have not come."""
        for sha256, length in self._expected.items():
            for number in range(wire.chunk_count(length)):
                chunk = wire.Chunk(sha256, number)
                if self.lacks(chunk):
                    yield chunk

    def lacks(self, chunk: Chunk) -> bool:
        """Tell whether a chunk has not come."""
        return not (self._target / chunk.sha256 / str(chunk.number)).exists()

    def discard(self, sha256: str) -> None:
        """Forget a target's chunks: they are not what they should be."""
        shutil.rmtree(self._target / sha256, ignore_errors=True)

    def meta(self, name: str) -> bytes | None:
        """Return a metadata file, None when there is none."""
        try:
            return (self._meta / name).read_bytes()
        except FileNotFoundError:
            return None

    def complete(self, sha256: str, length: int) -> bool:
        """Tell whether all chunks of a target are here."""
        folder = self._target / sha256
        return all((folder / str(n)).exists() for n in range(wire.chunk_count(length)))

    def target(self, sha256: str) -> Iterator[bytes]:
        """Walk the chunks of a target, from the first; raises OSError when there is none."""
        first = (self._target / sha256 / "0").read_bytes()
        yield first
        number = 1
        while (path := self._target / sha256 / str(number)).exists():
            yield path.read_bytes()
            number += 1

    def _full(self, path: Path) -> bool:
        if path.exists():
            return False
        with contextlib.suppress(FileNotFoundError):
            return sum(1 for _ in self._meta.iterdir()) >= wire.MAX_META_FILES
        return False


def _chunk_bytes(length: int, number: int) -> int:
    """Return the size a chunk must have; -1 when the target has no such chunk."""
    if number >= wire.chunk_count(length):
        return -1
    return min(wire.CHUNK_BYTES, length - number * wire.CHUNK_BYTES)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PART)
    part.write_bytes(data)
    part.replace(path)
