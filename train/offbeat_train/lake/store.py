"""Files of a lake, in a local folder or behind any pyarrow filesystem.

Rules: a file is whole or not there: locally it is written under a temporary
name, synced and renamed, on object stores a put is atomic; paths are relative
to the lake's root, with ``/``; foreign errors become `LakeError` here.

>>> import tempfile
>>> store = open_store(tempfile.mkdtemp())
>>> store.put("a/b", b"hello")
>>> store.names("a"), bytes(store.read("a/b")), store.names("absent")
(['b'], b'hello', [])
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from offbeat_edge import files
from offbeat_train.errors import LakeError, LakeUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN = "."  # begins the name of a file not yet whole; readers pass it over


class Store(Protocol):
    """What a lake needs of the place it lies in."""

    def names(self, folder: str) -> list[str]:
        """Return what lies directly in a folder, sorted; nothing when there is none."""
        ...

    def read(self, path: str) -> memoryview | bytes:
        """Return a file's bytes; FileNotFoundError when it is gone."""
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file durably, over one that is there."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone is no error."""
        ...


def open_store(uri: str) -> Store:
    """Return the store at a local path or a URI: ``file://``, ``s3://bucket/prefix?region=…``.

    Raises
    ------
    LakeError : it is no address that can be understood.
    """
    if "://" not in uri:
        return LocalStore(Path(uri).expanduser().absolute())
    if urlsplit(uri).scheme == "file":
        return LocalStore(Path(unquote(urlsplit(uri).path)))
    try:
        system, root = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LakeError(f"expected a folder or a URI such as s3://bucket/lake, got: {error}",
                        path=uri) from error  # fmt: skip
    return ArrowStore(system, root)


class LocalStore:
    """A folder on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, folder: str) -> list[str]:
        """Return what lies directly in a folder, sorted."""
        with _local_errors(folder):
            try:
                found = [entry.name for entry in (self.root / folder).iterdir()]
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(name for name in found if not name.startswith(HIDDEN))

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        with _local_errors(path):
            return (self.root / path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        """Write beside, sync, rename, sync the folder."""
        target = self.root / path
        with _local_errors(path):
            self._make(target.parent)
            files.replace(target, data)

    def remove(self, path: str) -> None:
        """Remove a file."""
        with _local_errors(path):
            (self.root / path).unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it, each durable in its parent."""
        if folder.is_dir():
            return
        if folder.parent != folder:
            self._make(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        files.sync_folder(folder.parent)


class ArrowStore:
    """A bucket, or anything else pyarrow has a filesystem for.

    Parameters
    ----------
    system : a pyarrow filesystem whose put is atomic.
    root : the lake's path in it.
    """

    def __init__(self, system: Any, root: str) -> None:  # noqa: ANN401 - Arrow ships no types
        self._system = system
        self._root = root.rstrip("/")

    def names(self, folder: str) -> list[str]:
        """Return what lies directly in a folder, sorted."""
        selector = fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True)
        with _remote_errors(folder):
            return sorted(info.base_name for info in self._system.get_file_info(selector))

    def read(self, path: str) -> memoryview:
        """Return a file's bytes."""
        with _remote_errors(path), self._system.open_input_file(f"{self._root}/{path}") as file:
            return memoryview(file.read_buffer())

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file; folders are made where the filesystem has any."""
        target = f"{self._root}/{path}"
        with _remote_errors(path):
            if not isinstance(self._system, fs.S3FileSystem):
                self._system.create_dir(target.rsplit("/", 1)[0], recursive=True)
            with self._system.open_output_stream(target) as file:
                file.write(data)

    def remove(self, path: str) -> None:
        """Remove a file."""
        with _remote_errors(path), contextlib.suppress(FileNotFoundError):
            self._system.delete_file(f"{self._root}/{path}")


@contextlib.contextmanager
def _local_errors(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LakeUnavailable(f"{error.strerror or error}", path=path) from error


@contextlib.contextmanager
def _remote_errors(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise LakeUnavailable(" ".join(str(error).split()), path=path) from error
