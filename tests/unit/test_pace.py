"""A stream that falls silent is stale; one that always pauses is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge.engine import Engine
from offbeat_edge.pace import KEPT, Pace
from offbeat_edge.schema import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offbeat_edge.model import Model

START = 1_700_000_000_000


def engine_for(model: Model) -> Engine:
    return Engine(site="hall", gateway="gw", route=lambda _: model)


def burst(minute: int) -> list[Sample]:
    """A minute's readings, sent at once."""
    return [
        Sample("p1", START + 60_000 * minute + 1000 * k, {"flow": 10.0, "heat": 20 + k % 2 / 10})
        for k in range(60)
    ]


def minutes(engine: Engine, which: Iterable[int]) -> list[str]:
    """Let a logger send each minute; return what was said of silence."""
    said = []
    for minute in which:
        said += engine.feed(burst(minute)).events
        for _ in range(59):
            said += engine.idle(1000).events
    return [event.type for event in said if event.kind == "stale"]


def test_a_logger_that_sends_each_minute_is_stale_only_until_that_is_known(model: Model) -> None:
    engine = engine_for(model)
    assert minutes(engine, range(4)).count("new") == 3
    assert minutes(engine, range(4, 30)) == []


def test_it_is_stale_after_three_times_its_usual_silence(model: Model) -> None:
    engine = engine_for(model)
    minutes(engine, range(10))
    events = [engine.idle(1000).events for _ in range(59, 200)]
    assert [n for n, said in enumerate(events, 60) if said] == [177]


def test_what_was_learned_survives_a_restart(model: Model) -> None:
    first, second = engine_for(model), engine_for(model)
    minutes(first, range(10))
    second.restore(first.snapshot())
    assert minutes(second, range(10, 20)) == []


def test_outages_of_a_stream_that_never_pauses_are_no_cadence(model: Model) -> None:
    engine = engine_for(model)
    for outage in range(KEPT):
        for k in range(300):
            at = START + 1000 * (1000 * outage + k)
            engine.feed([Sample("p1", at, {"flow": 10.0, "heat": 20 + k % 2 / 10})])
        engine.idle(300_000)
    back = [START + 1000 * (1000 * KEPT + k) for k in range(3)]  # a jump that is believed
    engine.feed([Sample("p1", at, {"flow": 10.0, "heat": 20.0}) for at in back])
    events = [engine.idle(1000).events for _ in range(20)]
    assert [n for n, said in enumerate(events, 1) if said] == [10]


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), max_size=3 * KEPT)
)  # fmt: skip
def test_the_usual_silence_is_one_that_was(heard: list[tuple[int, int]]) -> None:
    pace = Pace()
    for time_ms, silent_ms in heard:
        pace.heard(time_ms, silent_ms)
    assert pace.ended == heard[-KEPT:]
    assert pace.usual_ms in {0, *(silent_ms for _, silent_ms in pace.ended)}
