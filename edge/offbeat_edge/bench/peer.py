"""The subscribers a daemon is measured beside: one that does nothing, one that decodes JSON.

``python -m offbeat_edge.bench.peer KIND HOST PORT ROOT WINDOW``: plain paho, MQTT 5,
with the daemon's receive window.  It subscribes to ``ROOT/KIND/+`` at QoS 1
and answers each message ``end`` on ``ROOT/done/KIND`` with how many came before it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from collections.abc import Callable

    Look = Callable[[bytes | bytearray], object]

KINDS = ("bare", "decode")
END = b"end"


class Peer:
    """A subscriber that counts; ``look`` is all the work it does on a payload."""

    def __init__(self, *, kind: str, root: str, look: Look | None) -> None:
        self._topics = f"{root}/{kind}/+"
        self._done = f"{root}/done/{kind}"
        self._look = look
        self._count = 0
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="", protocol=MQTTv5)
        self._client.on_subscribe = lambda *_: self._say(b"ready")
        self._client.on_message = self._bare if look is None else self._decoding

    def run(self, host: str, port: int, window: int) -> None:
        """Serve until killed."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = window
        self._client.connect(host, port, properties=properties)
        self._client.subscribe(self._topics, qos=1)
        self._client.loop_forever()

    def _bare(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._count += 1
        if message.payload == END:
            self._end()

    def _decoding(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._count += 1
        if message.payload == END:
            self._end()
        elif self._look is not None:
            self._look(message.payload)

    def _end(self) -> None:
        self._say(b"%d" % (self._count - 1))
        self._count = 0

    def _say(self, what: bytes) -> None:
        self._client.publish(self._done, what, qos=1)


def main(argv: list[str]) -> int:
    """Be a subscriber."""
    kind, host, port, root, window = argv
    decoder = msgspec.json.Decoder()
    peer = Peer(kind=kind, root=root, look=decoder.decode if kind == "decode" else None)
    peer.run(host, int(port), int(window))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
