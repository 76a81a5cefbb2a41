"""The courier in the loop: what it asks for, when it looks, what it makes of answers."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from offbeat_edge.delivery import wire
from offbeat_edge.delivery.child import Child
from offbeat_edge.delivery.courier import AGAIN_S, QUIET_S, RETRY_S, WINDOW, Courier, Ports
from offbeat_edge.delivery.inbox import Inbox
from offbeat_edge.delivery.task import Answer, Order, Task, Wanted
from offbeat_edge.log import Log

if TYPE_CHECKING:
    from pathlib import Path

SHA = "ab" * 32
TASK = Task(folder="", bundles="", trials="", root="", source="", gateway="gw1", models=["tiny"])


class Bench:
    """A courier with a clock, children and subscriptions that a test moves."""

    def __init__(self, folder: Path, *, https: bool = False) -> None:
        self.now = 0.0
        self.answer: Answer | None = None
        self.started = 0
        self.closed = False
        self.subscribed: list[list[str]] = []
        self.said = io.StringIO()
        self.inbox = Inbox(folder)
        self.courier = Courier(
            ports=Ports(
                task=lambda: TASK,
                start=self.start,
                subscribe=lambda filters: self.subscribed.append([name for name, _ in filters]),
                log=Log(stream=self.said),
            ),
            inbox=None if https else self.inbox,
            monotonic=lambda: self.now,
        )

    def start(self, _task: Task) -> Bench:
        self.started += 1
        self.answer = None
        return self

    def poll(self) -> Answer | None:
        return self.answer

    def close(self) -> None:
        self.closed = True

    def hear(self, topic: str, payload: bytes = b"x") -> bool:
        return self.courier.take(topic, payload)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.courier.turn()

    def say(self, answer: Answer) -> None:
        """Let a look happen and the child answer."""
        if not self.courier.busy:
            self.pass_time(AGAIN_S)
        self.answer = answer
        self.courier.turn()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_looks_once_what_comes_is_quiet(bench: Bench) -> None:
    for number in range(5):
        assert bench.hear(wire.meta_topic(f"{number + 1}.root.json"))
        bench.pass_time(QUIET_S / 2)
    assert bench.started == 0
    bench.pass_time(QUIET_S)
    assert bench.started == 1


def test_what_came_during_a_look_is_looked_at_after_it(bench: Bench) -> None:
    bench.pass_time(QUIET_S)
    bench.hear(wire.meta_topic("timestamp.json"))
    bench.say(Answer())
    bench.pass_time(QUIET_S)
    assert bench.started == 2


def test_what_was_there_before_is_no_reason_to_look(bench: Bench) -> None:
    bench.hear(wire.meta_topic("timestamp.json"))
    bench.say(Answer())
    looks = bench.started
    assert bench.hear(wire.meta_topic("timestamp.json"))
    bench.pass_time(QUIET_S)
    assert bench.started == looks


def test_topics_of_others_are_left_alone(bench: Bench) -> None:
    assert not bench.hear("plant/p1")
    assert not bench.hear("offbeat/gw1/cmd/reload")
    assert bench.hear("offbeat/fleet/tuf/nonsense")  # ours, and of no use


def test_chunks_are_asked_for_a_few_at_a_time_and_only_what_is_missing(bench: Bench) -> None:
    length = wire.CHUNK_BYTES * (WINDOW + 1) + 5
    bench.say(Answer(wanted=[Wanted(sha256=SHA, length=length)]))
    assert bench.subscribed[-1] == [
        wire.META_FILTER, *(wire.chunk_topic(SHA, n) for n in range(WINDOW))
    ]  # fmt: skip
    for number in range(WINDOW):
        bench.hear(wire.chunk_topic(SHA, number), b"x" * wire.CHUNK_BYTES)
    assert bench.subscribed[-1][1:] == [wire.chunk_topic(SHA, n) for n in (WINDOW, WINDOW + 1)]
    bench.hear(wire.chunk_topic(SHA, WINDOW), b"x" * wire.CHUNK_BYTES)
    bench.hear(wire.chunk_topic(SHA, WINDOW + 1), b"x" * 5)
    assert bench.subscribed[-1] == [wire.META_FILTER]
    looks = bench.started
    bench.pass_time(QUIET_S)
    assert bench.started == looks + 1


def test_a_chunk_found_bad_is_asked_for_again(bench: Bench) -> None:
    wanted = Answer(wanted=[Wanted(sha256=SHA, length=3)])
    bench.say(wanted)
    bench.hear(wire.chunk_topic(SHA, 0), b"bad")
    bench.pass_time(QUIET_S)
    bench.inbox.discard(SHA)  # as the child does
    asked = len(bench.subscribed)
    bench.say(wanted)
    assert bench.subscribed[asked:] == [[wire.META_FILTER, wire.chunk_topic(SHA, 0)]]


def test_orders_are_fresh_once(bench: Bench) -> None:
    order = Order(model="tiny", mode="active", bundle="a" * 64, version=1)
    bench.say(Answer(orders=[order]))
    assert (bench.courier.orders, bench.courier.fresh) == ([order], True)


def test_an_error_keeps_the_last_orders_and_is_tried_again(bench: Bench) -> None:
    order = Order(model="tiny", mode="active", bundle="a" * 64, version=1)
    bench.say(Answer(orders=[order]))
    bench.courier.fresh = False
    bench.say(Answer(error="timestamp.json is expired"))
    assert bench.courier.orders == [order]
    assert not bench.courier.fresh
    assert bench.courier.error == "timestamp.json is expired"
    looks = bench.started
    bench.pass_time(RETRY_S)
    assert bench.started == looks + 1
    assert bench.said.getvalue().count("delivery_refused") == 1


def test_an_error_is_said_once_and_forgotten_when_it_is_over(bench: Bench) -> None:
    for _ in range(3):
        bench.say(Answer(error="frozen"))
    assert bench.said.getvalue().count("delivery_refused") == 1
    bench.say(Answer())
    assert bench.courier.error is None


def test_metadata_on_its_way_is_no_error(bench: Bench) -> None:
    bench.say(Answer(waiting="timestamp.json has not come yet"))
    assert bench.courier.error is None
    assert bench.courier.orders is None


def test_over_https_nothing_is_subscribed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, https=True)
    assert bench.courier.filters == []
    assert not bench.hear(wire.meta_topic("timestamp.json"))


def test_the_end_ends_the_child(bench: Bench) -> None:
    bench.pass_time(QUIET_S)
    bench.courier.close()
    assert bench.closed


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os.abort()", "exit code -6"),
        ("print('nonsense')", "exit code 0"),
        ("import sys; sys.exit('no tuf here')", "exit code 1: no tuf here"),
    ],
)
def test_a_child_that_dies_is_an_answer_with_an_error(tmp_path: Path, code: str, why: str) -> None:
    child = Child(TASK, folder=tmp_path, program=(sys.executable, "-c", code))
    answer = None
    while answer is None:
        answer = child.poll()
    assert why in (answer.error or "")


def test_a_child_that_hangs_is_killed(tmp_path: Path) -> None:
    times = iter([0.0, 0.0, 10_000.0])
    child = Child(
        TASK,
        folder=tmp_path,
        program=(sys.executable, "-c", "import time; time.sleep(600)"),
        monotonic=lambda: next(times),
    )
    assert child.poll() is None
    answer = child.poll()
    assert answer is not None
    assert "got none" in (answer.error or "")
