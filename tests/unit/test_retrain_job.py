"""A model's life in the registry, with real fits on the simulated plant."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np
import pytest
from fit_parts import history
from retrain_parts import (
    BEGIN_MS,
    DAY_MS,
    OPTIONS,
    MemoryPast,
    Silent,
    drifted,
    plant_rows,
    poisoned,
    until,
)

from offbeat_edge import bundle
from offbeat_train.health import examine
from offbeat_train.retrain.challenger import asked_for
from offbeat_train.retrain.job import Outcome, adopt, retrain
from offbeat_train.retrain.past import Said, Span, digest
from offbeat_train.retrain.record import Judgement
from offbeat_train.retrain.shelf import Shelf

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.manifest import Manifest

pytestmark = pytest.mark.slow
NOW_MS = 1_800_000_000_000
FIRST_DAYS, DAYS = 5, 10
ROWS = plant_rows(days=DAYS)


class Killed(BaseException):
    """A process that ends here."""


class EndsAt(Silent):
    """Progress that ends the process when something begins."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self.heard: list[str] = []

    def stage(self, text: str) -> None:
        self.heard.append(text)
        if self._stage and text.startswith(self._stage):
            raise Killed(text)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A registry with a first champion, trained on five days."""
    registry = tmp_path_factory.mktemp("begun")
    past = MemoryPast(until(ROWS, FIRST_DAYS))
    return registry, retrain(Shelf(registry, "pump"), past, OPTIONS, now_ms=NOW_MS, on=Silent())


def shelf_of(begun: tuple[Path, Outcome], folder: Path) -> Shelf:
    shutil.copytree(begun[0], folder / "registry")
    return Shelf(folder / "registry", "pump")


@pytest.fixture(scope="module")
def after_drift(
    begun: tuple[Path, Outcome], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Shelf, Outcome]:
    shelf = shelf_of(begun, tmp_path_factory.mktemp("drift"))
    past = MemoryPast(drifted(ROWS, FIRST_DAYS))
    past.words = Said(alarms=72, false_alarms=36)
    return shelf, retrain(shelf, past, OPTIONS, now_ms=NOW_MS + 1000, on=Silent())


def test_the_first_model_becomes_champion_when_it_meets_the_limits(
    begun: tuple[Path, Outcome],
) -> None:
    registry, outcome = begun
    champion = Shelf(registry, "pump").champion()
    assert outcome.judgement is not None
    assert outcome.judgement.verdict.decision == "promote"
    assert champion is not None
    assert champion.name == outcome.version == "20270115T080000Z"
    assert {path.name for path in champion.folder.iterdir()} == {
        "bundle.offbeat", "weights.npz", "report.html", "report.json", "verdict.json",
        "verdict.html",
    }  # fmt: skip
    assert Shelf(registry, "pump").job() is None


def test_a_bundle_is_traced_to_its_data(begun: tuple[Path, Outcome]) -> None:
    registry, outcome = begun
    lineage = bundle.load(Shelf(registry, "pump").versions()[0].bundle).manifest.lineage
    rows = MemoryPast(until(ROWS, FIRST_DAYS)).normal(
        ("pump1", "pump2"), start_ms=None, end_ms=None
    )
    assert lineage.data_sha256 == digest(rows)
    assert lineage.config["parent"] is None
    assert lineage.config["lake"] == {
        "assets": ["pump1", "pump2"], "since_ms": None,
        "end_ms": BEGIN_MS + FIRST_DAYS * DAY_MS - 60_000 + 1,
    }  # fmt: skip
    assert outcome.judgement is not None
    assert lineage.config["holdout"] == {
        "block_ms": 8 * 16 * 60_000,
        "one_in": 6,
        "recent_ms": outcome.judgement.plan.recent_ms,
    }


def test_nothing_new_is_nothing_to_do(begun: tuple[Path, Outcome], tmp_path: Path) -> None:
    shelf = shelf_of(begun, tmp_path)
    past = MemoryPast(until(ROWS, FIRST_DAYS))
    outcome = retrain(shelf, past, OPTIONS, now_ms=NOW_MS + 1000, on=Silent())
    assert outcome.version is None
    assert outcome.said.startswith("not due: nothing has changed enough, but waits for more: ")
    assert outcome.due.waits == "0.0 hours of new normal rows, 24 are needed"
    assert len(shelf.versions()) == 1


def test_a_new_regime_is_learned_and_the_challenger_promoted(
    after_drift: tuple[Shelf, Outcome],
) -> None:
    shelf, outcome = after_drift
    assert {reason.why for reason in outcome.due.reasons} == {
        "inputs", "scores", "alarms", "feedback"}  # fmt: skip
    assert outcome.judgement is not None
    assert outcome.judgement.verdict.decision == "promote", outcome.said
    champion = shelf.champion()
    assert champion is not None
    assert champion.name == outcome.version
    alarms = outcome.judgement.verdict.figures[0]
    assert alarms.champion is not None
    assert alarms.champion > 10 * max(alarms.challenger, 1.0)


def test_a_challenger_goes_on_from_its_parent_and_says_so(
    after_drift: tuple[Shelf, Outcome],
) -> None:
    shelf, outcome = after_drift
    parent, child = (bundle.load(version.bundle) for version in shelf.versions())
    assert outcome.judgement is not None
    assert outcome.judgement.cold is None
    assert child.manifest.lineage.config["parent"] == parent.digest
    assert child.manifest.lineage.config["network"] == parent.manifest.lineage.config["network"]
    assert child.manifest.model.window == parent.manifest.model.window


def test_the_verdict_is_kept_whole_and_shown(after_drift: tuple[Shelf, Outcome]) -> None:
    shelf, outcome = after_drift
    version = shelf.versions()[-1]
    kept = msgspec.json.decode(version.verdict.read_bytes(), type=Judgement)
    assert kept == outcome.judgement
    page = (version.folder / "verdict.html").read_text()
    assert "The challenger becomes the champion" in page
    assert kept.bundle in page
    assert "90 % interval" in page


def test_a_challenger_trained_on_faults_is_stopped_although_it_alarms_less(
    begun: tuple[Path, Outcome], tmp_path: Path
) -> None:
    shelf = shelf_of(begun, tmp_path)
    past = MemoryPast(poisoned(ROWS, FIRST_DAYS))
    past.words = Said(alarms=72, false_alarms=36)
    outcome = retrain(shelf, past, OPTIONS, now_ms=NOW_MS + 1000, on=Silent())
    assert outcome.judgement is not None
    verdict = outcome.judgement.verdict
    better = [figure.what for figure in verdict.figures if figure.judged == "better"]
    assert verdict.decision == "keep", outcome.said
    assert "alarms on normal rows" in better
    assert "flow" in verdict.why
    champion = shelf.champion()
    assert champion is not None
    assert champion.name == begun[1].version
    assert len(shelf.versions()) == 2  # kept for people to look at


def test_a_job_cut_off_twice_is_ended_by_the_next_with_the_same_outcome(
    begun: tuple[Path, Outcome], tmp_path: Path
) -> None:
    past = MemoryPast(until(ROWS, FIRST_DAYS))
    shelf = Shelf(tmp_path, "pump")
    for late_ms, stage in ((0, "training"), (5000, "comparing with the champion")):
        with pytest.raises(Killed):
            retrain(shelf, past, OPTIONS, now_ms=NOW_MS + late_ms, on=EndsAt(stage))
    last = EndsAt("")
    outcome = retrain(shelf, past, OPTIONS, now_ms=NOW_MS + 9000, on=last)
    assert outcome == begun[1]  # to the digest of the bundle
    assert last.heard == ["comparing with the champion"]


def test_a_plan_whose_data_changed_is_made_anew(
    begun: tuple[Path, Outcome], tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path, "pump")
    past = MemoryPast(until(ROWS, FIRST_DAYS))
    with pytest.raises(Killed):
        retrain(shelf, past, OPTIONS, now_ms=NOW_MS, on=EndsAt("training"))
    past.confirmed = [Span("pump1", BEGIN_MS + DAY_MS, BEGIN_MS + DAY_MS + 7_200_000)]
    with pytest.raises(Killed):
        retrain(shelf, past, OPTIONS, now_ms=NOW_MS + 5000, on=EndsAt("training"))
    plan = shelf.job()
    assert plan is not None
    assert b"20270115T080005Z" in plan


def test_a_bundle_from_elsewhere_can_be_the_first_champion(
    begun: tuple[Path, Outcome], tmp_path: Path
) -> None:
    path = Shelf(begun[0], "pump").versions()[0].bundle
    shelf = Shelf(tmp_path, "pump")
    version = adopt(shelf, path)
    assert adopt(shelf, path) == version
    champion = shelf.champion()
    assert champion is not None
    assert champion.bundle.read_bytes() == path.read_bytes()
    later = tmp_path / "later.offbeat"
    later.write_bytes(b"not even looked at")
    assert adopt(shelf, later) == version


@pytest.mark.parametrize(("had", "asked"), [(("s0", "s1"), True), (("s0",), False)])
def test_a_challenger_has_a_counter_where_its_champion_has_it(
    had: tuple[str, ...], *, asked: bool
) -> None:
    rows = np.column_stack([np.sin(np.arange(300.0)), np.arange(300.0)])
    champion = SimpleNamespace(sensors=[SimpleNamespace(name=name) for name in had])
    assert asked_for(examine(history(rows)), cast("Manifest", champion)) is asked
