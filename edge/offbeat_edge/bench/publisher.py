r"""A publisher that costs next to nothing: packets encoded beforehand, one write.

Enough of MQTT 3.1.1 for that and no more.  Any client library in Python
would cost as much as the subscribers it is there to load.

>>> publish_packet("a/b", b"x", qos=0, mid=0)
b'0\x06\x00\x03a/bx'
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from offbeat_edge.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 60.0  # for the broker to take a burst
_CONNECT = struct.Struct(">H4sBBH")
_CONNACK_BYTES = _PUBACK_BYTES = 4
_CLEAN = 0x02
_MIDS = 65_535
_CHUNK = 65_536  # bytes read at once


class Publisher:
    """A connection that sends bursts.

    Raises
    ------
    LinkError : the broker cannot be reached, refuses, or stops to answer.
    """

    def __init__(self, host: str, port: int) -> None:
        body = _CONNECT.pack(4, b"MQTT", 4, _CLEAN, 0) + b"\x00\x00"
        try:
            self._socket = socket.create_connection((host, port), TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(b"\x10" + _length(len(body)) + body)
            answer = self._socket.recv(_CONNACK_BYTES)
        except OSError as error:
            raise LinkError(f"bench: {host}:{port}: {error}") from error
        if answer[3:] != b"\x00":
            raise LinkError(f"bench: {host}:{port}: expected to be let in, got {answer.hex()}")

    def burst(self, messages: Sequence[tuple[str, bytes]], *, qos: int) -> bytes:
        """Encode messages for `send`; fewer than 65,536."""
        return b"".join(
            publish_packet(topic, payload, qos=qos, mid=n % _MIDS + 1)
            for n, (topic, payload) in enumerate(messages)
        )

    def send(self, burst: bytes, *, acknowledgements: int) -> None:
        """Write a burst; wait until the broker has acknowledged so many messages."""
        try:
            self._socket.sendall(burst)
            owed = acknowledgements * _PUBACK_BYTES
            while owed > 0:
                heard = len(self._socket.recv(_CHUNK))
                if not heard:
                    raise LinkError("bench: the broker closed the connection of the publisher")
                owed -= heard
        except OSError as error:
            raise LinkError(f"bench: publishing: {error}") from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def publish_packet(topic: str, payload: bytes, *, qos: int, mid: int) -> bytes:
    """Encode one PUBLISH; the id counts at QoS 1 only."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + (struct.pack(">H", mid) if qos else b"") + payload
    return bytes([0x30 | qos << 1]) + _length(len(body)) + body


def _length(value: int) -> bytes:
    encoded = bytearray()
    while True:
        value, digit = divmod(value, 128)
        encoded.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(encoded)
