"""A probe that does not come back is noticed; what else arrives speaks for the broker."""

from __future__ import annotations

import io
import itertools

import pytest

from offbeat_edge.link import Message, Token
from offbeat_edge.log import Log
from offbeat_edge.supervise.probe import EVERY_S, LOST, PATIENCE_S, Probe

TOPIC = "offbeat/gw1/probe"


class Wire:
    """A link whose broker returns probes, or does not."""

    def __init__(self) -> None:
        self.ready = True
        self.generation = 1
        self.sent: list[bytes] = []
        self.reconnected: list[str] = []

    def publish(self, topic: str, payload: bytes, *, qos: int) -> Token | None:
        assert (topic, qos) == (TOPIC, 0)
        self.sent.append(payload)
        return Token(self.generation, len(self.sent))

    def reconnect(self, why: str) -> None:
        self.reconnected.append(why)
        self.generation += 1


class Stage:
    def __init__(self) -> None:
        self.now = 0.0
        self.wire = Wire()
        self.probe = Probe(
            topic=TOPIC, link=self.wire, log=Log(stream=io.StringIO()), monotonic=lambda: self.now
        )

    def turn(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.probe.turn()

    def back(self, payload: bytes) -> list[Message]:
        return list(self.probe.sift([message(TOPIC, payload)]))


def message(topic: str, payload: bytes = b"") -> Message:
    return Message(topic, payload, 0, False, 0, 1)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_probe_that_returns_is_timed_and_never_seen_as_a_sample(stage: Stage) -> None:
    stage.turn()
    stage.now += 0.0125
    assert stage.back(stage.wire.sent[0]) == []
    assert stage.probe.last_ms == 12.5
    assert stage.probe.problem is None


def test_other_messages_pass(stage: Stage) -> None:
    sample = message("plant/p1")
    assert list(stage.probe.sift([message(TOPIC, b"0.9"), sample])) == [sample]


def test_probes_go_out_at_their_pace(stage: Stage) -> None:
    for _ in range(int(3 * EVERY_S)):
        stage.turn(1.0)
        stage.back(stage.wire.sent[-1])
    assert len(stage.wire.sent) == 3


def test_one_that_is_overdue_is_said_and_the_next_one_takes_it_back(stage: Stage) -> None:
    stage.turn()
    stage.turn(PATIENCE_S)
    assert stage.probe.problem == "1 probes did not come back within 10 s"
    stage.turn(EVERY_S)
    stage.back(stage.wire.sent[-1])
    assert stage.probe.problem is None


def test_one_that_comes_late_takes_it_back(stage: Stage) -> None:
    stage.turn()
    stage.turn(PATIENCE_S)
    stage.back(stage.wire.sent[0])
    assert stage.probe.problem is None


def test_a_backlog_in_front_of_it_is_no_loss(stage: Stage) -> None:
    for _ in range(200):
        stage.turn(1.0)
        stage.probe.sift([message("plant/p1")])
    assert stage.probe.problem is None
    assert stage.wire.reconnected == []


def test_somebody_elses_probe_proves_nothing(stage: Stage) -> None:
    stage.turn()
    stage.back(b"forged")
    stage.turn(PATIENCE_S)
    assert stage.probe.problem is not None


def test_so_many_lost_and_nothing_heard_means_connect_anew(stage: Stage) -> None:
    while not stage.wire.reconnected:
        stage.turn(1.0)
        assert stage.now < 100
    assert len(stage.wire.sent) == LOST
    stage.turn()
    assert stage.probe.problem is None  # of the new connection nothing is known


def test_a_broker_that_never_returns_any_is_left_alone_longer_and_longer(stage: Stage) -> None:
    times = []
    for _ in range(5000):
        stage.turn(1.0)
        if len(stage.wire.reconnected) > len(times):
            times.append(stage.now)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert len(gaps) >= 4
    assert all(later > 1.8 * earlier for earlier, later in itertools.pairwise(gaps))


def test_nothing_is_sent_while_there_is_no_connection(stage: Stage) -> None:
    stage.wire.ready = False
    stage.turn(100.0)
    assert stage.wire.sent == []
    assert stage.probe.problem is None
