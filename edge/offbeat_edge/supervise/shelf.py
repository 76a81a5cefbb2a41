"""Bundles that ran here, kept by digest: what a start or a repair can go back to.

Rules: ``<digest>.offbeat`` beside ``shelf.json``, which names the last good
bundles of every ``[[model]]`` and what was ordered in its place; both are
replaced whole.  Only verified bytes come here, and they are verified again
when they are taken out.  A shelf that cannot be written costs the way back,
not the watch.

>>> shelf = Shelf(folder)  # doctest: +SKIP
>>> shelf.keep(digest, data); shelf.good("/etc/offbeat/pump.offbeat", digest)  # doctest: +SKIP
>>> shelf.last_good("/etc/offbeat/pump.offbeat")  # doctest: +SKIP
['9f2c...']
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from offbeat_edge import files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

SUFFIX = ".offbeat"
RECORD = "shelf.json"
MAX_GOOD = 2  # bundles remembered for each model: the one at work, and the one before
MAX_MODELS = 1000


class _Record(msgspec.Struct, kw_only=True):
    schema: str = "1.0"
    good: dict[str, list[str]] = {}  # path of the configuration → digests, newest first
    ordered: dict[str, str] = {}  # path → the digest that runs in its place


class Shelf:
    """One folder of bundles.

    Parameters
    ----------
    folder : made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._record = self._load()

    def path(self, digest: str) -> Path:
        """Return where a bundle lies, or would."""
        return self.folder / f"{digest}{SUFFIX}"

    def keep(self, digest: str, data: bytes) -> bool:
        """Keep a verified bundle's bytes; return whether the disk took them."""
        path = self.path(digest)
        with contextlib.suppress(OSError):
            if path.exists() and path.read_bytes() == data:
                return True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace(path, data)
        except OSError:
            return False
        return True

    def last_good(self, model: str) -> list[str]:
        """Return the digests that worked for a ``[[model]]``'s path, newest first."""
        return list(self._record.good.get(model, []))

    def good(self, model: str, digest: str) -> None:
        """Remember that a bundle works."""
        before = self.last_good(model)
        if before[:1] != [digest]:
            after = [digest, *(other for other in before if other != digest)]
            self._change(lambda record: record.good.update({model: after[:MAX_GOOD]}))

    def ordered(self, model: str) -> str | None:
        """Return the digest that was ordered in place of a ``[[model]]``'s own bundle."""
        return self._record.ordered.get(model)

    def order(self, model: str, digest: str | None) -> None:
        """Remember such an order; None ends it."""
        if digest is None:
            self._change(lambda record: record.ordered.pop(model, None))
        elif digest != self.ordered(model):
            self._change(lambda record: record.ordered.update({model: digest}))

    def prune(self, keep: Collection[str]) -> list[str]:
        """Remove bundles that are neither in ``keep`` nor remembered; return their digests."""
        remembered = {digest for digests in self._record.good.values() for digest in digests}
        wanted = {*keep, *remembered, *self._record.ordered.values()}
        gone = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            digest = path.name.removesuffix(SUFFIX)
            if digest not in wanted:
                with contextlib.suppress(OSError):
                    path.unlink()
                    gone.append(digest)
        return gone

    def _change(self, change: Callable[[_Record], object]) -> None:
        change(self._record)
        while len(self._record.good) > MAX_MODELS:
            del self._record.good[next(iter(self._record.good))]
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace(self.folder / RECORD, msgspec.json.encode(self._record))

    def _load(self) -> _Record:
        try:
            return msgspec.json.decode((self.folder / RECORD).read_bytes(), type=_Record)
        except (OSError, msgspec.MsgspecError):
            return _Record()
