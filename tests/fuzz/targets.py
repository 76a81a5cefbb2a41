"""What is fuzzed: each door through which other people's bytes come in.

Rules: a target takes any bytes; it returns, or raises what its door documents
(caught there), or it has found a bug.  What came through is checked against
the door's promises.  Seeds are valid inputs, made by the code itself where it
can make them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import door_bundle
import door_command
import door_config
import door_fleet
import door_payload
import door_state

if TYPE_CHECKING:
    from collections.abc import Callable


class Target(NamedTuple):
    """One door.

    run : takes any bytes. seeds : valid ones.
    modules : of offbeat_edge, those whose branches guide the search and are counted.
    most : bytes of an input.
    weight : its share of the inputs, by what it costs and how wide it stands open.
    """

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    modules: tuple[str, ...]
    most: int = 2048
    weight: float = 1.0


PAYLOAD = (
    "payload.decoder", "payload.message", "payload.records", "payload.fields", "payload.json_path",
    "timestamps", "topics",
)  # fmt: skip
BUNDLE = ("bundle", "archive", "manifest", "manifest_check", "golden")
ENGINE = ("engine", "watch", "window", "alert", "alertbook", "sensorcheck")

TARGETS = {
    "payload-json": Target(door_payload.payload_json, door_payload.JSON, PAYLOAD, weight=2.0),
    "payload-number": Target(door_payload.payload_number, door_payload.NUMBERS, PAYLOAD),
    "payload-influx": Target(
        door_payload.payload_influx,
        door_payload.INFLUX,
        (*PAYLOAD, "payload.influx", "payload.telegraf"),
        most=1024,
        weight=0.5,
    ),
    "payload-sparkplug": Target(
        door_payload.payload_sparkplug,
        door_payload.SPARKPLUG,
        ("sparkplug.host", "sparkplug.metric", "sparkplug.proto"),
    ),
    "topics": Target(door_payload.topics, door_payload.TOPICS, ("topics",)),
    "times": Target(door_payload.times, door_payload.TIMES, ("timestamps", "payload.json_path")),
    "archive": Target(door_bundle.unpacked, (door_bundle.LITTLE,), ("archive",)),
    "bundle": Target(door_bundle.whole, (door_bundle.LITTLE,), BUNDLE),
    "manifest": Target(
        door_bundle.manifest, (door_bundle.SEALED,), (*BUNDLE, "canonical"), most=4096, weight=0.5
    ),
    "golden": Target(door_bundle.golden_windows, door_bundle.GOLDENS, ("golden",)),
    "modelfile": Target(
        door_bundle.model_file, door_bundle.MODELS, ("modelfile",), most=16384, weight=0.5
    ),
    "journal": Target(door_state.journal, door_state.contents(), ("journal",)),
    "control": Target(door_state.control, door_state.CONTROLS, ("control",)),
    "command": Target(
        door_command.command, door_command.COMMANDS, ("commands", "control"), weight=0.5
    ),
    "inflate": Target(door_state.inflated, door_state.BLOBS, ("journal",)),
    "snapshot": Target(door_state.snapshot, door_state.SNAPSHOTS, ENGINE, weight=0.5),
    "config": Target(
        door_config.config,
        door_config.SEEDS,
        ("config", "strict", "topics", "payload.json_path"),
        most=4096,
        weight=0.5,
    ),
    "rollout": Target(door_fleet.rollout, door_fleet.ROLLOUTS, ("delivery.assignment",)),
    "delivery-topic": Target(door_fleet.delivery_topic, door_fleet.TOPICS, ("delivery.wire",)),
}
