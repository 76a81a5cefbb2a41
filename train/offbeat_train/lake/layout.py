"""Where things lie in a lake, and in which order parts count.

A part's name begins with when it was begun (epoch ms, sixteen digits), so
that names sort by arrival; imports sort behind everything recorded.

>>> samples_folder("p1", "2026-01-31"), day_of(1_700_000_000_000)
('samples/asset=p1/day=2026-01-31', '2023-11-14')
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offbeat_train.lake.store import Store

SAMPLES = "samples"
SUFFIX = ".parquet"
IMPORTED = "9" * 16  # the stamp of parts that were imported: what was recorded counts before
DAY_MS = 86_400_000
_ASSET, _DAY = "asset=", "day="


def samples_folder(asset: str, day: str) -> str:
    """Return the folder of an asset's day."""
    return f"{SAMPLES}/{_ASSET}{asset}/{_DAY}{day}"


def events_folder(kind: str, day: str) -> str:
    """Return the folder of a day's events."""
    return f"{kind}/{_DAY}{day}"


def part_key(stamp_ms: int, tag: str) -> str:
    """Return a part's name, without its suffix.

    >>> part_key(1_700_000_000_000, "3f")
    '0001700000000000-3f'
    """
    return f"{stamp_ms:016d}-{tag}"


def day_of(time_ms: int) -> str:
    """Return the UTC day of an event time."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d}"


def day_start_ms(day: str) -> int:
    """Return where a day begins, epoch ms."""
    return int((date.fromisoformat(day) - date(1970, 1, 1)) / timedelta(milliseconds=1))


def assets(store: Store) -> list[str]:
    """Return the names of all assets that have samples, sorted."""
    return [name.removeprefix(_ASSET) for name in store.names(SAMPLES) if name.startswith(_ASSET)]


def days(
    store: Store, folder: str, start_ms: int | None = None, end_ms: int | None = None
) -> list[str]:
    """Return the days below a folder that touch [start, end), sorted."""
    low = "" if start_ms is None else day_of(start_ms)
    found = [n.removeprefix(_DAY) for n in store.names(folder) if n.startswith(_DAY)]
    return [day for day in found if day >= low and (end_ms is None or day_start_ms(day) < end_ms)]


def asset_days(
    store: Store, asset: str, start_ms: int | None = None, end_ms: int | None = None
) -> list[str]:
    """Return an asset's days that touch [start, end), sorted."""
    return days(store, f"{SAMPLES}/{_ASSET}{asset}", start_ms, end_ms)


def parts(store: Store, folder: str) -> list[str]:
    """Return the names of a folder's parts in the order in which they count."""
    return [name for name in store.names(folder) if name.endswith(SUFFIX)]
