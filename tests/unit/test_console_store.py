"""What the console keeps: once, over a restart, and within its bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from console_parts import START_MS, event, score, state

from offbeat_console import alarm
from offbeat_console.alarm import Shelf
from offbeat_console.board import Board
from offbeat_console.ingest import recover
from offbeat_console.store import Store
from offbeat_console.trace import Points
from offbeat_console.wire import Feedback, Maintenance, Said
from offbeat_edge.errors import StateRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from offbeat_edge.schema import AlertEvent

LIMIT = 1 << 24


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "console.db"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    made = Store(file, limit_bytes=LIMIT)
    yield made
    made.close()


def keep(store: Store, board: Board, *events: AlertEvent) -> list[bool]:
    """Take events as the ingest thread does."""
    kept = []
    for one in events:
        board.take(Said("alert", one.gateway, one.asset, one), now_ms=0)
        kept.append(store.alert(one, board.alerts[one.alert]))
    return kept


def reopened(store: Store, file: Path) -> Board:
    store.commit()
    board, again = Board(), Store(file, limit_bytes=LIMIT)
    recover(board, again)
    again.close()
    return board


def test_an_event_that_comes_twice_is_kept_once(store: Store) -> None:
    assert keep(store, Board(), event(), event(), event(1), event(1)) == [True, False, True, False]
    store.commit()
    reader = store.reader()
    assert [e.seq for e in reader.events(event().alert)] == [0, 1]
    reader.close()


def test_a_repetition_does_not_undo_what_came_later(store: Store) -> None:
    board = Board()
    keep(store, board, event(), event(1, type_="end"), event())
    assert not board.alerts[event().alert].alarm.active


def test_a_restart_loses_nothing(store: Store, file: Path) -> None:
    board = Board()
    keep(store, board, event(), event(asset="p2"))
    seen = alarm.acknowledge(board.alerts[event().alert].alarm, by="ann", now_ms=7)
    board.alter(event().alert, seen)
    store.alter(board.alerts[event().alert])
    store.keep("state", "gw1/p1", state("anomaly"), now_ms=3)
    shelf = Shelf(asset="p2", kind="anomaly", until_ms=1 << 60, by="ann", note="known")
    store.keep("shelf", "p2/anomaly", shelf, now_ms=3)
    window = Maintenance(
        id="w", asset="p3", start_ms=START_MS, end_ms=START_MS + 1, time_ms=START_MS, note="belt"
    )
    feedback = Feedback(
        id="f", alert=event().alert, asset="p1", verdict="false_alarm", time_ms=START_MS,
    )  # fmt: skip
    store.tell(window)
    store.tell(feedback)
    again = reopened(store, file)
    p1, p2 = (again.alerts[event(asset=name).alert] for name in ("p1", "p2"))
    assert (p1.alarm.acknowledged_by, p1.verdict) == ("ann", "false_alarm")
    assert again.state_of(p1, 0) == "acknowledged"
    assert again.state_of(p2, 0) == "shelved"
    assert again.maintenance == {"w": window}
    found = again.assets["gw1", "p1"].state
    assert found == state("anomaly")


def test_alerts_that_wait_for_somebody_come_back_however_old(store: Store, file: Path) -> None:
    board = Board()
    keep(store, board, event(start_ms=START_MS - 10**9))
    for n in range(300):
        one = event(start_ms=START_MS + n * 1000, type_="end")
        keep(store, board, one)
        board.alter(one.alert, alarm.acknowledge(board.alerts[one.alert].alarm, by="a", now_ms=1))
        store.alter(board.alerts[one.alert])
    again = reopened(store, file)
    assert event(start_ms=START_MS - 10**9).alert in again.alerts
    assert len(again.alerts) == 201


def test_the_later_word_on_a_window_counts(store: Store) -> None:
    said = Maintenance(id="w", asset="p1", start_ms=START_MS, end_ms=START_MS + 9, time_ms=START_MS)
    over = msgspec.structs.replace(said, time_ms=START_MS + 1, cancelled=True)
    for window in (said, over, said):
        store.tell(window)
    assert store.told("maintenance", Maintenance) == [over]


def test_what_was_said_waits_until_the_broker_has_it(store: Store) -> None:
    store.post(name="f", topic="t", payload=b"x", now_ms=1)
    store.commit()
    reader = store.reader()
    assert (reader.outgoing("f"), store.waiting()) == ("waiting", [("f", "t", b"x")])
    store.posted("f", now_ms=2, refused=None)
    store.commit()
    assert (reader.outgoing("f"), store.waiting()) == ("sent", [])
    store.post(name="g", topic="t", payload=b"x", now_ms=1)
    store.posted("g", now_ms=2, refused="Not authorized")
    store.commit()
    assert reader.outgoing("g") == "refused: Not authorized"
    reader.close()


def points(n: int) -> Points:
    times = [START_MS + (n * 32 + i) * 1000 for i in range(32)]
    return Points(times, {f"s{k}": [float(i % 7) for i in range(32)] for k in range(8)})


def test_the_store_stays_within_its_bound_and_spares_what_is_around_an_alert(file: Path) -> None:
    limit = 1 << 20
    store = Store(file, limit_bytes=limit)
    keep(store, Board(), event())
    store.chunk("p1", "signal", points(0), pinned=True)
    for n in range(1, 1500):
        store.chunk(f"p{n % 10}", "signal", points(n), pinned=False)
        store.prune()
        store.commit()
    assert store.size() <= limit * 1.1
    reader = store.reader()
    assert len(reader.points("p1", "signal", 0, points(0).times[-1]).times) == 32
    newest = points(1499)
    assert len(reader.points("p9", "signal", newest.times[0], newest.times[-1]).times) == 32
    assert reader.alert(event().alert) is not None
    reader.close()
    store.close()


def test_thinned_numbers_keep_their_extremes(file: Path) -> None:
    store = Store(file, limit_bytes=1 << 20)
    spike = points(0)
    spike.columns["s0"][17] = 99.0
    store.chunk("p0", "signal", spike, pinned=False)
    for n in range(1, 700):
        store.chunk("p0", "signal", points(n), pinned=False)
        store.prune()
    store.commit()
    reader = store.reader()
    found = reader.points("p0", "signal", 0, spike.times[-1])
    assert 0 < len(found.times) < 32
    assert max(found.columns["s0"]) == 99.0
    reader.close()
    store.close()


def test_points_around_an_alert_that_opens_are_spared(store: Store) -> None:
    store.chunk("p1", "signal", points(0), pinned=False)
    store.pin("p1", START_MS)
    store.commit()
    reader = store.reader()
    (pinned,) = reader._db.execute("SELECT pinned FROM chunk").fetchone()  # noqa: SLF001
    assert pinned == 1
    reader.close()


def test_a_store_of_a_newer_console_is_refused(file: Path) -> None:
    store = Store(file, limit_bytes=LIMIT)
    store._run("PRAGMA user_version = 99")  # noqa: SLF001
    store.close()
    with pytest.raises(StateRefused, match="version 1, got 99"):
        Store(file, limit_bytes=LIMIT)


def test_scores_are_kept_with_what_the_model_expected() -> None:
    board = Board()
    board.take(Said("score", "gw1", "p1", score(2.5)), now_ms=0)
    got = board.assets["gw1", "p1"].scores.since(0)
    assert got.columns == {
        "": [2.5], "=flow": [15.77], "~flow": [18.1], "=heat": [21.5], "~heat": [20.1]
    }  # fmt: skip
