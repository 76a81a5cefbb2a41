"""A threshold that follows: bounds, memory, gaps, and what it does in an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.control import Feedback, Swap
from offbeat_edge.engine import Engine
from offbeat_edge.follow import Followed, Follower, FollowSpec
from offbeat_edge.model import Model
from offbeat_edge.replay import play
from offbeat_edge.schema import AlertRule, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from offbeat_edge.manifest import Manifest
    from offbeat_edge.schema import SensorSpec
    from offbeat_edge.window import Floats

START = 1_700_000_000_000
SPEC = FollowSpec(windows=4, factor=1.5, most=2.0)
WINDOW, STRIDE = 8, 2

scores = st.floats(min_value=0.0, max_value=1e6)


def follower(spec: FollowSpec = SPEC) -> Follower:
    return Follower(spec, window=WINDOW, stride=STRIDE)


def run(subject: Follower, series: list[float], first: int = 0) -> list[float]:
    return [subject.take(first + n * STRIDE, score) for n, score in enumerate(series)]


@given(st.lists(scores, max_size=200))
def test_the_threshold_stays_within_its_bounds(series: list[float]) -> None:
    assert all(1.0 <= threshold <= SPEC.most for threshold in run(follower(), series))


def test_calm_scores_leave_the_bundles_threshold() -> None:
    assert set(run(follower(), [0.6] * 100)) == {1.0}


def test_scores_that_creep_up_to_the_threshold_raise_it() -> None:
    assert run(follower(), [0.9] * 100)[-1] == pytest.approx(1.35)


def test_a_fault_beyond_the_bound_stays_one_for_ever() -> None:
    subject = follower()
    run(subject, [0.5] * 50)
    assert 2.1 / run(subject, [2.1] * 5000, first=100)[-1] > 1.0


def test_a_great_fault_is_forgotten_as_soon_as_a_small_one() -> None:
    small, great = follower(), follower()
    run(small, [1.5] * 16)
    run(great, [1e6] * 16)
    assert run(small, [0.1] * 40, first=32) == run(great, [0.1] * 40, first=32)


def test_missing_scores_count_as_calm() -> None:
    subject = follower()
    before = run(subject, [1.2] * 16)[-1]
    assert subject.take(16 * STRIDE + 2 * WINDOW, 1.2) < before
    assert subject.take(16 * STRIDE + 9 * WINDOW, 1.2) == 1.0


def test_what_is_not_the_machines_own_is_not_followed() -> None:
    subject = follower()
    for n in range(100):
        assert subject.take(n * STRIDE, 1.9, learn=False) == 1.0


def test_time_that_was_set_back_begins_anew() -> None:
    subject = follower()
    run(subject, [1.2] * 40)
    assert subject.take(0, 1.2) == 1.0


@given(st.lists(scores, min_size=60, max_size=80), st.integers(0, 12))
def test_whoever_begins_early_enough_has_the_same_to_the_last_digit(
    series: list[float], late: int
) -> None:
    whole = run(follower(), series)
    part = run(follower(), series[late:], first=late * STRIDE)
    settled = (SPEC.windows + 1) * WINDOW // STRIDE
    assert part[settled + 4 :] == whole[late + settled + 4 :]


@given(st.lists(scores, max_size=100), st.lists(scores, max_size=100))
def test_a_saved_state_goes_on_as_if_nothing_had_happened(
    before: list[float], after: list[float]
) -> None:
    first, second = follower(), follower()
    run(first, before)
    saved = msgspec.msgpack.encode(first.state)
    second.restore(msgspec.msgpack.decode(saved, type=Followed))
    at = len(before) * STRIDE
    assert run(first, after, first=at) == run(second, after, first=at)


@pytest.mark.parametrize(
    "state", [Followed(None, [1.0]), Followed(3, []), Followed(3, [0.0] * 6)], ids=str
)
def test_a_state_that_it_never_leaves_is_refused(state: Followed) -> None:
    with pytest.raises(ValueError, match="expected up to 5 sums"):
        follower().restore(state)


# -- in an engine


class Nothing:
    """Reconstructs the mean: a score is how far the readings are from it."""

    def reconstruct(self, windows: Floats) -> Floats:
        return np.zeros_like(windows)


@pytest.fixture
def following(manifest: Manifest) -> Model:
    described = msgspec.structs.replace(
        manifest,
        sensors=tuple(msgspec.structs.replace(s, stuck_steps=None) for s in manifest.sensors),
        threshold=1.0,
        follow=SPEC,
        alert=AlertRule(clear_ratio=0.9, clear_ms=4000),
    )
    return model_of(described)


def model_of(described: Manifest, digest: str = "d") -> Model:
    return Model(
        manifest=described, digest=digest * 64, config_digest="c" * 64, interpreter=Nothing()
    )


def engine_for(model: Model) -> Engine:
    return Engine(site="hall", gateway="gw", route=lambda _: model)


def pump(manifest: Manifest, scores: list[float]) -> list[Sample]:
    """Readings so many standard deviations off, one a step."""
    return [
        Sample(
            "pump1",
            START + 1000 * k,
            {s.name: s.center + s.scale * score for s in manifest.sensors},
        )
        for k, score in enumerate(scores)
    ]


def outcome(engine: Engine, stream: list[Sample], batch: int = 7) -> tuple[list[Any], list[Any]]:
    outs = list(play(engine, iter(stream), batch=batch))
    return [s for out in outs for s in out.scores], [e for out in outs for e in out.events]


RUNNING_IN = [0.5] * 40 + [1.2] * 200 + [0.5] * 40 + [1.8] * 30


def anomalies(events: list[Any]) -> list[tuple[str, float]]:
    return [(event.type, event.threshold) for event in events if event.kind == "anomaly"]


def test_what_lasts_is_told_once_and_what_stands_out_from_it_again(following: Model) -> None:
    stream = pump(following.manifest, RUNNING_IN)
    _, events = outcome(engine_for(following), stream)
    kinds = [kind for kind, _ in anomalies(events)]
    assert kinds == ["new", "end", "new"]
    assert anomalies(events)[1][1] > 1.2
    still = model_of(msgspec.structs.replace(following.manifest, follow=None))
    _, plain = outcome(engine_for(still), stream)
    assert {threshold for _, threshold in anomalies(plain)} == {1.0}
    ends = [event.time_ms for event in plain if event.type == "end"]
    assert ends[0] > next(event.time_ms for event in events if event.type == "end")


def limited(model: Model, **limits: Callable[[SensorSpec], object]) -> Model:
    """Give every sensor other limits."""
    sensors = tuple(
        msgspec.structs.replace(s, **{name: of(s) for name, of in limits.items()})
        for s in model.manifest.sensors
    )
    return model_of(msgspec.structs.replace(model.manifest, sensors=sensors))


def test_a_reading_out_of_range_is_followed_for_it_excuses_no_score(following: Model) -> None:
    stream = pump(following.manifest, RUNNING_IN)
    beyond = limited(following, high=lambda s: s.center + s.scale)
    scores, events = outcome(engine_for(beyond), stream)
    assert any(e.kind == "sensor_fault" for e in events)
    assert [s.threshold for s in scores] == [
        s.threshold for s in outcome(engine_for(following), stream)[0]
    ]


def test_a_score_that_a_faulty_sensor_explains_is_not_followed(following: Model) -> None:
    stream = pump(following.manifest, RUNNING_IN[:200])
    sick = limited(following, sentinels=lambda s: (s.center + s.scale * 1.2,))
    scores, events = outcome(engine_for(sick), stream)
    assert {e.kind for e in events} == {"sensor_fault"}
    assert {s.threshold for s in scores} == {1.0}


def test_a_kill_changes_nothing_whatever_the_batches(following: Model) -> None:
    stream = pump(following.manifest, RUNNING_IN)
    whole = outcome(engine_for(following), stream, batch=1)
    for cut in (60, 133, 250):
        first, second = engine_for(following), engine_for(following)
        before = outcome(first, stream[:cut], batch=50)
        second.restore(first.snapshot())
        after = outcome(second, stream[cut:], batch=300)
        assert (before[0] + after[0], before[1] + after[1]) == whole


def test_an_alert_that_people_confirmed_stays(following: Model) -> None:
    stream = pump(following.manifest, [0.5] * 40 + [1.2] * 200)
    engine = engine_for(following)
    outcome(engine, stream[:50])
    verdict = Feedback(id="1", asset="pump1", verdict="confirmed", time_ms=stream[50].time_ms)
    engine.control(verdict)
    _, events = outcome(engine, stream[50:])
    assert [kind for kind, _ in anomalies(events) if kind == "end"] == []


@pytest.mark.parametrize("kill", [False, True])
def test_an_end_that_people_asked_for_says_by_which_threshold_its_score_was_measured(
    following: Model, *, kill: bool
) -> None:
    stream = pump(following.manifest, [0.9] * 100 + [9.0] * 10)
    engine = engine_for(following)
    scores, events = outcome(engine, stream)
    assert events[-1].type != "end"
    if kill:
        snapshot, engine = engine.snapshot(), engine_for(following)
        engine.restore(snapshot)
    ended = Feedback(id="1", asset="pump1", verdict="expected", time_ms=stream[-1].time_ms)
    (event,) = engine.control(ended).events
    assert (event.score, event.threshold) == (scores[-1].score, scores[-1].threshold)
    assert event.threshold > 1.0


def test_another_bundle_begins_anew(following: Model) -> None:
    at_work = [following]
    engine = Engine(site="hall", gateway="gw", route=lambda _: at_work[-1])
    stream = pump(following.manifest, [0.9] * 200)
    scores, _ = outcome(engine, stream[:150])
    at_work.append(model_of(following.manifest, "e"))
    engine.control(Swap(id="1", time_ms=START, entry=0, bundle="e" * 64))
    after, _ = outcome(engine, stream[150:152])
    assert scores[-1].threshold > 1.0
    assert [score.threshold for score in after] == [1.0] * len(after) != []


def test_a_snapshot_of_before_thresholds_followed_is_read(following: Model) -> None:
    engine = engine_for(following)
    stream = pump(following.manifest, [0.9] * 200)
    outcome(engine, stream[:100])
    old = msgspec.msgpack.decode(engine.snapshot())
    for watch in old["assets"].values():
        del watch["followed"]
    heir = engine_for(following)
    heir.restore(msgspec.msgpack.encode(old))
    scores, _ = outcome(heir, stream[100:])
    assert scores[0].threshold == 1.0
    assert scores[-1].threshold > 1.0
