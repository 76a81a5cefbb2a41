"""Writing to a lake: batches of samples and events become parts.

Rules: a batch has a key, which names its parts; writing the batch again
under the same key, after a crash or for good measure, changes nothing.  A
batch in any number of parts, in any folder order, leaves the same rows.

>>> import tempfile
>>> from offbeat_train.lake import open_lake
>>> lake = open_lake(tempfile.mkdtemp())
>>> Writer(lake.store).samples("0000000000000001-a", {"p1": [(1000, {"flow": 2.5})]})
['samples/asset=p1/day=1970-01-01']
>>> lake.samples("p1")["flow"].tolist()
[2.5]
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from offbeat_train.lake import layout, rows
from offbeat_train.lake.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from offbeat_train.lake.events import Kind, R
    from offbeat_train.lake.store import Store


class Writer:
    """Puts parts into a lake's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def samples(
        self, key: str, readings: Mapping[str, Sequence[tuple[int, Mapping[str, float]]]]
    ) -> list[str]:
        """Write readings (asset → (time in ms, values) in order of arrival); return the folders."""
        folders = []
        for asset, of_asset in readings.items():
            folders += self.rows(key, asset, rows.rows_of(of_asset))
        return folders

    def rows(self, key: str, asset: str, all_rows: Rows) -> list[str]:
        """Write an asset's rows, a part a day; return the folders."""
        folders = []
        for day, some in _by_day(all_rows):
            folder = layout.samples_folder(asset, day)
            self._store.put(f"{folder}/{key}{layout.SUFFIX}", rows.encode(some))
            folders.append(folder)
        return folders

    def events(self, key: str, kind: Kind[R], events: Iterable[R]) -> list[str]:
        """Write events, a part a day; return the folders."""
        by_day: defaultdict[str, list[R]] = defaultdict(list)
        for event in events:
            by_day[layout.day_of(event.time_ms)].append(event)
        folders = []
        for day, of_day in by_day.items():
            folder = layout.events_folder(kind.folder, day)
            self._store.put(f"{folder}/{key}{layout.SUFFIX}", kind.encode(kind.once(of_day)))
            folders.append(folder)
        return folders


def _by_day(all_rows: Rows) -> Iterable[tuple[str, Rows]]:
    """Cut rows at midnight; sensors that a day does not have are left out of it."""
    day = all_rows.times // layout.DAY_MS
    edges = [0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), len(day)]
    for low, high in itertools.pairwise(edges):
        if high > low:
            some = all_rows.matrix[low:high]
            kept = np.flatnonzero(~np.isnan(some).all(axis=0))
            sensors = tuple(all_rows.sensors[i] for i in kept)
            yield (
                layout.day_of(int(all_rows.times[low])),
                Rows(all_rows.times[low:high], np.ascontiguousarray(some[:, kept]), sensors),
            )
