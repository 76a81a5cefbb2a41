"""Commands and the fleet's announcements: what people and their programs say over MQTT.

An input is a topic, a line feed and a payload.  Whatever comes, the answer is
JSON that names no more than the request did, and what took effect stands in
the control log so that another engine, told the same, stands where ours does.
"""

from __future__ import annotations

import io

import msgspec
from door_state import NOW, VERDICT, WORK, minute, plain_engine

from offbeat_edge.commands import Commands
from offbeat_edge.control import Rename
from offbeat_edge.control import decode as decode_control
from offbeat_edge.durable import Durable
from offbeat_edge.link import Message
from offbeat_edge.log import Log
from offbeat_edge.store import Store
from offbeat_edge.voice import Topics

TOPICS = Topics("gw1")
MAX_ANSWER_BYTES = 4096
RENAME = Rename(id="3", asset="p1", to="p9", time_ms=NOW)
SAID = (
    ("offbeat/gw1/cmd/ping", b'{"id": "0"}'),
    ("offbeat/gw1/cmd/rename", msgspec.json.encode(RENAME)),
    ("offbeat/gw1/cmd/maintenance", msgspec.json.encode(WORK)),
    ("offbeat/fleet/maintenance/p1", msgspec.json.encode(WORK)),
    ("offbeat/fleet/feedback/p1", msgspec.json.encode(VERDICT)),
)
COMMANDS = tuple(topic.encode() + b"\n" + payload for topic, payload in SAID)


def command(data: bytes) -> None:
    """One message."""
    topic, _, payload = data.partition(b"\n")
    ours, other = plain_engine(), plain_engine()
    for one in (ours, other):
        one.feed(minute(NOW))
    store = Store(path=":memory:", outbox_limit_bytes=1 << 20)
    store.open()
    durable = Durable(
        store=store, engine=ours, topic_of=TOPICS.alert, log=Log(stream=io.StringIO()),
        wall_ms=lambda: NOW,
    )  # fmt: skip
    commands = Commands(topics=TOPICS, durable=durable, monotonic=lambda: 0.0)
    commands.take(
        Message(topic.decode(errors="replace"), payload, 1, retain=False, mid=1, generation=1)
    )
    durable.commit()
    for row in store.pending(after=0, limit=100):
        assert len(row.payload) <= MAX_ANSWER_BYTES
        msgspec.json.decode(row.payload)
    for logged in store.controls():
        other.control(decode_control(logged.body).control)
    assert other.snapshot() == ours.snapshot()
    store.close()
