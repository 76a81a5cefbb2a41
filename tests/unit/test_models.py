"""Degraded, not dead: what runs when a bundle is damaged, fails, kills, or comes back."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec
import pytest
from bundle_parts import ABORTS_AT, TINY, answered, members

from offbeat_edge import bundle
from offbeat_edge.config import Config, Gateway, Source
from offbeat_edge.config import Model as Entry
from offbeat_edge.errors import BundleError, ModelError
from offbeat_edge.knownanswer import check, check_in_child
from offbeat_edge.log import Log
from offbeat_edge.supervise.background import Background
from offbeat_edge.supervise.crashes import DEATHS, FRAME, Crashes
from offbeat_edge.supervise.models import LOOK_S, Models, Tools
from offbeat_edge.supervise.post import RETRY_CAP_S, RETRY_S
from offbeat_edge.supervise.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from offbeat_edge.control import Swap
    from offbeat_edge.health import ModelHealth
    from offbeat_edge.knownanswer import KnownAnswer
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.window import Floats

T = TypeVar("T")


class AtOnce(Background[T], Generic[T]):
    """An examination that is over when it has begun."""

    def __init__(self, task: Callable[[], T]) -> None:
        super().__init__(task)
        self._thread.join()


class Failing:
    def reconstruct(self, windows: Floats) -> Floats:
        raise ModelError(f"invocation failed of {len(windows)} windows")


class Plant:
    """A configuration with one model, whose daemon can die and start again."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.path = folder / "tiny.offbeat"
        self.now = 1000.0
        self.tried: list[str] = []
        self.child = False  # quicker, where no model kills
        self.swaps: list[Swap] = []
        self.state = folder / "state"
        self.lives: list[Crashes] = []

    def write(self, version: str = "1", path: Path | None = None) -> str:
        spec = msgspec.structs.replace(self.manifest.model, version=version)
        parts = answered(msgspec.structs.replace(self.manifest, model=spec))
        return bundle.write(path or self.path, *parts)

    def wrong(self, version: str = "9") -> str:
        """Write a bundle whose golden windows nobody reproduces."""
        spec = msgspec.structs.replace(self.manifest.model, version=version)
        return bundle.write(
            self.path, msgspec.structs.replace(self.manifest, model=spec), members()
        )

    def start(self, *, digest: str = "", told: bool = True) -> Models:
        """Begin a life; ``told``: with the first turn of its loop."""
        self.crashes = Crashes(
            self.state / "crashes", wall_s=lambda: self.now, watch=lambda _: None
        )
        self.lives.append(self.crashes)
        self.models = Models(
            config=Config(
                gateway=Gateway(id="gw", state_dir=str(self.state)),
                sources=(Source(topic="plant/{asset}"),),
                models=(Entry(bundle=str(self.path), assets=("p*",), digest=digest),),
            ),
            tools=Tools(
                shelf=Shelf(self.state / "bundles"),
                crashes=self.crashes,
                trials=self.state / "trials",
                keys=None,
                check=self._check,
            ),
            log=Log(stream=io.StringIO()),
            monotonic=lambda: self.now,
            background=AtOnce,
        )
        if told:
            self.turn()
        return self.models

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass; do what is due, as the loop would."""
        self.now += seconds
        for _ in range(2):  # an examination that starts now, and what it found
            for swap in self.models.tend():
                self.swaps.append(swap)
                self.models.use(swap)

    def looks(self) -> None:
        """Let so much time pass that a change of the file counts."""
        self.turn(LOOK_S)
        self.turn(LOOK_S)

    @property
    def health(self) -> ModelHealth:
        (health,) = self.models.health({}, {})
        return health

    @property
    def scores_with(self) -> str:
        model = self.models.route("p1")
        if model is None:
            return "nothing"
        return f"{'statistics' if model.interpreter is None else 'model'} {model.ref.version}"

    def _check(self, path: str, *, digest: str) -> KnownAnswer:
        self.tried.append(digest)
        if self.child:
            return check_in_child(path, digest=digest)
        return check(bundle.load(path, digest=digest))


@pytest.fixture
def plant(tmp_path: Path, manifest: Manifest) -> Iterator[Plant]:
    plant = Plant(tmp_path, manifest)
    yield plant
    for crashes in plant.lives:
        crashes.close()


def test_a_first_start_swaps_its_bundle_in_and_keeps_it(plant: Plant) -> None:
    digest = plant.write()
    plant.start()
    assert [(swap.entry, swap.bundle, swap.fallback) for swap in plant.swaps] == [
        (0, digest, False)
    ]
    assert plant.scores_with == "model 1"
    assert plant.health.degraded is None
    assert bundle.load(plant.state / "bundles" / f"{digest}.offbeat").digest == digest


def test_a_start_without_swaps_runs_what_the_configuration_names(plant: Plant) -> None:
    """So that a state of before there were swaps finds its model while it recovers."""
    plant.write()
    models = plant.start(told=False)
    assert models.route("q1") is None
    assert plant.scores_with == "model 1"
    assert models.tend() == []


def test_a_new_file_is_taken_without_a_restart(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    digest = plant.write("2")
    plant.looks()
    assert plant.scores_with == "model 2"
    assert plant.swaps[-1].bundle == digest
    plant.looks()
    assert len(plant.swaps) == 2


def test_a_file_still_being_written_is_left_alone(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    whole = plant.path.read_bytes()
    for size in (1000, 2000, 3000, 4000):
        plant.path.write_bytes(whole[:size])
        plant.turn(LOOK_S)
    assert plant.health.degraded is None


@pytest.mark.parametrize("damage", ["cut", "bit", "absent", "wrong answers"])
def test_a_damaged_file_changes_nothing_but_health(plant: Plant, damage: str) -> None:
    plant.write("1")
    plant.start()
    data = plant.path.read_bytes()
    if damage == "wrong answers":
        plant.wrong()
    elif damage == "absent":
        plant.path.unlink()
    else:
        plant.path.write_bytes(data[:-9] if damage == "cut" else b"\0" + data[1:])
    plant.looks()
    assert plant.scores_with == "model 1"
    assert len(plant.swaps) == 1
    assert "the last good bundle goes on: tiny 1" in (plant.health.degraded or "")
    plant.path.unlink(missing_ok=True)
    plant.write("2")
    plant.looks()
    assert plant.scores_with == "model 2"
    assert plant.health.degraded is None


def test_a_start_with_a_damaged_file_runs_the_last_good_bundle(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    plant.path.write_bytes(b"PK\x03\x04 nothing")
    plant.start()
    assert plant.scores_with == "model 1"
    assert "last good" in (plant.health.degraded or "")


def test_a_bundle_of_another_digest_than_pinned_is_never_the_last_good(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    other = plant.write("2", plant.folder / "other")
    plant.path.unlink()
    plant.start(digest=f"sha256:{other}")
    assert plant.scores_with == "nothing"


def test_without_a_last_good_one_its_statistics_score(plant: Plant) -> None:
    plant.wrong("9")
    plant.start()
    assert plant.scores_with == "statistics 9"
    assert plant.swaps[0].fallback
    assert "golden scores" in (plant.health.degraded or "")


def test_without_anything_nobody_watches_and_a_repair_is_found(plant: Plant) -> None:
    plant.path.write_bytes(b"nothing")
    plant.start()
    assert (plant.scores_with, plant.swaps) == ("nothing", [])
    assert "expected a zip file" in (plant.health.degraded or "")
    plant.write("1")
    plant.looks()
    assert plant.scores_with == "model 1"


def test_a_bundle_that_failed_is_tried_again_ever_more_rarely(plant: Plant) -> None:
    plant.wrong()
    plant.start()
    for _ in range(int(3 * RETRY_CAP_S)):
        plant.turn(1.0)
    assert 6 <= len(plant.tried) <= 9
    assert len(plant.swaps) == 1


def test_an_interpreter_that_throws_is_replaced_by_statistics_and_comes_back(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    model = plant.models.route("p1")
    assert model is not None
    model.interpreter = Failing()
    model.judge(model.golden.windows)  # type: ignore[union-attr]
    (swap,) = plant.models.lapsed()
    assert swap.fallback
    plant.models.use(swap)
    assert plant.scores_with == "statistics 1"
    assert "invocation failed" in (plant.health.degraded or "")
    plant.turn(RETRY_S + 1)
    assert plant.tried[1:] == [swap.bundle]  # in a child first
    assert plant.scores_with == "model 1"
    assert plant.health.degraded is None


def test_a_model_with_wrong_answers_goes_and_one_that_keeps_failing_rests_longer(
    plant: Plant,
) -> None:
    plant.write("1")
    plant.start()
    rests = []
    for _ in range(4):
        model = plant.models.route("p1")
        assert model is not None
        plant.models.faulty(model, "drifts")
        plant.turn()
        assert plant.scores_with == "statistics 1"
        before = plant.now
        while plant.scores_with != "model 1":
            plant.turn(1.0)
        rests.append(plant.now - before)
    assert rests == sorted(rests)
    assert rests[-1] >= 2 * rests[0]


def test_a_reload_looks_at_once(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    plant.write("2")
    plant.models.reload()
    plant.turn()
    assert plant.scores_with == "model 2"


def test_state_and_resume_agree(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    state = plant.models.state()
    plant.write("2")
    plant.start(told=False).resume(state)
    assert plant.scores_with == "model 1"  # as the journal was written
    plant.turn()
    assert plant.scores_with == "model 2"


def test_the_shelf_holds_what_a_walk_may_need_until_a_snapshot(plant: Plant) -> None:
    for version in ("1", "2", "3", "4"):
        plant.write(version)
        plant.start()
    shelf = plant.state / "bundles"
    assert len(list(shelf.glob("*.offbeat"))) == 4
    plant.models.prune()
    assert len(list(shelf.glob("*.offbeat"))) == 2  # at work, and the one before


def test_an_order_comes_before_the_file_and_outlives_a_restart(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    ordered = plant.folder / "ordered"
    digest = plant.write("7", ordered)
    plant.models.activate("tiny", str(ordered), digest)
    plant.turn()
    assert plant.scores_with == "model 7"
    ordered.unlink()
    plant.start()
    assert plant.scores_with == "model 7"
    with pytest.raises(BundleError):
        plant.models.activate("tiny", str(plant.path), digest)
    with pytest.raises(BundleError, match="at work"):
        plant.models.open("nobody", str(plant.path), digest)


# ---------------------------------------------------------------- deaths


def die(plant: Plant, digest: str, *, frame: str = FRAME) -> None:
    """Leave behind what the fault handler writes."""
    (plant.state / "crashes" / f"{digest}.trace").write_text(
        f'Fatal Python error: Segmentation fault\n  File "/x/{frame}", line 1 in run\n'
    )


def test_a_bundle_of_three_deaths_is_put_aside_for_the_last_good_one(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    digest = plant.write("2")
    plant.looks()
    for _ in range(DEATHS):
        assert plant.scores_with == "model 2"
        die(plant, digest)
        plant.start()
        plant.now += 10
    assert plant.scores_with == "model 1"
    assert "crashed or hung" in (plant.health.degraded or "")
    assert "last good" in (plant.health.degraded or "")


def test_one_alone_is_put_aside_for_its_statistics_until_somebody_asks(plant: Plant) -> None:
    digest = plant.write("1")
    plant.start()
    for _ in range(DEATHS):
        die(plant, digest)
        plant.start()
    assert plant.scores_with == "statistics 1"
    plant.start()
    assert plant.scores_with == "statistics 1"
    plant.models.reload()
    plant.turn()
    assert plant.scores_with == "model 1"


def test_a_death_has_the_bundle_tried_in_a_child_again(plant: Plant) -> None:
    digest = plant.write("1")
    plant.start()
    plant.start()
    assert plant.tried == [digest]
    die(plant, digest)
    plant.start()
    assert plant.tried == [digest, digest]


def test_deaths_far_apart_and_deaths_elsewhere_count_for_nothing(plant: Plant) -> None:
    digest = plant.write("1")
    plant.start()
    for _ in range(5):
        plant.now += 3600
        die(plant, digest)
        plant.start()
    for _ in range(5):
        die(plant, digest, frame="offbeat_edge/store.py")
        plant.start()
    assert plant.scores_with == "model 1"


def test_an_end_without_a_crash_leaves_no_trace(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    plant.models.close()
    assert not list((plant.state / "crashes").glob("*.trace"))


def test_a_walk_never_loads_what_was_put_aside(plant: Plant) -> None:
    digest = plant.write("1")
    plant.start()
    for _ in range(DEATHS):
        die(plant, digest)
        plant.start()
    plant.models.use(plant.swaps[0])  # as the journal has it
    assert plant.scores_with == "statistics 1"


def test_a_model_that_kills_its_child_never_comes_near_the_daemon(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    plant.child = True
    fatal = bytearray(TINY)
    fatal[ABORTS_AT[0]] ^= ABORTS_AT[1]
    manifest, parts = answered(plant.manifest)
    bundle.write(plant.path, manifest, {**parts, bundle.MODEL: bytes(fatal)})
    plant.looks()
    assert plant.scores_with == "model 1"
    assert "crash of the runtime" in (plant.health.degraded or "")


def test_a_state_folder_that_takes_nothing_costs_the_way_back_alone(plant: Plant) -> None:
    plant.write("1")
    plant.state.mkdir()
    for name in ("bundles", "crashes", "trials"):
        (plant.state / name).write_text("in the way")
    plant.start()
    assert plant.scores_with == "model 1"


def test_a_damaged_record_is_begun_anew(plant: Plant) -> None:
    plant.write("1")
    plant.start()
    (plant.state / "bundles" / "shelf.json").write_bytes(b"{")
    (plant.state / "crashes").mkdir(exist_ok=True)
    (plant.state / "crashes" / "crashes.json").write_bytes(b"[]")
    plant.start()
    assert plant.scores_with == "model 1"


def test_a_copy_that_is_damaged_on_the_shelf_is_not_believed(plant: Plant) -> None:
    digest = plant.write("1")
    plant.start()
    lies = plant.state / "bundles" / f"{digest}.offbeat"
    shutil.copy(plant.path, lies.with_suffix(".copy"))
    lies.write_bytes(lies.read_bytes()[:-1])
    plant.path.unlink()
    plant.start()
    assert plant.scores_with == "nothing"
