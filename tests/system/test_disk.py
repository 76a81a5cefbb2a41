"""A disk that refuses, lies or rots: never silent, and healed when it can be."""

from __future__ import annotations

import resource
import sqlite3
from typing import TYPE_CHECKING

import pytest
from rig import Daemon, Listener, Mosquitto, Player, Site, closing, differences, recording, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig import Reading

SHORT_GRACE = "import offbeat_edge.durable as d; d.GRACE_S = 1.5"
LONG_GRACE = "import offbeat_edge.durable as d; d.GRACE_S = 3600"


class Stage:
    """Broker, daemon, listener, player, and a switch for the disk."""

    def __init__(self, folder: Path, broker: Mosquitto, prelude: str) -> None:
        self.site = Site(folder, broker.port)
        self.listener = Listener(broker.port)
        self.player = Player(broker.port)
        self.daemon = Daemon(self.site, prelude=prelude)
        self.readings: list[Reading] = recording(seed=21, seconds=240, faults=6)
        self.expected = self.site.replay(self.readings)

    def play(self, start: float, stop: float) -> None:
        """Play a part of the recording, from 0 to 1."""
        count = len(self.readings)
        self.player.play(self.readings[int(start * count) : int(stop * count)])

    def fill_disk(self, *, full: bool) -> None:
        """No file of the daemon may grow beyond a byte, or any may."""
        _, hard = resource.prlimit(self.daemon.pid, resource.RLIMIT_FSIZE)
        soft = 1 if full else hard
        resource.prlimit(self.daemon.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def seen(self, count: int) -> None:
        """Wait until the daemon has taken so many messages."""
        wait_for(
            lambda: self.listener.health().get("counters", {}).get("messages", 0) >= count,
            f"{count} messages in health",
        )

    def degraded(self) -> str:
        return " ".join(self.listener.health().get("degraded", []))

    def agree(self) -> None:
        self.listener.wait_alerts(event.id for event in self.expected)
        assert differences(self.listener.alerts, self.expected) == ""


@pytest.fixture
def stage(tmp_path: Path, mosquitto: Mosquitto, request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(tmp_path, mosquitto, getattr(request, "param", ""))
    with closing(stage.player, stage.listener, stage.daemon):
        yield stage


@pytest.mark.parametrize("stage", [LONG_GRACE], indirect=True)
def test_while_the_disk_is_full_nothing_is_acknowledged_and_a_kill_loses_nothing(
    stage: Stage,
) -> None:
    stage.daemon.start().ready()
    stage.play(0.0, 0.3)
    stage.seen(int(0.3 * len(stage.readings)))
    stage.fill_disk(full=True)
    stage.play(0.3, 0.6)
    stage.daemon.wait_event("disk_refused")
    wait_for(lambda: "disk" in stage.degraded(), "health to say so")
    stage.daemon.kill()
    stage.daemon.start().ready()
    stage.play(0.6, 1.0)
    stage.agree()


@pytest.mark.parametrize("stage", [LONG_GRACE], indirect=True)
def test_a_disk_that_heals_within_the_grace_leaves_no_trace(stage: Stage) -> None:
    stage.daemon.start().ready()
    stage.play(0.0, 0.3)
    stage.seen(int(0.3 * len(stage.readings)))
    stage.fill_disk(full=True)
    stage.play(0.3, 0.6)
    stage.daemon.wait_event("disk_refused")
    stage.fill_disk(full=False)
    stage.daemon.wait_event("disk_recovered")
    stage.daemon.kill()
    stage.daemon.start().ready()
    stage.play(0.6, 1.0)
    stage.agree()


@pytest.mark.parametrize("stage", [SHORT_GRACE], indirect=True)
def test_after_the_grace_alerts_go_on_without_durability_loudly_and_it_heals(
    stage: Stage,
) -> None:
    stage.daemon.start().ready()
    stage.play(0.0, 0.2)
    stage.seen(int(0.2 * len(stage.readings)))
    stage.fill_disk(full=True)
    stage.play(0.2, 0.6)
    cut = stage.readings[int(0.6 * len(stage.readings))]
    stage.listener.wait_alerts(
        event.id for event in stage.site.replay(stage.readings[: stage.readings.index(cut)])
    )
    wait_for(lambda: "disk" in stage.degraded(), "health to say so")
    stage.fill_disk(full=False)
    stage.daemon.wait_event("disk_recovered")
    wait_for(lambda: "disk" not in stage.degraded(), "health to be well again")
    stage.daemon.kill()
    stage.daemon.start().ready()
    stage.play(0.6, 1.0)
    stage.agree()


@pytest.mark.parametrize("stage", [SHORT_GRACE], indirect=True)
def test_a_state_folder_that_cannot_be_written_from_the_start_is_told_and_lived_with(
    stage: Stage,
) -> None:
    (stage.site.folder / "state").write_bytes(b"a file where a folder should be")
    stage.daemon.start().ready()
    stage.play(0.0, 1.0)
    stage.agree()
    wait_for(lambda: "disk" in stage.degraded(), "health to say so")
    assert stage.daemon.stop() == 0


def test_a_rotten_database_is_put_aside_and_watching_goes_on(stage: Stage) -> None:
    stage.daemon.start().ready()
    stage.play(0.0, 0.5)
    assert stage.daemon.stop() == 0
    rotten = bytearray(stage.site.state.read_bytes())
    rotten[1024:3072] = b"\xa5" * 2048
    stage.site.state.write_bytes(rotten)
    stage.daemon.start().ready()
    wait_for(lambda: "state_damaged" in stage.degraded(), "health to say so")
    assert len(list(stage.site.state.parent.glob("*.damaged-*"))) == 1
    before = len(stage.listener.order)
    stage.play(0.5, 1.0)
    last = [event.id for event in stage.expected if event.type == "end"][-1]
    stage.listener.wait_alerts([last])
    assert len(stage.listener.order) > before


def test_a_rotten_journal_entry_costs_what_came_after_it_and_no_more(stage: Stage) -> None:
    stage.daemon.start().ready()
    for tenth in range(5):
        stage.play(tenth / 10, (tenth + 1) / 10)
        stage.seen(int((tenth + 1) / 10 * len(stage.readings)))
    stage.daemon.kill()
    with sqlite3.connect(stage.site.state) as db:
        last = db.execute("SELECT max(id) FROM journal").fetchone()[0]
        assert last >= 4
        db.execute("UPDATE journal SET entry = x'00112233' WHERE id = ?", [last])
    db.close()
    stage.daemon.start().ready()
    wait_for(lambda: "journal_damaged" in stage.degraded(), "health to say so")
    stage.daemon.kill()  # what was saved was saved anew
    stage.daemon.start().ready()
    assert "journal_damaged" not in str(stage.daemon.events)
    stage.play(0.5, 1.0)
    last_end = [event.id for event in stage.expected if event.type == "end"][-1]
    stage.listener.wait_alerts([last_end])
