"""The topics of a gateway's known assets: who subscribes to what.

Rules: one file beside the shards' states, written by the finder and replaced
whole; a shard reads it and takes its own part.  An asset once known stays
known: its shard subscribes to it for as long as it is in the file.

>>> register = Register({"plant/p1/+": Place("p1", 1), "plant/p2/+": Place("p2", 1)})
>>> sorted(register.part(0, 2)) + sorted(register.part(1, 2))
['plant/p1/+', 'plant/p2/+']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from offbeat_edge import files
from offbeat_edge.errors import StoreError
from offbeat_edge.shards.owner import owner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "assets.json"


class Place(NamedTuple):
    """Whose samples come under a filter, and at which QoS."""

    asset: str
    qos: int


class Register:
    """Filter → place of all known assets."""

    def __init__(self, places: Mapping[str, Place] | None = None) -> None:
        self.places = dict(places or {})

    def add(self, name: str, place: Place) -> bool:
        """Take note of a filter; return whether it is new."""
        new = self.places.get(name) != place
        self.places[name] = place
        return new

    @property
    def assets(self) -> set[str]:
        """Names of the known assets."""
        return {place.asset for place in self.places.values()}

    def part(self, shard: int, shards: int) -> dict[str, int]:
        """Return what one shard subscribes to, filter → QoS."""
        return {
            name: place.qos
            for name, place in self.places.items()
            if owner(place.asset, shards) == shard
        }


def load(folder: Path) -> Register:
    """Read the register; an empty one when there is none.

    Raises
    ------
    StoreError : there is one that cannot be read: assets would go unwatched.
    """
    path = folder / FILE
    try:
        return Register(msgspec.json.decode(path.read_bytes(), type=dict[str, Place]))
    except FileNotFoundError:
        return Register()
    except (OSError, msgspec.MsgspecError) as error:
        raise StoreError(f"{path}: expected the register of known assets, got: {error}") from error


def save(folder: Path, register: Register) -> None:
    """Replace the register; raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.replace(folder / FILE, msgspec.json.encode(register.places))
    except OSError as error:
        raise StoreError(f"{folder / FILE}: cannot be written: {error}") from error
