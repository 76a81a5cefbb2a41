"""Who is named: the sensor without which the score is gone, not the one that shows it most."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pytest
from chance import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from offbeat_edge import blame
from offbeat_edge.detector import DetectorSpec
from offbeat_edge.engine import Engine
from offbeat_edge.errors import ModelError
from offbeat_edge.model import Model
from offbeat_edge.schema import Sample, SensorSpec
from offbeat_edge.scorer import Scorer
from offbeat_edge.shape import ShapeSpec

if TYPE_CHECKING:
    from offbeat_edge.alertbook import Explanations
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.outputs import Outputs
    from offbeat_edge.window import Floats

STEPS = 8
LEADER = (1.0, 0.3, 0.3)  # three sensors that go together, and the first one leads
START = 1_700_000_000_000


class Together:
    """Expects that all sensors move as one: what is left of a window along one direction."""

    def __init__(self, direction: tuple[float, ...]) -> None:
        self._direction = np.array(direction) / np.linalg.norm(direction)
        self.windows = 0

    def reconstruct(self, windows: Floats) -> Floats:
        self.windows += len(windows)
        along = (windows * self._direction).sum(axis=2, keepdims=True)
        return np.asarray(along * self._direction)


class FailsLater(Together):
    """Judges one window, and fails at the next invocation."""

    def __init__(self) -> None:
        super().__init__((1.0, 1.0))
        self._left = 2  # the window itself, twice: for its score and for its explanation

    def reconstruct(self, windows: Floats) -> Floats:
        self._left -= 1
        if self._left < 0:
            raise ModelError("worn out")
        return super().reconstruct(windows)


class Rules(NamedTuple):
    detector: DetectorSpec
    threshold: float = 1.0
    shape: ShapeSpec | None = None


def sensors(count: int, *, scored: int | None = None) -> tuple[SensorSpec, ...]:
    return tuple(
        SensorSpec(
            name=f"s{n}", center=0.0, scale=1.0, cadence_ms=1000,
            scored=scored is None or n < scored,
        )
        for n in range(count)
    )  # fmt: skip


def scorer(count: int, *, inputs: int | None = None) -> Scorer:
    eye = tuple(tuple(float(i == j) for j in range(count)) for i in range(count))
    spec = DetectorSpec(rows=STEPS // 2, center=(0.0,) * count, precision=eye)
    return Scorer(Rules(spec), sensors(inputs or count, scored=count))


def blamed(judge: Scorer, model: Together, window: Floats) -> tuple[Floats, Floats]:
    """Return the shares of an event, and those of a score."""
    recon = model.reconstruct(window[None])
    found = judge.blame(window, recon[0], model.reconstruct)
    return found.shares, judge.score(window[None], recon).shares[0]


@pytest.mark.parametrize("magnitude", [0.5, -4.0])
@pytest.mark.parametrize("sensor", [0, 1, 2])
def test_the_faulty_sensor_is_named_though_the_model_follows_it(
    sensor: int, magnitude: float
) -> None:
    window = np.outer(np.linspace(-1.0, 1.0, STEPS), LEADER)
    window[:, sensor] += magnitude
    found, _ = blamed(scorer(3), Together(LEADER), window)
    assert found.argmax() == sensor
    assert found[sensor] > 0.5


def test_what_is_expected_of_it_is_what_the_others_say() -> None:
    window = np.outer(np.linspace(-1.0, 1.0, STEPS), LEADER)
    window[:, 0] += 4.0
    model = Together(LEADER)
    followed = model.reconstruct(window[None])[0]
    found = scorer(3).blame(window, followed, model.reconstruct)
    assert abs(found.expected[-1, 0] - 1.0) < 0.7 * abs(followed[-1, 0] - 1.0)


def test_residuals_alone_name_another_there() -> None:
    """What the model follows leaves little where it is, and much where it is not."""
    window = np.zeros((STEPS, 3))
    window[:, 0] = 0.5
    _, plain = blamed(scorer(3), Together(LEADER), window)
    assert plain.argmax() != 0


@settings(max_examples=examples(40))
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 20), more=st.integers(0, 3))
def test_shares_sum_to_one_and_unscored_sensors_have_none(seed: int, count: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    model = Together(tuple(rng.normal(size=count + more)))
    window = rng.normal(size=(STEPS, count + more)) * 3.0
    found, _ = blamed(scorer(count, inputs=count + more), model, window)
    assert found.sum() == pytest.approx(1.0)
    assert found.min() >= 0.0
    assert not found[count:].any()


def test_where_several_are_faulty_none_is_taken_for_the_only_one() -> None:
    """Without any one of them the rest is as loud: what the residuals say stands."""
    window = np.zeros((STEPS, 6))
    window[:, [1, 2, 3, 4]] = 6.0, -6.0, 5.0, -5.0
    found, plain = blamed(scorer(6), Together((1.0,) * 6), window)
    assert found.tolist() == plain.tolist()
    assert set(np.argsort(-found)[:4].tolist()) == {1, 2, 3, 4}


def test_of_many_sensors_only_the_likeliest_are_tried() -> None:
    model = Together((1.0,) * 40)
    window = np.zeros((STEPS, 40))
    window[:, 33] = 5.0
    found, _ = blamed(scorer(40), model, window)
    assert found.argmax() == 33
    assert np.count_nonzero(found) <= blame.SUSPECTS
    assert model.windows == 1 + blame.SUSPECTS * blame.ROUNDS


def test_windows_that_were_run_are_left_as_they_were() -> None:
    """What runs a model may keep them, as a replay at several thresholds does."""

    class Keeps(Together):
        kept: list[tuple[Floats, Floats]] = []  # noqa: RUF012 - of this one test

        def reconstruct(self, windows: Floats) -> Floats:
            self.kept.append((windows, windows.copy()))
            return super().reconstruct(windows)

    model = Keeps(LEADER)
    blamed(scorer(3), model, np.eye(STEPS, 3))
    assert len(model.kept) == 1 + blame.ROUNDS
    assert all(np.array_equal(was, now) for was, now in model.kept)


def test_a_window_without_a_residual_is_shared_evenly() -> None:
    found, _ = blamed(scorer(3), Together(LEADER), np.zeros((STEPS, 3)))
    assert found.tolist() == [1 / 3] * 3


def test_a_strange_shape_names_the_sensor_that_draws_it() -> None:
    code = ((0,) * STEPS,)
    shape = ShapeSpec(pool=1, usual=(1.0,) * 3, threshold=1e-6, codes=(code,) * 3)
    spec = DetectorSpec(
        rows=4, center=(0.0,) * 3, precision=((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    )
    judge = Scorer(Rules(spec, shape=shape), sensors(3))
    window = np.zeros((STEPS, 3))
    window[::2, 1] = 4.0
    found, plain = blamed(judge, Together(LEADER), window)
    assert found.tolist() == plain.tolist() == [0.0, 1.0, 0.0]


# ---------------------------------------------------------------- at work


def model_of(manifest: Manifest, reconstructor: Together) -> Model:
    return Model(
        manifest=manifest, digest="d" * 64, config_digest="c" * 64, interpreter=reconstructor
    )


def fed(
    model: Model,
    *,
    contributions: int = 5,
    explained: Explanations | None = None,
) -> Outputs:
    """Two sensors that rise and fall as one, until the first goes its own way."""
    engine = Engine(
        site="s", gateway="g", route=lambda _: model, contributions=contributions,
        explained=explained,
    )  # fmt: skip
    return engine.feed([
        Sample("p", START + 1000 * k, {
            "flow": 10.0 + 0.1 * (k % 3) + (9.0 if 20 <= k < 30 else 0.0),
            "heat": 20.0 + 0.1 * (k % 3),
        })
        for k in range(40)
    ])  # fmt: skip


def test_events_are_explained_and_scores_are_shared_out_in_short(manifest: Manifest) -> None:
    eager = msgspec.structs.replace(manifest, threshold=1.0)
    out = fed(model_of(eager, Together((1.0, 0.3))))
    event = out.events[0]
    score = next(s for s in out.scores if s.time_ms == event.time_ms)
    assert score.score == event.score
    assert score.contributions != event.contributions
    assert sum(c.share for c in event.contributions) == pytest.approx(1.0)


def test_a_thorough_engine_explains_scores_as_events_and_alerts_no_otherwise(
    manifest: Manifest,
) -> None:
    eager = msgspec.structs.replace(manifest, threshold=1.0)
    plain = fed(model_of(eager, Together((1.0, 0.3))))
    explained: Explanations = {}
    slow = fed(model_of(eager, Together((1.0, 0.3))), explained=explained)
    assert plain.events
    assert slow.events == plain.events
    for event in slow.events:
        assert explained[event.asset, event.time_ms] == event.contributions
    last = {s.time_ms: s for s in plain.scores}
    for score in slow.scores:
        shares = {c.sensor: c.share for c in explained[score.asset, score.time_ms]}
        assert {c.sensor: c.share for c in score.contributions} == shares
        came = {c.sensor: c.actual for c in last[score.time_ms].contributions}
        assert {c.sensor: c.actual for c in score.contributions} == came


def test_an_event_tells_where_a_sensor_is_furthest_and_a_score_where_it_ends(
    manifest: Manifest,
) -> None:
    model = model_of(manifest, Together((1.0, 0.3)))
    rows, spec = manifest.detector.rows, manifest.model
    window = np.full((spec.window, len(manifest.sensors)), 20.0)
    window[:-rows, 1] += 90.0  # not judged
    at = spec.window - rows
    window[at, 0] += 9.0
    found = model.explain(window)
    assert found is not None
    assert found.actual[0] == window[at, 0] != window[-1, 0]
    assert found.actual[1] == 20.0
    assert found.expected[0] != found.expected_last[0]


def test_an_engine_that_names_nobody_spends_nothing_on_it(manifest: Manifest) -> None:
    model = Together((1.0, 0.3))
    out = fed(model_of(msgspec.structs.replace(manifest, threshold=1.0), model), contributions=0)
    assert out.events
    assert [e.contributions for e in out.events] == [()] * len(out.events)
    assert model.windows == len(out.scores)


def test_calm_windows_cost_no_more_than_their_score(manifest: Manifest) -> None:
    model = Together((1.0, 0.3))
    loud = msgspec.structs.replace(manifest, threshold=1e9)
    out = fed(model_of(loud, model))
    assert (out.events, model.windows) == ([], len(out.scores))


def test_a_model_that_fails_at_the_explanation_leaves_the_plain_shares(manifest: Manifest) -> None:
    model = model_of(manifest, FailsLater())
    window = np.array([[19.0, 20.0]] * 4)
    assert model.judge(window[None]).score[0] > 1.0
    assert model.explain(window) is None


def test_it_is_given_up_at_the_next_score_for_rows_of_this_batch_are_settled(
    manifest: Manifest,
) -> None:
    """A journal walks a batch under one model: given up half way, alerts would differ."""
    model = model_of(manifest, FailsLater())
    window = np.array([[19.0, 20.0]] * 4)
    model.judge(window[None])
    model.explain(window)
    assert (model.lapsed, model.degraded) == (None, None)
    model.judge(window[None])
    assert (model.interpreter, model.lapsed) == (None, "model failed: worn out")
    assert model.explain(window) is None
