"""What controls mean: maintenance silences, feedback ends and hushes, names change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from offbeat_edge import alert, upkeep
from offbeat_edge.alert import HUSH_ESCAPE, MAX_HUSH_MS, Lifecycle
from offbeat_edge.engine import Engine
from offbeat_edge.schema import AlertRule, Sample
from offbeat_edge.upkeep import Upkeep, Window

if TYPE_CHECKING:
    from offbeat_edge.model import Model
from control_parts import START, engine_for, feedback, opened, rename, run, sample, told, window

# ---------------------------------------------------------------- maintenance


def test_maintenance_announced_ahead_lets_no_alert_open(model: Model) -> None:
    engine = engine_for(model)
    engine.control(window(20, 40))
    out = [run(engine, 0, 22), run(engine, 22, 38, heat=9.0), run(engine, 38, 60)]
    assert told([e for part in out for e in part]) == []


def test_a_fault_that_outlasts_maintenance_opens_when_it_is_over(model: Model) -> None:
    engine = engine_for(model)
    engine.control(window(20, 40))
    run(engine, 0, 22)
    events = run(engine, 22, 50, heat=9.0)
    assert told(events)[0] == ("anomaly", "new", None)
    assert events[0].start_ms >= START + 43_000, "its window has rows from before the end"


def test_an_open_alert_ends_when_maintenance_begins(model: Model) -> None:
    engine = engine_for(model)
    engine.control(window(26, 40))
    run(engine, 0, 20)
    events = run(engine, 20, 30, heat=9.0)
    assert told(events) == [("anomaly", "new", None), ("anomaly", "end", "maintenance")]
    assert events[-1].end_ms == START + 26_000
    assert "maintenance" in events[-1].message


def test_maintenance_that_is_already_on_ends_an_open_alert_at_once(model: Model) -> None:
    engine = engine_for(model)
    run(engine, 0, 20)
    run(engine, 20, 30, heat=9.0)
    out = engine.control(window(20, 40))
    assert told(out.events) == [("anomaly", "end", "maintenance")]
    assert out.events[0].end_ms == START + 29_000
    assert out.states[-1].state == "ok"
    assert out.states[-1].reasons == ("maintenance until 2023-11-14T22:14:00.000Z",)


def test_the_state_says_until_when_and_no_longer(model: Model) -> None:
    engine = engine_for(model)
    engine.control(window(10, 20))
    states = engine.feed([sample(k) for k in range(30)]).states
    assert [bool(s.reasons) for s in states] == [False, False, True, False]
    assert states[-2].since_ms == states[-1].since_ms


def test_a_sensor_fault_is_silent_in_maintenance(model: Model) -> None:
    engine = engine_for(model)
    engine.control(window(8, 20))
    missing = [Sample("pump1", START + 1000 * k, {"flow": 10.0}) for k in range(6, 19)]
    assert run(engine, 0, 6) == []
    assert engine.feed(missing).events == []


def test_cancelled_maintenance_silences_nothing(model: Model) -> None:
    engine = engine_for(model)
    engine.control(window(20, 40))
    engine.control(window(20, 40, cancelled=True))
    engine.control(window(20, 40))  # the announcement, delivered again
    run(engine, 0, 20)
    assert told(run(engine, 20, 30, heat=9.0)) == [("anomaly", "new", None)]


def test_silence_in_maintenance_is_not_stale_and_is_afterwards(model: Model) -> None:
    engine = engine_for(model)
    engine.control(window(10, 100))
    run(engine, 0, 9)
    assert engine.idle(50_000).events == []
    assert engine.idle(45_000).events == []
    (event,) = engine.idle(60_000).events
    assert (event.kind, event.type, event.start_ms) == ("stale", "new", START + 8_000)


def test_stale_ends_when_maintenance_begins_and_never_repeats_its_id(model: Model) -> None:
    engine = engine_for(model)
    run(engine, 0, 9)
    events = engine.idle(20_000).events
    engine.control(window(60, 300))
    events += engine.idle(60_000).events
    engine.control(window(60, 300, cancelled=True))
    events += engine.idle(5_000).events + engine.idle(60_000).events + run(engine, 60, 62)
    assert told(events) == [
        ("stale", "new", None),
        ("stale", "end", "maintenance"),
        ("stale", "new", None),
        ("stale", "end", None),
    ]
    assert len({e.id for e in events}) == 4


def test_plans_of_assets_never_heard_of_are_bounded(model: Model) -> None:
    engine = Engine(site="s", gateway="g", route=lambda _: model, max_assets=3)
    for n in range(9):
        engine.control(window(0, 10 + n, name=str(n), asset=f"pump{n}"))
    assert sorted(engine.upkeep) == ["pump6", "pump7", "pump8"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 99), st.integers(1, 50))))
def test_windows_cover_what_they_were_announced_for(said: list[tuple[str, int, int]]) -> None:
    plan, truth = Upkeep(), dict[str, tuple[int, int]]()
    for name, start, length in said:
        plan.announce(Window(name, start, start + length))
        truth[name] = (start, start + length)
    for moment in range(0, 160, 7):
        covering = [end for start, end in truth.values() if start <= moment < end]
        found = plan.covering(moment)
        assert (None if found is None else found.end_ms) == max(covering, default=None)
        stretch = range(moment, moment + 5)
        held = any(start <= m < end for m in stretch for start, end in truth.values())
        assert plan.touches(first_ms=moment, last_ms=moment + 4) == held
    plan.forget(200 + upkeep.KEPT_MS)
    assert plan.windows == []


def test_only_so_many_windows_are_kept_of_an_asset() -> None:
    plan = Upkeep()
    for n in range(upkeep.MAX_WINDOWS + 5):
        plan.announce(Window(str(n), n, n + 10))
    assert [w.id for w in plan.windows] == [str(n) for n in range(5, upkeep.MAX_WINDOWS + 5)]


# ---------------------------------------------------------------- feedback


def test_a_false_alarm_ends_at_once_and_does_not_come_back(model: Model) -> None:
    engine, event = opened(model)
    out = engine.control(feedback(alert=event.alert))
    assert told(out.events) == [("anomaly", "end", "false_alarm")]
    assert out.events[0].alert == event.alert
    assert out.states[-1].reasons == ("anomaly: false_alarm",)
    assert run(engine, 30, 60, heat=9.0) == []


def test_after_the_score_has_fallen_an_alert_opens_again(model: Model) -> None:
    engine, _ = opened(model)
    engine.control(feedback("expected"))
    assert run(engine, 30, 40) == []
    again = run(engine, 40, 50, heat=9.0)
    assert told(again) == [("anomaly", "new", None)]


def test_what_is_far_worse_than_the_false_alarm_opens_all_the_same(model: Model) -> None:
    engine, _ = opened(model)
    engine.control(feedback())
    assert told(run(engine, 30, 40, heat=90.0)) == [("anomaly", "new", None)]


def test_confirmed_only_marks(model: Model) -> None:
    engine, event = opened(model)
    out = engine.control(feedback("confirmed", alert=event.alert))
    assert out.events == []
    assert out.states[-1].state == "anomaly"
    assert out.states[-1].reasons == ("anomaly: confirmed",)
    assert told(run(engine, 30, 50)) == [("anomaly", "end", None)]


def test_feedback_about_another_alert_or_time_changes_nothing(model: Model) -> None:
    engine, _ = opened(model)
    assert engine.control(feedback(alert="0" * 32)).events == []
    long_ago = {"start_ms": START - 9000, "end_ms": START - 1000}
    assert engine.control(feedback(**long_ago)).events == []
    assert engine.control(feedback(start_ms=START + 25_000)).events != []


def test_a_stale_alert_judged_expected_stays_away_until_the_next_sample(model: Model) -> None:
    engine = engine_for(model)
    run(engine, 0, 9)
    engine.idle(20_000)
    assert told(engine.control(feedback("expected")).events) == [("stale", "end", "expected")]
    assert engine.idle(900_000).events == []
    assert run(engine, 10, 12) == []
    assert told(engine.idle(60_000).events) == [("stale", "new", None)]


def test_a_further_faulty_sensor_is_another_matter(model: Model) -> None:
    engine = engine_for(model)
    run(engine, 0, 8)
    engine.feed([Sample("pump1", START + 1000 * k, {"flow": 10.0}) for k in range(8, 16)])
    assert told(engine.control(feedback("expected")).events) == [
        ("sensor_fault", "end", "expected")
    ]
    stays = engine.feed([Sample("pump1", START + 1000 * k, {"flow": 10.0}) for k in range(16, 30)])
    assert stays.events == []
    low = engine.feed([Sample("pump1", START + 1000 * k, {"flow": -99.0}) for k in range(30, 34)])
    assert told(low.events) == [("sensor_fault", "new", None)]


rules = st.builds(
    AlertRule,
    min_duration_ms=st.integers(0, 30),
    clear_ratio=st.floats(0.1, 1.0),
    clear_ms=st.integers(0, 30),
    cooldown_ms=st.integers(0, 30),
)
moves = st.one_of(
    st.floats(0, 10).map(lambda s: ("score", s)),
    st.just(("judge", 0.0)),
    st.floats(0, 10).map(lambda s: ("rest", s)),
)


def hush_is_over(rule: AlertRule, peak: float, heard: list[tuple[int, float]]) -> bool:
    """Tell whether scores grew far beyond the judged peak, or stayed calm for long enough."""
    calm_since = None
    for time_ms, score in heard:
        if score >= rule.clear_ratio:
            calm_since = None
        elif calm_since is None:
            calm_since = time_ms
        if score >= HUSH_ESCAPE * peak:
            return True
        if calm_since is not None and time_ms - calm_since >= rule.clear_ms:
            return True
    return False


@given(rule=rules, story=st.lists(moves, max_size=60))
@example(  # a score of another size ends the hush, a lesser one opens the alert
    rule=AlertRule(min_duration_ms=1),
    story=[("score", 1.5), ("score", 1.5), ("judge", 0), ("score", 3.0), ("score", 2.0)],
)
def test_whatever_people_say_an_alert_is_new_then_over_and_hushed_ones_stay_away(
    rule: AlertRule, story: list[tuple[str, float]]
) -> None:
    life, opened, peak, heard = Lifecycle(), False, 0.0, list[tuple[int, float]]()
    for n, (move, score) in enumerate(story):
        time_ms, event, hushed = 10 * n, None, life.hushed_ms is not None
        if move == "judge" and opened:
            peak, heard = life.peak, []
            assert alert.close(life, rule, time_ms) == "end"
            alert.ended(life)
            alert.hush(life, "false_alarm", time_ms, peak)
            opened = False
        elif move == "rest" and not opened:
            alert.rest(life, rule, time_ms, score)
            assert life.candidate_ms is None
        elif move == "score":
            event = alert.advance(life, rule, time_ms, score)
            assert (event == "new") <= (not opened)
            assert (event in ("update", "end")) <= opened
            opened = (opened or event == "new") and event != "end"
            if event == "end":
                alert.ended(life)
        if hushed:
            heard += [(time_ms, score)] if move != "judge" else []
            assert (life.hushed_ms is None) == hush_is_over(rule, peak, heard)
        assert (event == "new") <= (life.hushed_ms is None)


def test_a_hush_does_not_last_for_ever() -> None:
    life = Lifecycle()
    alert.hush(life, "false_alarm", 0, 5.0)
    assert alert.advance(life, AlertRule(), MAX_HUSH_MS - 1, 5.0) is None
    assert alert.advance(life, AlertRule(), MAX_HUSH_MS, 5.0) == "new"


# ---------------------------------------------------------------- names


def test_a_renamed_asset_goes_on_where_it_was(model: Model) -> None:
    plain, renamed = engine_for(model), engine_for(model)
    for engine in (plain, renamed):
        run(engine, 0, 19)
    renamed.control(rename())
    stream = [sample(k, heat=9.0) for k in range(19, 26)]
    as_it_was = plain.feed(stream).scores
    as_it_is = renamed.feed([s._replace(asset="pump2") for s in stream]).scores
    assert [s.score for s in as_it_is] == [s.score for s in as_it_was]
    assert {s.asset for s in as_it_is} == {"pump2"}
    assert [s.asset for s in renamed.states()] == ["pump2"]
    assert renamed.gone == {"pump1": "pump2"}


def test_an_open_alert_ends_under_the_old_name(model: Model) -> None:
    engine, event = opened(model)
    out = engine.control(rename())
    assert [(e.alert, e.asset, e.reason) for e in out.events] == [(event.alert, "pump1", "renamed")]
    assert [s.asset for s in out.states] == ["pump2"]
    (new, *_) = engine.feed([sample(k, heat=9.0, asset="pump2") for k in range(30, 36)]).events
    assert (new.type, new.asset) == ("new", "pump2")


def test_maintenance_and_what_people_said_go_with_the_name(model: Model) -> None:
    engine, _ = opened(model)
    engine.control(feedback())
    engine.control(window(50, 60))
    engine.control(rename())
    hot = [sample(k, heat=9.0, asset="pump2") for k in range(30, 45)]
    assert engine.feed(hot).events == []
    assert engine.upkeep["pump2"].covering(START + 55_000) is not None


def test_a_name_that_is_taken_or_unwatched_is_refused(model: Model) -> None:
    engine = engine_for(model)
    run(engine, 0, 3)
    engine.feed([sample(0, asset="pump2")])
    for control, why in [
        (rename("pump2"), "a name that no asset has"),
        (rename("valve"), "a name that a [[model]] matches"),
        (rename("pump3", asset="pump9"), "an asset that is watched here"),
        (window(0, 1, asset="valve"), "an asset that is watched here"),
        (window(2, 1), "end_ms after start_ms"),
    ]:
        assert why in (engine.objection(control) or "")
        assert engine.control(control) == ([], [], [], [])
    assert sorted(engine.watches) == ["pump1", "pump2"]
