"""What pages show, and the numbers they draw: from the board alone."""

from __future__ import annotations

import math

import msgspec
from console_parts import START_MS, event, score, state
from hypothesis import given
from hypothesis import strategies as st

from offbeat_console import strips, told, views
from offbeat_console.board import Board, Gateway
from offbeat_console.trace import MAX_POINTS, SLACK, Points, Trace, join, pack, thin, unpack
from offbeat_console.wire import FILTERS, Maintenance, Said, read


def board_of(**states: str) -> Board:
    board = Board()
    board.take(Said("status", "gw1", "", "online"), now_ms=0)
    for name, word in states.items():
        body = state(word, asset=name)  # type: ignore[arg-type]
        board.take(Said("state", "gw1", name, body), now_ms=0)
    return board


def page(board: Board, *, state: str = "", search: str = "", first: int = 0) -> views.Overview:
    return views.Fleet(board).page(
        now_ms=0, state=state, search=search, gateway="", first=first, size=50
    )


def names(seen: views.Overview) -> list[str]:
    return [row.asset for row in seen.rows]


def test_the_worst_comes_first_and_calm_rows_stand_by_name() -> None:
    board = board_of(a="ok", b="stale", c="anomaly", d="ok", e="sensor_fault", f="degraded")
    assert names(page(board)) == ["c", "e", "b", "f", "a", "d"]


def test_what_nobody_has_seen_comes_before_what_somebody_has() -> None:
    from offbeat_console import alarm  # noqa: PLC0415

    board = board_of(a="anomaly", b="anomaly")
    for name in ("a", "b"):
        board.take(Said("alert", "gw1", name, event(asset=name)), now_ms=0)
    seen = board.alerts[event(asset="a").alert]
    board.alter(seen.event.alert, alarm.acknowledge(seen.alarm, by="ann", now_ms=1))
    assert names(page(board)) == ["b", "a"]
    assert views.waiting(board, 0) == 1


def test_an_alert_that_ended_unseen_is_still_on_the_overview() -> None:
    board = board_of(a="ok", b="ok")
    for one in (event(asset="b"), event(1, asset="b", type_="end")):
        board.take(Said("alert", "gw1", "b", one), now_ms=0)
    first, _ = page(board).rows
    assert (first.asset, first.state, first.alarm) == ("b", "ok", "returned")
    assert first.what.startswith("2.8 times the threshold")


def test_an_alert_that_ended_still_says_what_it_was() -> None:
    board = board_of(a="ok")
    end = msgspec.structs.replace(event(1, asset="a", type_="end"), message="a: anomaly is over")
    for one in (event(asset="a"), end):
        board.take(Said("alert", "gw1", "a", one), now_ms=0)
    assert views.said(board.alerts[end.alert]).startswith("2.8 times the threshold")


def test_scores_do_not_move_rows() -> None:
    board = board_of(a="ok", b="ok")
    before = names(page(board))
    board.take(Said("score", "gw1", "b", score(0.99, asset="b")), now_ms=0)
    assert names(page(board)) == before


def test_an_asset_whose_gateway_is_gone_is_unwatched_not_well() -> None:
    board = board_of(a="ok")
    board.take(Said("status", "gw1", "", "offline"), now_ms=0)
    (row,) = page(board).rows
    assert (row.state, row.what) == ("lost", "gw1 is offline")


def test_filters_cut_and_counts_stay() -> None:
    board = board_of(a1="ok", a2="anomaly", b1="ok")
    seen = page(board, state="ok", search="A")
    assert (names(seen), seen.total, seen.counts) == (["a1"], 1, {"ok": 1, "anomaly": 1})


def test_only_changed_assets_are_made_again() -> None:
    board = board_of(a="ok", b="ok")
    fleet = views.Fleet(board)
    first = {row.asset: row for row in fleet.rows(0)}
    board.take(Said("score", "gw1", "b", score(0.5, asset="b")), now_ms=0)
    again = {row.asset: row for row in fleet.rows(0)}
    assert again["a"] is first["a"]
    assert again["b"].score == 0.5


def test_a_state_said_again_is_no_change() -> None:
    board = board_of(a="ok")
    before = board.revision
    board.take(Said("state", "gw1", "a", state("ok", asset="a")), now_ms=5)
    assert board.revision == before


def test_too_many_assets_are_counted_not_shown() -> None:
    from offbeat_console import board as module  # noqa: PLC0415

    board = Board()
    for n in range(module.MAX_ASSETS + 2):
        board.watched("gw1", f"a{n}")
    assert (len(board.assets), board.surplus) == (module.MAX_ASSETS, 2)


# ---------------------------------------------------------------- what gateways say


def test_health_of_any_shape_is_shown_as_far_as_it_goes() -> None:
    for health in ({}, {"spool": None}, {"models": "none"}, {"uptime_s": "soon"}):
        gateway = Gateway(name="gw1", status="online", health=health)  # type: ignore[arg-type]
        assert told.worries(gateway) == []
        assert ("assets", "0") in told.health(gateway, Board())


def test_a_spool_that_fills_is_a_worry() -> None:
    health = {"spool": {"hours_left": 2.0}, "degraded": ["bundle: bad"]}
    gateway = Gateway(name="gw1", status="online", health=health)  # type: ignore[arg-type]
    assert told.worries(gateway) == ["spool full in 2.0 h", "bundle: bad"]


def test_a_bundle_is_listed_once_with_all_its_gateways() -> None:
    board = Board()
    for name, trouble in (("gw2", None), ("gw1", "missing")):
        model = {"name": "pump", "version": "1", "digest": "d", "degraded": trouble}
        board.take(Said("health", name, "", {"models": [model]}), now_ms=0)
    assert told.running(board) == [told.Running("pump", "1", "d", ["gw1", "gw2"], "gw1: missing")]


def test_the_shadow_stands_beside_the_champion() -> None:
    body = {
        "state": "settled", "mode": "shadow", "compared": 100, "agreement": 0.98,
        "champion": {"version": "1", "windows": 100, "over": 3, "alerts": 1},
        "challenger": {"version": "2", "windows": 100, "over": 1, "alerts": 0},
    }  # fmt: skip
    columns, rows = told.beside(told.rollout(body))
    assert columns == ["champion", "shadow"]
    assert ("version", ["1", "2"]) in rows
    assert ("above 1.0", ["3 (3 %)", "1 (1 %)"]) in rows


def test_a_rollout_without_a_challenger_shows_what_runs() -> None:
    columns, rows = told.beside(told.rollout({"running": {"version": "7"}, "challenger": None}))
    assert (columns, rows[0]) == (["running"], ("version", ["7"]))
    assert told.rollout({"champion": "nonsense"}) == told.Rollout()


def test_the_consoles_reading_of_a_rollout_is_the_gateways() -> None:
    """Every field that is shown is one that a gateway says, of its type."""
    from msgspec.structs import fields  # noqa: PLC0415

    from offbeat_edge.delivery import figures, report  # noqa: PLC0415

    for ours, theirs in ((told.Rollout, report.RolloutReport), (told.Figures, figures.Figures)):
        assert {f.name for f in fields(ours)} <= {f.name for f in fields(theirs)}


def test_windows_stand_where_they_are_in_time() -> None:
    board = Board()
    for name, start, end, cancelled in (
        ("over", 0, 5, False), ("now", 5, 15, False), ("later", 20, 30, False),
        ("gone", 5, 15, True),
    ):  # fmt: skip
        window = Maintenance(
            id=name, asset=name, start_ms=start, end_ms=end, time_ms=0, cancelled=cancelled
        )
        board.take(Said("maintenance", "", name, window), now_ms=0)
    found = [(window.asset, when) for window, when in told.windows(board, 10)]
    assert found == [("now", "now"), ("later", "later"), ("over", "over"), ("gone", "cancelled")]


# ---------------------------------------------------------------- the wire


def test_every_filter_hears_something_we_can_read() -> None:
    assert len({name for name, _ in FILTERS}) == len(FILTERS)
    assert {qos for name, qos in FILTERS if name.endswith(("alert", "state", "feedback/+"))} == {1}


@given(st.text(alphabet="offbeat/gw1+#asetalrhc", max_size=40), st.binary(max_size=60))
def test_no_message_however_odd_stops_the_console(topic: str, payload: bytes) -> None:
    for name in (topic, f"offbeat/gw1/{topic}", "offbeat/gw1/health", "offbeat/gw1/status"):
        read(name, payload)


# ---------------------------------------------------------------- numbers


def test_the_guilty_sensor_is_at_the_top() -> None:
    points = Points([1], {"a": [1.0], "flow": [1.0], "heat": [1.0]})
    assert strips.sensors(points, Points([], {}), event().contributions) == ["flow", "heat", "a"]


def test_a_hole_breaks_the_line() -> None:
    times = [0, 1, 2, 3, 100, 101]
    made = strips.strips(Points(times, {"a": [0.0] * 6}), Points([], {}))
    assert [point for point in made[0]["actual"] if point[1] is None] == [[99, None]]


def test_a_trace_is_bounded_and_forgets_what_left() -> None:
    trace = Trace()
    trace.take(0, {"gone": 1.0})
    for n in range(1, 3 * MAX_POINTS):
        trace.take(n, {"a": float(n)})
    assert MAX_POINTS <= len(trace.times) <= MAX_POINTS + SLACK
    assert set(trace.columns) == {"a"}
    assert len(trace.columns["a"]) == len(trace.times)


def test_late_points_are_left_out_and_equal_times_become_one() -> None:
    trace = Trace()
    for time_ms, values in ((5, {"a": 1.0}), (5, {"b": 2.0}), (4, {"a": 9.0})):
        trace.take(time_ms, values)
    assert trace.since(0) == Points([5], {"a": [1.0], "b": [2.0]})


COLUMN = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50)


@given(COLUMN)
def test_packed_points_come_back(values: list[float]) -> None:
    points = Points(list(range(len(values))), {"a": values})
    assert unpack(pack(points)) == points


@given(COLUMN, st.integers(2, 20))
def test_thinning_keeps_both_ends_and_the_extremes(values: list[float], limit: int) -> None:
    thinned = thin(Points(list(range(len(values))), {"a": values}), limit)
    assert (thinned.times[0], thinned.times[-1]) == (0, len(values) - 1)
    assert max(thinned.columns["a"]) == max(values)
    assert min(thinned.columns["a"]) == min(values)


@given(COLUMN, COLUMN)
def test_joined_points_are_in_order_each_moment_once(one: list[float], two: list[float]) -> None:
    joined = join([Points(list(range(len(c))), {n: c}) for n, c in (("a", one), ("b", two))])
    assert joined.times == list(range(max(len(one), len(two))))
    assert [v for v in joined.columns["a"] if not math.isnan(v)] == one


def test_stored_points_are_given_once() -> None:
    trace = Trace()
    trace.take(START_MS, {"a": 1.0})
    assert trace.pending == 1
    assert trace.unstored() == Points([START_MS], {"a": [1.0]})
    assert trace.unstored() is None
    assert trace.pending == 0
