"""The demo's verdict: strict about what counts, whatever came."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

from offbeat_broker.faults import KINDS, Truth
from offbeat_edge.schema import AlertEvent, iso
from offbeat_train import demo_report
from offbeat_train.demo_judge import AFTERMATH_MS, CAUGHT_SHARE, FALSE_ALARMS, Verdict, judge

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 60_000
WINDOW, STRIDE = 10 * MINUTE, 2 * MINUTE
LENGTH = 60 * MINUTE


def truth(number: int, kind: str = "leak") -> Truth:
    start = number * 400 * MINUTE
    return Truth(
        asset=f"pump{number % 3}", kind=kind, sensor=None, start=iso(start), start_ms=start,  # type: ignore[arg-type]
        end=iso(start + LENGTH), end_ms=start + LENGTH, magnitude=2.0, magnitude_units=12.0,
        deviation=2.1, unit="m3/h",
    )  # fmt: skip


def alert(
    asset: str, time_ms: int, *, start_ms: int | None = None, kind: str = "new"
) -> AlertEvent:
    start = time_ms if start_ms is None else start_ms
    return AlertEvent(
        id=f"{asset}{time_ms}/0", alert=f"{asset}{time_ms}", seq=0, type=kind, kind="anomaly",  # type: ignore[arg-type]
        severity="warning", site="s", gateway="g", asset=asset, start=iso(start), start_ms=start,
        time=iso(time_ms), time_ms=time_ms, score=1.2, peak=1.2, message="odd",
    )  # fmt: skip


FAULTS = [truth(i, kind) for i, kind in enumerate(2 * KINDS)]


def caught(*missing: int) -> list[AlertEvent]:
    return [
        alert(f.asset, f.start_ms + 5 * MINUTE) for i, f in enumerate(FAULTS) if i not in missing
    ]


def verdict(events: list[AlertEvent], *, taken: int = 100) -> Verdict:
    return judge(FAULTS, events, window_ms=WINDOW, stride_ms=STRIDE, sent=100, taken=taken)


def test_all_caught_and_nothing_else_passes() -> None:
    result = verdict(caught())
    assert result.passed
    assert result.caught == len(FAULTS)
    assert {outcome.delay_ms for outcome in result.outcomes} == {5 * MINUTE}


def test_silence_does_not_pass() -> None:
    result = verdict([])
    assert not result.passed
    assert result.caught == 0


def test_one_missed_of_sixteen_passes_and_two_do_not() -> None:
    assert 15 / 16 > CAUGHT_SHARE > 14 / 16
    assert verdict(caught(3)).passed
    assert not verdict(caught(3, 4)).passed


def test_a_kind_never_caught_does_not_pass() -> None:
    both = tuple(i for i, f in enumerate(FAULTS) if f.kind == "leak")
    rules = {rule.text: rule for rule in verdict(caught(*both)).rules}
    assert "leak" in rules["at least 1 of every kind is caught"].got


def test_a_lost_message_does_not_pass() -> None:
    assert not verdict(caught(), taken=99).passed


def test_an_alert_that_was_open_before_the_fault_does_not_catch_it() -> None:
    fault = FAULTS[0]
    early = alert(fault.asset, fault.start_ms + MINUTE, start_ms=fault.start_ms - STRIDE)
    assert verdict([early]).outcomes[0].alert is None


def test_an_alert_of_the_first_window_that_a_fault_is_in_catches_it() -> None:
    fault = FAULTS[0]
    first = alert(fault.asset, fault.start_ms + MINUTE, start_ms=fault.start_ms - STRIDE + 1)
    assert verdict([first]).outcomes[0].alert == first


def test_an_alert_of_another_pump_is_false_and_catches_nothing() -> None:
    other = alert("pump9", FAULTS[0].start_ms + MINUTE)
    result = verdict([other])
    assert result.caught == 0
    assert result.false_alarms == (other,)


def test_the_echo_of_a_fault_is_neither_caught_nor_false() -> None:
    fault = FAULTS[0]
    echo = alert(fault.asset, fault.end_ms + WINDOW + AFTERMATH_MS)
    late = alert(fault.asset, fault.end_ms + WINDOW + AFTERMATH_MS + 1)
    result = verdict([echo, late])
    assert result.outcomes[0].alert is None
    assert result.false_alarms == (late,)


def test_updates_and_ends_open_nothing() -> None:
    fault = FAULTS[0]
    events = [alert(fault.asset, fault.start_ms + MINUTE, kind=k) for k in ("update", "end")]
    assert verdict(events).caught == 0


def test_too_many_false_alarms_do_not_pass() -> None:
    false = [alert("pump9", i * MINUTE) for i in range(FALSE_ALARMS + 1)]
    assert verdict(caught() + false[:-1]).passed
    assert not verdict(caught() + false).passed


def test_the_report_says_every_fault_and_escapes_what_alerts_say(tmp_path: Path) -> None:
    events = [msgspec.structs.replace(alert("pump9", MINUTE), message="<b>odd</b>"), *caught(3)]
    scores = {"pump0": [(i * MINUTE, 0.5) for i in range(100)]}
    demo_report.write(tmp_path, verdict(events), scores, seed=7, seconds=12.0)
    page = (tmp_path / "demo.html").read_text()
    figures = json.loads((tmp_path / "demo.json").read_text())
    assert page.count("<tr>") == 1 + len(FAULTS) + 1
    assert "<b>odd" not in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//|url\(http|@import""", page)
    assert figures["passed"] is True
    assert [f["alert"] is None for f in figures["faults"]].count(True) == 1
    assert figures["false_alarms"][0]["asset"] == "pump9"
