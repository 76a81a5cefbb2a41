"""Compaction: the parts of a day become one.

Rules: the new part is written before the old ones go, so that a crash at
any point leaves the same rows, and a reader that meets both sees each row
once; only parts that were read are removed; one that cannot be read stops
it, with nothing removed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from offbeat_train.lake import layout, rows
from offbeat_train.lake.events import KINDS
from offbeat_train.lake.reader import read_parts

if TYPE_CHECKING:
    from offbeat_train.lake.events import Kind, R
    from offbeat_train.lake.store import Store

MAX_PARTS = 64  # of a day that is still written to; more are made one


def compact(store: Store, folder: str, *, most: int = 1) -> bool:
    """Make the parts of one folder one if there are more than ``most``; true if so.

    Raises
    ------
    LakeError : a part cannot be read, or the store refuses.
    """
    if len(layout.parts(store, folder)) <= most:
        return False
    for kind in KINDS:
        if folder.startswith(f"{kind.folder}/"):
            return _compact_events(store, folder, kind)
    names, found = read_parts(store, folder, rows.decode)
    return _replace(store, folder, names, rows.encode(rows.merge(found)))


def closed_folders(store: Store, *, since_ms: int, until_ms: int) -> list[str]:
    """Return the folders of whole days from ``since`` on that were over at ``until``."""
    last = layout.day_of(until_ms)
    found = []
    for asset in layout.assets(store):
        days = layout.asset_days(store, asset, since_ms, until_ms)
        found += [layout.samples_folder(asset, day) for day in days if day < last]
    for kind in KINDS:
        days = layout.days(store, kind.folder, since_ms, until_ms)
        found += [layout.events_folder(kind.folder, day) for day in days if day < last]
    return found


def _compact_events(store: Store, folder: str, kind: Kind[R]) -> bool:
    names, found = read_parts(store, folder, kind.read)
    whole = kind.encode(kind.once(event for part in found for event in part))
    return _replace(store, folder, names, whole)


def _replace(store: Store, folder: str, names: list[str], whole: bytes) -> bool:
    """Put one part in the place of many; it counts from when the first of them was begun."""
    if len(names) < 2:
        return False
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    merged = f"{names[0].split('-')[0]}-c{digest}{layout.SUFFIX}"
    store.put(f"{folder}/{merged}", whole)
    for name in names:
        if name != merged:
            store.remove(f"{folder}/{name}")
    return True
