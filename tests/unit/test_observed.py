"""What the alert budget became: anomalies in the event time that was watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from chance import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offbeat_edge.control import Maintenance, Swap
from offbeat_edge.engine import Engine
from offbeat_edge.health import model_health
from offbeat_edge.model import Model
from offbeat_edge.observed import DAY_MS, WEEK_MS, Observed
from offbeat_edge.replay import play
from offbeat_edge.schema import Sample

if TYPE_CHECKING:
    from offbeat_edge.manifest import Manifest

START = 1_700_000_000_000


def engine_for(model: Model) -> Engine:
    return Engine(site="hall", gateway="gw", route=lambda _: model)


def stream(*, asset: str = "pump1", rows: int = 120, hot: tuple[int, ...] = (40,)) -> list[Sample]:
    """A row a second; hot for eight of them where asked for."""
    return [
        Sample(
            asset,
            START + 1000 * k,
            {
                "flow": 10.0 + 0.1 * (k % 2),
                "heat": 20.0 + 0.2 * (k % 3) + 9.0 * any(h <= k < h + 8 for h in hot),
            },
        )
        for k in range(rows)
    ]


def observed(engine: Engine, model: Model) -> Observed:
    return engine.observed()[model]


def test_anomalies_and_time_are_added_up_over_assets(model: Model) -> None:
    engine = engine_for(model)
    engine.feed(stream(hot=(40, 80)))
    engine.feed(stream(asset="pump2", hot=()))
    found = observed(engine, model)
    assert (found.assets, found.anomalies) == (2, 2)
    assert found.watched_ms == 2 * 58 * 2000  # windows end at the even rows from 4 to 118
    assert found.per_week == round(2 * WEEK_MS / found.watched_ms, 3)


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.integers(1, 130), cut=st.integers(0, 120))
def test_it_is_a_function_of_the_stream(model: Model, batch: int, cut: int) -> None:
    whole = engine_for(model)
    whole.feed(stream(hot=(40, 80)))
    first, second = engine_for(model), engine_for(model)
    list(play(first, iter(stream(hot=(40, 80))[:cut]), batch=batch))
    second.restore(first.snapshot())
    list(play(second, iter(stream(hot=(40, 80))[cut:]), batch=batch))
    assert observed(second, model) == observed(whole, model)


def test_maintenance_is_not_watched(model: Model) -> None:
    engine = engine_for(model)
    engine.feed(stream(rows=20, hot=()))
    before = observed(engine, model).watched_ms
    engine.control(
        Maintenance(
            id="1", asset="pump1", time_ms=START, start_ms=START, end_ms=START + 1000 * 10_000
        )
    )
    engine.feed(stream(hot=(40,))[20:])
    assert observed(engine, model) == Observed(before, 0)


def test_another_bundle_counts_from_nothing_its_statistics_go_on(manifest: Manifest) -> None:
    def made(digest: str) -> Model:
        return Model(manifest=manifest, digest=digest, config_digest="c" * 64, interpreter=None)

    models = [made("d" * 64), made("d" * 64), made("e" * 64)]
    at_work = [models[0]]
    engine = Engine(site="hall", gateway="gw", route=lambda _: at_work[-1])
    engine.feed(stream())
    counted = observed(engine, models[0])
    assert counted.watched_ms
    for model, expected in zip(models[1:], (counted, Observed()), strict=True):
        at_work.append(model)
        engine.control(
            Swap(id=model.digest[:3] + str(len(at_work)), time_ms=START, entry=0, bundle="0" * 64)
        )
        assert observed(engine, model) == expected


def test_health_holds_it_against_the_budget(model: Model, manifest: Manifest) -> None:
    promised = msgspec.structs.replace(manifest, calibration={"budget_per_week": 1.0})
    sold = Model(manifest=promised, digest="d" * 64, config_digest="", interpreter=None)
    told = model_health("x", sold, None, Observed(30 * 12 * DAY_MS, 36, 30), {})
    assert (told.budget_per_week, told.achieved_per_week) == (1.0, 0.7)
    assert (told.asset_days, told.anomalies, told.assets) == (360.0, 36, 30)
    assert model_health("x", model, None, Observed(assets=0), {}).achieved_per_week is None
