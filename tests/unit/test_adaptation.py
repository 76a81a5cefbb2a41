"""What is learned of another machine in its warm-up, and what never is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from chance import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offbeat_edge import adaptation
from offbeat_edge.adaptation import MAX_FACTOR, MAX_SHIFT, Adapter, Terms
from offbeat_edge.control import Feedback, Logged, Maintenance, Recalibrate, Swap
from offbeat_edge.engine import Engine
from offbeat_edge.health import model_health
from offbeat_edge.model import Fits, Model
from offbeat_edge.observed import Observed
from offbeat_edge.replay import play
from offbeat_edge.schema import AlertRule, Sample, SensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offbeat_edge.control import Control
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.schema import Adaptation, AlertEvent
    from offbeat_edge.window import Floats

START = 1_700_000_000_000
WARMUP_S = 240
FLOW = SensorSpec(name="flow", center=50.0, scale=2.0, cadence_ms=1000)
TERMS = Terms(warmup_ms=80_000, step_ms=1000, sensors=(FLOW,), usual=0.5)
STAGE = 40  # windows of TERMS


class Half:
    """Follows half of what is off, as an autoencoder follows some of every level."""

    def reconstruct(self, windows: Floats) -> Floats:
        return windows / 2.0


@pytest.fixture
def adapting(manifest: Manifest) -> Model:
    """Above 1.0 where both sensors are 0.8 standard deviations off."""
    described = msgspec.structs.replace(
        manifest,
        threshold=0.4,
        alert=AlertRule(clear_ratio=0.9, clear_ms=4000),
        calibration={"scores": {"high": 0.5}},
    )
    return Model(
        manifest=described,
        digest="d" * 64,
        config_digest="c" * 64,
        interpreter=Half(),
        warmup_ms=1000 * WARMUP_S,
    )


def engine_for(model: Model) -> Engine:
    return Engine(site="hall", gateway="gw", route=lambda _: model)


def pump(
    *, off: float = 0.0, rows: int = 600, hot: tuple[int, int] = (0, 0), swing: float = 0.1
) -> list[Sample]:
    """A pump whose flow runs ``off`` its usual level, and is five off while ``hot``."""
    return [
        Sample(
            "pump1",
            START + 1000 * k,
            {
                "flow": 10.0 + off + swing * (k % 2) + 5.0 * (hot[0] <= k < hot[1]),
                "heat": 20.0 + 0.05 * (k % 3),
            },
        )
        for k in range(rows)
    ]


def told(engine: Engine) -> Adaptation:
    (state,) = engine.states()
    assert state.adaptation is not None
    return state.adaptation


def events(engine: Engine, stream: Iterable[Sample], batch: int = 64) -> list[AlertEvent]:
    return [e for out in play(engine, iter(stream), batch=batch) for e in out.events]


def opened(told: list[AlertEvent]) -> list[int]:
    """Rows at which alerts opened, in tens; they may be dated a row of the stride before."""
    return [(e.start_ms + 1000 - START) // 10_000 * 10 for e in told if e.type == "new"]


def say(engine: Engine, control: Control) -> None:
    assert engine.objection(control) is None
    engine.control(control)


# ---------------------------------------------------------------- the pure core


def run(adapter: Adapter, away: list[float], score: float = 0.4, *, learnable: bool = True) -> str:
    for value in away:
        adapter.take([value], score, learnable=learnable)
    return adapter.told.stage


def test_the_shift_is_the_median_and_comes_into_force_after_half() -> None:
    adapter = Adapter(TERMS)
    assert run(adapter, [0.2] * 15 + [0.6] * 24) == "learning"
    assert adapter.shift == [0.0]
    assert run(adapter, [9.0]) == "checking"
    assert adapter.told.shift == {"flow": 1.2}  # 0.6 standard deviations of 2
    assert run(adapter, [0.0] * STAGE) == "adapted"


def test_what_may_not_be_learned_prolongs_the_warm_up_and_then_refuses_it() -> None:
    adapter = Adapter(TERMS)
    run(adapter, [5.0] * 100, learnable=False)
    assert adapter.told.stage == "learning"
    assert run(adapter, [0.1] * STAGE) == "checking"
    assert run(adapter, [5.0] * 200, learnable=False) == "refused"
    assert (adapter.shift, adapter.factor) == ([0.0], 1.0)
    assert "could be learned" in adapter.told.reason


def test_a_level_beyond_the_bound_is_refused_and_named() -> None:
    adapter = Adapter(TERMS)
    assert run(adapter, [1.4] * STAGE) == "refused"
    assert adapter.told.reason.startswith("flow is +1.4 standard deviations")


def test_a_drift_is_refused() -> None:
    adapter = Adapter(TERMS)
    run(adapter, [n / STAGE for n in range(STAGE)])
    assert run(adapter, [0.5 + n / STAGE for n in range(STAGE)]) == "refused"
    assert "does not hold still" in adapter.told.reason


@pytest.mark.parametrize(("score", "factor"), [(0.2, 1.0), (0.6, 1.2)])
def test_the_threshold_rises_with_the_scores_and_never_falls(score: float, factor: float) -> None:
    adapter = Adapter(TERMS)
    assert run(adapter, [0.0] * 2 * STAGE, score) == "adapted"
    assert adapter.factor == pytest.approx(factor)


def test_a_threshold_beyond_the_bound_is_refused() -> None:
    adapter = Adapter(TERMS)
    assert run(adapter, [0.0] * 2 * STAGE, 0.9) == "refused"
    assert "1.8 times those of training" in adapter.told.reason


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 9), st.booleans()), max_size=300))
def test_whatever_comes_stays_within_bounds_and_comes_back(
    windows: list[tuple[float, float, bool]],
) -> None:
    adapter = Adapter(TERMS)
    for away, score, learnable in windows:
        adapter.take([away], score, learnable=learnable)
        assert abs(adapter.shift[0]) <= MAX_SHIFT
        assert 1.0 <= adapter.factor <= MAX_FACTOR
    data = msgspec.msgpack.encode(adapter.state)
    second = Adapter(TERMS)
    second.restore(msgspec.msgpack.decode(data, type=adaptation.AdapterState))
    assert (second.told, second.shift, second.state) == (
        adapter.told,
        adapter.shift,
        adapter.state,
    )


@pytest.mark.parametrize(
    "change",
    [{"shift": [0.1, 0.1]}, {"shift": [float("nan")]}, {"factor": 9.0}, {"away": []}],
)
def test_a_state_that_was_never_left_is_refused(change: dict[str, Any]) -> None:
    state = msgspec.structs.replace(Adapter(TERMS).state, **change)
    with pytest.raises(ValueError, match="adaptation"):
        Adapter(TERMS).restore(state)


# ---------------------------------------------------------------- in the engine


def test_another_pump_has_many_false_alarms_without_and_none_once_adapted(
    adapting: Model,
) -> None:
    """Its level is a little off, and every wobble crosses the threshold; faults are still found."""

    def wobbling(off: float) -> list[Sample]:
        stream = pump(off=off, rows=1200, hot=(1000, 1020))
        return [
            s._replace(values={**s.values, "flow": s.values["flow"] + 0.6 * (n % 60 < 6)})
            for n, s in enumerate(stream)
        ]

    plain = Model(manifest=adapting.manifest, digest="d" * 64, config_digest="", interpreter=Half())
    without, trained, adapted = (engine_for(m) for m in (plain, plain, adapting))
    assert opened(events(trained, wobbling(0.0))) == [1000]
    assert len(opened(events(without, wobbling(0.9)))) > 10
    stream = wobbling(0.9)
    events(adapted, stream[:400])
    assert told(adapted).stage == "adapted"
    assert told(adapted).shift["flow"] == pytest.approx(0.48, abs=0.03)  # the half not followed
    after = events(adapted, stream[400:])
    assert opened(after) == [1000]
    assert after[0].contributions[0].sensor == "flow"


def test_off_by_default(adapting: Model, manifest: Manifest) -> None:
    plain = Model(manifest=manifest, digest="d" * 64, config_digest="", interpreter=Half())
    engine = engine_for(plain)
    events(engine, pump(off=0.7))
    assert engine.states()[0].adaptation is None
    engine = engine_for(adapting)
    events(engine, pump(rows=20))
    assert told(engine).stage == "learning"


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.integers(1, 400), cut=st.integers(0, 600))
def test_neither_batches_nor_a_restart_change_anything(
    adapting: Model, batch: int, cut: int
) -> None:
    stream = pump(off=0.9, hot=(430, 460))
    whole, first, second = (engine_for(adapting) for _ in range(3))
    expected = [out for s in stream for out in [whole.feed([s])]]
    before = list(play(first, iter(stream[:cut]), batch=batch))
    second.restore(first.snapshot())
    after = list(play(second, iter(stream[cut:]), batch=batch))
    for field in ("scores", "events", "states"):
        assert [x for out in [*before, *after] for x in getattr(out, field)] == [
            x for out in expected for x in getattr(out, field)
        ]
    assert told(second) == told(whole)
    assert told(whole).stage == "adapted"


@pytest.mark.parametrize("batch", [1, 7, 2000])
def test_assets_in_one_batch_do_not_touch_one_another(adapting: Model, batch: int) -> None:
    streams = [pump(off=0.9), [s._replace(asset="pump2") for s in pump(off=-0.5, hot=(50, 90))]]
    both = engine_for(adapting)
    scores = [
        s
        for out in play(both, (s for pair in zip(*streams, strict=True) for s in pair), batch=batch)
        for s in out.scores
    ]
    for stream in streams:
        alone = engine_for(adapting)
        own = [s for out in play(alone, iter(stream), batch=1) for s in out.scores]
        assert [s for s in scores if s.asset == stream[0].asset] == own
        assert alone.states()[0] in both.states()


@pytest.mark.parametrize("begins", [0, 30, 150])
def test_an_ongoing_fault_is_never_learned(adapting: Model, begins: int) -> None:
    """Neither one that was there from the first row nor one that begins meanwhile."""
    engine = engine_for(adapting)
    found = events(engine, pump(rows=1200, hot=(begins, 1200)))
    assert [e.type for e in found if e.type != "update"] == ["new"]
    assert told(engine).stage == "refused"
    assert engine.states()[0].state == "anomaly"


@pytest.mark.parametrize(("off", "stage"), [(1.2, "adapted"), (2.6, "refused")])
def test_what_people_called_normal_is_learned_and_the_bound_holds(
    adapting: Model, off: float, stage: str
) -> None:
    engine = engine_for(adapting)
    stream = pump(off=off, rows=900)
    assert [e.type for e in events(engine, stream[:40])] == ["new"]
    say(engine, Feedback(id="1", asset="pump1", verdict="expected", time_ms=START))
    late = events(engine, stream[40:])
    assert told(engine).stage == stage
    assert late == []


def test_a_confirmed_alert_is_not_learned(adapting: Model) -> None:
    engine = engine_for(adapting)
    stream = pump(off=1.2, rows=1200)
    events(engine, stream[:40])
    say(engine, Feedback(id="1", asset="pump1", verdict="confirmed", time_ms=START))
    events(engine, stream[40:])
    assert told(engine).stage == "refused"


def test_neither_maintenance_nor_a_faulty_sensor_is_learned(adapting: Model) -> None:
    quiet = engine_for(adapting)
    events(quiet, pump(rows=10))
    say(
        quiet,
        Maintenance(
            id="1", asset="pump1", time_ms=START, start_ms=START, end_ms=START + 10**9
        ),
    )  # fmt: skip
    stuck = engine_for(adapting)
    stream = [s._replace(values={**s.values, "heat": 20.0}) for s in pump(rows=300)]
    events(quiet, pump(rows=300)[10:])
    events(stuck, stream)
    assert (told(quiet).stage, told(stuck).stage) == ("learning", "learning")


def test_recalibrate_forgets_and_begins_anew_also_in_a_replay(adapting: Model) -> None:
    stream = pump(off=0.7, rows=900)
    live = engine_for(adapting)
    events(live, stream[:300])
    again = Recalibrate(id="1", asset="pump1", time_ms=START)
    logged = Logged(received_ms=0, at=live.at(again), control=again)
    before = told(live)
    say(live, again)
    assert (before.stage, told(live).stage) == ("adapted", "learning")
    scores = [s for out in play(live, iter(stream[300:])) for s in out.scores]
    replayed = engine_for(adapting)
    replayed.schedule([logged])
    found = [s for out in play(replayed, iter(stream)) for s in out.scores]
    assert found[-len(scores) :] == scores
    assert told(replayed) == told(live)


def test_recalibrate_needs_a_warm_up(model: Model) -> None:
    engine = engine_for(model)
    engine.feed(pump(rows=10))
    why = engine.objection(Recalibrate(id="1", asset="pump1", time_ms=START))
    assert why is not None
    assert "warmup_s" in why


def test_another_bundle_begins_anew(adapting: Model) -> None:
    at_work = [adapting]
    engine = Engine(site="hall", gateway="gw", route=lambda _: at_work[-1])
    events(engine, pump(off=0.7, rows=300))
    at_work.append(
        Model(
            manifest=adapting.manifest, digest="e" * 64, config_digest="", interpreter=Half(),
            warmup_ms=adapting.warmup_ms,
        )
    )  # fmt: skip
    engine.control(Swap(id="1", time_ms=START, entry=0, bundle="e" * 64))
    assert told(engine).stage == "learning"


def test_a_snapshot_of_before_there_were_warm_ups_is_read(adapting: Model) -> None:
    engine = engine_for(adapting)
    events(engine, pump(rows=30))
    old = msgspec.msgpack.decode(engine.snapshot())
    for watch in old["assets"].values():
        del watch["adaptation"], watch["observed"], watch["current"]["adaptation"]
    heir = engine_for(adapting)
    heir.restore(msgspec.msgpack.encode(old))
    events(heir, pump(rows=600)[30:])
    assert told(heir).stage == "adapted"


# ---------------------------------------------------------------- what others are told


def adapted_then_hot() -> list[Sample]:
    return pump(off=0.4, rows=700, hot=(600, 640))


def test_an_event_tells_what_was_in_force_and_is_judged_so_again(adapting: Model) -> None:
    engine = engine_for(adapting)
    first = next(e for e in events(engine, adapted_then_hot()) if e.start_ms > START + 590_000)
    assert first.adaptation == told(engine)
    assert first.adaptation.shift["flow"] > 0.1

    again = Model(
        manifest=adapting.manifest, digest="d" * 64, config_digest="c" * 64, interpreter=Half()
    )
    shift = adaptation.shift_of(first.adaptation, adapting.manifest.sensors)
    again.fits = Fits(np.array([shift]), np.array([first.adaptation.factor]))
    found = next(e for e in events(engine_for(again), adapted_then_hot()[560:]) if e.id == first.id)
    assert (found.score, found.contributions) == (first.score, first.contributions)
    assert found.window == first.window
    assert found.adaptation is None


def test_before_anything_is_in_force_events_tell_of_nothing(adapting: Model) -> None:
    early = events(engine_for(adapting), pump(rows=60, hot=(20, 40)))
    assert early
    assert {e.adaptation for e in early} == {None}


@given(
    steps=st.integers(-50, 50),
    scale=st.floats(1e-15, 1e15, allow_nan=False),
)
def test_what_is_told_of_a_shift_gives_it_back_to_the_digit(steps: int, scale: float) -> None:
    flow = msgspec.structs.replace(FLOW, scale=scale)
    adapter = Adapter(Terms(warmup_ms=80_000, step_ms=1000, sensors=(flow,), usual=None))
    run(adapter, [steps * adaptation.STEP] * STAGE)
    assert adaptation.shift_of(adapter.told, (flow,)) == adapter.shift
    assert adapter.shift == [round(steps * adaptation.STEP, 9)]


def test_assets_are_counted_by_stage(adapting: Model) -> None:
    engine = engine_for(adapting)
    assert engine.adaptation() == {}
    engine.feed(pump(rows=20))
    assert engine.adaptation()[adapting] == {
        "learning": 1, "checking": 0, "adapted": 0, "refused": 0
    }  # fmt: skip
    engine.feed(pump(rows=600)[20:])
    counts = engine.adaptation()[adapting]
    assert counts["adapted"] == 1
    assert model_health("x", adapting, None, Observed(), counts).adaptation == counts


def test_without_a_warm_up_nothing_is_counted(model: Model) -> None:
    engine = engine_for(model)
    engine.feed(pump(rows=20))
    assert engine.adaptation() == {}
