"""States of some daemons → states of others, asset by asset.

Rules: pure; works on what a snapshot holds without knowing it: what is kept
by asset goes with the asset, all else goes to everyone.

>>> old = msgspec.msgpack.encode({"schema": "1.0", "assets": {"p1": 1, "p2": 2}})
>>> [sorted(assets(part)) for part in split([old], 2)]
[[], ['p1', 'p2']]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from offbeat_edge.shards.owner import owner

if TYPE_CHECKING:
    from collections.abc import Iterable

BY_ASSET = ("assets", "upkeep")  # keys of a snapshot that map asset → something


def split(snapshots: Iterable[bytes], shards: int) -> list[bytes]:
    """Return a snapshot for each shard.

    Raises
    ------
    ValueError : two snapshots hold one asset: they are not of one gateway.
    """
    parts: list[dict[str, Any]] = [{} for _ in range(shards)]
    for snapshot in snapshots:
        for key, value in _decode(snapshot).items():
            for number, part in enumerate(parts):
                if key in BY_ASSET:
                    _take(part.setdefault(key, {}), value, number, shards)
                else:
                    part[key] = _both(part.get(key), value)
    return [msgspec.msgpack.encode(part) for part in parts]


def assets(snapshot: bytes) -> list[str]:
    """Return the names of the assets in a snapshot."""
    return list(_decode(snapshot).get("assets", {}))


def _take(mine: dict[str, Any], value: dict[str, Any], number: int, shards: int) -> None:
    for asset, state in value.items():
        if owner(asset, shards) == number:
            if asset in mine:
                raise ValueError(f"expected each asset once, got {asset!r} twice")
            mine[asset] = state


def _both(one: Any, other: Any) -> Any:  # noqa: ANN401 - a snapshot's, whatever it is
    """Join what is not kept by asset: lists and maps of two states, else the later one."""
    if isinstance(one, list):
        return one + [item for item in other if item not in one]
    return {**one, **other} if isinstance(one, dict) else other


def _decode(snapshot: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.msgpack.decode(snapshot)
    return decoded
