"""Alerts are a deterministic function of the stream, whatever happens on the way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from faults import BREAKING, DISTURBED, Run

if TYPE_CHECKING:
    from pathlib import Path

    from rig import Mosquitto

SEED = int(os.environ.get("OFFBEAT_SEED", "1"))

MUTANTS = {
    "acknowledges before the commit": """
from offbeat_edge.daemon import Daemon
take = Daemon._take
def early(self, messages):
    take(self, messages)
    self._parts.link.ack(messages)
    self._owed = []
Daemon._take = early
""",
    "spools alerts outside the transaction": """
from offbeat_edge.store import Store
commit = Store.commit
def apart(self, *, outgoing=(), **parts):
    waiting = self.__dict__.setdefault("late", [])
    commit(self, outgoing=waiting, **parts)
    waiting[:] = list(outgoing)
Store.commit = apart
""",
    "checkpoints without the detector's state": """
from offbeat_edge.watch import Watch
load = Watch.load
def forgetful(self, state):
    for life in state.lives.values():
        life.start_ms = life.candidate_ms = None
    load(self, state)
Watch.load = forgetful
""",
}


def test_an_undisturbed_run_equals_replay(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Run(tmp_path, mosquitto, seed=SEED) as run:
        run.play(())
        assert len(run.expected) >= 50
        assert run.verdict() == ""


@pytest.mark.slow
def test_faults_of_every_kind_change_no_alert(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Run(tmp_path, mosquitto, seed=SEED) as run:
        run.play(BREAKING + DISTURBED)
        assert run.verdict() == "", run.told


@pytest.mark.slow
def test_faults_of_every_kind_change_no_alert_over_3_1_1(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with Run(tmp_path, mosquitto, seed=SEED + 1, protocol="3.1.1", seconds=300) as run:
        run.play(BREAKING)
        assert run.verdict() == "", run.told


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_daemon_that_cheats_is_caught(tmp_path: Path, mosquitto: Mosquitto, mutant: str) -> None:
    with Run(tmp_path, mosquitto, seed=SEED, prelude=MUTANTS[mutant], seconds=200) as run:
        run.play(("stop_daemon",) if "checkpoints" in mutant else ("kill_daemon",))
        verdict = run.verdict(patience_s=10.0)
        assert run.daemon.alive, "the mutant died, which proves nothing"
        print(mutant, verdict)  # noqa: T201 - shown when it is not caught
        assert verdict != ""
