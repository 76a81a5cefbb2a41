"""The control log: kept with the samples, walked again in order, never twice."""

from __future__ import annotations

import io
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offbeat_edge import control as controls
from offbeat_edge.control import Feedback, Logged, Maintenance, Rename, Swap
from offbeat_edge.durable import Durable
from offbeat_edge.engine import MAX_HEARD, Engine
from offbeat_edge.errors import StateRefused, StoreError
from offbeat_edge.log import Log
from offbeat_edge.schema import Sample
from offbeat_edge.store import (
    CONTROL_DAYS,
    DAY_MS,
    MAX_CONTROLS,
    MIGRATIONS,
    MIN_CONTROLS,
    ControlRow,
    Store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offbeat_edge.model import Model
    from offbeat_edge.schema import AlertEvent

START = 1_700_000_000_000
RELEASE = Path(__file__).parent / "data" / "state_94b8378.db"
LEFT_OFF = 27  # samples that the release had taken when it wrote this

ids = st.text("abc-1", min_size=1, max_size=8)
times = st.integers(controls.FIRST_MS, controls.LAST_MS)
names = st.text("ab.", min_size=1, max_size=5)
told = st.one_of(
    st.builds(Maintenance, id=ids, time_ms=times, asset=names, start_ms=times, end_ms=times),
    st.builds(Feedback, id=ids, time_ms=times, asset=names, verdict=st.just("expected")),
    st.builds(Rename, id=ids, time_ms=times, asset=names, to=names),
    st.builds(Swap, id=ids, time_ms=times, entry=st.integers(0, 9), bundle=st.just("a" * 64)),
)


def sample(k: int) -> Sample:
    hot = 9.0 if 20 <= k < 30 else 0.0
    return Sample(
        "pump1",
        START + 1000 * k,
        {"flow": 10.0 + 0.1 * (k % 2), "heat": 20.0 + 0.2 * (k % 3) + hot},
    )


def said(number: int) -> Maintenance:
    return Maintenance(
        id=str(number), time_ms=START, asset="pump1", start_ms=START, end_ms=START + 1
    )


@pytest.fixture
def opened(tmp_path: Path, model: Model) -> Iterator[list[Durable]]:
    """Durables to be closed after the test, the last one in use."""
    made: list[Durable] = []
    yield made
    for durable in made:
        durable.close()


def durable_on(path: Path, model: Model, opened: list[Durable]) -> tuple[Durable, Engine]:
    engine = Engine(
        site="hall", gateway="gw", route=lambda a: model if a.startswith("pump") else None
    )
    durable = Durable(
        store=Store(path=path, outbox_limit_bytes=1 << 20),
        engine=engine,
        topic_of=lambda asset: f"offbeat/gw/asset/{asset}/alert",
        log=Log(stream=io.StringIO()),
        wall_ms=lambda: START,
    )
    opened.append(durable)
    return durable, engine


@given(told, st.dictionaries(names, times))
def test_a_line_of_the_log_comes_back(control: controls.Control, at: dict[str, int]) -> None:
    logged = Logged(received_ms=5, at=at, control=control)
    assert controls.decode(controls.encode(logged)) == logged


@given(st.binary(max_size=80))
def test_what_is_no_line_of_the_log_is_refused(line: bytes) -> None:
    with pytest.raises(StoreError, match="control log"):
        controls.decode(line)


def test_a_line_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(StoreError, match="control log"):
        controls.decode(b'{"control": "\xa4"}')


def test_a_cancelled_window_is_not_its_announcement() -> None:
    window = Maintenance(id="7", time_ms=START, asset="a", start_ms=START, end_ms=START + 1)
    again = Maintenance(id="7", time_ms=START + 9, asset="a", start_ms=START, end_ms=START + 1)
    back = Maintenance(
        id="7", time_ms=START, asset="a", start_ms=START, end_ms=START + 1, cancelled=True
    )
    assert controls.key(window) == controls.key(again) != controls.key(back)


def test_a_control_is_journaled_logged_and_walked_again(
    tmp_path: Path, model: Model, opened: list[Durable]
) -> None:
    path = tmp_path / "state.db"
    durable, _ = durable_on(path, model, opened)
    durable.recover(lambda: None)
    durable.take([sample(k) for k in range(10)])
    durable.control(said(1))
    assert durable.dirty
    assert durable.commit()
    assert not durable.dirty
    durable.close()
    again, engine = durable_on(path, model, opened)
    again.recover(lambda: None)
    assert engine.heard(said(1))
    (row,) = Store.controls(again._store)  # noqa: SLF001 - the command reads it from outside
    assert controls.decode(row.body) == Logged(
        received_ms=START, at={"pump1": START + 9000}, control=said(1)
    )


def test_a_control_that_comes_again_is_not_written_again(
    tmp_path: Path, model: Model, opened: list[Durable]
) -> None:
    durable, _ = durable_on(tmp_path / "state.db", model, opened)
    durable.recover(lambda: None)
    for _ in range(3):
        durable.control(said(1))
        durable.commit(snapshot=True)
    assert len(list(durable._store.controls())) == 1  # noqa: SLF001


def test_only_so_many_controls_are_remembered(model: Model) -> None:
    engine = Engine(site="s", gateway="g", route=lambda _: model)
    for number in range(MAX_HEARD + 1):
        engine.control(said(number))
    assert not engine.heard(said(0))
    other = Engine(site="s", gateway="g", route=lambda _: model)
    other.restore(engine.snapshot())
    assert all(other.heard(said(number)) for number in range(1, MAX_HEARD + 1))


def test_the_log_keeps_what_is_young_and_never_too_much(tmp_path: Path) -> None:
    store = Store(path=tmp_path / "state.db", outbox_limit_bytes=1 << 20)
    store.open()
    store.commit(controls=[ControlRow(n, b"old") for n in range(MIN_CONTROLS + 5)])
    assert len(list(store.controls())) == MIN_CONTROLS + 5
    now = CONTROL_DAYS * DAY_MS + 10**6
    store.commit(controls=[ControlRow(now, b"young")])
    kept = list(store.controls())
    assert (len(kept), kept[-1]) == (MIN_CONTROLS, ControlRow(now, b"young"))
    store.commit(controls=[ControlRow(now, b"young")] * (MAX_CONTROLS + 1))
    assert {row.body for row in store.controls()} == {b"young"}
    assert len(list(store.controls())) == MAX_CONTROLS
    store.close()


# ---------------------------------------------------------------- releases


def brief(events: list[AlertEvent]) -> list[tuple[str, str, int]]:
    return [(e.id, e.type, e.time_ms) for e in events]


def test_the_state_of_the_previous_release_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, model: Model, opened: list[Durable]
) -> None:
    path = tmp_path / "state.db"
    shutil.copy(RELEASE, path)
    durable, engine = durable_on(path, model, opened)
    recovered = durable.recover(lambda: None)
    assert (recovered.fresh, durable.lost) == (False, [])
    assert durable.waiting == 3
    undisturbed = Engine(site="hall", gateway="gw", route=lambda _: model)
    undisturbed.feed([sample(k) for k in range(LEFT_OFF)])
    assert engine.watches["pump1"].settled_ms == undisturbed.watches["pump1"].settled_ms
    rest = [sample(k) for k in range(LEFT_OFF, 60)]
    events = brief(durable.take(rest).events)
    assert events == brief(undisturbed.feed(rest).events)
    assert events[-1][1] == "end"
    durable.control(said(1))
    assert durable.commit(snapshot=True)


def test_a_program_older_than_its_state_refuses_it_and_changes_no_byte(tmp_path: Path) -> None:
    """The check is the same in every release; the version it knows is what differs."""
    path = tmp_path / "state.db"
    store = Store(path=path, outbox_limit_bytes=1 << 20)
    store.open()
    store.commit(controls=[ControlRow(1, b"x")])
    store.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StateRefused, match=f"at most, got {len(MIGRATIONS) + 1}"):
        store.open()
    store.close()
    assert path.read_bytes() == before
