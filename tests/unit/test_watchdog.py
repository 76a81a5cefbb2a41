"""systemd hears of laps that came back from the disk in time, and of nothing else."""

from __future__ import annotations

import io
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from offbeat_edge.durable import Durable
from offbeat_edge.engine import Engine
from offbeat_edge.errors import StoreError
from offbeat_edge.log import Log
from offbeat_edge.notify import Notifier
from offbeat_edge.store import Store
from offbeat_edge.supervise.proof import Lap, Proof
from offbeat_edge.supervise.watchdog import LIMIT_S, Watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from offbeat_edge.model import Model


class Manager:
    """Where systemd would listen."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "6000000"})

    def heard(self) -> list[bytes]:
        words = []
        while True:
            try:
                words.append(self.socket.recv(100))
            except BlockingIOError:
                return words


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Stuck(Store):
    """A store whose next commits take long, refuse, or do not come back."""

    clock: Clock
    takes_s = 0.0
    refuses = False
    gate: threading.Event | None = None

    def commit(self, **parts: object) -> None:
        self.clock.now += self.takes_s
        if self.gate is not None:
            self.gate.wait(30)
        if self.refuses:
            raise StoreError("no space left")
        super().commit(**parts)  # type: ignore[arg-type]


class Rig:
    def __init__(self, folder: Path, models: list[Model]) -> None:
        self.clock = Clock()
        self.log = Log(stream=io.StringIO())
        self.manager = Manager(folder / "notify")
        self.store = Stuck(path=folder / "state.db", outbox_limit_bytes=1 << 20)
        self.store.clock = self.clock
        self.faults: list[tuple[Model, str]] = []
        self.proof: Proof = Proof(models=lambda: models)
        self.durable = Durable(
            store=self.store,
            engine=Engine(site="s", gateway="g", route=lambda _: None),
            topic_of=str,
            log=self.log,
            monotonic=self.clock,
        )
        self.durable.recover(lambda: None)

    def watchdog(self, proof: Proof | None = None) -> Watchdog:
        return Watchdog(
            proof=proof or self.proof,
            ledger=self.durable,
            notifier=self.manager.notifier,
            log=self.log,
            faulty=lambda model, why: self.faults.append((model, why)),
            monotonic=self.clock,
        )


@pytest.fixture
def rig(tmp_path: Path, model: Model) -> Iterator[Rig]:
    rig = Rig(tmp_path, [model])
    yield rig
    rig.durable.close()
    rig.manager.socket.close()


def test_a_lap_feeds_and_its_token_is_on_the_disk(rig: Rig) -> None:
    watchdog = rig.watchdog()
    watchdog.turn()
    assert rig.manager.heard() == [b"WATCHDOG=1"]
    assert b'"lap":0' in (rig.store.proof() or b"")
    assert rig.durable.outbox_size().rows == 0


def test_laps_come_thrice_as_often_as_systemd_asks_and_no_oftener(rig: Rig) -> None:
    watchdog = rig.watchdog()
    for _ in range(100):
        watchdog.turn()
        rig.clock.now += 0.1
    assert len(rig.manager.heard()) == 5


def test_a_commit_that_is_late_does_not_feed_and_says_so(rig: Rig) -> None:
    rig.store.takes_s = LIMIT_S + 1
    watchdog = rig.watchdog()
    watchdog.turn()
    assert rig.manager.heard() == []
    assert watchdog.problem is not None
    assert "took" in watchdog.problem
    rig.store.takes_s = 0.0
    rig.clock.now += 5
    watchdog.turn()
    assert rig.manager.heard() == [b"WATCHDOG=1"]
    assert watchdog.problem is None


def test_a_commit_that_never_returns_does_not_feed(rig: Rig) -> None:
    rig.store.close()  # and again in the thread that will use it
    rig.store.gate = threading.Event()
    watchdog = rig.watchdog()
    thread = threading.Thread(target=lambda: (rig.store.open(), watchdog.turn(), rig.store.close()))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert rig.manager.heard() == []
    rig.store.gate.set()
    thread.join(30)
    assert rig.manager.heard() == [b"WATCHDOG=1"]


def test_a_disk_that_refuses_is_said_and_no_reason_to_starve(rig: Rig) -> None:
    rig.store.refuses = True
    watchdog = rig.watchdog()
    watchdog.turn()
    assert rig.durable.problem == "no space left"
    rig.clock.now += 5
    watchdog.turn()
    assert rig.manager.heard() == [b"WATCHDOG=1"] * 2


def test_a_disk_that_refused_a_lap_recovers_with_the_next_commit(rig: Rig) -> None:
    rig.store.refuses = True
    watchdog = rig.watchdog()
    watchdog.turn()
    rig.store.refuses = False
    rig.clock.now += 5
    assert rig.durable.commit()
    assert rig.durable.problem is None
    watchdog.turn()
    assert b'"lap":1' in (rig.store.proof() or b"")


def test_a_broken_way_starves_systemd(rig: Rig) -> None:
    class Broken:
        def lap(self) -> Lap:
            return Lap(b"x", None, broken="no score")

    watchdog = rig.watchdog(Broken())  # type: ignore[arg-type]
    watchdog.turn()
    assert rig.manager.heard() == []
    assert watchdog.problem == "no score"


def test_a_faulty_model_is_reported_and_systemd_is_fed(rig: Rig, model: Model) -> None:
    class Faulty:
        def lap(self) -> Lap:
            return Lap(b"x", model, fault="drifts")

    rig.watchdog(Faulty()).turn()  # type: ignore[arg-type]
    assert rig.faults == [(model, "drifts")]
    assert rig.manager.heard() == [b"WATCHDOG=1"]
