"""Reads the MQTT packets that pass a proxy: what reached the daemon, what left it."""

from __future__ import annotations

import json
from collections import defaultdict

from rig import Reading

CONNECT, PUBLISH, PUBACK = 1, 3, 4
VERSION_AT = 6  # in the body of CONNECT, behind the protocol's name
MQTT5 = 5


class Tap:
    """Collects whole PUBLISH packets, each way.

    Attributes
    ----------
    delivered : sensor messages to the daemon, repeats included, in order.
    acknowledged : how many of them the daemon has said to have.
    published : ids of alert events from the daemon (``stale`` left out).
    """

    def __init__(self) -> None:
        self.delivered: list[Reading] = []
        self.acknowledged = 0
        self.published: set[str] = set()
        self._buffers: dict[tuple[int, str], bytearray] = defaultdict(bytearray)
        self._version: dict[int, int] = {}

    def feed(self, connection: int, way: str, data: bytes) -> None:
        """Take bytes of one connection, ``way`` being "up" from the daemon or "down" to it."""
        buffer = self._buffers[connection, way]
        buffer += data
        while (packet := _cut(buffer)) is not None:
            self._packet(connection, way, *packet)

    def _packet(self, connection: int, way: str, head: int, body: bytes) -> None:
        if head >> 4 == CONNECT:
            self._version[connection] = body[VERSION_AT]
        if head >> 4 == PUBACK and way == "up":
            self.acknowledged += 1
        if head >> 4 != PUBLISH:
            return
        topic, payload = _publish(head, body, self._version[connection])
        if way == "down":
            self.delivered.append(Reading(topic, payload))
        elif topic.endswith("/alert"):
            event = json.loads(payload)
            if event["kind"] != "stale":
                self.published.add(event["id"])


def _cut(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take one whole packet off the front: its first byte and its body."""
    length, shift, at = 0, 0, 1
    while True:
        if at >= len(buffer):
            return None
        length |= (buffer[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if buffer[at - 1] < 128:
            break
    if len(buffer) < at + length:
        return None
    head, body = buffer[0], bytes(buffer[at : at + length])
    del buffer[: at + length]
    return head, body


def _publish(head: int, body: bytes, version: int) -> tuple[str, bytes]:
    size = int.from_bytes(body[:2], "big")
    topic, at = body[2 : 2 + size].decode(), 2 + size
    at += 2 if head >> 1 & 3 else 0
    if version == MQTT5:
        at += 1 + body[at]  # properties; ours and Mosquitto's are shorter than 128
    return topic, body[at:]
