r"""Bytes from the broker → messages: plain publishes are read here, every other packet by paho.

Rules: paho takes about 40 µs for a PUBLISH: three reads of the socket, and objects for
properties, conditions and callbacks that nobody needs here; this takes 3.  *Plain* is what
has QoS 0 or 1, a topic in UTF-8 and no properties.  All else, what is malformed too, is handed
to paho, one packet at a time and in order, so paho alone decides on it.  Many PUBACKs
leave as one write, not each by itself.  Two private names of paho are used, the method it
reads with and the one it queues packets with; where the installed paho does not work through
them (``FITS``), the session leaves everything to paho.

>>> packets = Packets(five=True, generation=1)
>>> packets.add(bytes.fromhex("3006 0001 61 00 3432 d000".replace(" ", "")))
>>> packets.publish()
Message(topic='a', payload=b'42', qos=0, retain=False, mid=0, generation=1)
>>> packets.publish(), packets.whole()
(None, b'\xd0\x00')
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from paho.mqtt.client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paho.mqtt.enums import MQTTErrorCode

CHUNK = 65_536  # bytes read at once
LARGEST = 16 << 20  # bytes of a packet; MQTT allows 16 times that, which a device may not have
LENGTH_BYTES = 4  # the most that a packet's length takes
_PUBACK = struct.Struct("!BBH")  # 0x40, the length 2, and the message's id
_MORE = 0x80  # bit of a length's byte: another one follows
# First byte of a publish at QoS 0 or 1, whether or not it is sent anew → QoS, retain.
_PLAIN = {
    0x30 | dup << 3 | qos << 1 | retain: (qos, bool(retain))
    for dup in (0, 1)
    for qos in (0, 1)
    for retain in (0, 1)
}


class Message(NamedTuple):
    """A publish that arrived; ``mid`` means something in its generation only."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    generation: int


class Packets:
    """A stream of bytes, cut into packets.

    Parameters
    ----------
    five : MQTT 5; else 3.1.1.
    generation : number of the connection, copied into messages.
    """

    def __init__(self, *, five: bool, generation: int) -> None:
        self._five = five
        self._generation = generation
        self._data = bytearray()
        self._at = 0  # where the next packet starts
        self._rest = 0  # bytes of one that was begun, still to be taken

    def add(self, data: bytes) -> None:
        """Take bytes as they come."""
        del self._data[: self._at]
        self._at = 0
        self._data += data

    def publish(self) -> Message | None:
        """Return the next packet if it is all there and a plain publish.

        Not while one is `begun`.
        """
        data = self._data
        try:
            plain = _PLAIN.get(data[self._at])
            if plain is None:
                return None
            start, stop = _body(data, self._at)
            if stop > len(data):
                return None
            body = after = start + 2 + (data[start] << 8 | data[start + 1])
            qos, retain = plain
            if qos:
                body += 2
            if self._five:
                if data[body]:
                    return None  # the length of properties
                body += 1
            if body > stop or after == start + 2:
                return None
            topic = data[start + 2 : after].decode()
        except (IndexError, UnicodeDecodeError):
            return None
        mid = data[after] << 8 | data[after + 1] if qos else 0
        self._at = stop
        return Message(topic, bytes(data[body:stop]), qos, retain, mid, self._generation)

    def whole(self) -> bytes | None:
        """Return the next packet, or what was left of one that was begun, if it is all there."""
        stop = self._stop()
        if stop is None or stop > len(self._data):
            return None
        packet = bytes(self._data[self._at : stop])
        self._at, self._rest = stop, 0
        return packet

    def begun(self) -> bytes:
        """Return what is there of a packet that is not `whole`; b"" while its length is unknown."""
        stop, have = self._stop(), len(self._data)
        if stop is None:
            return b""
        part = bytes(self._data[self._at :])
        self._at, self._rest = have, stop - have
        return part

    @property
    def awaited(self) -> int:
        """Bytes that the next packet takes, or what was left of one; 0 while that is not known."""
        stop = self._stop()
        return 0 if stop is None else stop - self._at

    def _stop(self) -> int | None:
        """Return where the next packet stops, None while that is not known."""
        if self._rest:
            return self._at + self._rest
        try:
            return _body(self._data, self._at)[1]
        except IndexError:
            return None


class Reader(Client):
    """paho's client, which reads what it is handed."""

    _handed: bytes | OSError = b""

    def receive(self) -> bytes:
        """Read the socket.

        Raises
        ------
        BlockingIOError : it has nothing now. OSError : the connection is lost.
        """
        data = super()._sock_recv(CHUNK)
        if not data:
            raise ConnectionResetError("end of stream")
        return data

    def hand(self, packet: bytes | OSError) -> MQTTErrorCode:
        """Let paho read a packet, or a part of one, or the end of the connection."""
        self._handed = packet
        return self.loop_read()

    def acknowledge(self, mids: Sequence[int]) -> None:
        """Queue the PUBACKs of messages, one after the other in one write."""
        packets = b"".join([_PUBACK.pack(0x40, 2, mid) for mid in mids])
        self._packet_queue(0x40, packets, mids[-1], 1)

    def _sock_recv(self, bufsize: int) -> bytes:
        if isinstance(self._handed, OSError):
            raise self._handed
        if not self._handed:
            raise BlockingIOError
        taken, self._handed = self._handed[:bufsize], self._handed[bufsize:]
        return taken


def _body(data: bytearray, at: int) -> tuple[int, int]:
    """Return where a packet's body starts and stops; IndexError while that is not known."""
    size, start = 0, at + 1
    for n in range(LENGTH_BYTES):
        byte = data[start]
        start += 1
        size |= (byte & ~_MORE) << 7 * n
        if not byte & _MORE:
            return start, start + size
    return start, start + 1  # no such length: paho refuses it by its fifth byte


def fits(client: type[Client]) -> bool:
    """Tell whether a paho client works through the methods that `Reader` counts on."""
    steps = {
        "loop_read": "_packet_read",
        "_packet_read": "_sock_recv",
        "_send_command_with_mid": "_packet_queue",
    }
    codes = {name: getattr(getattr(client, name, None), "__code__", None) for name in steps}
    queue = getattr(getattr(client, "_packet_queue", None), "__code__", None)
    return (
        hasattr(client, "_sock_recv")
        and getattr(queue, "co_varnames", ())[:5] == ("self", "command", "packet", "mid", "qos")
        and all(steps[name] in getattr(code, "co_names", ()) for name, code in codes.items())
    )


FITS = fits(Client)
