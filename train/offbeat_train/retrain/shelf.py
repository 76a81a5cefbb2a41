"""The registry of one model: a folder of versions, a champion, an unfinished job.

::

    REGISTRY/<model>/champion               the version in force, one line
    REGISTRY/<model>/<version>/             bundle.offbeat, weights.npz, report.html,
                                            report.json, verdict.json, verdict.html
    REGISTRY/<model>/.job.json              what an unfinished job set out to do
    REGISTRY/<model>/.lock                  held by the job at work

Rules: files are replaced whole and synced before anything speaks of them; a
version appears at once with all that makes it, or not at all; every act may
be repeated.  A killed job leaves a draft (a name with a dot) that the next
one clears away, and its plan, which the next one follows.

>>> shelf = Shelf(Path("registry"), "pump")  # doctest: +SKIP
>>> shelf.champion().bundle  # doctest: +SKIP
PosixPath('registry/pump/20260102T030405Z/bundle.offbeat')
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offbeat_broker.registry import replace, sync_folder
from offbeat_train.errors import RegistryBusy, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHAMPION, JOB, LOCK = "champion", ".job.json", ".lock"
BUNDLE, WEIGHTS, VERDICT, VERDICT_PAGE = (
    "bundle.offbeat", "weights.npz", "verdict.json", "verdict.html",
)  # fmt: skip
REPORT, REPORT_PAGE = "report.json", "report.html"
DRAFT = ".draft."  # a version in the making
_NAME = re.compile(r"[a-z0-9_-][a-z0-9_.-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,63}")


@dataclass(frozen=True)
class Version:
    """One version's folder; what it holds may be missing while a job is unfinished."""

    folder: Path

    @property
    def name(self) -> str:
        """The version."""
        return self.folder.name

    @property
    def bundle(self) -> Path:
        """The signed-off file that devices get."""
        return self.folder / BUNDLE

    @property
    def weights(self) -> Path:
        """The float network's weights, for the next warm start."""
        return self.folder / WEIGHTS

    @property
    def verdict(self) -> Path:
        """What the gate said."""
        return self.folder / VERDICT


class Shelf:
    """One model in a registry.

    Parameters
    ----------
    registry : the folder of all models; made when it is absent.
    model : the model's name, also its folder's.

    Raises
    ------
    RegistryError : a name that is no folder's.
    """

    def __init__(self, registry: Path, model: str) -> None:
        if not _NAME.fullmatch(model):
            raise RegistryError(f"model: expected a name of [a-z0-9_.-], got {model!r}")
        self.model = model
        self.folder = registry / model

    @contextmanager
    def held(self) -> Iterator[None]:
        """Work on it alone; clears away what a killed job left half made.

        Raises
        ------
        RegistryBusy : another job is at work on this model.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sweep()
            yield
        except BlockingIOError as error:
            raise RegistryBusy(
                f"{self.folder}: expected to work on it alone, another job holds {LOCK}"
            ) from error
        finally:
            os.close(descriptor)  # the kernel lets go of the lock, after a kill as well

    def versions(self) -> list[Version]:
        """Every version that is whole, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [p for p in self.folder.iterdir() if p.is_dir() and _VERSION.fullmatch(p.name)]
        return [Version(path) for path in sorted(found) if (path / BUNDLE).is_file()]

    def version(self, name: str) -> Version | None:
        """One version, if it is whole."""
        return next((version for version in self.versions() if version.name == name), None)

    def champion(self) -> Version | None:
        """The version in force; None before the first.

        Raises
        ------
        RegistryError : ``champion`` names a version that is not there.
        """
        path = self.folder / CHAMPION
        try:
            name = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        found = self.version(name)
        if found is None:
            raise RegistryError(f"{path}: expected a version with a bundle, got {name!r}")
        return found

    def free(self, name: str) -> str:
        """Give ``name``, or with a number behind it, whichever is not taken."""
        if not (self.folder / name).exists():
            return name
        number = 2
        while (self.folder / f"{name}.{number}").exists():
            number += 1
        return f"{name}.{number}"

    @contextmanager
    def adding(self, name: str) -> Iterator[Path]:
        """Fill a draft; it becomes the version when the block ends well."""
        draft = self.folder / f"{DRAFT}{name}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        for path in draft.iterdir():
            _sync_file(path)
        sync_folder(draft)
        draft.rename(self.folder / name)
        sync_folder(self.folder)

    def crown(self, name: str, *, instead_of: str | None) -> None:
        """Make a version the champion; doing it twice is doing it once.

        Raises
        ------
        RegistryError : the champion is another than the one it was compared
            with, or there is no such version.
        """
        if self.version(name) is None:
            raise RegistryError(f"{self.folder}: expected a version {name!r}, got none")
        champion = self.champion()
        now = None if champion is None else champion.name
        if now == name:
            return
        if now != instead_of:
            raise RegistryError(
                f"{self.folder / CHAMPION}: expected {instead_of!r}, with which {name!r} was "
                f"compared, got {now!r}"
            )
        replace(self.folder / CHAMPION, f"{name}\n".encode())

    def job(self) -> bytes | None:
        """The plan of an unfinished job."""
        try:
            return (self.folder / JOB).read_bytes()
        except FileNotFoundError:
            return None

    def begin(self, plan: bytes) -> None:
        """Keep a job's plan until `end`."""
        replace(self.folder / JOB, plan)

    def end(self) -> None:
        """Forget the job."""
        (self.folder / JOB).unlink(missing_ok=True)
        sync_folder(self.folder)

    def _sweep(self) -> None:
        for path in self.folder.iterdir():
            if path.name.startswith(DRAFT):
                shutil.rmtree(path)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
