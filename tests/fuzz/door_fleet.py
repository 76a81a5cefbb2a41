"""What comes under ``offbeat/fleet``: whose bundle runs where, and topics that name its parts."""

from __future__ import annotations

import msgspec

from offbeat_edge.delivery import assignment, wire
from offbeat_edge.errors import DeliveryError

PLAN = assignment.Rollout(
    model="pump", version=7, time_ms=1_750_000_000_000, keep=("c" * 64,),
    stages=(
        assignment.Stage(mode="canary", bundle="b" * 64, gateways=("gw1", "hall2-*")),
        assignment.Stage(mode="active", bundle="a" * 64),
        assignment.Stage(mode="shadow", bundle="d" * 64),
    ),
)  # fmt: skip
ROLLOUTS = (msgspec.json.encode(PLAN),)
TOPICS = tuple(
    topic.encode()
    for topic in (wire.meta_topic("12.targets.json"), wire.chunk_topic("a" * 64, 3), "a/b/c")
)


def rollout(data: bytes) -> None:
    """A signed document: what it assigns, if it can be read, is one bundle that runs at most."""
    try:
        plan = assignment.decode(data, model="pump", seen=3)
    except DeliveryError:
        return
    for gateway in ("gw1", "hall2-x", ""):
        running = [stage for stage in plan.of(gateway) if stage.mode != "shadow"]
        assert len(running) <= 1


def delivery_topic(data: bytes) -> None:
    """A topic: the name it gives is no path."""
    topic = data.decode(errors="replace")
    name, chunk = wire.meta_name(topic), wire.chunk_of(topic)
    assert name is None or not {"/", "\x00"} & set(name)
    assert chunk is None or (len(chunk.sha256) == 64 and chunk.number >= 0)
