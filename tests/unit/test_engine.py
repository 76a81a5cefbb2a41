"""The engine: the same samples tell the same story, however they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import msgspec
import numpy as np
from chance import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offbeat_edge.engine import AT_ONCE, Engine
from offbeat_edge.errors import ModelError
from offbeat_edge.model import Model
from offbeat_edge.refusal import DropReason
from offbeat_edge.replay import play, row_scores, samples
from offbeat_edge.schema import AlertEvent, AlertRule, Sample, ScoreRecord, iso

if TYPE_CHECKING:
    from offbeat_edge.manifest import Manifest
    from offbeat_edge.window import Floats

START = 1_700_000_000_000


def engine_for(model: Model) -> Engine:
    return Engine(
        site="hall", gateway="gw", route=lambda a: model if a.startswith("pump") else None
    )


def sample(k: int, flow: float, heat: float, asset: str = "pump1") -> Sample:
    return Sample(asset, START + 1000 * k, {"flow": flow, "heat": heat})


def calm_then_hot(asset: str = "pump1", hot: int = 10) -> list[Sample]:
    return [
        sample(
            k,
            10.0 + 0.1 * (k % 2),
            20.0 + 0.2 * (k % 3) + (9.0 if 20 <= k < 20 + hot else 0.0),
            asset,
        )
        for k in range(60)
    ]


def events_of(engine: Engine, stream: list[Sample], batch: int) -> list[AlertEvent]:
    return [e for out in play(engine, iter(stream), batch=batch) for e in out.events]


def test_a_fault_makes_one_alert_that_names_the_sensor(model: Model) -> None:
    events = events_of(engine_for(model), calm_then_hot(), 7)
    assert next((e.type, e.kind, e.seq) for e in events) == ("new", "anomaly", 0)
    assert [e.type for e in events][-1] == "end"
    assert {e.alert for e in events} == {events[0].alert}
    top = events[0].contributions[0]
    assert (top.sensor, top.expected) == ("heat", 20.0)
    # A new step of the first hot window, a stride of two: the fault began there or one after.
    assert START + 19_000 <= events[0].start_ms <= START + 20_000


def test_a_second_fault_in_an_open_alert_is_told_with_its_own_sensor(model: Model) -> None:
    model.rule = AlertRule(clear_ms=20_000)
    stream = [
        sample(k, 10.0 + 6.0 * (40 <= k < 50), 20.0 + 0.2 * (k % 3) + 9.0 * (20 <= k < 30))
        for k in range(80)
    ]
    events = events_of(engine_for(model), stream, 7)
    assert {e.alert for e in events} == {events[0].alert}
    first = [e.contributions[0].sensor for e in events if e.time_ms < START + 40_000]
    second = [e.contributions[0].sensor for e in events if e.type == "update"
              and e.time_ms >= START + 40_000]  # fmt: skip
    assert set(first) == {"heat"}
    assert second
    assert set(second) == {"flow"}


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.integers(1, 130), order=st.randoms(use_true_random=False))
def test_batching_and_interleaving_of_assets_change_nothing(
    model: Model, batch: int, order: object
) -> None:
    apart = [
        e
        for asset in ("pump1", "pump2")
        for e in events_of(engine_for(model), calm_then_hot(asset), 1)
    ]
    both = [
        s for pair in zip(calm_then_hot("pump1"), calm_then_hot("pump2"), strict=True) for s in pair
    ]
    together = events_of(engine_for(model), both, batch)
    assert sorted(apart, key=lambda e: e.id) == sorted(together, key=lambda e: e.id)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 60))
def test_a_snapshot_anywhere_changes_nothing(model: Model, cut: int) -> None:
    stream = calm_then_hot()
    whole = events_of(engine_for(model), stream, 5)
    first = engine_for(model)
    before = events_of(first, stream[:cut], 5)
    second = engine_for(model)
    second.restore(first.snapshot())
    assert before + events_of(second, stream[cut:], 5) == whole


def test_redelivery_makes_no_new_event(model: Model) -> None:
    engine = engine_for(model)
    first = events_of(engine, calm_then_hot(), 5)
    assert first
    assert events_of(engine, calm_then_hot()[-40:], 5) == []


def test_a_stuck_sensor_is_a_sensor_fault_and_not_an_anomaly(model: Model) -> None:
    stream = [sample(k, 10.0 + 0.1 * (k % 2), 24.0) for k in range(30)]
    told = {e.kind: e.message for e in events_of(engine_for(model), stream, 30)}
    assert told["sensor_fault"] == "pump1: sensor fault: heat stuck at 24"
    states = [s for out in play(engine_for(model), iter(stream)) for s in out.states]
    assert states[-1].state == "sensor_fault"
    assert states[-1].reasons == ("heat: stuck",)


def test_a_missing_sensor_is_said_and_recovers(model: Model) -> None:
    engine = engine_for(model)
    values = [
        Sample(
            "pump1",
            START + 1000 * k,
            {"flow": 10.0} if 8 <= k < 16 else {"flow": 10.0, "heat": 20.0 + 0.1 * (k % 2)},
        )
        for k in range(30)
    ]
    out = engine.feed(values)
    assert [(e.kind, e.type) for e in out.events] == [
        ("sensor_fault", "new"),
        ("sensor_fault", "end"),
    ]
    assert "missing" in out.events[0].message
    assert [s.state for s in out.states] == ["warming", "ok", "sensor_fault", "warming", "ok"]


def test_a_fault_that_flickers_is_told_once_and_another_sensor_beside_it(
    manifest: Manifest,
) -> None:
    patient = msgspec.structs.replace(manifest, alert=AlertRule(clear_ms=10_000))
    model = Model(manifest=patient, digest="d" * 64, config_digest="c", interpreter=None)
    both = [(-99.0, 20.0 + 0.1 * k) for k in range(4)] + [(10.0, 20.3)]
    rows = both * 4 + [(10.0, -99.0 - k) for k in range(5)] + [(10.0, 20.0 + k) for k in range(15)]
    stream = [sample(k, flow, heat) for k, (flow, heat) in enumerate(rows)]
    for cut in (0, 7, 22, 40):  # a restart in between tells nothing twice
        first, second = engine_for(model), engine_for(model)
        events = first.feed(stream[:cut]).events
        second.restore(first.snapshot())
        events += second.feed(stream[cut:]).events
        told = [(e.type, e.message) for e in events if e.kind == "sensor_fault"]
        assert [kind for kind, _ in told] == ["new", "update", "end"]
        assert "heat" in told[1][1]


def test_a_hole_in_the_whole_asset_is_no_sensor_fault(model: Model) -> None:
    stream = [sample(k, 10.0, 20.0 + 0.1 * (k % 2)) for k in [*range(10), *range(40, 60)]]
    assert events_of(engine_for(model), stream, 30) == []


def test_an_alert_ends_where_its_calm_began(model: Model) -> None:
    soon = events_of(engine_for(model), calm_then_hot(), 30)[-1]
    model.rule = msgspec.structs.replace(model.rule, clear_ms=8000)
    late = events_of(engine_for(model), calm_then_hot(), 30)[-1]
    assert (late.type, soon.type) == ("end", "end")
    assert late.time_ms == soon.time_ms + 8000
    # Of the first calm window all four steps are judged: the fault's last row is before them.
    assert late.end_ms == soon.end_ms == soon.time_ms - 3000
    assert START + 30_000 <= soon.end_ms < START + 32_000


def test_silence_becomes_stale_and_ends_with_the_next_sample(model: Model) -> None:
    engine = engine_for(model)
    engine.feed(calm_then_hot()[:10])
    assert engine.idle(9000).events == []
    assert [(e.kind, e.type) for e in engine.idle(1000).events] == [("stale", "new")]
    assert engine.idle(60_000).events == []
    out = engine.feed(calm_then_hot()[10:11])
    assert [(e.kind, e.type) for e in out.events] == [("stale", "end")]


def test_nobody_watches_an_unknown_asset_and_it_is_said(model: Model) -> None:
    out = engine_for(model).feed([sample(0, 1.0, 1.0, asset="fan1")])
    assert [d.reason for d in out.drops] == ["no_model"]


def test_every_way_to_drop_a_sample_has_its_reason(model: Model) -> None:
    engine = engine_for(model)
    engine.feed([sample(k, 10.0, 20.0) for k in range(5)])
    far = [sample(k, 10.0, 20.0) for k in (1_000_000, 5)]  # what follows refutes the jump
    useless = [sample(4, 10.0, 20.0), sample(1, 10.0, 20.0), *far]
    useless += [Sample("pump1", START, {"speed": 1.0}), Sample("fan1", START, {"flow": 1.0})]
    engine.max_assets = 1
    useless.append(sample(0, 10.0, 20.0, asset="pump2"))
    drops = [drop.reason for drop in engine.feed(useless).drops]
    assert drops == ["surplus", "late", "time_jump", "no_sensor", "no_model", "too_many_assets"]
    assert set(drops) == set(get_args(DropReason))


def test_a_sample_of_other_sensors_is_told_which_were_expected_and_which_came(model: Model) -> None:
    engine = engine_for(model)
    strange = Sample("pump1", START, {"Flow": 1.0, "a\n" * 60: 2.0})
    engine.feed([sample(0, 10.0, 20.0, asset="pump2")])
    for asset in ("pump1", "pump2"):  # never heard of, and known
        (drop,) = engine.feed([strange._replace(asset=asset)]).drops
        assert drop.detail.startswith(f"{asset}: expected any of flow, heat, got 'Flow', 'a")
        assert "\n" not in drop.detail
        assert len(drop.detail) < 300


def test_assets_beyond_the_limit_are_refused_and_the_others_go_on(model: Model) -> None:
    engine = Engine(site="hall", gateway="gw", route=lambda _: model, max_assets=2)
    out = engine.feed([s for a in ("a", "b", "c") for s in calm_then_hot(a)])
    assert {d.reason for d in out.drops} == {"too_many_assets"}
    assert len(out.drops) == len(calm_then_hot())
    assert {e.asset for e in out.events} == {"a", "b"}
    assert "c: expected at most 2 assets" in out.drops[0].detail


def test_invented_names_are_not_remembered(model: Model) -> None:
    engine = Engine(
        site="hall",
        gateway="gw",
        route=lambda name: model if name.startswith("pump") else None,
        max_assets=1,
    )
    engine.feed([sample(0, 10.0, 20.0)])
    unwatched = [sample(0, 1.0, 1.0, asset=f"fan{n}") for n in range(50)]
    without_sensor = [Sample(f"pump{n}", START, {"speed": 1.0}) for n in range(2, 50)]
    beyond = [sample(0, 1.0, 1.0, asset=f"pump{n}") for n in range(2, 50)]
    before = engine.snapshot()
    out = engine.feed(unwatched + without_sensor + beyond)
    assert len(out.drops) == 50 + 48 + 48
    assert list(engine.watches) == ["pump1"]
    assert engine.snapshot() == before


def test_assets_of_a_snapshot_stay_though_the_limit_is_lower_now(model: Model) -> None:
    first = engine_for(model)
    first.feed([*calm_then_hot("pump1")[:10], *calm_then_hot("pump2")[:10]])
    second = Engine(site="hall", gateway="gw", route=lambda _: model, max_assets=1)
    second.restore(first.snapshot())
    assert [state.asset for state in second.states()] == ["pump1", "pump2"]
    assert second.feed([sample(10, 10.0, 20.0, asset="pump2")]).drops == []
    dropped = second.feed([sample(10, 10.0, 20.0, asset="pump3")]).drops
    assert [drop.reason for drop in dropped] == ["too_many_assets"]


def test_a_model_that_throws_falls_back_and_says_degraded(manifest: Manifest) -> None:
    class Broken:
        def reconstruct(self, windows: Floats) -> Floats:
            raise ModelError(f"out of tensors for {windows.shape}")

    model = Model(manifest=manifest, digest="d" * 64, config_digest="c", interpreter=Broken())
    out = engine_for(model).feed(
        [sample(k, 10.0 + 0.1 * (k % 2), 20.1 + 0.1 * (k % 3)) for k in range(12)]
    )
    assert out.states[-1].state == "degraded"
    assert "out of tensors" in out.states[-1].reasons[0]
    assert all(s.contributions[0].expected is None for s in out.scores)


def test_a_model_that_fails_half_way_through_a_batch_has_judged_none_of_it(
    manifest: Manifest,
) -> None:
    """The journal is walked as if it had failed before."""

    class Fails:
        left = 1

        def reconstruct(self, windows: Floats) -> Floats:
            self.left -= 1
            if self.left < 0:
                raise ModelError("worn out")
            return np.zeros_like(windows)

    failing = Model(manifest=manifest, digest="d" * 64, config_digest="c", interpreter=Fails())
    broken = Model(manifest=manifest, digest="d" * 64, config_digest="c", interpreter=None)
    failing_out, out = (engine_for(m).feed(calm_then_hot()) for m in (failing, broken))
    assert len(out.scores) > AT_ONCE
    assert (failing_out.scores, failing_out.events) == (out.scores, out.events)


def test_every_row_gets_the_score_in_force(model: Model) -> None:
    times = np.array([START + 1000 * k for k in range(12)])
    values = np.array([[10.0, 20.0 + 0.1 * (k % 3)] for k in range(12)])
    stream = samples("pump1", times, values, ("flow", "heat"))
    scores = [s for out in play(engine_for(model), stream) for s in out.scores]
    rows = row_scores(times, scores, model.manifest).in_force
    assert [r is None for r in rows[:3]] == [True] * 3
    assert all(r is not None for r in rows[5:])


def record(step: int, score: float) -> ScoreRecord:
    return ScoreRecord(
        asset="pump1", time=iso(1000 * step), time_ms=1000 * step, score=score, contributions=()
    )


def test_in_hindsight_a_row_has_the_mean_of_the_windows_that_judge_it(manifest: Manifest) -> None:
    """Windows end at 8, 10, 12 and 20 and judge four steps: 5 to 8, 7 to 10, 9 to 12, 17 to 20."""
    scores = [record(12, 4.0), record(8, 1.0), record(10, 2.0), record(20, 8.0)]
    times = np.array([1000 * step for step in range(4, 23)])
    rows = row_scores(times, scores, manifest).judged
    unjudged = [4.0, *[None] * 3]  # 13 has what was told at 12; none ended in time for 14 to 16
    assert rows == [
        None, 1.0, 1.0, 1.5, 1.5, 3.0, 3.0, 4.0, 4.0, *unjudged, 8.0, 8.0, 8.0, 8.0, 8.0, None,
    ]  # fmt: skip


def test_a_recording_without_scores_has_none_in_hindsight(manifest: Manifest) -> None:
    assert row_scores(np.array([0, 1000]), [], manifest).judged == [None, None]


def test_a_redelivered_sample_does_not_end_a_silence(model: Model) -> None:
    engine = engine_for(model)
    engine.feed(calm_then_hot()[:10])
    engine.idle(60_000)
    assert engine.feed(calm_then_hot()[:10]).events == []
    ids = [e.id for e in engine.feed(calm_then_hot()[10:11]).events]
    assert [i.rpartition("/")[2] for i in ids] == ["1"]


def test_an_alert_keeps_its_identity_when_another_model_takes_over(
    model: Model, manifest: Manifest
) -> None:
    first = engine_for(model)
    opened = events_of(first, calm_then_hot()[:26], 5)
    assert [e.type for e in opened][0:1] == ["new"]
    spec = msgspec.structs.replace(manifest.model, name="other")
    heir = Model(
        manifest=msgspec.structs.replace(manifest, model=spec),
        digest="e" * 64,
        config_digest="c",
        interpreter=model.interpreter,
    )
    second = engine_for(heir)
    second.restore(first.snapshot())
    told = [e for e in events_of(second, calm_then_hot()[26:], 5) if e.kind == "anomaly"]
    assert {e.alert for e in told} == {opened[0].alert}
    assert told[-1].type == "end"
