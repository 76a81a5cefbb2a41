"""The MQTT link against real brokers: Mosquitto, amqtt, and ones that misbehave."""

from __future__ import annotations

import io
import json
import random
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from rig import WAIT_S, Mosquitto, Player, Reading, closing, free_port, wait_for

from offbeat_broker import embedded
from offbeat_edge.link import Broker, Link, Message
from offbeat_edge.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


class Host:
    """A link in the test's own thread."""

    def __init__(self, port: int, *, name: str = "gw", **options: object) -> None:
        self.out = io.StringIO()
        broker = Broker(
            host="127.0.0.1", port=port, client_id=name, username=None, password=None,
            keepalive_s=5, receive_maximum=50, max_packet_bytes=100_000,
        )  # fmt: skip
        settings: dict[str, object] = {"protocol": "auto", "filters": [("plant/#", 1)], **options}
        self.link = Link(
            broker=broker,
            status_topic="offbeat/gw/status",
            log=Log(stream=self.out),
            uniform=lambda _low, _high: 0.05,
            **settings,  # type: ignore[arg-type]
        )
        self.messages: list[Message] = []

    def until(self, what: Callable[[], bool], why: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not what():
            assert time.monotonic() < deadline, f"waited in vain for {why}: {self.out.getvalue()}"
            self.messages += self.link.poll(0.05)

    def ready(self) -> Host:
        self.until(lambda: self.link.ready, "the link")
        return self

    def cut(self) -> None:
        """End the connection without a word, as a kill would."""
        session = self.link._session  # noqa: SLF001 - no honest caller wants this
        assert session is not None
        session.drop("cut")

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.out.getvalue().splitlines()]


def readings(count: int) -> list[Reading]:
    return [Reading("plant/p", str(n).encode()) for n in range(count)]


@pytest.fixture
def player(mosquitto: Mosquitto) -> Iterator[Player]:
    player = Player(mosquitto.port)
    with closing(player):
        yield player


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_was_not_acknowledged_comes_again_to_the_next_process(
    mosquitto: Mosquitto, player: Player, protocol: str
) -> None:
    first = Host(mosquitto.port, protocol=protocol).ready()
    player.play(readings(6))
    first.until(lambda: len(first.messages) == 6, "six messages")
    first.link.ack(first.messages[:2])
    first.link.poll(0.1)
    first.cut()
    second = Host(mosquitto.port, protocol=protocol).ready()
    second.until(lambda: len(second.messages) == 4, "four messages again")
    assert [m.payload for m in second.messages] == [b"2", b"3", b"4", b"5"]
    second.link.close(b"stopped")


def test_an_acknowledgement_of_an_old_connection_removes_nothing(
    mosquitto: Mosquitto, player: Player
) -> None:
    host = Host(mosquitto.port).ready()
    player.play(readings(3))
    host.until(lambda: len(host.messages) == 3, "three messages")
    old = list(host.messages)
    host.cut()
    host.until(lambda: len(host.messages) == 6, "the same three again")
    host.link.ack(old)
    host.link.poll(0.1)
    host.cut()
    host.until(lambda: len(host.messages) == 9, "and again")
    host.link.ack(host.messages[6:])
    host.link.close(b"stopped")


def test_more_than_the_brokers_default_window_arrives_unacknowledged(
    mosquitto: Mosquitto, player: Player
) -> None:
    host = Host(mosquitto.port, protocol="5").ready()
    player.play(readings(60))
    host.until(lambda: len(host.messages) == 50, "the receive maximum")
    host.link.poll(0.2)
    assert len(host.messages) == 50
    host.link.ack(host.messages)
    host.until(lambda: len(host.messages) == 60, "the rest")
    host.link.close(b"stopped")


def test_publishes_are_reported_once_and_only_when_the_broker_has_them(
    mosquitto: Mosquitto,
) -> None:
    host = Host(mosquitto.port).ready()
    tokens = [host.link.publish("out", b"x", qos=1) for _ in range(3)]
    delivered: set[object] = set()

    def all_back() -> bool:
        delivered.update(host.link.delivered())
        return set(tokens) <= delivered

    host.until(all_back, "three acknowledgements")
    assert host.link.delivered() == []
    host.link.close(b"stopped")
    assert host.link.publish("out", b"x", qos=1) is None


def test_a_publish_the_broker_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite offbeat/#\n")
    rules.chmod(0o644)
    tmp_path.chmod(0o755)
    broker = Mosquitto(tmp_path / "b", extra=f"acl_file {rules}").start()
    with closing(broker):
        host = Host(broker.port, protocol="5").ready()
        token = host.link.publish("elsewhere", b"x", qos=1)
        refused: list[tuple[object, str]] = []
        host.until(lambda: bool(refused.extend(host.link.refused()) or refused), "a refusal")
        assert refused[0][0] == token
        assert "authorized" in refused[0][1]
        host.link.close(b"stopped")


def test_a_broker_that_forgot_us_is_noticed(tmp_path: Path, mosquitto: Mosquitto) -> None:
    host = Host(mosquitto.port).ready()
    mosquitto.stop()
    (tmp_path / "broker" / "mosquitto.db").unlink()
    mosquitto.start()
    host.until(lambda: host.link.connections == 2, "the second connection")
    assert host.link.sessions_lost == 1
    assert "session_lost" in host.events()
    host.link.close(b"stopped")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_filter_nobody_wants_any_more_leaves_the_kept_session(
    mosquitto: Mosquitto, player: Player, protocol: str
) -> None:
    held: list[str] = []

    def remember(names: Iterable[str]) -> None:
        held[:] = names

    options = {"protocol": protocol, "remember": remember}
    before = Host(mosquitto.port, filters=[("plant/#", 1), ("old/#", 1)], **options).ready()
    before.cut()
    after = Host(mosquitto.port, filters=[("plant/#", 1)], held=held, **options).ready()
    assert held == ["plant/#"]
    player.play([Reading("old/p", b"1"), Reading("plant/p", b"2")])
    after.until(lambda: bool(after.messages), "a message")
    assert [message.topic for message in after.messages] == ["plant/p"]


def test_subscriptions_can_change_while_connected(mosquitto: Mosquitto, player: Player) -> None:
    host = Host(mosquitto.port).ready()
    host.link.subscribe_to([("hall/#", 1)])
    assert not host.link.ready
    host.ready()
    player.play([Reading("plant/p", b"1"), Reading("hall/p", b"2")])
    host.until(lambda: bool(host.messages), "a message")
    assert [message.topic for message in host.messages] == ["hall/p"]


def test_a_broker_that_speaks_only_3_1_1_is_spoken_to(tmp_path: Path) -> None:
    port = free_port()
    with embedded.running(port=port):
        host = Host(port).ready()
        assert host.link.version == "3.1.1"
        assert "mqtt_version_refused" in host.events()
        host.link.publish("plant/x", b"1", qos=1)
        host.until(lambda: bool(host.messages), "our own message")
        host.link.close(b"stopped")


class Liar:
    """Accepts connections and answers with whatever it was given."""

    def __init__(self, answer: bytes, *, stays: bool = False) -> None:
        self._stays = stays
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self.calls = 0
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._sock.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._sock.accept()
            except OSError:
                return
            self.calls += 1
            with peer:
                peer.recv(1000)
                peer.sendall(self._answer)
                while self._stays and peer.recv(1000):
                    pass


CONNACK = bytes.fromhex("20030000 00".replace(" ", ""))


def test_a_refused_subscription_is_loud() -> None:
    liar = Liar(CONNACK + b"\x90\x05\x00\x01\x00\x01\x87", stays=True)
    host = Host(liar.port, protocol="5", filters=[("plant/a", 1), ("plant/b", 1)])
    try:
        host.until(lambda: "subscription_refused" in host.events(), "a refusal")
        assert host.link.problems["subscribe plant/b"] == "Not authorized"
        assert "subscribe plant/a" not in host.link.problems
    finally:
        liar.close()


def test_a_session_taken_over_is_noticed_when_the_broker_says_so() -> None:
    liar = Liar(CONNACK + b"\xe0\x01\x8e", stays=True)
    host = Host(liar.port, protocol="5")
    try:
        host.until(lambda: host.link.taken_over > 0, "the loss of the session")
        assert "another client" in host.link.problems["connect"]
    finally:
        liar.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x03\x00\x87\x00",  # not authorized
        CONNACK + b"\xff" * 20,
        CONNACK + b"\x30\x02\xff\xff",  # a publish whose topic is longer than itself
        CONNACK + b"\x30\x05\x00\x02\xff\xfe\x00",  # a topic that is not UTF-8
        CONNACK + b"\x90\x01\x00",  # half a SUBACK
        CONNACK + b"\xe0\x01\x8e",  # taken over
    ],
)
def test_a_broker_that_talks_nonsense_is_tried_again(answer: bytes) -> None:
    liar = Liar(answer)
    host = Host(liar.port, protocol="5")
    try:
        host.until(lambda: liar.calls >= 3, "three attempts")
    finally:
        liar.close()
    assert "disconnected" in host.events()


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_from_the_broker_never_raise(seed: int) -> None:
    chance = random.Random(seed)
    liar = Liar(CONNACK + chance.randbytes(400))
    host = Host(liar.port, protocol="5")
    try:
        host.until(lambda: liar.calls >= 5, "five attempts")
    finally:
        liar.close()


def test_nobody_there_is_a_state_and_not_an_error() -> None:
    host = Host(free_port())
    assert host.link.poll(0.0) == []
    wait_for(lambda: not host.link.connected, "nothing")
    host.until(lambda: host.events().count("disconnected") >= 3, "three attempts")
    assert "refused" in host.link.problems["connect"].lower()
    host.link.close(b"stopped")
