"""After an outage alerts leave in order, marked, and no faster than they may."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from offbeat_edge.durable import Durable
from offbeat_edge.engine import Engine
from offbeat_edge.link import Token
from offbeat_edge.log import Log
from offbeat_edge.outbox import DRAIN_PER_S, Outbox
from offbeat_edge.store import Outgoing, Rank, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAITING = 1500


class Wire:
    """A link whose broker takes what it gets, as long as it is there."""

    connected = False
    generation = 0
    room = 1000

    def __init__(self) -> None:
        self.sent: list[dict[str, object]] = []
        self._taken: list[Token] = []

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False) -> Token:
        assert (topic, qos, retain) == ("t", 1, False)
        self.sent.append(json.loads(payload))
        self._taken.append(Token(self.generation, len(self.sent)))
        return self._taken[-1]

    def delivered(self) -> list[Token]:
        taken, self._taken = self._taken, []
        return taken

    def refused(self) -> list[tuple[Token, str]]:
        return []


class Stage:
    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.wire = Wire()
        self.store = Store(path=folder / "state.db", outbox_limit_bytes=1 << 20)
        log = Log(stream=io.StringIO())
        self.durable = Durable(
            store=self.store,
            engine=Engine(site="s", gateway="g", route=lambda _: None),
            topic_of=str,
            log=log,
            monotonic=lambda: self.now,
        )
        self.durable.recover(lambda: None)
        self.outbox = Outbox(
            durable=self.durable,
            link=self.wire,  # type: ignore[arg-type]
            log=log,
            monotonic=lambda: self.now,
        )

    def wait(self, count: int, *, first: int = 0) -> None:
        """Let events be made, as a commit makes them."""
        rows = [
            Outgoing("t", json.dumps({"id": f"{n}/0", "resent": False}).encode(), Rank.ALERT)
            for n in range(first, first + count)
        ]
        self.store.commit(outgoing=rows)

    def turn(self, seconds: float = 0.1) -> None:
        self.now += seconds
        self.outbox.settle()
        self.outbox.drain()
        delivered = set(self.outbox.done)
        if delivered and self.durable.commit(delivered=delivered):
            self.outbox.committed(delivered)

    def connect(self) -> None:
        self.wire.connected = True
        self.wire.generation += 1


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.durable.close()


def test_a_backlog_drains_whole_and_in_order_marked_resent(stage: Stage) -> None:
    stage.wait(WAITING)
    for _ in range(50):
        stage.turn()
    assert stage.wire.sent == []
    stage.connect()
    while stage.durable.waiting:
        stage.turn()
    assert [event["id"] for event in stage.wire.sent] == [f"{n}/0" for n in range(WAITING)]
    assert all(event["resent"] for event in stage.wire.sent)


def test_a_backlog_never_drains_faster_than_its_rate(stage: Stage) -> None:
    stage.wait(WAITING)
    stage.connect()
    started = stage.now
    while stage.durable.waiting:
        stage.turn()
        allowed = DRAIN_PER_S * (1 + stage.now - started)
        assert len(stage.wire.sent) <= allowed
    assert stage.now - started < 2 * WAITING / DRAIN_PER_S  # nor much slower


def test_what_is_made_while_a_backlog_drains_comes_after_it_unmarked(stage: Stage) -> None:
    stage.wait(600)
    stage.connect()
    stage.turn()
    stage.wait(5, first=600)
    while stage.durable.waiting:
        stage.turn()
    assert [event["id"] for event in stage.wire.sent] == [f"{n}/0" for n in range(605)]
    assert [event["resent"] for event in stage.wire.sent] == [True] * 600 + [False] * 5


def test_a_connection_lost_in_the_middle_starts_again_at_the_oldest_unconfirmed(
    stage: Stage,
) -> None:
    stage.wait(500)
    stage.connect()
    stage.turn()
    stage.wire.connected = False
    stage.wire._taken = []  # noqa: SLF001 - their acknowledgements never came
    sent = len(stage.wire.sent)
    stage.turn()
    stage.connect()
    while stage.durable.waiting:
        stage.turn()
    assert 0 < sent < 500
    again = [event["id"] for event in stage.wire.sent[sent:]]
    assert again == [f"{n}/0" for n in range(500)]


def test_a_full_spool_lets_the_oldest_alerts_go_and_counts_them(stage: Stage) -> None:
    size = (1 << 20) // 10_000
    stage.wait(3 * size * 100)
    left = stage.durable.outbox_size()
    assert left.bytes <= 1 << 20
    assert left.dropped["alert"] == 3 * size * 100 - left.rows
    stage.connect()
    stage.turn()
    first = int(str(stage.wire.sent[0]["id"]).split("/")[0])
    assert first == left.dropped["alert"]
