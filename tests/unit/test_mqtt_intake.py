"""Publishes that do not pass through paho: the same as if they had, whatever the bytes."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from chance import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from paho.mqtt.client import Client

from offbeat_edge import mqtt_intake, mqtt_session
from offbeat_edge.mqtt_session import QUICKACK, Broker, Session

if TYPE_CHECKING:
    from offbeat_edge.mqtt_intake import Message

VERSIONS = ("5", "3.1.1")
WELCOME = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}
LIMIT = 500
PATIENCE_S = 5.0


class Wire:
    """A session, and the broker's end of its connection."""

    def __init__(self, version: str, *, intake: bool, keepalive_s: int = 60) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.session = Session(
                broker=Broker(
                    host="127.0.0.1", port=server.getsockname()[1], client_id="gw", username=None,
                    password=None, keepalive_s=keepalive_s, receive_maximum=9,
                    max_packet_bytes=9999,
                ),
                version=version, tls=None, will=None, generation=3, intake=intake,
            )  # fmt: skip
            self.session.connect()
            self.end, _ = server.accept()
        self.heard()
        self.say(WELCOME[version])

    def say(self, data: bytes, *, limit: int = LIMIT) -> None:
        """Send to the session, and let it read."""
        with contextlib.suppress(OSError):  # it has hung up
            self.end.sendall(data)
        self.read(limit=limit)

    def hang_up(self, *, limit: int = LIMIT) -> None:
        with contextlib.suppress(OSError):
            self.end.shutdown(socket.SHUT_WR)
        self.read(limit=limit)

    def read(self, *, limit: int = LIMIT) -> None:
        self.session.wait(0.0)
        while not self.session.read(len(self.session.inbox) + limit) and not self.session.ended:
            self.session.wait(0.0)

    def heard(self) -> bytes:
        """Return what the session has sent since."""
        self.session.flush()
        self.end.setblocking(False)
        try:
            return self.end.recv(65_536)
        except OSError:
            return b""
        finally:
            self.end.setblocking(True)

    def close(self) -> None:
        self.session.drop("over")
        self.end.close()


class Story(NamedTuple):
    """All that can be seen of a session."""

    inbox: list[Message]
    ended: str | None
    reason: int
    granted: dict[int, list[str | None]]
    released: list[int]
    acknowledged: list[tuple[int, str | None]]
    heard: bytes


def told(
    version: str, parts: list[bytes], *, intake: bool, limit: int = LIMIT, hangs_up: bool
) -> Story:
    """Say ``parts`` to a session; return what became of them."""
    with contextlib.closing(Wire(version, intake=intake)) as wire:
        for part in parts:
            wire.say(part, limit=limit)
        if hangs_up:
            wire.hang_up(limit=limit)
        session = wire.session
        return Story(
            session.inbox, session.ended, session.reason_code, session.granted,
            session.released, session.acknowledged, wire.heard(),
        )  # fmt: skip


def packet(head: int, body: bytes) -> bytes:
    size, length = len(body), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([head, *length, size]) + body


def publish(topic: bytes, payload: bytes, *, flags: int = 0, properties: bytes = b"\0") -> bytes:
    """Return a publish; ``properties`` is empty in MQTT 3.1.1."""
    mid = b"\x01\x02" if flags & 6 else b""
    return packet(0x30 | flags, len(topic).to_bytes(2, "big") + topic + mid + properties + payload)


TOPICS = st.one_of(st.just(b"plant/p1"), st.text(max_size=6).map(str.encode), st.binary(max_size=4))
PROPERTIES = st.sampled_from(
    [
        b"\0", b"\0", b"\0", b"",
        b"\x02\x01\x01",  # payload format indicator
        b"\x07\x26\0\x01a\0\x01b",  # user property
        b"\x03\x23\0\x01",  # topic alias
        b"\x05\x01",  # cut off
        b"\x80\x00",  # none, in two bytes
    ]
)  # fmt: skip
PUBLISHES = st.builds(
    publish,
    TOPICS,
    st.one_of(st.binary(max_size=9), st.binary(min_size=120, max_size=140)),
    flags=st.integers(0, 15),
    properties=PROPERTIES,
)
OTHERS = st.sampled_from(
    [
        b"\xd0\x00",  # PINGRESP
        b"\xc0\x00",  # PINGREQ
        b"\x40\x02\x00\x07",  # PUBACK
        b"\x62\x02\x01\x02",  # PUBREL
        b"\x90\x04\x00\x05\x00\x01",  # SUBACK
        b"\x90\x03\x00\x05\x80",
        b"\xb0\x04\x00\x06\x00\x00",  # UNSUBACK
        b"\xe0\x01\x8e",  # DISCONNECT
        b"\x30\xff\xff\xff\xff\x01",  # a length that is none
        b"\x30\x01\x00",
        b"\x30\x00",
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(PUBLISHES))
    data[draw(st.integers(0, min(len(data), 12) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@st.composite
def parts(draw: st.DrawFn) -> list[bytes]:
    """Return what a broker says, cut anywhere."""
    said = st.one_of(PUBLISHES, PUBLISHES, PUBLISHES, OTHERS, damaged(), st.binary(max_size=5))
    data = b"".join(draw(st.lists(said, max_size=8)))
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=6)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


PLAIN = publish(b"plant/p1", b"1")


@settings(max_examples=examples(120))
@given(
    version=st.sampled_from(VERSIONS),
    said=parts(),
    limit=st.sampled_from([1, 2, LIMIT]),
    hangs_up=st.booleans(),
)
@example(version="5", said=[PLAIN[:1], PLAIN[1:2], PLAIN[2:5], PLAIN[5:]], limit=2, hangs_up=False)
@example(version="5", said=[PLAIN * 3], limit=1, hangs_up=False)
@example(version="5", said=[PLAIN + b"\x00\x80\x80\x80\x08"], limit=1, hangs_up=False)
@example(version="5", said=[b"\xc0\x00\x00\x80\x80\x80\x08"], limit=1, hangs_up=True)
@example(
    version="3.1.1", said=[publish(b"a", b"x", flags=2, properties=b"")], limit=2, hangs_up=True
)
@example(
    version="5", said=[publish(b"", b"x"), publish(b"\xff", b"", flags=3)], limit=2, hangs_up=True
)
@example(
    version="5", said=[publish(b"a", b"x", flags=4), b"\x62\x02\x01\x02"], limit=2, hangs_up=False
)
def test_a_session_tells_the_same_as_one_that_paho_reads(
    *, version: str, said: list[bytes], limit: int, hangs_up: bool
) -> None:
    # in one piece for paho, which loses its place in a packet whose first byte is 0
    whole = [b"".join(said)] if said else []
    ours = told(version, said, intake=True, limit=limit, hangs_up=hangs_up)
    theirs = told(version, whole, intake=False, hangs_up=hangs_up)
    if ours.ended is not None and ours.ended.startswith("expected packets of at most"):
        # paho would wait for all of it and keep it: only the end is another
        theirs = theirs._replace(ended=ours.ended, reason=ours.reason, heard=ours.heard)
    assert ours == theirs


def taken(packets: list[bytes], cuts: list[int], *, begun: bool) -> bytes:
    """Return what comes out of packets in pieces; with ``begun`` what is there at once."""
    stream = mqtt_intake.Packets(five=True, generation=1)
    data, found = b"".join(packets), b""
    for size in [*cuts, len(data)]:
        stream.add(data[:size])
        data = data[size:]
        while (one := stream.whole()) is not None:
            found += one
        if begun:
            found += stream.begun()
    return found


@given(st.lists(st.one_of(PUBLISHES, OTHERS), max_size=8), st.lists(st.integers(1, 9)))
def test_packets_come_out_whole_however_they_are_cut(packets: list[bytes], cuts: list[int]) -> None:
    assert taken(packets, cuts, begun=False) == b"".join(packets)


@given(st.lists(PUBLISHES, min_size=1, max_size=4), st.lists(st.integers(1, 9), min_size=1))
def test_a_packet_that_was_begun_goes_on_where_it_stopped(
    packets: list[bytes], cuts: list[int]
) -> None:
    assert taken(packets, cuts, begun=True) == b"".join(packets)


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_publishes_do_not_pass_through_paho(version: str) -> None:
    wire = Wire(version, intake=True)
    empty = b"\0" if version == "5" else b""
    passed = []
    wire.session._client.on_message = lambda *words: passed.append(words)  # noqa: SLF001
    wire.say(publish(b"plant/p1", b"1", properties=empty))
    assert [message.payload for message in wire.session.inbox] == [b"1"]
    assert not passed
    wire.close()


@pytest.mark.parametrize("intake", [True, False])
def test_acknowledgements_leave_in_order_between_what_else_is_said(*, intake: bool) -> None:
    wire = Wire("5", intake=intake)
    session = wire.session
    session.publish("a", b"x", qos=0, retain=False)
    session.acknowledge([1, 300, 2])
    session.acknowledge([])
    session.publish("a", b"y", qos=0, retain=False)
    pubacks = b"\x40\x02\x00\x01\x40\x02\x01\x2c\x40\x02\x00\x02"
    assert wire.heard() == publish(b"a", b"x") + pubacks + publish(b"a", b"y")
    wire.close()


def test_a_limited_read_leaves_the_rest_for_the_next_which_does_not_wait() -> None:
    wire = Wire("5", intake=True)
    wire.end.sendall(PLAIN * 5)
    wire.session.wait(PATIENCE_S)
    assert not wire.session.read(2)
    assert len(wire.session.inbox) == 2
    started = time.monotonic()
    wire.session.wait(PATIENCE_S)
    assert time.monotonic() - started < PATIENCE_S / 2
    assert wire.session.read(LIMIT)
    assert len(wire.session.inbox) == 5
    wire.close()


LIVES = [(intake, slow) for intake in (True, False) for slow in (True, False)]


def fed_for_two_keepalives() -> tuple[list[Wire], bytes] | None:
    """Wires of `LIVES` after messages, or a slow one, and unanswered pings; None after a stall."""
    wires = [Wire("5", intake=intake, keepalive_s=1) for intake, _ in LIVES]
    large = publish(b"plant/p1", bytes(200))
    heard, begun = [b""] * len(wires), time.monotonic()
    last = begun
    for at in range(len(large)):
        for n, (wire, (_, slow)) in enumerate(zip(wires, LIVES, strict=True)):
            wire.say(large[at : at + 1] if slow else PLAIN)
            wire.session.keep_alive()
            heard[n] += wire.heard()
        now = time.monotonic()
        if now - last > 0.4 or now - begun > 2.5:
            break
        last = now
        time.sleep(0.05)
    if now - last > 0.4:  # this machine's pause, not the broker's: it says nothing
        for wire in wires:
            wire.close()
        return None
    assert all(b"\xc0\x00" in pings for pings in heard)
    return wires, large[at + 1 :]


def test_a_connection_lives_for_as_long_as_it_does_for_paho() -> None:
    """By messages, or by one that takes longer than the keep-alive."""
    found = next(filter(None, (fed_for_two_keepalives() for _ in range(10))))
    wires, rest = found
    ends = [wire.session.ended for wire in wires]
    assert ends[:2] == ends[2:]  # paho 2.1 gives up where 2.2 waits
    for wire, (_, slow) in zip(wires, LIVES, strict=True):
        wire.say(rest if slow else publish(b"plant/p1", bytes(200)))
        assert wire.session.ended or wire.session.inbox[-1].payload == bytes(200)
        wire.close()


def test_a_packet_that_would_fill_the_memory_ends_the_connection() -> None:
    wire = Wire("5", intake=True)
    wire.say(PLAIN + b"\x30\xff\xff\xff\x7f")
    assert len(wire.session.inbox) == 1
    assert wire.session.ended == "expected packets of at most 16777216 bytes, got one of 268435460"
    wire.close()


def test_a_broker_that_never_pauses_leaves_time_for_all_else() -> None:
    for intake in (True, False):
        wire = Wire("5", intake=intake)
        wire.end.sendall(b"\xd0\x00" * (mqtt_session.TURN + 100))
        wire.session.wait(PATIENCE_S)
        assert not wire.session.read(LIMIT)
        assert wire.session.read(LIMIT)
        wire.close()


def test_a_paho_that_reads_otherwise_is_left_alone() -> None:
    class Otherwise(Client):
        def _packet_read(self) -> None:  # type: ignore[override]
            """Read some other way."""

    class Queues(Client):
        def _packet_queue(self, packet: bytes) -> None:  # type: ignore[override]
            """Queue some other way."""

    assert mqtt_intake.FITS
    assert not mqtt_intake.fits(Otherwise)
    assert not mqtt_intake.fits(Queues)


def test_small_packets_leave_at_once_and_are_acknowledged_at_once() -> None:
    wire = Wire("5", intake=True)
    sock = wire.session._client.socket()  # noqa: SLF001 - an option has no other witness
    assert sock is not None
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    wire.say(PLAIN)
    if QUICKACK is not None:
        assert sock.getsockopt(socket.IPPROTO_TCP, QUICKACK)
    wire.close()
