r"""Bytes from the broker → messages: plain publishes are read here, every other packet by paho.

Rules: paho takes about 40 µs for a PUBLISH: three reads of the socket, and objects for
properties, conditions and callbacks that nobody needs here; this takes 3.  *Plain* is what
has QoS 0 or 1, a topic in UTF-8 and no properties.  All else, what is malformed too, is handed
to paho whole, one packet at a time and in order, so paho alone decides on it.  One private
name of paho is overridden, the method it reads with; where the installed paho does not read
with it (``READS_WHOLE``), the session lets paho read by itself.

>>> packets = Packets(five=True, generation=1)
>>> packets.add(bytes.fromhex("3006 0001 61 00 3432 d000".replace(" ", "")))
>>> packets.publish()
Message(topic='a', payload=b'42', qos=0, retain=False, mid=0, generation=1)
>>> packets.publish(), packets.whole()
(None, b'\xd0\x00')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from paho.mqtt.client import Client

if TYPE_CHECKING:
    from paho.mqtt.enums import MQTTErrorCode

CHUNK = 65_536  # bytes read at once
LENGTH_BYTES = 4  # the most that a packet's length takes
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

    def add(self, data: bytes) -> None:
        """Take bytes as they come."""
        del self._data[: self._at]
        self._at = 0
        self._data += data

    def publish(self) -> Message | None:
        """Return the next packet if it is all there and a plain publish."""
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
        """Return the next packet if it is all there, whatever it is."""
        try:
            _, stop = _body(self._data, self._at)
        except IndexError:
            return None
        if stop > len(self._data):
            return None
        packet = bytes(self._data[self._at : stop])
        self._at = stop
        return packet


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
        """Let paho read one whole packet, or the end of the connection."""
        self._handed = packet
        return self.loop_read()

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


def reads_whole(client: type[Client]) -> bool:
    """Tell whether a paho client reads through the method that `Reader` overrides."""
    steps = [("loop_read", "_packet_read"), ("_packet_read", "_sock_recv")]
    methods = [(getattr(client, method, None), name) for method, name in steps]
    return hasattr(client, "_sock_recv") and all(
        name in getattr(getattr(method, "__code__", None), "co_names", ())
        for method, name in methods
    )


READS_WHOLE = reads_whole(Client)
