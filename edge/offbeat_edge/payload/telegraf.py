"""Telegraf's JSON: the points of line protocol, written otherwise.

Rules: pure; one point, a list of them, or ``{"metrics": [...]}``; a bad point
is refused alone; text and null fields are left out, as in line protocol.

>>> next(points({"name": "pump", "tags": {"host": "p1"}, "fields": {"speed": 7}, "timestamp": 9}))
Line(measurement='pump', tags={'host': 'p1'}, fields={'speed': 7}, stamp=9)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offbeat_edge.payload.influx import Line
from offbeat_edge.refusal import Refused, shown

if TYPE_CHECKING:
    from collections.abc import Iterator


def points(tree: object) -> Iterator[Line | Refused]:
    """Read every point; one that cannot be taken gives its ``Refused`` instead."""
    batch = tree.get("metrics") if isinstance(tree, dict) else tree
    for item in batch if isinstance(batch, list) else [tree]:
        yield _point(item)


def _point(item: object) -> Line | Refused:
    fields = item.get("fields") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(fields, dict):
        return Refused("not_influx", f"expected an object with fields, got {shown(item)}")
    tags = item.get("tags")
    named = tags if isinstance(tags, dict) else {}
    return Line(
        measurement=str(item.get("name", "")),
        tags={key: text for key, text in named.items() if isinstance(text, str)},
        fields={k: v for k, v in fields.items() if v is not None and not isinstance(v, str)},
        stamp=item.get("timestamp"),
    )
