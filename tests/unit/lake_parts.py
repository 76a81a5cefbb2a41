"""A lake's store in memory that can break before or after any of its operations."""

from __future__ import annotations


class Broken(Exception):  # noqa: N818 - what a kill looks like from inside
    """The process died here."""


class MemoryStore:
    """Files in a dict; after ``fuse`` operations it breaks, ``late``: once the last has worked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fuse: int | None = None
        self.late = False

    def names(self, folder: str) -> list[str]:
        self._burn()
        below = f"{folder}/"
        found = {
            path.removeprefix(below).split("/")[0] for path in self.files if path.startswith(below)
        }
        return sorted(found)

    def read(self, path: str) -> bytes:
        self._burn()
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def put(self, path: str, data: bytes) -> None:
        if not self._burn():
            self.files[path] = data
            return
        self.files[path] = data
        raise Broken

    def remove(self, path: str) -> None:
        broken = self._burn()
        self.files.pop(path, None)
        if broken:
            raise Broken

    def _burn(self) -> bool:
        """Count one operation; true: it works, and is the last."""
        if self.fuse is None:
            return False
        self.fuse -= 1
        if self.fuse >= 0:
            return False
        self.fuse = None
        if not self.late:
            raise Broken
        return True
