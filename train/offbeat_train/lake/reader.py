"""Reading a lake: samples as frames, events as typed records.

Rules: ranges are half open, [start, end) in epoch ms; a part that compaction
replaced while we read makes us list again; a part that cannot be read is a
`LakeError` with its path, never passed over.

>>> lake = open_lake("/var/lib/offbeat/lake")  # doctest: +SKIP
>>> lake.samples("p1", start_ms=1_700_000_000_000)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from offbeat_train.errors import LakeError
from offbeat_train.lake import layout, rows
from offbeat_train.lake.events import (
    ALERTS,
    FEEDBACK,
    MAINTENANCE,
    Kind,
    R,
)
from offbeat_train.lake.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from offbeat_edge.control import Feedback, Maintenance
    from offbeat_edge.schema import AlertEvent
    from offbeat_train.lake.rows import Rows

MAX_TURNS = 10  # listings of a folder whose parts vanish under our hands

Part = TypeVar("Part")


def open_lake(uri: str) -> Lake:
    """Return the lake at a local folder or a URI (``file://``, ``s3://bucket/prefix?…``)."""
    return Lake(open_store(uri))


class Lake:
    """A lake to read from."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def assets(self) -> tuple[str, ...]:
        """Return the names of all assets that have samples, sorted."""
        return tuple(layout.assets(self.store))

    def samples(
        self, asset: str, start_ms: int | None = None, end_ms: int | None = None
    ) -> pd.DataFrame:
        """Return an asset's samples: a UTC time index, a float64 column a sensor, NaN absent.

        An asset nobody has heard of has none.
        """
        return self.rows(asset, start_ms, end_ms).frame()

    def rows(self, asset: str, start_ms: int | None = None, end_ms: int | None = None) -> Rows:
        """Return an asset's samples as arrays."""
        found = [
            read_rows(self.store, layout.samples_folder(asset, day))
            for day in layout.asset_days(self.store, asset, start_ms, end_ms)
        ]
        return rows.merge(found).between(start_ms, end_ms)

    def alerts(
        self, asset: str | None = None, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[AlertEvent]:
        """Return alert events whose event time is in the range, in order."""
        return self._events(ALERTS, asset, start_ms, end_ms)

    def feedback(
        self, asset: str | None = None, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[Feedback]:
        """Return what was said (``time_ms``) in the range, in order."""
        return self._events(FEEDBACK, asset, start_ms, end_ms)

    def maintenance(
        self, asset: str | None = None, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[Maintenance]:
        """Return what was announced or taken back (``time_ms``) in the range, in order."""
        return self._events(MAINTENANCE, asset, start_ms, end_ms)

    def _events(
        self, kind: Kind[R], asset: str | None, start_ms: int | None, end_ms: int | None
    ) -> list[R]:
        found: list[R] = []
        for day in layout.days(self.store, kind.folder, start_ms, end_ms):
            found += read_events(self.store, kind, layout.events_folder(kind.folder, day))
        low, high = start_ms or 0, float("inf") if end_ms is None else end_ms
        wanted = (e for e in found if low <= e.time_ms < high and asset in (None, e.asset))
        return kind.once(wanted)


def read_rows(store: Store, folder: str) -> Rows:
    """Return the merged rows of one asset's day."""
    return rows.merge(read_parts(store, folder, rows.decode)[1])


def read_events(store: Store, kind: Kind[R], folder: str) -> list[R]:
    """Return the events of one day, each once."""
    parts = read_parts(store, folder, kind.read)[1]
    return kind.once(event for part in parts for event in part)


def read_parts(
    store: Store, folder: str, decode: Callable[[memoryview | bytes, str], Part]
) -> tuple[list[str], list[Part]]:
    """Return the names of a folder's parts and what is in them, in their order.

    Raises
    ------
    LakeError : a part cannot be read, or parts never stop vanishing.
    """
    for _ in range(MAX_TURNS):
        names = layout.parts(store, folder)
        paths = [f"{folder}/{name}" for name in names]
        try:
            return names, [decode(store.read(path), path) for path in paths]
        except FileNotFoundError:
            continue  # compaction has replaced it: what it held is in a part not yet listed
    raise LakeError(f"expected parts that stay, got a change in each of {MAX_TURNS} listings",
                    path=folder)  # fmt: skip
