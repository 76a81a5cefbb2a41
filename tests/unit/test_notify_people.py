"""What people are told of alerts, how often, and what is remembered of it (extra `notify`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

pytest.importorskip("apprise", reason="the extra `notify` is not installed")

import itertools

from offbeat_console.notify import settings
from offbeat_console.notify.ledger import GIVE_UP_S, HOUR_S, RETRY_CAP_S, Ledger
from offbeat_console.notify.letters import Letter, Rule, joined, letter
from offbeat_console.notify.post import Post, urls_of
from offbeat_edge.errors import ConfigError
from offbeat_edge.schema import AlertEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "notify.md").read_text()
ALL = Rule(assets=("*",), least="warning", ends=True)
ONE = Letter("a1", "begin", "warning", "p1: anomaly", "far off")


def event(**changes: object) -> AlertEvent:
    plain = {
        "schema": "1.2", "id": "a1/0", "alert": "a1", "seq": 0, "type": "new", "kind": "anomaly",
        "severity": "warning", "site": "s", "gateway": "gw1", "asset": "p1", "start": "then",
        "start_ms": 0, "end": None, "end_ms": None, "time": "now", "time_ms": 1, "score": 2.0,
        "peak": 2.0, "message": "p1: far off", "model": None,
        "contributions": [{"sensor": "flow", "share": 0.9, "expected": None, "actual": 18.1}],
    }  # fmt: skip
    return msgspec.convert(plain | changes, AlertEvent)


def test_a_letter_says_what_where_since_when_and_why() -> None:
    told = letter(event(), ALL)
    assert told is not None
    assert told.title == "p1: anomaly, warning"
    assert "p1: far off" in told.body
    assert "since then" in told.body
    assert "flow: 18.1, expected nothing (90%)" in told.body
    over = letter(event(type="end", end="later", reason="false_alarm"), ALL)
    assert over is not None
    assert (over.stage, over.title) == ("end", "p1: anomaly is over")
    assert "until later\nended by: false alarm" in over.body


@pytest.mark.parametrize(
    ("rule", "changes", "heard"),
    [
        (ALL._replace(least="critical"), {}, False),
        (ALL._replace(least="critical"), {"type": "update", "severity": "critical"}, True),
        (ALL._replace(assets=("fan*",)), {}, False),
        (ALL._replace(ends=False), {"type": "end"}, False),
        (ALL, {"type": "update"}, True),
    ],
)
def test_only_what_people_want_is_told(rule: Rule, changes: dict[str, str], *, heard: bool) -> None:
    assert (letter(event(**changes), rule) is not None) == heard


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    made = Ledger(":memory:")
    yield made
    made.close()


def test_a_stage_is_taken_once_and_an_end_only_after_its_beginning(ledger: Ledger) -> None:
    over = ONE._replace(stage="end")
    assert not ledger.take(over, ["m"], now_s=0)
    assert ledger.take(ONE, ["m"], now_s=0)
    assert not ledger.take(ONE, ["m"], now_s=1)
    assert ledger.take(over, ["m"], now_s=2)
    assert [one.letter.stage for one in ledger.due("m", now_s=2)] == ["begin", "end"]


def test_what_was_told_is_known_after_a_restart(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "notify.db")
    first.take(ONE, ["m"], now_s=0)
    first.settle("m", first.due("m", now_s=0), took=True, now_s=0)
    first.close()
    second = Ledger(tmp_path / "notify.db")
    assert not second.take(ONE, ["m"], now_s=9)
    assert second.waiting == 0
    second.close()


def test_a_refused_letter_is_tried_at_growing_distances_and_then_given_up(ledger: Ledger) -> None:
    ledger.take(ONE, ["m"], now_s=0)
    now, waits, lost = 0.0, [], []
    while not lost:
        letters = ledger.due("m", now_s=now)
        if letters:
            waits.append(now)
            lost = ledger.settle("m", letters, took=False, now_s=now)
        now += 10.0
    gaps = [b - a for a, b in itertools.pairwise(waits)]
    assert gaps == sorted(gaps)
    assert max(gaps) == RETRY_CAP_S
    assert lost == [ONE]
    assert now > GIVE_UP_S


def test_each_target_has_its_own_letters_and_its_own_hour(ledger: Ledger) -> None:
    ledger.take(ONE, ["m", "n"], now_s=0)
    ledger.settle("m", ledger.due("m", now_s=0), took=True, now_s=0)
    assert (ledger.sent("m", now_s=1), ledger.sent("n", now_s=1)) == (1, 0)
    assert ledger.sent("m", now_s=HOUR_S + 1) == 0
    assert (len(ledger.due("m", now_s=1)), len(ledger.due("n", now_s=1))) == (0, 1)
    assert ledger.keep_only(["m"]) == 1


@given(st.lists(st.sampled_from([("a", "begin"), ("a", "end"), ("b", "begin"), ("b", "end")])))
def test_whatever_comes_again_each_stage_is_one_letter(stages: list[tuple[str, Any]]) -> None:
    ledger = Ledger(":memory:")
    for alert, stage in stages:
        ledger.take(ONE._replace(alert=alert, stage=stage), ["m"], now_s=0)
    kept = [(one.letter.alert, one.letter.stage) for one in ledger.due("m", now_s=0)]
    ledger.close()
    assert len(set(kept)) == len(kept)
    assert all((alert, "begin") in kept for alert, _ in kept)


def test_many_alerts_are_one_message_of_bounded_length() -> None:
    title, body = joined([f"p{n}" for n in range(200)], ["x"] * 200)
    assert title == "200 alerts"
    assert body.endswith("and 150 more")


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # a plugin of Apprise's has it
def test_a_wrong_url_is_told_by_its_place_and_never_by_its_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="URL 2: expected one that Apprise knows") as caught:
        Post(["json://localhost", "nonsense:secret"])
    assert "secret" not in str(caught.value)
    path = tmp_path / "urls"
    path.write_text("# mine\njson://localhost\n\njson://localhost\n")
    with pytest.raises(ConfigError, match="mode 600"):
        urls_of(str(path))
    path.chmod(0o600)
    assert urls_of(str(path)) == ["json://localhost"]


def test_the_page_lists_the_keys_as_they_are_and_its_example_loads(tmp_path: Path) -> None:
    told = dict(re.findall(r"^\| `([a-z_]+)` \| (.+?) \|", PAGE, re.MULTILINE))
    known = {f.encode_name: f for f in fields(settings.Notify)}
    assert told.keys() == known.keys()
    for key, field in known.items():
        shown = "required" if field.required else f"`{msgspec.json.encode(field.default).decode()}`"
        assert told[key] == ("the user's state folder" if key == "state_dir" else shown), key
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "notify.toml"
    path.write_text(example)
    assert settings.load(path, {"HOME": "/root"}).mqtt.client_id == "offbeat-notify-pager"
    assert (RETRY_CAP_S, GIVE_UP_S) == (1800.0, 86_400.0)
